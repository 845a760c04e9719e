--- Apps on the test kit, for specs: kit.start(text) adds an app's first and last lines, and
--- kit.stop_all() is for after_each.
local testing = require("sluice.testing")

local kit = {}

local running = {}

function kit.source(text)
  return 'local sluice = require("sluice")\nlocal app = sluice.app()\n' .. text .. "\nreturn app\n"
end

--- An app from a file.
function kit.open(path, options)
  local t = testing.start(path, options)
  running[#running + 1] = t
  return t
end

--- A whole app as text.
function kit.whole(source, options)
  local t = testing.start({ source = source }, options)
  running[#running + 1] = t
  return t
end

function kit.start(text, options) return kit.whole(kit.source(text), options) end

function kit.stop_all()
  local list = running
  running = {}
  for _, t in ipairs(list) do t:stop() end
end

return kit
