--- Runs a function of a command as a coroutine that may ask other servers and sleep, until it
--- returns or the command is interrupted. It needs the loop of a server: one without routes, on a
--- free port of this machine. Keeps nothing in memory.
local config = require("sluice.live.config")
local core = require("sluice.core")
local generation = require("sluice.live.generation")
local serve = require("sluice.live.serve")

local work = {}

local function no_variable() return nil end

local function make(name, fn, log_level)
  local settings = assert(config.resolve({ port = 0, io_threads = 1, drain = 0,
    log_level = log_level, log_format = "text", handler_budget = 0 }, { signals = true },
    no_variable))
  serve.set_up(settings)
  local loaded = generation.new(1, name)
  loaded.app:on("start", function() loaded.app:spawn(fn) end)
  return serve.make_live(loaded, config.for_core(settings))
end

--- Run it.
-- @tparam string name of the command, for messages
-- @tparam function fn fn(sleep, later, server) -> exit code; `sleep(seconds)`; `later(seconds, fn)`
--   calls a function then, which may not wait; `server`: whose loop it runs on
-- @tparam file err
-- @tparam[opt="error"] string log_level what is told of the rest
-- @treturn integer|nil the code; nil when it was interrupted
function work.run(name, fn, err, log_level)
  local self, code, message
  local function sleep(seconds) self.scheduler:sleep(seconds, name) end
  local function later(seconds, act) self.scheduler:at(core.now() + seconds, act) end
  local function whole()
    local ok, result = pcall(fn, sleep, later, self.server)
    if ok then
      code = result
    else
      code = 1
      err:write("sluice: ", tostring(result), "\n")
    end
    self.scheduler:at(core.now(), function() self.server:stop() end)
  end
  self, message = make(name, whole, log_level or "error")
  local started, why
  if self then started, why = self.server:start() end
  if not started then
    err:write("sluice: ", tostring(message or why), "\n")
    return 1
  end
  self:go()
  self.server:run()
  self:close()
  return code
end

return work
