--- app:store and durable jobs of real nodes around a real Redis that fails: what was answered is there afterwards, as
--- --cluster-durable says, and what nobody vouches for is refused.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local redis = require("spec.support.redis")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local SETS = FULL and 300 or 40

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local box = app:store("box")
local jobs = require("sluice.jobs").new(app, { durable = true })
jobs:define("slow", function(job, args)
  while not box:get("go") do sluice.sleep(0.05) end
  return { said = args.said }
end)
local function answer(ok, message, code)
  if not ok then return nil, message, code end
  return { ok = true }
end
app:post("/set/:key/:value", function(req) return answer(box:set(req.params.key, req.params.value)) end)
app:get("/get/:key", function(req)
  local value, message, code = box:get(req.params.key)
  if code then return nil, message, code end
  return { value = value }
end)
app:post("/jobs/:id", function(req)
  return answer(jobs:start("slow", { id = req.params.id, args = { said = req.params.id } }))
end)
app:get("/jobs/:id", function(req)
  local job = jobs:get(req.params.id)
  if not job then return 404, "no such job" end
  return { status = job.status, result = job.result }
end)
return app
]]

describe("app:store over real nodes", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end

  local cluster, replica
  after_each(function()
    if replica then replica:stop() end
    if cluster then cluster:stop() end
    cluster, replica = nil, nil
  end)
  teardown(redis.clean)

  local function start(how, config, power)
    cluster = nodes.start { n = 2, app = APP, args = how and { "--cluster-durable", how } or {}, config = config,
      power = power }
    cluster:wait_live()
  end

  -- "OK", or the code of the refusal.
  local function set(i, key, value)
    local r = http.post(cluster[i].port, ("/set/%s/%s"):format(key, value))
    return r.status == 200 and "OK" or json.decode(r.body).error.code
  end

  local function get(i, key) return json.decode(http.get(cluster[i].port, "/get/" .. key).body).value end

  local function set_until(code, i)
    deadline.eventually(function() return set(i, "other", "x") == code end, 10, code)
  end

  -- Redis is killed with what it has not on its disk, and a node with it; how many of the acknowledged are gone.
  local function fail_and_count()
    for n = 1, SETS do assert.equal("OK", set(1, "k" .. n, n)) end
    cluster.redis:lose_power()
    cluster[1].kill()
    cluster.redis:again()
    deadline.eventually(function() return set(2, "after", "x") == "OK" end, 15, "it goes on")
    local gone = 0
    for n = 1, SETS do gone = gone + (get(2, "k" .. n) == tostring(n) and 0 or 1) end
    return gone
  end

  it("has all that was answered when Redis loses its power and a node is killed", function()
    start("aof", nil, true)
    assert.equal(0, fail_and_count())
  end)

  it("may have lost it where nobody has said when it is kept", function()
    start(nil, { appendonly = "yes", appendfsync = "no" }, true)
    assert.is_true(fail_and_count() > 0)
  end)

  it("refuses while Redis writes to its disk later, and has what it had", function()
    start("aof")
    assert.equal("OK", set(1, "a", "old"))
    cluster.redis:call("CONFIG", "SET", "appendfsync", "everysec")
    set_until("ESTORE", 1)
    assert.equal("ESTORE", set(1, "a", "new"))
    for i = 1, 2 do assert.equal("old", get(i, "a")) end
    cluster.redis:call("CONFIG", "SET", "appendfsync", "always")
    set_until("OK", 1)
    assert.equal("OK", set(1, "a", "new"))
    deadline.eventually(function() return get(2, "a") == "new" end, 10, "the other node has it")
  end)

  it("takes nothing from a Redis without a disk", function()
    start("aof", { appendonly = "no" })
    for i = 1, 2 do
      assert.equal("ESTORE", set(i, "a", "x"))
      assert.is_nil(get(i, "a"))
    end
  end)

  it("is on so many replicas, one of which may take over", function()
    start("wait:1,2000", { ["repl-diskless-sync-delay"] = "0" })
    assert.equal("ESTORE", set(1, "a", "there"))
    assert.equal("there", get(1, "a"))
    replica = redis.start { tcp = true, config = { replicaof = "127.0.0.1 " .. cluster.redis.port } }
    set_until("OK", 1)
    for n = 1, SETS do assert.equal("OK", set(n % 2 + 1, "k" .. n, n)) end
    cluster.redis:kill()
    for i = 1, 2 do cluster[i].kill() end
    assert.equal("OK", replica:call("REPLICAOF", "NO", "ONE"))
    cluster:more { to = function() return replica.port end, args = {} }
    deadline.eventually(function() return cluster:state(3) == "live" end, 15, "a new node is live")
    for n = 1, SETS do assert.equal(tostring(n), get(3, "k" .. n)) end
  end)

  -- A node leads after some seconds, and the next one seven behind that.
  if not FULL then return end

  it("has the jobs that were answered, which end; others are refused", function()
    start("aof", nil, true)
    local function begin(id)
      local r = http.post(cluster[1].port, "/jobs/" .. id)
      return r.status == 200 and "OK" or json.decode(r.body).error.code
    end
    deadline.eventually(function() return begin("j") == "OK" end, 20, "a node leads")
    cluster.redis:call("CONFIG", "SET", "appendfsync", "everysec")
    set_until("ESTORE", 1)
    assert.equal("ESTORE", begin("refused"))
    for i = 1, 2 do assert.equal(404, http.get(cluster[i].port, "/jobs/refused").status) end
    local leads = select(2, cluster:state(1)).leads == 1 and 1 or 2
    cluster.redis:lose_power()
    cluster[leads].kill()
    cluster.redis:again()
    local left = 3 - leads
    set_until("OK", left)
    local r = http.get(cluster[left].port, "/jobs/j")
    assert.equal(200, r.status, r.body)
    assert.equal("OK", set(left, "go", "x"))
    deadline.eventually(function()
      r = json.decode(http.get(cluster[left].port, "/jobs/j").body)
      return r.status == "success"
    end, 40, "it ends")
    assert.equal("j", r.result.said)
  end)
end)
