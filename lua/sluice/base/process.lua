--- State of the process: the generation that is being loaded, and the runtime that serves. The
-- only module with state, because a function like sluice.sleep() is called without an object.

local caller = require("sluice.base.caller")
local show = require("sluice.base.show")

-- `os` for apps. The core formats and parses numbers independently of the locale; so that numbers
-- formatted by the app keep their decimal point too, the locale of numbers cannot be changed.
local app_os = {}
for name, value in pairs(os) do app_os[name] = value end

local PARTS = { "collate", "ctype", "monetary", "time" }

--- As os.setlocale, except for numbers: nil, as for a locale that does not exist.
function app_os.setlocale(locale, category)
  if locale == nil then return os.setlocale(nil, category) end
  if category == "numeric" then return locale == "C" and "C" or nil end
  if category and category ~= "all" then return os.setlocale(locale, category) end
  local before = os.setlocale()
  for _, part in ipairs(PARTS) do
    if not os.setlocale(locale, part) then
      os.setlocale(before)
      return nil
    end
  end
  return os.setlocale()
end

local process

-- The exit code that the argument of os.exit stands for.
local function exit_code(code)
  if code == nil or code == true then return 0 end
  if code == false then return 1 end
  local whole = math.tointeger(code)
  if not whole then
    caller.raise("os.exit(code): a whole number or a boolean is expected, not %s", show(code))
  end
  return whole & 0xff
end

--- As os.exit, but no client is cut off: the server stops as on SIGTERM, then exits with the code.
function app_os.exit(code, close)
  local status = exit_code(code)
  if process.loading then
    caller.raise("os.exit(%d) while the app is loading: raise an error that says what is wrong",
      status)
  end
  if not process.runtime then os.exit(code, close) end
  process.runtime:exit(status, caller.where())
end

process = {
  loading = nil, -- sluice.Generation while its files run
  runtime = nil, -- sluice.Runtime whose callback runs (in specs: the last one made)
  demo = false, -- sluice.is_demo()
  os = app_os, -- what apps see as `os`: in a test the clock and the settings are the test's
  outgoing = nil, -- in a test: answers the requests that the app would send to other servers
  upstream = nil, -- in a test: makes what a source reads in place of its server
}

--- The runtime, for functions with an effect; raises where there is none.
-- @tparam string what the function's name, for the message
-- @treturn sluice.Runtime
function process.running(what)
  if process.loading then
    caller.raise("%s has an effect and the app is still loading: move it into a handler", what)
  end
  if not process.runtime then
    caller.raise("%s works in handlers, tasks, hooks, timers and services only", what)
  end
  return process.runtime
end

return process
