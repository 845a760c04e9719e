--- The request that guards, handlers and plans are given: the table that the core made,
-- with methods, and with query, headers, cookies and id read when they are first used.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local codes = require("sluice.base.codes")
local failure = require("sluice.base.failure")
local json = require("sluice.json")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local query = require("sluice.base.query")
local shape = require("sluice.base.shape")

local request = {}

---@class sluice.Request
local Request = {}
request.methods = Request

-- neither "nan" nor "0x10" is a number here
local NUMBER = "^[+-]?%d*%.?%d*[eE]?[+-]?%d*$"

--- End the request with an answer, from any depth of calls.
-- @tparam integer status
-- @param[opt] body a table, or a message when the status is 400 or above
-- @tparam[opt] table headers
function Request:abort(status, body, headers) -- luacheck: no unused args
  error(failure.abort(status, body, headers), 0)
end

--- Iterate over the body while it comes, on a route with { body = "stream" }: strings of up to
-- 64 KiB. What is not taken stays with the client, which waits. A body that does not come to its
-- end raises an error that answers the request: its `code` is ECLOSED (the client has gone),
-- ETIMEOUT (408), ETOOBIG (413) or EBADREQUEST (400).
-- @treturn function what `for piece in …` wants; the pieces go by once
function Request:chunks()
  local body = rawget(self, "_pieces")
  if not body then
    caller.raise('req:chunks(): the body is in req.body; to get it in pieces, register the route '
      .. 'with app:post(path, { body = "stream", max = bytes }, fn)')
  end
  return body:chunks()
end

local function refuse(status, message, field, code)
  error(failure.abort(status, codes.body(status, message, code, field)), 0)
end

-- Spell the fields of a body as the shape does: "Message" is "message".
local function respell(value, wanted)
  local ours, sent = {}, {}
  for name in pairs(wanted) do ours[name:lower()] = name end
  for key in pairs(value) do
    local name = type(key) == "string" and ours[key:lower()]
    if name and sent[name] then refuse(422, name .. " is there twice, in two spellings", name) end
    if name then sent[name] = key end
  end
  for name, key in pairs(sent) do
    if key ~= name then value[name], value[key] = value[key], nil end
  end
end

--- The JSON body. Ends the request with 415, 400 or 422 when there is none that fits.
-- @tparam[opt] table wanted { field = "string" | "integer?" | {"a", "b", optional = true} }
-- @tparam[opt] table opts { any_case = false }: the fields of `wanted` may come as "Message" or
--   "MESSAGE", and are found as they are written there
-- @treturn table
function Request:json(wanted, opts)
  local o = options("req:json()", opts, { any_case = false })
  local pieces = rawget(self, "_pieces")
  if pieces then pieces:refuse_whole("req:json()") end
  local kind = core.media_type(self.headers["content-type"] or "") or ""
  if kind ~= "application/json" and not kind:find("%+json$") then
    refuse(415, "a JSON body is expected: send content-type: application/json")
  end
  local value, message, code = json.decode(self.body or "")
  if value == nil then refuse(codes.status(code), message, nil, code) end
  if wanted then
    if o.any_case and type(value) == "table" then respell(value, wanted) end
    local fault, field = shape.fault(value, wanted, true)
    if fault then refuse(422, fault, field) end
  end
  return value
end

--- A list parameter: `?x=a,b&x=c` is {"a", "b", "c"}; absent is nil, empty is {}.
-- @tparam string name
-- @treturn {string,...}|nil
function Request:list(name)
  return query.list(self.query_values, name)
end

--- A number parameter; 422 with the field when it is none, or out of bounds.
-- @tparam string name
-- @tparam[opt] number min
-- @tparam[opt] number max
-- @treturn number|nil nil when it is absent
function Request:number(name, min, max)
  local text = self.query[name]
  if text == nil then return nil end
  local value = #text <= 32 and text:find(NUMBER) and tonumber(text) or nil
  if not value or value < (min or -2 ^ 53) or value > (max or 2 ^ 53) then
    local from = min and " from " .. core.text_of(min) or ""
    local to = max and " to " .. core.text_of(max) or ""
    refuse(422, ("%s is not a number%s%s"):format(name, from, to), name)
  end
  return value
end

local function read_query(self)
  local first, all = query.parse(rawget(self, "query_text"))
  if not first then refuse(400, "more than 100 query parameters") end
  rawset(self, "query_values", all)
  rawset(self, "query", first)
end

local LAZY = {
  query = read_query,
  query_values = read_query,
  headers = function(self)
    rawset(self, "headers", query.headers(core.headers(rawget(self, "header_text") or "")))
  end,
  cookies = function(self) rawset(self, "cookies", query.cookies(self.headers.cookie)) end,
  id = function(self) rawset(self, "id", core.id()) end,
  body = function(self)
    local pieces = rawget(self, "_pieces")
    if pieces then pieces:refuse_whole("req.body") end
  end,
}

local META = {
  __name = "sluice.Request",
  __index = function(self, name)
    local method = Request[name]
    if method then return method end
    local read = LAZY[name]
    if not read then return nil end
    read(self)
    return rawget(self, name)
  end,
  __tostring = function(self) return ("sluice.Request: %s %s"):format(self.method, self.path) end,
}

-- Guards put fields of their own there, so a missing one is no mistake by itself.
names.lenient(META, "req", Request, { "method", "path", "params", "query", "headers", "cookies",
  "body", "ip", "host", "secure", "id", "user" })

--- Turn the core's table into a request (in place).
-- @tparam table raw
-- @tparam[opt] sluice.Pieces pieces its body, when that is not in one
-- @treturn sluice.Request
function request.new(raw, pieces)
  if pieces or raw.pieces ~= nil then raw._pieces, raw.pieces = pieces, nil end
  if raw.headers then query.headers(raw.headers) end
  raw.params = raw.params or {}
  return setmetatable(raw, META)
end

return request
