--- What sluice.inbox sends: whose it is, as a segment of a channel's name, and what it says.
--- Keeps nothing in memory.
local crypto = require("sluice.crypto")
local options = require("sluice.base.options")
local segment = require("sluice.base.segment")
local sluice = require("sluice")

local items = {}

local NONE = options.NONE
local KNOWN = { message = NONE, type = NONE, severity = NONE, title = NONE, from = NONE, url = NONE,
  fields = NONE, idempotency = NONE }
local PRIORITY = { info = 0, warning = 1, high = 2, critical = 3 }
local OWN = { id = true, to = true, type = true, message = true, title = true, severity = true,
  priority = true, from = true, url = true, timestamp = true }
local BYTES_MAX = { message = 32768, type = 64, title = 1024, from = 256, url = 2048,
  idempotency = 1024 }
local TEXTS = { "message", "type", "title", "from", "url", "idempotency" }
local USER_MAX, CODED_MAX, ID_LENGTH = 256, 47, 22
local ACTIVE = { javascript = true, data = true, vbscript = true } -- schemes that run in a page

items.PRIORITY = PRIORITY

-- A user's id as text, or nil.
local function text_of(id)
  if math.type(id) == "integer" then return tostring(id) end
  local fine = type(id) == "string" and id ~= "" and #id <= USER_MAX and utf8.len(id) ~= nil
  return fine and id or nil
end

--- The segment of a user's channel. An id that cannot be one stands there as "~" and base64url, a
-- long one as "~~" and its hash, so that no two ids meet.
-- @tparam string|integer id
-- @treturn string|nil or nil, message, code, field
function items.segment(id)
  local text = text_of(id)
  if not text then
    return nil, ("user: an id of 1 to %d bytes of UTF-8, or an integer, is expected")
      :format(USER_MAX), "EBADFIELD", "user"
  end
  if segment.fits(text) and text:sub(1, 1) ~= "~" then return text end
  if #text <= CODED_MAX then return "~" .. crypto.base64url(text) end
  return "~~" .. crypto.base64url(crypto.sha256(text))
end

--- The same of a user; nil for nobody, and for one whose id cannot be used.
function items.segment_of(user)
  return type(user) == "table" and items.segment(user.id) or nil
end

local function bad(field, text, ...)
  return nil, ("%s: %s"):format(field, text:format(...)), "EBADFIELD", field
end

local function check_texts(m)
  for _, name in ipairs(TEXTS) do
    local v = m[name]
    local fine = v == nil or type(v) == "string" and v ~= "" and #v <= BYTES_MAX[name]
      and utf8.len(v) ~= nil
    if not fine then return bad(name, "1 to %d bytes of UTF-8 are expected", BYTES_MAX[name]) end
  end
  if not m.message then return bad("message", "is missing") end
  return true
end

-- A page makes a link of it.
local function is_safe(url)
  local scheme = url:match("^(%a[%w+.-]*):")
  return not url:find("[%c ]") and not (scheme and ACTIVE[scheme:lower()])
end

local function check(m)
  if math.type(m.from) == "integer" then m.from = tostring(m.from) end
  local ok, text, code, field = check_texts(m)
  if not ok then return nil, text, code, field end
  if m.severity == nil then m.severity = "info" end
  if not PRIORITY[m.severity] then
    return bad("severity", "one of info, warning, high, critical is expected")
  end
  if m.url and not is_safe(m.url) then
    return bad("url", "an address without blanks is expected, and none that runs as a script")
  end
  if m.fields == nil then return true end
  if type(m.fields) ~= "table" then return bad("fields", "an object is expected") end
  for name in pairs(m.fields) do
    if type(name) ~= "string" then return bad("fields", "an object is expected") end
    if OWN[name] then return bad("fields", "'%s' is a field of its own", name) end
  end
  return true
end

--- The data of an event; its id is that of the same `idempotency` again.
-- @tparam string what for messages
-- @tparam string name of the inbox
-- @tparam string|integer user_id
-- @tparam table given raises for unknown names
-- @treturn table|nil or nil, message, code, field
-- @treturn string|nil the key of idempotency
function items.make(what, name, user_id, given)
  if type(given) ~= "table" then
    options.raise(what .. ": the message is a table, as { message = }")
  end
  local m = options(what, given, KNOWN)
  local ok, text, code, field = check(m)
  if not ok then return nil, text, code, field end
  local item, key = {}, m.idempotency
  for n, v in pairs(m.fields or {}) do item[n] = v end
  item.to = tostring(user_id)
  item.id = key and crypto.base64url(crypto.sha256(("%s\0%s\0%s"):format(name, item.to, key)))
    :sub(1, ID_LENGTH) or sluice.id()
  item.type, item.message, item.title = m.type or "message", m.message, m.title
  item.severity, item.priority = m.severity, PRIORITY[m.severity]
  item.from, item.url, item.timestamp = m.from, m.url, sluice.timestamp()
  return item, key
end

return items
