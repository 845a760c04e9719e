--- What readers are told of one loss of a real Redis: once for each stream and channel, whatever the nodes know of it.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local nodes = require("spec.support.nodes")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local APP = [[
local app = require("sluice").app()
app:channel("a", { history = 50 })
app:channel("b", { history = 50 })
app:stream("/both", { channels = { "a", "b" } })
app:get("/epoch", function() return { epoch = app:stats().cluster.epoch } end)
app:post("/publish/:channel", function(req)
  local id, message, code = app:publish(req.params.channel, "message", { n = tonumber(req.query.n) })
  if not id then return nil, message, code end
  return { id = id }
end)
return app
]]

local ALWAYS = { appendonly = "yes", appendfsync = "always", ["repl-diskless-sync-delay"] = 0 }

describe("a loss is told once", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  local folder, master, replica, servers

  --- Which Redis a node reaches, from its next connection on.
  local function lead(i, to)
    local path = folder .. "/" .. i
    os.remove(path)
    assert(lfs.link(to.path, path, true))
  end

  before_each(function()
    folder, servers = process.temp_dir(), {}
    master = redis.start { tcp = true, config = ALWAYS }
    for i = 1, 2 do
      lead(i, master)
      servers[i] = server.start { app = APP, tls = false, seconds = 20, args = { "--cluster",
        "unix://" .. folder .. "/" .. i, "--cluster-name", "test", "--drain", "0" } }
    end
  end)
  after_each(function()
    for _, one in ipairs(servers) do one.kill() end
    master:stop()
    if replica then replica:stop() end
    replica = nil
    process.run { "rm", "-r", folder }
  end)

  local function publish(i, channel, n)
    local r = http.post(servers[i].port, "/publish/" .. channel .. "?n=" .. n)
    assert.equal(200, r.status, r.body)
  end

  local function follow()
    local streams = {}
    for i = 1, 2 do
      streams[i] = { client = sse.connect(servers[i].port, "/both"), resets = {} }
      assert.equal("hello", streams[i].client:next_event(5).event)
    end
    return streams
  end

  --- Publish n on both channels, on that node, and read some streams up to there.
  local function go_on(streams, i, n)
    for _, channel in ipairs { "a", "b" } do publish(i, channel, n) end
    for _, one in ipairs(streams) do
      local left = 2
      while left > 0 do
        local event = assert(one.client:next_event(10))
        if event.event == "reset" then
          local reset = json.decode(event.data)
          table.insert(one.resets, reset.channel .. " " .. reset.reason)
        elseif event.event == "message" and json.decode(event.data).n == n then
          left = left - 1
        end
      end
    end
  end

  local function assert_told(stream, times)
    local due = {}
    for _, channel in ipairs { "a", "b" } do
      for _ = 1, times do due[#due + 1] = channel .. " failover" end
    end
    table.sort(stream.resets)
    assert.same(due, stream.resets)
    stream.client:close()
  end

  it("when all is deleted, again and again", function()
    local streams = follow()
    go_on(streams, 1, 1)
    local times = os.getenv("SLUICE_SPEC_FULL") and 8 or 2
    for n = 1, times do
      master:call("FLUSHALL")
      go_on(streams, n % 2 + 1, n + 1)
    end
    for _, stream in ipairs(streams) do assert_told(stream, times) end
  end)

  it("to readers of a node that went on with its master alone; to others also what that took since", function()
    local streams = follow()
    replica = redis.start { tcp = true, config = ALWAYS }
    replica:call("REPLICAOF", "127.0.0.1", master.port)
    deadline.eventually(function()
      return replica:call("INFO", "replication"):find("master_link_status:up", 1, true)
    end, 20, "the replica follows")
    go_on(streams, 1, 1)
    replica:call("REPLICAOF", "NO", "ONE")
    local function epoch(i) return json.decode(http.get(servers[i].port, "/epoch").body).epoch end
    local first = epoch(1)
    lead(1, replica)
    master:call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    deadline.eventually(function() return epoch(1) ~= first end, 20, "one node has another epoch")
    go_on({ streams[2] }, 2, 2) -- there alone
    go_on({ streams[1] }, 1, 3)
    lead(2, replica)
    master:kill()
    go_on(streams, 2, 4)
    go_on(streams, 1, 5)
    assert_told(streams[2], 1)
    assert_told(streams[1], 2)
  end)
end)
