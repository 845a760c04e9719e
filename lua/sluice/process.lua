--- What belongs to the process and to no app: the generation that is being loaded, and
-- the runtime that serves. The one place with state in a module, because a function like
-- sluice.sleep() is called without an object.

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

local process = {
  loading = nil, -- sluice.Generation while its files run
  runtime = nil, -- sluice.Runtime whose callback runs (in specs: the last one made)
  os = app_os, -- what apps see as `os`: in a test the clock and the settings are the test's
  outgoing = nil, -- in a test: answers the requests that the app would send to other servers
}

return process
