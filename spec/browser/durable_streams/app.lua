--- The writing half of Durable Streams on routes of an app, as thin as the conformance tests of the reading half allow:
--- PUT makes a log, POST publishes to it, DELETE forgets it. Bytes become base64, an array one event for each element.
local sluice = require("sluice")
local json = require("sluice.json")
local app = sluice.app()

local PART = 30000 -- bytes of one event

app:cors("/**", { origins = { "*" } })
app:channel("ds/:id", { history = 1000, ttl = false })
app:channel("epoch", { history = 1 })
local streams = app:state("streams", {})
local this = app:state("this", { epoch = "", n = 0 })
app:on("start", function() this().epoch = app:publish("epoch", "start", {}):match("^(.*)-") end)

local function exists(req)
  if streams()[req.params.id] then return true end
  return 404, "no such stream", { ["x-content-type-options"] = "nosniff" }
end

app:durable_stream("/v1/stream/:id", exists, function(req)
  local log = streams()[req.params.id]
  return { channel = log.channel, type = log.type, closes = "closed", wait = 2 }
end)

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    for k = 0, 3 do
      local at = (bits >> (18 - 6 * k) & 63) + 1
      out[#out + 1] = (k == 2 and not b or k == 3 and not c) and "=" or ALPHABET:sub(at, at)
    end
  end
  return table.concat(out)
end

local function kind(type) return (type:lower():match("^[^;]*")) end

-- The texts of the events that a body is; or nil, message.
local function events_of(log, body)
  local out = {}
  if body == "" then return out end
  if kind(log.type) ~= "application/json" then
    local text = kind(log.type):find("^text/")
    for i = 1, #body, PART do
      local part = body:sub(i, i + PART - 1)
      out[#out + 1] = text and part or base64(part)
    end
    return out
  end
  local value, message = json.decode(body)
  if value == nil then return nil, message end
  if not body:find("^%s*%[") then return { body } end
  for i, element in ipairs(value) do out[i] = json.encode(element) end
  return out
end

local function closes(req) return (req.headers["stream-closed"] or ""):lower() == "true" end

-- The answer to a write: where the log ends now.
local function answer(status, log, fields)
  fields = fields or {}
  fields["stream-next-offset"] = ("%s_%019d"):format(this().epoch, log.last)
  fields["stream-closed"] = log.closed and "true" or nil
  fields["x-content-type-options"] = "nosniff"
  return status, "", fields
end

-- Publish a body: true; or nil, status, message.
local function write(req, log)
  local list, message = events_of(log, req.body)
  if not list then return nil, 400, message end
  if closes(req) and #list == 0 then list = { "" } end
  for i, text in ipairs(list) do
    local id, why = app:publish(log.channel, closes(req) and i == #list and "closed" or "message", text)
    if not id then return nil, 413, why end
    log.last = tonumber(id:match("-(%d+)$"))
  end
  log.closed = log.closed or closes(req)
  return true
end

app:put("/v1/stream/:id", function(req)
  local id, type = req.params.id, req.headers["content-type"] or "application/octet-stream"
  local log = streams()[id]
  if log then
    local same = log.type:lower() == type:lower() and log.closed == closes(req)
    return answer(same and 200 or 409, log, { ["content-type"] = log.type })
  end
  this().n = this().n + 1
  log = { type = type, channel = ("ds/%s-%d"):format(id, this().n), last = 0, closed = false }
  local ok, status, message = write(req, log)
  if not ok then return status, message end
  streams()[id] = log
  return answer(201, log, { ["content-type"] = type, location = ("http://%s%s"):format(req.headers.host, req.path) })
end)

app:post("/v1/stream/:id", exists, function(req)
  local log = streams()[req.params.id]
  local type, empty = req.headers["content-type"], req.body == ""
  if log.closed then return answer(closes(req) and empty and 204 or 409, log) end
  if empty and not closes(req) then return 400, "a body is expected" end
  if not empty and not type then return 400, "a content type is expected" end
  if not empty and kind(type) ~= kind(log.type) then return 409, "the stream has another content type" end
  if kind(log.type) == "application/json" and req.body:find("^%s*%[%s*%]%s*$") then return 400, "nothing is in it" end
  local ok, status, message = write(req, log)
  if not ok then return status, message end
  return answer(204, log)
end)

app:delete("/v1/stream/:id", exists, function(req)
  streams()[req.params.id] = nil
  return 204, ""
end)

return app
