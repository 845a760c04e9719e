--- One request of a test and what comes back, over whatever connection the place has.
-- It never waits: pump() writes and reads what goes. In memory: bytes not yet sent, and the
-- answer so far.
local core = require("sluice.core")
local answer = require("sluice.testing.answer")
local arguments = require("sluice.testing.arguments")
local caller = require("sluice.base.caller")
local identity = require("sluice.testing.identity")
local json = require("sluice.json")
local query = require("sluice.base.query")

local exchange = {}

---@class sluice.testing.Exchange
local Exchange = {}
Exchange.__index = Exchange

local SMALL_BYTES = 256 -- so little never filled a socket: the server waits for no room
local HEADER = "^[%w!#$%%&'*+.^_`|~-]+$"

local function sorted_names(headers)
  local list = {}
  for name in pairs(headers) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local COMPRESS = { "auto", "gzip", "zstd" }

-- The bytes of a request; options: headers, body, json, last_event_id, compress.
local function request_text(method, path, host, options, user)
  local headers, body = {}, options.body
  local what = method .. " " .. path
  arguments.check(what .. ": headers", options.headers, "table", true)
  arguments.check(what .. ": body", body, type(body) == "function" and "fn" or "text", true)
  for name, value in pairs(options.headers or {}) do headers[name:lower()] = core.text_of(value) end
  if options.json ~= nil then
    local text, message = json.encode(options.json)
    body = text or caller.raise("%s: json: %s", what, message)
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  headers.host = headers.host or host
  local compress = options.compress
  arguments.one_of(what .. ": compress", compress, COMPRESS, true)
  if compress then headers["accept-encoding"] = compress == "auto" and "gzip, zstd" or compress end
  headers["last-event-id"] = options.last_event_id or headers["last-event-id"]
  headers[identity.HEADER] = user
  if type(body) == "function" then
    body, headers["transfer-encoding"] = nil, "chunked"
  elseif body or method ~= "GET" then
    headers["content-length"] = tostring(#(body or ""))
  end
  local lines = { ("%s %s HTTP/1.1"):format(method, path) }
  for _, name in ipairs(sorted_names(headers)) do
    if not name:find(HEADER) or headers[name]:find("[\r\n]") then
      caller.raise("header '%s' cannot be sent", name)
    end
    lines[#lines + 1] = ("%s: %s"):format(name, headers[name])
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- Begin one.
-- @param place where the app is
-- @tparam string method
-- @tparam string path
-- @tparam table options of t:get and its like, and `buffer`
function exchange.new(place, method, path, options)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" or path:find("[%s%c]") then
    caller.raise("a path starts with a slash and has no blanks")
  end
  local user = options.user ~= nil and place.users:give(options.user) or nil
  local text = request_text(method, path, place.host or "localhost", options, user)
  return setmetatable({ place = place, link = place:dial(options.buffer), out = text, user = user,
    answer = answer.new(method), pieces = {}, ended = false, stalled_till = nil,
    on_body = nil, paused_till = nil, is_cut = false,
    source = type(options.body) == "function" and options.body or nil }, Exchange)
end

--- Cut the connection.
function Exchange:close()
  if not self.ended then self.link:close() end
  self.ended = true
end

-- The next piece of a body that a function gives.
local function refill(self)
  if self.paused_till and self.place:now() < self.paused_till then return end
  self.paused_till = nil
  local piece
  repeat piece = self.source() until piece ~= ""
  if type(piece) == "number" then
    self.paused_till = self.place:now() + piece
  elseif piece == false then
    self.is_cut = true
  elseif piece == nil then
    self.out, self.source = "0\r\n\r\n", nil
  else
    arguments.check("what body() returns", piece, "text")
    self.out = ("%x\r\n%s\r\n"):format(#piece, piece)
  end
end

local function flush(self)
  if self.out == "" and self.source then refill(self) end
  if self.is_cut then self:close() return true end
  if self.out == "" then return false end
  local n = self.link:write(self.out)
  self.out = n and self.out:sub(n + 1) or ""
  return n ~= 0
end

--- Write and read what goes now.
-- @treturn boolean whether the server may have something to do about it
function Exchange:pump()
  if self.ended then return false end
  local sent = flush(self)
  if self.ended then return sent end
  if self.stalled_till then
    if self.place:now() < self.stalled_till then return sent end
    self.stalled_till = nil
  end
  local bytes = self.link:read()
  if bytes == "" then return sent end
  local added = self.answer:feed(bytes)
  if added ~= "" then
    if self.on_body then self.on_body(added) else self.pieces[#self.pieces + 1] = added end
  end
  if self.answer.done then self:close() end
  return self.ended or #bytes > SMALL_BYTES
end

--- What t:get and its like return.
-- @treturn table { status, headers, body, json }; the headers' names in any case, as the app's
function Exchange:response()
  local a = self.answer
  local body = table.concat(self.pieces)
  local out = { status = a.status, headers = query.headers(a.headers or {}), body = body }
  if body ~= "" and (out.headers["content-type"] or ""):find("json", 1, true) then
    out.json = json.decode(body)
  end
  return out
end

return exchange
