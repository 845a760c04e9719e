--- Some nodes of one cluster: a redis-server and so many `sluice run`, each a process.
---   local c = nodes.start { n = 2, app = [[ … ]], config = { appendonly = "yes" }, args = { … } }
---   c[1], c[2]                 as spec.support.server has them;  c.redis: as spec.support.redis
---   c:state(i) -> "live"       what node i says of itself, and the whole table
---   c:wait_live()              until all are
---   c:more(options)            one more node;  c:stop() ends all
--- `power`: as spec.support.redis has it.
--- `to`: called with the number of a node, returns the port that it takes for that of Redis.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

local nodes = { KEY = "nodes-key" }

local Nodes = {}
Nodes.__index = Nodes

--- Why none can be started here, or nil.
function nodes.problem()
  if not redis.installed() then return "no redis-server; .ci/setup test brings it" end
  if not require("sluice.core").build().libraries.hiredis then return "built without hiredis" end
end

function Nodes:more(options)
  options = setmetatable(options or {}, { __index = self.options })
  local i = #self + 1
  local port = options.to and options.to(i) or self.redis.port
  local args = { "--cluster", ("redis://%s127.0.0.1:%d"):format(options.user or "", port), "--cluster-name",
    options.name or "test", "--cluster-node", "n" .. i }
  if not options.drain then args[#args + 1], args[#args + 2] = "--drain", "0" end
  for _, word in ipairs(options.args or {}) do args[#args + 1] = word end
  self[i] = server.start { app = options.app, path = options.path, files = options.files, args = args,
    io_threads = options.io_threads, env = { SLUICE_ADMIN_KEY = nodes.KEY }, seconds = 20, tls = false }
  return self[i]
end

--- `n` nodes, 2 without it.
function nodes.start(options)
  local self = setmetatable({ options = options }, Nodes)
  self.redis = redis.start { tcp = true, power = options.power,
    config = options.config or { appendonly = "yes", appendfsync = "always" } }
  for _ = 1, options.n or 2 do self:more() end
  return self
end

function Nodes:state(i)
  local r = http.get(self[i].port, "/-/cluster", { ["X-Admin-Key"] = nodes.KEY })
  local t = json.decode(r.body)
  return t.state, t
end

function Nodes:wait_live()
  for i = 1, #self do
    deadline.eventually(function() return self:state(i) == "live" end, 15, "node " .. i .. " is live")
  end
end

--- Redis first: one that was started again has the sockets of clients that were open then.
function Nodes:stop()
  self.redis:stop()
  for i = 1, #self do
    if not self[i].code() then self[i].stop() end
  end
end

return nodes
