--- The failover that doc/cluster.md promises: a master with two replicas, each with min-replicas-to-write 1, and three
--- Sentinels. The master is killed; nodes are ready again on the one that took over, which takes writes.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local sentinels = require("spec.support.sentinels")
local server = require("spec.support.server")

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 5 })
app:stream("/news", "news")
app:post("/publish", function()
  local id, message, code = app:publish("news", "message", { n = 1 })
  if not id then return nil, message, code end
  return { id = id }
end)
return app
]]

local KEEPS = { appendonly = "yes", ["min-replicas-to-write"] = "1", ["repl-diskless-sync-delay"] = "0" }

local function follower(master)
  local config = { replicaof = "127.0.0.1 " .. master.port }
  for name, value in pairs(KEEPS) do config[name] = value end
  return redis.start { tcp = true, config = config }
end

describe("a failover", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end

  it("leaves a master that takes writes, when there are two replicas", function()
    local master = redis.start { tcp = true, config = KEEPS }
    local heirs = { follower(master), follower(master) }
    local watch = sentinels.start(master, heirs[1], { down_ms = 1000 })
    local node
    finally(function()
      if node then node.stop() end
      watch:stop()
      for _, one in ipairs { master, heirs[1], heirs[2] } do one:stop() end
    end)
    watch:await_replica()
    node = server.start { app = APP, args = { "--cluster", watch.url, "--cluster-name", "test", "--drain", "0" },
      env = { SLUICE_ADMIN_KEY = nodes.KEY }, seconds = 20, tls = false }
    local function look()
      return json.decode(http.get(node.port, "/-/cluster", { ["X-Admin-Key"] = nodes.KEY }).body)
    end
    local function publish() return http.post(node.port, "/publish").status end
    deadline.eventually(function() return publish() == 200 end, 20, "it takes events")
    local epoch = look().epoch
    master:kill()
    deadline.eventually(function() return look().state == "live" and look().epoch ~= epoch end, 40,
      function() return "another one took over\n" .. node.log() end)
    deadline.eventually(function() return publish() == 200 end, 20,
      function() return "it takes writes\n" .. node.log() end)
    assert.same({ 1, 200 }, { look().writable, http.get(node.port, "/-/readyz").status })
  end)

  it("is what the commands of the document make", function()
    local page = assert(process.read_file("doc/cluster.md"))
    local block = assert(page:match("## Sentinel\n.-```sh\n(.-)```"))
    local followers = select(2, block:gsub("%-%-replicaof", ""))
    local wanted = select(2, block:gsub("%-%-min%-replicas%-to%-write 1", ""))
    assert.same({ 2, 3 }, { followers, wanted })
  end)
end)
