--- Letters: what an app gives to its outbox, checked, and one attempt to deliver it. What is secret
--- (the key of signatures, the mail server's password) is no part of a letter, so it is not kept.
--- Keeps nothing in memory.
local http = require("sluice.http")
local mail = require("sluice.mail")
local options = require("sluice.base.options")
local retry = require("sluice.out.retry")
local signature = require("sluice.out.signature")
local sluice = require("sluice")

local letters = {}

local NONE, STRING, TABLE = options.NONE, options.STRING, options.TABLE
local WEBHOOK = { url = NONE, method = "POST", headers = TABLE, body = STRING, json = NONE,
  id = STRING, data = NONE }
local MAIL = { to = NONE, cc = NONE, bcc = NONE, from = NONE, reply_to = NONE, subject = STRING,
  text = STRING, html = STRING, headers = TABLE, recipients = TABLE, id = STRING, data = NONE }
local WEBHOOK_DEFAULTS = { headers = TABLE, timeout = 10, redirects = 5, verify = true }
local MAIL_DEFAULTS = { url = STRING, user = STRING, password = STRING, tls = STRING,
  verify = true, timeout = 30, from = NONE, reply_to = NONE, headers = TABLE }
-- The receiver refuses this message, or every further one; other answers may become better.
local FINAL_STATUS = { [400] = true, [410] = true, [413] = true, [415] = true, [422] = true }
local PASSING_CODE = { ECONNECT = true, EUPSTREAM = true, ETIMEOUT = true, EFULL = true,
  ENOMEM = true }
local ASKED_MAX, ID_MAX = 86400, 64

--- Check what an outbox has for all its letters; raises.
function letters.check_defaults(what, o)
  o.webhook = options(what .. ": webhook", o.webhook, WEBHOOK_DEFAULTS)
  o.mail = options(what .. ": mail", o.mail, MAIL_DEFAULTS)
  if type(o.secret) == "string" then signature.check(what, { secret = o.secret }) end
end

local function id_fault(id)
  if id == nil or #id <= ID_MAX and id:find("^[%w_-]+$") then return nil end
  return ("id: 1 to %d letters, digits, _ and - are expected"):format(ID_MAX)
end

local function begin(via, o)
  return { id = o.id or sluice.id(), via = via, created = sluice.time(), attempts = 0,
    data = o.data, trace = sluice.traceparent() }
end

local function fields_fault(headers)
  for name, value in pairs(headers or {}) do
    if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
      return ("headers: '%s' is no name of a field"):format(tostring(name):gsub("%c", "?"))
    elseif type(value) ~= "string" or value:find("[%z\1-\8\10-\31\127]") then
      return ("headers: %s is a string without control characters"):format(name)
    elseif name:lower():find("^webhook%-") then
      return ("headers: %s is written by the outbox"):format(name)
    end
  end
end

--- Read a webhook; a wrong option raises.
-- @treturn table|nil or nil, message, code
function letters.webhook(what, given)
  local o = options(what, given, WEBHOOK)
  if o.body and o.json ~= nil then options.raise(what .. ": body or json, not both") end
  local host = type(o.url) == "string" and #o.url <= 8192 and not o.url:find("[%c ]")
    and (o.url:match("^https?://([^/?#]+)") or ""):match("([^@]+)$")
  if not host then return nil, what .. ": url is one of http or https", "EINVAL" end
  local fault = id_fault(o.id) or fields_fault(o.headers)
  if fault then return nil, ("%s: %s"):format(what, fault), "EBADFIELD" end
  local letter = begin("webhook", o)
  letter.url, letter.method, letter.headers, letter.target = o.url, o.method, o.headers or {},
    host:lower()
  letter.body = o.body or ""
  if o.json ~= nil then
    local text, message, code = sluice.json.encode(o.json)
    if not text then return nil, ("%s: json: %s"):format(what, message), code end
    letter.body, letter.is_json = text, true
  end
  return letter
end

local function merged(defaults, own)
  local all = {}
  for name, value in pairs(defaults) do all[name] = value end
  for name, value in pairs(own) do all[name] = value end
  all.headers = nil
  for _, headers in ipairs({ defaults.headers or {}, own.headers or {} }) do
    all.headers = all.headers or {}
    for name, value in pairs(headers) do all.headers[name] = value end
  end
  return all
end

--- Read a mail; a wrong option raises.
-- @treturn table|nil or nil, message, code
function letters.mail(what, given, defaults)
  local o = options(what, given, MAIL)
  local fault = id_fault(o.id)
  if fault then return nil, ("%s: %s"):format(what, fault), "EBADFIELD" end
  local letter = begin("mail", o)
  letter.target, letter.subject, o.data = "mail", o.subject, nil
  o.id = letter.id
  letter.mail = o
  local ok, message, code = mail.check(merged(defaults, o))
  if not ok then return nil, (message:gsub("^mail%.check%(%)", what)), code end
  return letter
end

-- ---- One attempt ---------------------------------------------------------------------------

local function secret_of(o, letter)
  if type(o.secret) == "function" then return o.secret(letter) end
  return o.secret
end

local function post(o, letter)
  local all = merged(o.webhook, { headers = letter.headers })
  local fields, secret = all.headers, secret_of(o, letter)
  if letter.is_json then
    local has = false
    for name in pairs(fields) do has = has or name:lower() == "content-type" end
    if not has then fields["content-type"] = "application/json" end
  end
  fields.traceparent = fields.traceparent or letter.trace -- of what it was sent for
  if not secret then fields["webhook-id"] = letter.id end
  local answer, message, code = http.request { url = letter.url, method = letter.method,
    headers = fields, body = letter.body, timeout = all.timeout, redirects = all.redirects,
    strict_redirects = true, verify = all.verify,
    sign = secret and { secret = secret, id = letter.id } or nil }
  if not answer then return { error = message, code = code, again = PASSING_CODE[code] } end
  local status = answer.status
  if status >= 200 and status < 300 then return { ok = true, status = status } end
  local place = status >= 300 and status < 400 and answer.headers.location
  local leads = place and ", which leads to " .. place:gsub("[?#].*", ""):sub(1, 200) or ""
  return { error = ("it answered %d"):format(status) .. leads, code = "EUPSTREAM", status = status,
    again = not FINAL_STATUS[status], asked = retry.after(answer.headers, ASKED_MAX) }
end

-- What is left to do of a mail, after what was refused.
local function note_refused(letter, refused)
  local left = {}
  letter.refused = letter.refused or {}
  for _, one in ipairs(refused or {}) do
    if one.status and one.status >= 500 then
      table.insert(letter.refused, one)
    else
      left[#left + 1] = one.address
    end
  end
  return left
end

local function send(o, letter)
  local all = merged(o.mail, letter.mail)
  all.date, all.recipients = letter.created, letter.left or letter.mail.recipients
  local sent, message, code, refused = mail.send(all)
  local left = note_refused(letter, sent and sent.refused or refused)
  if sent then letter.taken = true end
  if #left > 0 then letter.left = left end
  if sent and #left == 0 then return { ok = true } end
  if sent then
    local one = sent.refused[#sent.refused]
    return { error = ("%s: %s"):format(one.address, one.message), code = "EUPSTREAM", again = true,
      status = one.status }
  end
  if code == "EREFUSED" and letter.taken then return { ok = true } end
  return { error = message, code = code, again = PASSING_CODE[code] }
end

local ATTEMPT = { webhook = post, mail = send }

--- Try to deliver a letter. The coroutine waits.
-- @tparam table o options of the outbox
-- @tparam table letter what is left to do is noted in it
-- @treturn table { ok }, or { error, code, status, again = may it become better, asked = seconds }
function letters.attempt(o, letter)
  local ok, result = pcall(ATTEMPT[letter.via], o, letter)
  if ok then return result end
  return { error = tostring(result), code = "EINVAL" }
end

return letters
