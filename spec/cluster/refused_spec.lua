--- A Redis that is there and takes no writes: the log says so once with what to do, and once when it ends;
--- balancers, figures and publishers are told. Real servers.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local nodes = require("spec.support.nodes")

local FULL = os.getenv("SLUICE_SPEC_FULL")

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 5 })
app:stream("/news", "news")
app:post("/publish", function()
  local id, message, code = app:publish("news", "message", { n = 1 })
  if not id then return nil, message, code end
  return 204
end)
return app
]]

describe("a Redis that takes no writes", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  local cluster, redis, node

  setup(function()
    local config = { ["min-replicas-to-write"] = "1", save = "3600 1", ["busy-reply-threshold"] = "100" }
    cluster = nodes.start { app = APP, n = 1, config = config }
    redis, node = cluster.redis, cluster[1]
  end)
  teardown(function() cluster:stop() end)

  local function look() return (select(2, cluster:state(1))) end
  local function ready() return http.get(node.port, "/-/readyz") end
  local function set(name, value) assert.equal("OK", redis:call("CONFIG", "SET", name, value)) end

  local begun = 0 -- where the log of a test begins

  local function times(words)
    local n, at = 0, begun
    while true do
      at = select(2, node.log():find(words, at + 1, true))
      if not at then return n end
      n = n + 1
    end
  end

  local function eventually(what, so, seconds)
    deadline.eventually(so, seconds or 10, function() return what .. "\n" .. node.log() end)
  end

  local function publish()
    local answer = http.post(node.port, "/publish")
    local told = answer.status ~= 204 and json.decode(answer.body).error or {}
    return answer.status, told.code, told.message
  end

  local function is_written_again()
    eventually("it is told once", function() return times("Redis takes writes again") == 1 end)
    eventually("it is led", function() return look().led == 1 end)
    assert.same({ "live", 1, nil, 200 }, { look().state, look().writable, look().trouble, ready().status })
    assert.equal(204, (publish()))
    begun = #node.log()
  end

  it("is waited for at the start, with the remedy in the log", function()
    eventually("it is told", function() return times("CONFIG SET min-replicas-to-write 0") == 1 end)
    local answer = ready()
    assert.equal(503, answer.status)
    assert.truthy(answer.body:find("Redis takes no writes", 1, true), answer.body)
    assert.truthy(look().trouble:find("NOREPLICAS", 1, true))
    assert.same({ 0, 0 }, { look().writable, look().led })
    set("min-replicas-to-write", "0")
    eventually("it is live", function() return look().state == "live" end)
    assert.equal(1, times("NOREPLICAS"))
    is_written_again()
  end)

  it("shows in the log, the figures and answers when it was running", function()
    set("min-replicas-to-write", "1")
    eventually("it is told", function() return times("NOREPLICAS") == 1 end)
    assert.same({ 503, "EBUSY", "Redis takes no writes, the log says why: nothing was stored, try again" },
      { publish() })
    eventually("nobody leads", function() return look().led == 0 end)
    local figures = http.get(node.port, "/-/metrics", { ["X-Admin-Key"] = nodes.KEY }).body
    assert.truthy(figures:find('sluice_cluster_led{node="n1"} 0', 1, true))
    assert.truthy(figures:find('sluice_cluster_writable{node="n1"} 0', 1, true))
    if FULL then eventually("it is not ready", function() return ready().status == 503 end) end -- after 5 s
    assert.same({ "live", "" }, { look().state, look().leader })
    set("min-replicas-to-write", "0")
    assert.equal(1, times("NOREPLICAS"))
    is_written_again()
  end)

  it("is one that could not save its data", function()
    assert(lfs.mkdir(redis.folder .. "/dump.rdb"))
    redis:call("BGSAVE")
    eventually("it is told", function() return times("MISCONF") == 1 end)
    assert.equal("EBUSY", select(2, publish()))
    assert(lfs.rmdir(redis.folder .. "/dump.rdb"))
    eventually("it is saved", function()
      redis:call("BGSAVE")
      return redis:call("INFO", "persistence"):find("rdb_last_bgsave_status:ok", 1, true)
    end)
    is_written_again()
  end)

  it("is one without memory: publishers get EFULL, timers go on, and its end is found without a publish", function()
    set("maxmemory", "1mb")
    assert.same({ 503, "EFULL", "Redis is out of memory: nothing was stored" }, { publish() })
    eventually("it is told", function() return times("(OOM)") == 1 end)
    assert.same({ 1, 0, 200 }, { look().led, look().writable, ready().status })
    set("maxmemory", "0")
    assert.equal(1, times("(OOM)"))
    is_written_again()
  end)

  it("and another app under the same name is told by both, and when it has gone", function()
    local other = cluster:more { app = APP:gsub("news", "other") }
    for i, one in ipairs(cluster) do
      one.wait_log("have other channels under one", 30)
      assert.truthy(one.log():find(("n%d and n%d have other channels"):format(i, 3 - i), 1, true))
    end
    assert.equal(1, look().unlike)
    other.stop()
    node.wait_log("all nodes have the same channels again", 30)
    begun = #node.log()
  end)

  it("is one that a script of somebody blocks", function()
    if not FULL then return end
    local other = redis:connect()
    other:send("EVAL \"while true do end\" 0\r\n")
    eventually("it is told", function() return times("SCRIPT KILL") == 1 end, 20)
    redis:call("SCRIPT", "KILL")
    eventually("it is live", function() return look().state == "live" end, 20)
    other:close()
    assert.equal(204, (publish()))
  end)
end)
