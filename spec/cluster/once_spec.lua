--- What runs once, on real servers around a real redis-server: the leader is killed, or stopped, again and again.
--- With the full size for a minute; else it is stopped once in order, and another one leads; and its app hangs.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local socket = require("socket")

local FULL = os.getenv("SLUICE_SPEC_FULL")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("log", { history = 100000 })
app:stream("/s", { channels = { "log" }, rewind = "all" })
app:every(1, function() app:publish("log", "tick", { by = app:stats().cluster.slot, at = sluice.time() }) end)
app:task("silence", function(data) app:publish("log", "silence", { n = data.n }) end)
app:post("/many", function(req)
  local b = req:json()
  for n = b.from, b.to do assert(app:after(b.seconds + n % 40, "silence", { n = n }, { id = "n" .. n })) end
  return {}
end)
app:get("/log", function()
  local list = {}
  for i, e in ipairs(app:history("log", { limit = 5000 })) do list[i] = { name = e.event, data = e.data } end
  return sluice.json.array(list)
end)
return app
]]

-- The run of a timer waits in C for a file, and goes on.
local HANGS = [[
local sluice = require("sluice")
local app, hangs = sluice.app(), false
app:channel("log", { history = 1000 })
app:every(1, function()
  if not hangs then return app:publish("log", "tick", {}) end
  hangs = false
  os.execute("until [ -e '%s' ]; do sleep 0.05; done")
  app:publish("log", "late", {})
end)
app:post("/hang", function()
  hangs = true
  return {}
end)
app:get("/log", function()
  local list = {}
  for i, e in ipairs(app:history("log", { limit = 1000 })) do list[i] = { name = e.event } end
  return sluice.json.array(list)
end)
return app
]]

describe("what runs once on real servers", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end

  local cluster
  after_each(function()
    if cluster then cluster:stop() end
    cluster = nil
  end)

  local function leader(up)
    local found
    deadline.eventually(function()
      for _, i in ipairs(up) do
        if select(2, cluster:state(i)).leads == 1 then found = i end
      end
      return found
    end, 15, "somebody leads")
    return found
  end

  local function log(i) return json.decode(http.get(cluster[i].port, "/log").body) end

  local function judge(list)
    local slots, last, n = {}, nil, 0
    for _, e in ipairs(list) do
      if e.name == "tick" then
        if last then
          local since = e.data.at - last.data.at
          assert.is_true(since >= 0.9, ("%s and %s are %.3f s apart"):format(last.data.by, e.data.by, since))
          assert.is_true(since <= 7.5, ("nobody for %.3f s"):format(since))
        end
        if not slots[e.data.by] then n = n + 1 end
        slots[e.data.by], last = true, e
      end
    end
    return n
  end

  it("goes on at another one when the one that leads stops", function()
    cluster = nodes.start { n = 2, app = APP }
    cluster:wait_live()
    local one = leader { 1, 2 }
    deadline.eventually(function() return #log(one) > 0 end, 10, "a tick")
    cluster[one].signal("TERM")
    local two = leader { 3 - one }
    local before = #log(two)
    deadline.eventually(function() return #log(two) > before end, 10, "another tick")
    assert.equal(2, judge(log(two)))
  end)

  it("goes on at another one when the app hangs, and what the old one was doing comes to nothing", function()
    if not FULL then return pending("waits for the lease: full size only") end -- else: lead_spec
    local gate = os.tmpname()
    os.remove(gate)
    finally(function() os.remove(gate) end)
    cluster = nodes.start { n = 2, app = HANGS:format(gate) }
    cluster:wait_live()
    local one = leader { 1, 2 }
    assert.equal(200, http.post(cluster[one].port, "/hang").status)
    local two = leader { 3 - one }
    cluster[one].wait_log("the app has not answered for 3 s: this node does not lead any more", 1)
    deadline.eventually(function() return #log(two) > 0 end, 10, "a tick")
    assert(io.open(gate, "w")):close()
    cluster[one].wait_log("blocked the app for", 10) -- it is back
    local before = #log(two)
    deadline.eventually(function() return #log(two) > before end, 10, "another tick")
    for _, e in ipairs(log(two)) do assert.equal("tick", e.name) end
    assert.equal(two, leader { 1, 2 })
  end)

  it("never runs at two, and each task at least once, for a minute in which leaders die", function()
    if not FULL then return pending("full size only") end
    cluster = nodes.start { n = 3, app = APP }
    cluster:wait_live()
    for i = 1, 3 do
      http.post(cluster[i].port, "/many", json.encode { from = (i - 1) * 334 + 1, to = math.min(i * 334, 1000),
        seconds = 5 }, { ["Content-Type"] = "application/json" })
    end
    local up, began, kills = { 1, 2, 3 }, socket.gettime(), false
    while socket.gettime() - began < 60 do
      local one, at = leader(up), socket.gettime()
      kills = not kills
      if kills then
        cluster[one].kill()
        cluster:more()
        for k, i in ipairs(up) do if i == one then up[k] = #cluster end end
      else
        cluster[one].signal("STOP")
        local rest = {}
        for _, i in ipairs(up) do if i ~= one then rest[#rest + 1] = i end end
        local went_on, why = pcall(leader, rest)
        cluster[one].signal("CONT")
        assert(went_on, why)
      end
      deadline.eventually(function() return socket.gettime() - at >= 7 end, 10, "seven seconds")
    end
    local ran, all = {}, 0
    deadline.eventually(function()
      ran, all = {}, 0
      for _, e in ipairs(log(leader(up))) do
        if e.name == "silence" and not ran[e.data.n] then ran[e.data.n], all = true, all + 1 end
      end
      return all == 1000
    end, 60, "all tasks have run")
    assert.is_true(judge(log(leader(up))) >= 4)
  end)
end)
