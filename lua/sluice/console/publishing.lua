--- An event that somebody publishes by hand, in the console: as the app would, with all that it
-- declared. Keeps nothing in memory.
local codes = require("sluice.base.codes")
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local json = require("sluice.json")
local shape = require("sluice.base.shape")

local publishing = {}

local FIELDS = { channel = "string", event = "string?", data = "any?", key = "string?",
  remove = "boolean?" }

local function read(text)
  local value, message, code = json.decode(text)
  if value == nil then return nil, message, code end
  local fault, field = shape.fault(value, FIELDS, true)
  if fault then return nil, fault, "EBADFIELD", field end
  for name in pairs(FIELDS) do
    if value[name] == json.null and name ~= "data" then value[name] = nil end
  end
  return value
end

local function refuse(done, message, code, field)
  done(codes.status(code), { error = { code = code, message = message, field = field } })
end

local function publish(app, asked)
  local opts = (asked.key or asked.remove) and { key = asked.key, remove = asked.remove } or nil
  return app:publish(asked.channel, asked.event, asked.data, opts)
end

local function run(runtime, ip, asked, done)
  local ok, id, second, third, field = failure.part(publish, runtime.generation.app, asked)
  if not ok then return refuse(done, id.message, "EINVAL") end
  if not id then return refuse(done, second, third, field) end
  core.log("info", ("console: published '%s' on '%s'"):format(asked.event or "message",
    asked.channel), { channel = asked.channel, ip = ip })
  done(200, { id = id ~= true and id or nil, subscribers = second, duplicate = third })
end

--- Publish it.
-- @tparam sluice.Runtime runtime
-- @tparam string ip who asks
-- @tparam string text JSON: { channel, event, data, key, remove }
-- @tparam function done called once: a status, and a table
function publishing.publish(runtime, ip, text, done)
  local asked, message, code, field = read(text)
  if not asked then return refuse(done, message, code, field) end
  local answered = false
  local function once(status, body)
    if answered then return end
    answered = true
    done(status, body)
  end
  runtime.scheduler:start(runtime.generation, "request", "console", function()
    refuse(once, "it was ended, or failed", "EINTERNAL")
  end, run, runtime, ip, asked, once)
end

return publishing
