--- redis.stream and postgres.listen in a cluster of real nodes, and on a Redis whose replica takes its place: the node
--- that leads dies or sleeps, servers restart, and all nodes have each entry once. It takes a minute.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local sentinels = require("spec.support.sentinels")
local server = require("spec.support.server")

if not os.getenv("SLUICE_SPEC_FULL") then
  describe("sources in a cluster", function() pending("the full size alone: a minute") end)
  return
end

local HEAD = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("orders", { history = 10000 })
app:get("/all", function()
  local list = sluice.json.array()
  for i, e in ipairs(app:history("orders", { limit = 10000 })) do list[i] = e.data.n end
  return { all = list, stats = source:stats() }
end)
]]
local REDIS = HEAD .. [[
source = require("sluice.redis").stream(app, %q, "orders", { start = "begin", map = function(entry)
  return "orders", "order", { n = math.tointeger(tonumber(entry.fields.n)) }
end })
return app
]]
local POSTGRES = HEAD .. [[
source = require("sluice.postgres").listen(app, %q, { start = "begin" })
return app
]]

local upstream, cluster, written

local function look(s) return json.decode(http.request(s.port, "GET", "/all", nil, nil, 30).body) end

-- Each number up to the last one that was written is there once, at all of these.
local function judge(list)
  for _, s in ipairs(list) do
    local all
    deadline.eventually(function()
      all = look(s).all
      return #all >= written
    end, 60, written .. " entries")
    local seen = {}
    for _, n in ipairs(all) do
      assert.falsy(seen[n], ("number %d came twice"):format(n))
      seen[n] = true
    end
    for n = 1, written do assert.is_true(seen[n], ("number %d is missing"):format(n)) end
  end
end

local function leader()
  local found
  deadline.eventually(function()
    for i = 1, #cluster do
      if cluster[i].code() == nil and look(cluster[i]).stats.connected then found = i end
    end
    return found
  end, 30, "a node leads")
  return found
end

-- Three nodes; one that leads is killed, the next one is stopped for longer than its lease.
local function play(app, add, restart)
  cluster = nodes.start { n = 3, app = app }
  cluster:wait_live()
  add(50)
  judge { cluster[1], cluster[2], cluster[3] }
  local first = leader()
  add(50)
  cluster[first].kill()
  add(50)
  local rest = {}
  for i = 1, 3 do if i ~= first then rest[#rest + 1] = cluster[i] end end
  judge(rest)
  local second = leader()
  assert.not_equal(first, second)
  add(50)
  cluster[second].signal("STOP")
  add(50)
  local third = cluster[6 - first - second]
  judge { third }
  cluster[second].signal("CONT")
  add(50)
  restart()
  add(50)
  judge { third, cluster[second] }
end

describe("sources in a cluster", function()
  before_each(function() written = 0 end)
  after_each(function()
    if cluster then cluster:stop() end
    cluster = nil
    server.stop_all()
    process.stop_all("psql")
    if upstream then upstream:stop() end
    upstream = nil
  end)

  local problem = nodes.problem()
  if problem then pending(problem) return end

  it("of Redis are read by the node that leads, once", function()
    upstream = redis.start { config = { appendonly = "yes", appendfsync = "always" } }
    play(REDIS:format("unix://" .. upstream.path), function(n)
      for _ = 1, n do
        written = written + 1
        upstream:call("XADD", "orders", "*", "n", tostring(written))
      end
    end, function()
      upstream:kill()
      upstream:again()
    end)
    local clients = upstream:call("CLIENT", "LIST")
    assert.equal(1, select(2, clients:gsub("name=sluice%-orders", "")))
  end)

  if postgres.installed() then it("of PostgreSQL are read by the node that leads, once", function()
    upstream = postgres.start()
    upstream:run(require("sluice.postgres").outbox_sql())
    play(POSTGRES:format(upstream.url), function(n)
      local rows = {}
      for i = 1, n do
        written = written + 1
        rows[i] = ("('orders', 'order', '{\"n\": %d}')"):format(written)
      end
      upstream:run("INSERT INTO sluice_outbox (channel, event, data) VALUES " .. table.concat(rows, ","))
    end, function()
      upstream:kill()
      upstream:again()
    end)
    assert.equal("1", upstream:run("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sluice-%'"))
  end) end
end)

describe("a stream of a Redis whose replica takes its place", function()
  if nodes.problem() then pending(nodes.problem()) return end
  local master, replica, watch

  before_each(function() written = 0 end)
  after_each(function()
    server.stop_all()
    if watch then watch:stop() end
    master:stop()
    replica:stop()
  end)

  it("is read on from the new one, which Sentinels name", function()
    master = redis.start { tcp = true, config = { appendonly = "yes" } }
    replica = redis.start { tcp = true, config = { appendonly = "yes", replicaof = "127.0.0.1 " .. master.port } }
    watch = sentinels.start(master, replica)
    watch:await_replica()
    local app = REDIS:format(watch.url):gsub("history = 10000", "durable = true, history = 10000")
    local s = server.start { app = app }
    local function add(to, n)
      for _ = 1, n do
        written = written + 1
        to:call("XADD", "orders", "*", "n", tostring(written))
      end
    end
    add(master, 100)
    judge { s }
    master:call("WAIT", "1", "5000")
    replica:call("CLIENT", "PAUSE", "0")
    add(master, 20) -- some of which the replica may never get
    judge { s }
    local before = written
    master:kill()
    deadline.eventually(function() return replica:fresh("ROLE")[1] == "master" end, 30, "the replica is promoted")
    local there = replica:call("XLEN", "orders")
    add(replica, 50)
    judge { s }
    assert.equal(150 + 20, #look(s).all)
    if there < before then s.wait_log("the last hour is read again") end
  end)
end)
