--- sluice.system in virtual time: who measures how often, over reloads too; services of other machines; two of
--- them; its example. (Figures from files: spec/unit/system_spec.lua.)
local kit = require("spec.support.kit")
local procfs = require("sluice.base.procfs")

-- A reader takes two descriptors, since both ends are in this process.
local function most_readers()
  local limits <close> = assert(io.open("/proc/self/limits"))
  local descriptors = tonumber(limits:read("a"):match("Max open files%s+(%d+)")) or 1024
  return math.min(10000, (descriptors - 500) // 2)
end

local READERS = os.getenv("SLUICE_SPEC_FULL") and most_readers() or 100

-- Readers that are connected and read nothing: the kit, which visits those that read after each step,
-- would need n * n visits for n of them.
local function connect_many(t, n)
  local aside = {}
  for i = 1, n do
    t:connect("/api/metrics")
    aside[i] = table.remove(t.open)
  end
  return aside
end

-- What an app's samples were is counted outside of it.
local COUNTED = [[
local count = app:state("count", { n = 0 })
local system = require("sluice.system").new(app)
app:channel("metrics", { history = "latest" })
app:stream("/api/metrics", "metrics")
app:get("/count", function() return { n = count().n, subscribers = app:stats("metrics").subscribers } end)
app:every(5, { name = "measure", while_subscribed = "metrics" }, function()
  count().n = count().n + 1
  app:publish("metrics", "metrics-update", system:sample())
end)
]]

describe("a source of figures", function()
  after_each(kit.stop_all)

  it("runs once a tick for all, immediately for the first, never for nobody, over reloads too", function()
    local t = kit.start(COUNTED)
    local function count() return t:get("/count").json.n end
    t:advance(3600)
    assert.equal(0, count())
    local first = t:connect("/api/metrics")
    assert.equal(1, first:count("metrics-update"))
    local others = connect_many(t, READERS - 2)
    local last = t:connect("/api/metrics")
    assert.equal(READERS, t:get("/count").json.subscribers)
    assert.equal(1, count())
    t:advance(5)
    assert.equal(2, count())
    assert.same({ 2, 2 }, { first:count("metrics-update"), last:count("metrics-update") })
    for _ = 1, 10 do
      t:advance(1)
      assert(t:reload())
    end
    assert.equal(4, count())
    assert.equal(4, last:count("metrics-update"))
    for _, x in ipairs(others) do x:close() end
    first:drop()
    last:drop()
    t:advance(60)
    assert.equal(0, t:get("/count").json.subscribers)
    local before = count()
    t:advance(3600)
    assert.equal(before, count())
  end)
end)

describe("services of other machines", function()
  after_each(kit.stop_all)

  local APP = [[
  local system = require("sluice.system").new(app, { interval = 10,
    services = { { name = "db", tcp = "db.example:5432" } } })
  app:get("/services", function() return system:sample().services end)
  ]]

  it("are tried at the start and each interval, and a sample waits for none", function()
    local answer = {}
    local function reply() return answer, "refused", "ECONNECT" end
    local t = kit.start(APP, { http = { ["tcp://db.example:5432"] = reply } })
    local function status() return t:get("/services").json[1] end
    assert.same({ name = "db", status = "running" }, status())
    answer = nil
    t:advance(9)
    assert.equal("running", status().status)
    t:advance(2)
    assert.same({ name = "db", status = "stopped", reason = "refused" }, status())
    answer = {}
    assert(t:reload())
    t:advance(0)
    assert.equal("running", status().status)
  end)
end)

describe("two of them", function()
  after_each(kit.stop_all)

  it("have names of their own, or are refused at load", function()
    local two = 'local a, b = require("sluice.system").new(app), require("sluice.system").new(app%s)\n'
      .. 'app:get("/s", function() return { a = a:sample(), b = b:sample() } end)'
    local t = kit.start(two:format(', { name = "slow", interval = 60 }'))
    t:advance(10)
    local s = t:get("/s").json
    assert.same({ "number", "number" }, { type(s.a.cpu), type(s.b.cpu) })
    local ok, message = pcall(kit.start, two:format(""))
    assert.is_false(ok)
    assert.matches("system", tostring(message))
  end)
end)

describe("examples/monitoring", function()
  local cpu = procfs.cpu
  after_each(function()
    procfs.cpu = cpu
    kit.stop_all()
  end)

  it("alerts after 30 s of busy processors, once, over a reload, and clears below 80 %", function()
    local busy, total, share = 0, 0, 0.95
    function procfs.cpu()
      busy, total = busy + share * 1000, total + 1000
      return { busy = busy, total = total, processors = 1 }
    end
    local t = kit.open("examples/monitoring/app.lua")
    local c = t:connect("/api/system/monitoring")
    local function count(event, stream)
      local n = 0
      for _, e in ipairs((stream or c):events(event)) do -- the machine may have no ssh
        if e.data.rule == "high-cpu" then n = n + 1 end
      end
      return n
    end
    t:advance(30)
    assert.equal(0, count("system-alert"))
    assert(t:reload())
    t:advance(15)
    assert.equal(1, count("system-alert"))
    share = 0.85
    t:advance(30)
    assert.same({ 1, 0 }, { count("system-alert"), count("system-alert-cleared") })
    share = 0.1
    t:advance(30)
    assert.same({ 1, 1 }, { count("system-alert"), count("system-alert-cleared") })
    assert.equal(0, count("system-alert", t:connect("/api/system/monitoring")))
  end)

  it("tells figures every ten seconds, also over a reload", function()
    local t = kit.open("examples/monitoring/app.lua")
    local c = t:connect("/api/system/monitoring")
    t:advance(20)
    assert(t:reload())
    t:advance(10)
    assert.equal(3, c:count("system-metrics"))
    local data = c:events("system-metrics")[3].data
    assert.equal("ssh", data.services[1].name)
    assert.is_number(data.disks[1].percent)
  end)
end)
