--- What belongs to the process and to no app: the generation that is being loaded, and
-- the runtime that serves. The one place with state in a module, because a function like
-- sluice.sleep() is called without an object.

local caller = require("sluice.base.caller")

-- `os` for apps. The core writes and reads numbers in no locale; but an app that puts one into
-- a text by itself means a point too, so that part of the locale stays as it is.
local app_os = {}
for name, value in pairs(os) do app_os[name] = value end

local PARTS = { "collate", "ctype", "monetary", "time" }

--- As os.setlocale, but for numbers: nil, as for a locale that is not there.
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

-- As in C: what a program that calls it means.
local function exit_code(code)
  if code == nil or code == true then return 0 end
  if code == false then return 1 end
  local whole = math.tointeger(code)
  if not whole then
    caller.raise("os.exit(code): a whole number or a boolean is expected, not %s", tostring(code))
  end
  return whole & 0xff
end

--- As os.exit, and nobody is cut off: the server stops as at SIGTERM, and ends with the code.
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
  os = app_os, -- what apps see as `os`: in a test the clock and the settings are the test's
  outgoing = nil, -- in a test: answers the requests that the app would send to other servers
}

return process
