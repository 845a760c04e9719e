--- Apps on the test kit, for specs: kit.start(text) adds an app's first and last lines, and
--- kit.stop_all() is for after_each.
local testing = require("sluice.testing")

local kit = {}

local running = {}

function kit.source(text)
  return 'local sluice = require("sluice")\nlocal app = sluice.app()\n' .. text .. "\nreturn app\n"
end

-- spec/run.lua runs some files once more with publishes that wait.
local function with_waits(options)
  options = options or {}
  local wanted = os.getenv("SLUICE_SPEC_WAITS") == "1"
  if wanted and options.waits == nil and not options.sockets then options.waits = true end
  return options
end

--- An app from a file.
function kit.open(path, options)
  local t = testing.start(path, with_waits(options))
  running[#running + 1] = t
  return t
end

--- A whole app as text.
function kit.whole(source, options)
  local t = testing.start({ source = source }, with_waits(options))
  running[#running + 1] = t
  return t
end

function kit.start(text, options) return kit.whole(kit.source(text), options) end

function kit.stop_all()
  local list = running
  running = {}
  for _, t in ipairs(list) do t:stop() end
end

--- The numbers that the events `e` of a stream carry, in order.
function kit.numbers(c)
  local list = {}
  for _, e in ipairs(c:events("e")) do list[#list + 1] = e.data.n end
  return list
end

--- The data of each event of a name that node `n` sends to a new stream of `path`, oldest first.
function kit.replayed(t, n, path, name)
  local c = t:node(n):connect(path)
  t:advance(0.1)
  local list = {}
  for i, e in ipairs(c:events(name)) do list[i] = e.data end
  c:close()
  return list
end

--- Those of the nodes that say at `path` (app:stats().cluster, as JSON) that they lead.
function kit.leaders(t, nodes, path)
  local list = {}
  for _, n in ipairs(nodes) do if t:node(n):get(path).json.leads == 1 then list[#list + 1] = n end end
  return list
end

--- { from, …, to }
function kit.count(from, to)
  local list = {}
  for n = from, to do list[#list + 1] = n end
  return list
end

return kit
