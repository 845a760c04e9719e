--- One attempt to hand a mail to an SMTP server. Keeps nothing in memory.
local caller = require("sluice.base.caller")
local transfer = require("sluice.out.transfer")

local smtp = {}

local TLS = { starttls = true, tls = true, none = true }

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function is_loopback(host)
  return host == "localhost" or host == "[::1]" or host:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

--- Read where a server is and how it is spoken to; raises.
-- @tparam string what for messages
-- @tparam table o url ("smtp://user:password@host:port/name-for-EHLO"), user, password, tls
-- @treturn table { url, shown, user, password, starttls }
function smtp.server(what, o)
  local url = type(o.url) == "string" and o.url or ""
  local scheme, rest = url:match("^(smtps?)://(.+)$")
  local credentials, place = (rest or ""):match("^(.*)@([^@]*)$")
  place = place or rest or ""
  local host, tail = place:match("^(%[[%x:.]+%])(.*)$")
  if not host then host, tail = place:match("^([%w._-]+)(.*)$") end
  if not scheme or not host or not (tail:find("^:%d+$") or tail:find("^:%d+/[%w._-]*$")
    or tail:find("^/[%w._-]*$") or tail == "") then
    caller.raise("%s: the url of a mail server is smtp://host:587 or smtps://host:465, not '%s'",
      what, (tostring(o.url):gsub("//.*@", "//…@")))
  end
  if o.tls and not TLS[o.tls] then
    caller.raise('%s: tls is "starttls", "tls" or "none", not \'%s\'', what, o.tls)
  end
  if scheme == "smtps" and o.tls and o.tls ~= "tls" then
    caller.raise('%s: an smtps:// url has TLS from the first byte: tls = "%s" needs smtp://', what,
      o.tls)
  end
  local tls = scheme == "smtps" and "tls" or o.tls or is_loopback(host) and "none" or "starttls"
  local user, password = (credentials or ""):match("^([^:]*):?(.*)$")
  return { url = (tls == "tls" and "smtps://" or "smtp://") .. place,
    shown = host .. tail:gsub("/.*", ""), user = o.user or user ~= "" and unescape(user) or nil,
    password = o.password or user ~= "" and unescape(password) or nil,
    starttls = tls == "starttls" }
end

-- What the server said to a recipient, or of all: its code and its words.
local function read(reply)
  local status, words = (reply or ""):match("^(%d%d%d)[ -]?(.*)$")
  if not status then return nil end
  return math.tointeger(status), (words:gsub("[^ -~]", "?"))
end

-- A recipient that was refused.
local function refusal(address, status, words)
  return { address = address, status = status, message = words }
end

-- Who has it, who is refused for good, and who for now.
local function sort(to, headers, message)
  local out = { accepted = {}, refused = {}, deferred = {} }
  for i, address in ipairs(to) do
    local status, words = read(headers[tostring(i)])
    if status and status >= 500 then
      table.insert(out.refused, refusal(address, status, words))
    elseif status and status >= 400 then
      table.insert(out.deferred, refusal(address, status, words))
    elseif message then
      table.insert(out.deferred, refusal(address, nil, message))
    else
      table.insert(out.accepted, address)
    end
  end
  return out
end

local function problem(server, t, status, headers)
  local _, words = read(headers.reply)
  if t.code == "EUPSTREAM" and status >= 400 then
    return ("%s: %d %s"):format(server.shown, status, words or ""),
      status >= 500 and "EREFUSED" or "EUPSTREAM"
  end
  return ("%s: %s"):format(server.shown, t.message), t.code
end

--- Send a mail to its recipients. The coroutine waits.
-- @tparam sluice.Runtime runtime
-- @tparam string what for messages
-- @tparam table server from smtp.server
-- @tparam table o from, to, text; timeout, verify; source: what the app gave, for a test
-- @treturn table|nil { accepted = {address,...}, refused = { { address, status, message },... },
--   deferred = the same, for now }; or nil, message, code
-- @treturn string|nil message when nobody has it
-- @treturn string|nil code
function smtp.attempt(runtime, what, server, o)
  local t, message, code = transfer.open(runtime, what, { url = server.url, method = "MAIL",
    headers = {}, body = o.text, timeout = o.timeout, verify = o.verify,
    mail = { from = o.from, to = o.to, user = server.user, password = server.password,
      starttls = server.starttls, source = o.source } })
  if not t then return nil, message, code end
  local _ <close> = t
  local status, headers, why = t:head()
  if not status then return nil, ("%s: %s"):format(server.shown, headers), why end
  while t:read() do end
  if not t.message then return sort(o.to, headers) end
  message, code = problem(server, t, status, headers)
  local out = sort(o.to, headers, message)
  if code ~= "EREFUSED" then return out, message, code end
  if headers["of-recipient"] then -- it is about recipients, each for itself
    return out, message, out.deferred[1] and "EUPSTREAM" or code
  end
  for _, one in ipairs(out.deferred) do -- it is about the mail, or the sender
    table.insert(out.refused, refusal(one.address, status, message))
  end
  out.deferred = {}
  return out, message, code
end

return smtp
