--- Sluice: an SSE server for Lua. `require("sluice")` is what apps and programs see.
-- Keeps nothing in memory; see sluice.base.process for what a running server keeps.
local need = require("sluice.base.need")
local core = need("sluice.core")
local caller = require("sluice.base.caller")
local config = require("sluice.live.config")
local generation = require("sluice.live.generation")
local iso_time = require("sluice.base.iso_time")
local json = require("sluice.json")
local names = require("sluice.base.names")
local process = require("sluice.base.process")
local serve = require("sluice.live.serve")
local show = require("sluice.base.show")

---@class sluice
local sluice = { json = json, _VERSION = "sluice " .. core.version }

local SLEEP_MAX = 366 * 86400

--- Make the app of the file that is being loaded, or of this program.
-- @treturn sluice.App
function sluice.app()
  local loading = process.loading
  if not loading then
    local _, file = caller.where()
    return generation.new(1, file or "program").app
  end
  if loading.made then
    caller.raise("this generation has an app already: sluice.app() is called once")
  end
  loading.made = true
  return loading.app
end

--- Serve an app until the process is asked to stop.
-- @tparam string|sluice.App target the app's file (or an app object, which has no source to reload)
-- @tparam[opt] table options host, port, io_threads, io_uring, heartbeat, drain, max_body,
--   memory, trace, trust_proxy, allow_hosts, handler_budget, listen_fd, lua_memory, socket,
--   admin_key, watch, log_level, log_format, signals
-- @treturn boolean|nil true, and the code when the app called os.exit(code); or nil, message, code
function sluice.serve(target, options)
  if process.loading then
    caller.raise("sluice.serve() has no place in an app that is loaded: end with 'return app'")
  end
  local settings, message = config.resolve({}, options)
  if not settings then error(message, 2) end
  local ok, why, code = serve.run(target, settings)
  if not ok then return nil, why, code end
  return true, why
end

--- Let time pass; other coroutines run meanwhile.
-- @tparam number seconds
function sluice.sleep(seconds)
  local runtime = process.running("sluice.sleep()")
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= SLEEP_MAX) then
    caller.raise("sluice.sleep(seconds): a number of seconds from 0 is expected, not %s",
      show(seconds))
  end
  runtime.scheduler:sleep(seconds, "sluice.sleep()")
end

--- A point where a reload may end this coroutine (a service, or a task with restart) and
-- start it again in the new code. Otherwise it does nothing.
function sluice.checkpoint()
  local runtime = process.running("sluice.checkpoint()")
  local fiber = runtime.scheduler.current
  local again = fiber and (fiber.restart or fiber.kind == "service")
  if again and fiber.generation.phase == "retiring" then
    runtime.scheduler:cancel(fiber)
    runtime.scheduler:sleep(0, "sluice.checkpoint()")
  end
end

--- The traceparent of the request that this code runs for; sluice.http sends one of the same trace.
-- @treturn string|nil nil: it runs for none, or `trace` is off
function sluice.traceparent()
  local fiber = process.running("sluice.traceparent()").scheduler.current
  return fiber and fiber.trace
end

--- Monotonic seconds, for measuring.
-- @treturn number
function sluice.now()
  return core.now()
end

--- Seconds since 1970: now, or those of a text like "2026-12-01T03:00:00Z" or "…+01:00".
-- @tparam[opt] string text
-- @treturn number|nil or nil, message, code
function sluice.time(text)
  if text == nil then return core.time() end
  if type(text) ~= "string" then
    caller.raise("sluice.time(text): the text is a string, not a %s", type(text))
  end
  local time = iso_time.read(text)
  if time then return time end
  return nil, ("'%s' is no time like 2026-12-01T03:00:00Z or 2026-12-01T03:00+01:00"):format(
    text:sub(1, 64)), "EINVAL"
end

--- A time as "2026-11-22T09:00:00.123Z".
-- @tparam[opt] number time seconds since 1970; default: now
-- @treturn string
function sluice.timestamp(time)
  time = time or core.time()
  if type(time) ~= "number" or not (time >= 0 and time < 253402300800) then
    caller.raise("sluice.timestamp(time): seconds since 1970 are expected, not %s", show(time))
  end
  -- the digits that the number is written with: 0.123 is a little less than that
  local digits = core.text_of(time):match("^%d+%.(%d+)$") or ""
  return os.date("!%Y-%m-%dT%H:%M:%S.", math.floor(time)) .. (digits .. "000"):sub(1, 3) .. "Z"
end

--- A random id of 22 characters.
-- @treturn string
function sluice.id()
  return core.id()
end

--- An environment variable. Raises when it is not set and there is no default.
-- @tparam string name
-- @tparam[opt] string default
-- @treturn string
function sluice.env(name, default)
  if type(name) ~= "string" then
    caller.raise("sluice.env(name, default): the name is a string, not a %s", type(name))
  end
  local value = process.os.getenv(name)
  if value == nil then value = default end
  if value == nil then
    caller.raise("the environment variable %s is not set and has no default", name)
  end
  return value
end

--- Whether the server was started with --demo. An app may then have well-known keys and users:
-- such a server listens on this machine's own address only.
-- @treturn boolean
function sluice.is_demo()
  return process.demo
end

--- Answer a request with what app:publish returned: `return sluice.receipt(app:publish(…))`.
-- @param id of the event; true of a state; nil: it was refused
-- @param subscribers how many get it; or the message
-- @param duplicate whether it was published before; or the code
-- @param field that is missing or wrong
-- @treturn integer 202 and a table; or nil, message, code, field
function sluice.receipt(id, subscribers, duplicate, field)
  if not id then return nil, subscribers, duplicate, field end
  return 202, { id = id ~= true and id or nil, subscribers = subscribers,
    duplicate = duplicate or false }
end

sluice.log = {}

-- Tables are shown by their fields, unless they have a __tostring.
local function text_of(value)
  local meta = getmetatable(value)
  local says = type(meta) == "table" and rawget(meta, "__tostring") ~= nil
  if type(value) == "table" and not says then return show(value) end
  return core.text_of(value)
end

local function plain_fields(fields)
  local out = {}
  for name, value in next, fields do
    local kind = type(value)
    if kind ~= "number" and kind ~= "boolean" then value = text_of(value) end
    out[core.text_of(name)] = value
  end
  return out
end

--- Write a line to the log.
-- @function sluice.log.debug
-- @also info warn error
-- @param message a text, or anything: a table is shown by its fields
-- @tparam[opt] table fields name -> text, number or boolean, beside the message
for _, level in ipairs({ "debug", "info", "warn", "error" }) do
  sluice.log[level] = function(message, fields)
    if fields ~= nil and type(fields) ~= "table" then
      caller.raise("sluice.log.%s(message, fields): fields are a table, not a %s", level,
        type(fields))
    end
    core.log(level, text_of(message), fields and plain_fields(fields))
  end
end

names.strict(json, "sluice.json", ".")
names.strict(sluice.log, "sluice.log", ".")
return names.strict(sluice, "sluice", ".")
