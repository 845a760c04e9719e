--- Every allocation whose size a peer decides fails once, in every operation of the cursor
--- core. After each failure nothing is lost in silence, nothing is left over, and the next
--- try works.
local sim = require("spec.support.sim")
local testing = require("sluice.core.testing")

local POLICIES = { { pattern = "log", history = 20 }, { pattern = "st", history = "latest" },
  { pattern = "kl", history = 20, key = "k", rewind = "latest" } }
local PLAN = { channels = { { "log", types = { "e" }, keys = { "A", "" } }, "st", "kl" } }

local function fill(s, n)
  for i = 1, n do
    s:publish("log", "e", "d" .. i, "A")
    s:publish("st", "p", "s" .. i, "k" .. i, false, true)
    s:publish("kl", "j", "k" .. i, "k" .. i % 3)
  end
end

--- Run `act(world)` with the n-th allocation failing, for all n until none is left to fail.
-- @param prepare makes the world: a table with a sim `s`
-- @param judge(world, failed, result…) looks at the world after each try
local function fail_each(prepare, act, judge)
  local n = 0
  repeat
    n = n + 1
    local before = sim.alive()
    local world = prepare()
    testing.fail_alloc(n)
    local result = table.pack(act(world))
    local failed = testing.fail_alloc(0) == 0
    judge(world, failed, table.unpack(result, 1, result.n))
    for _, stream in ipairs(world) do stream:close() end
    world.s:drain(1)
    world.s:close()
    sim.alive(before)
  until not failed
  assert.is_true(n > 1, "no allocation was there to fail")
  return n - 1
end

local function new_world()
  local s = sim.new(POLICIES)
  return { s = s }
end

--- With one open stream that has read all there is.
local function open_world()
  local world = new_world()
  fill(world.s, 3)
  world.s:drain(1)
  world[1] = assert(world.s:connect(1, PLAN, nil, "me"))
  sim.run(world.s)
  world[1]:take()
  return world
end

local function is_out_of_memory(ok, code, failed)
  if ok then return end
  assert.equal("ENOMEM", code)
  assert.is_true(failed)
end

--- The events came, or a reset of their channel before any later one.
local function assert_told(world, channel, want)
  sim.run(world.s)
  local seen, lost = {}, false
  for _, event in ipairs((sim.events(world[1]))) do
    if event.event == "reset" and event.data:find('"' .. channel .. '"', 1, true) then lost = true end
    seen[event.data] = true
  end
  for _, data in ipairs(want) do assert.is_true(seen[data] or lost, data .. " is lost without a word") end
  assert.is_true(seen[want[#want]], "the newest never came")
end

--- 40 events; those that were refused are not owed.
local function publish_all(world, channel, name, key)
  world.published = {}
  for i = 1, 40 do
    local data = "n" .. i
    if world.s:publish(channel, name, data, key or data, false, channel == "st") then
      table.insert(world.published, data)
    end
  end
  world.s:drain(1)
end

describe("out of memory", function()
  it("refuses to publish, and the next try has the next number", function()
    fail_each(new_world, function(w) return w.s:publish("log", "e", "x", "A") end, function(w, failed, seq, _, code)
      is_out_of_memory(seq, code, failed)
      assert.equal(seq and 2 or 1, w.s:publish("log", "e", "x"))
    end)
  end)

  it("refuses a group as a whole", function()
    fail_each(new_world, function(w) return w.s:group { { "log", "e", "x" }, { "log", "e", "y" } } end,
      function(w, failed, first, _, code)
        is_out_of_memory(first, code, failed)
        if first then w.s:abort() end
      end)
  end)

  it("in a log loses the oldest, and tells", function()
    fail_each(open_world, function(w) publish_all(w, "log", "e", "A") end, function(w)
      assert_told(w, "log", w.published)
    end)
  end)

  it("in a state loses the oldest value, and tells who has not seen it", function()
    fail_each(open_world, function(w) publish_all(w, "st", "p") end, function(w)
      assert_told(w, "st", w.published)
    end)
  end)

  it("refuses to connect, and the next try gets everything", function()
    local function prepare()
      local world = new_world()
      fill(world.s, 3)
      world.s:drain(1)
      return world
    end
    fail_each(prepare, function(w) return w.s:connect(1, PLAN, w.s:epoch() .. "-1", "me") end,
      function(w, failed, stream, _, code)
        is_out_of_memory(stream, code, failed)
        w[1] = stream or assert(w.s:connect(1, PLAN, w.s:epoch() .. "-1", "me"))
        sim.run(w.s)
        assert.equal("hello@1 j@3=k1 e@4=d2 j@6=k2 e@7=d3 j@9=k3 p=s1 p=s2 p=s3", sim.line(w[1]))
      end)
  end)

  it("refuses to connect with a bad id as well", function()
    fail_each(open_world, function(w) return w.s:connect(1, PLAN, "garbage", "me") end,
      function(w, failed, stream, _, code)
        is_out_of_memory(stream, code, failed)
        w[2] = stream or assert(w.s:connect(1, PLAN, "garbage", "me"))
        sim.run(w.s)
        assert.truthy(sim.line(w[2]):find("^hello reset reset@0 e@1=d1 j@3=k1"))
      end)
  end)

  it("refuses to subscribe as a whole", function()
    local function prepare()
      local world = open_world()
      for i = 1, 40 do world.s:publish("more", "e", ("x"):rep(500) .. i) end
      sim.run(world.s)
      return world
    end
    local spec = { "more", rewind = "all", types = { "e" } }
    fail_each(prepare, function(w) return w[1]:subscribe(spec) end, function(w, failed, ok, _, code)
      is_out_of_memory(ok, code, failed)
      if not ok then
        sim.run(w.s)
        assert.equal("", (w[1]:take()))
        assert.is_true(w[1]:subscribe(spec))
      end
      sim.run(w.s)
      local events = sim.events(w[1])
      assert.same({ 41, "e", "sync" }, { #events, events[1].event, events[41].event })
    end)
  end)

  it("keeps the old filter when there is no memory for the new one", function()
    fail_each(open_world, function(w) return w[1]:filter({ "f" }, { "A", "B" }) end, function(w, failed, ok, _, code)
      is_out_of_memory(ok, code, failed)
      w.s:publish("log", "e", "old wish", "A")
      w.s:publish("log", "f", "new wish", "A")
      sim.run(w.s)
      assert.equal(ok and "f@11=new wish" or "e@10=old wish", sim.line(w[1]))
    end)
  end)

  it("delays a flush", function()
    local function prepare()
      local world = open_world()
      fill(world.s, 3)
      world.s:drain(1)
      return world
    end
    fail_each(prepare, function(w) return w.s:flush(1) end, function(w)
      sim.run(w.s)
      assert.equal("e@10=d1 j@12=k1 e@13=d2 j@15=k2 e@16=d3 j@18=k3 p=s1 p=s2 p=s3", sim.line(w[1]))
    end)
  end)

  it("refuses client:send", function()
    fail_each(open_world, function(w) return w[1]:send("mine", "x") end, function(w, failed, ok, _, code)
      is_out_of_memory(ok, code, failed)
      sim.run(w.s)
      assert.equal(ok and "mine=x" or "", sim.line(w[1]))
    end)
  end)

  it("ends a stream without a word, at the same place", function()
    fail_each(open_world, function(w)
      w.s:publish("log", "e", "last", "A")
      w.s:drain(1)
      w[1]:bye("drain")
    end, function(w)
      sim.run(w.s)
      local line = sim.line(w[1])
      local refused = line == "bye@9 drop"
      assert.truthy(refused or line == "e@10=last drop" or line == "e@10=last bye drop", line)
    end)
  end)

  it("leaves a sync to the next heartbeat", function()
    local function prepare()
      local world = open_world()
      world.s:publish("other", "e", "x")
      sim.run(world.s)
      world.s:now(100000)
      return world
    end
    fail_each(prepare, function(w) return w[1]:sync() end, function(w)
      sim.run(w.s)
      if w[1]:sync() then sim.run(w.s) end
      assert.equal("sync@10", sim.line(w[1]))
    end)
  end)

  it("ends a stream that cannot be told what it lost", function()
    local limit = testing.limits.backlog_events
    local function prepare()
      local world = new_world()
      world.s:policies { { pattern = "log", history = 1 } }
      world.s:drain(1)
      world[1] = world.s:connect(1, { channels = { "log" } })
      sim.run(world.s)
      world[1]:stall(true)
      for i = 1, limit + 3 do
        world.s:publish("log", "e", "d" .. i)
        if i % 1000 == 1 then sim.run(world.s) end
      end
      sim.run(world.s)
      world[1]:stall(false)
      return world
    end
    fail_each(prepare, function(w) return w.s:flush(1) end, function(w)
      sim.run(w.s)
      local events, ended = sim.events(w[1])
      local at = events[2].event == "sync" and 4 or 3 -- its opening has ended
      local told = events[at] and (events[at].event == "reset" or events[at].event == "bye")
      assert.is_true(told or (#events == at - 1 and ended == "drop"), (events[at] or {}).event)
    end)
  end)

  it("keeps the floor of a dropped channel", function()
    local function prepare()
      local world = open_world()
      world.s:drop("log")
      return world
    end
    fail_each(prepare, function(w) w.s:drain(1) end, function(w)
      w[2] = assert(w.s:connect(1, { channels = { "log" } }, w.s:epoch() .. "-1"))
      sim.run(w.s)
      assert.truthy(sim.line(w[2]):find("reset", 1, true))
    end)
  end)

  it("takes new policies", function()
    fail_each(open_world, function(w)
      w.s:policies { { pattern = "log", history = 20, rewind = "latest" }, POLICIES[2], POLICIES[3] }
      w.s:drain(1)
    end, function(w)
      w[2] = assert(w.s:connect(1, { channels = { "log" } }))
      sim.run(w.s)
      assert.equal("hello@6 e@7=d3", sim.line(w[2]))
    end)
  end)
end)

-- ---- A full Lua heap ---------------------------------------------------------------------

local core = require("sluice.core")
local deadline = require("spec.support.deadline")
local kit = require("spec.support.kit")

--- Call `fn` with a Lua heap that is full after so many bytes, from none to enough: each
--- allocation fails once. Nothing of ours may be left over.
local function fill_heap(fn)
  local function limited(bytes)
    core.memory_limit(core.heap() + bytes)
    fn()
  end
  local function call(bytes)
    collectgarbage() -- or what it lets go would be room
    collectgarbage() -- what had a finalizer goes at the second
    local script = coroutine.create(limited) -- the limit is for scripts, which have coroutines
    core.budget_enter("spec")
    local ok, message = core.resume(script, bytes)
    core.memory_limit(0)
    core.budget_leave()
    return ok, message
  end
  fn() -- what is made once is there
  collectgarbage()
  local before, failed, first = core.alive(), 0, -256
  while call(first) do first = 2 * first end -- below 0: what was dead is let go first
  for bytes = first, 65536, 24 do
    local ok, message = call(bytes)
    if ok then break end
    assert.matches("not enough memory", message)
    failed = failed + 1
  end
  local works, why = call(1 << 26) -- much: the heap of all specs before this one is collected late
  assert.is_true(works, why)
  deadline.eventually(function() -- a line of the log, about how long that took, may be on its way
    collectgarbage()
    assert.same(before, core.alive())
    return true
  end, 2)
  return failed
end

describe("a full Lua heap", function()
  after_each(kit.stop_all)

  local function server(text)
    local t = kit.start(text)
    return t.place.server, t
  end

  it("costs nothing that is kept, whatever was under way", function()
    local s, t = server([[
      app:channel("log", { history = 50 })
      app:channel("st", { history = "latest", key = "k" })
      app:stream("/s", { channels = { "log", "st" } })
      app:on("connect", function() end)]])
    for i = 1, 20 do
      t:publish("log", "e", ("x"):rep(50) .. "\n" .. i)
      t:publish("st", "e", { k = "key" .. i, v = ("y"):rep(50) })
    end
    local c = t:connect("/s")
    local folder = require("lfs").currentdir() .. "/spec/property"
    local policies = { { pattern = "log", history = 5 }, { pattern = "st", history = "latest" } }
    local few = {
      latest = function() return s:latest("log") end,
      latest_of_key = function() return s:latest("st", "key3") end,
      history = function() return s:history("log", 7) end,
      history_of_state = function() return s:history("st", 100) end,
      history_of_nothing = function() return s:history("none", 100) end,
      channels = function() return s:channels("*") end,
      clients = function() return s:clients() end,
      client = function() return s:client(c.id) end,
      stats = function() return s:stats(), s:stats("log"), s:client_stats(c.id), s:slowest(5) end,
      policy = function() return s:policy("log") end,
      merge = function() return core.merge(policies, "log") end,
      match = function() return core.match(":a/*b", "x/y/z") end,
      encode_utf8 = function() return core.encode_utf8(("\xff"):rep(100)) end,
      list_files = function() return core.list_files(folder) end,
      headers = function() return core.headers("a\0b\0a\0c\0") end,
      subscribe = function()
        s:subscribe(c.id, { "more", keys = { "a", "b" } })
        s:unsubscribe(c.id, "more")
        t:settle()
      end,
      encode = function() return testing.encode({ event = "e", data = "a\nb", seq = 7 }) end,
    }
    for name, fn in pairs(few) do
      assert.is_true(fill_heap(fn) > 0, name .. " allocates")
    end
  end)

  it("leaves no folder open", function()
    local function open_files()
      local n = 0
      for _ in require("lfs").dir("/proc/self/fd") do n = n + 1 end
      return n
    end
    local before, folder = open_files(), require("lfs").currentdir() .. "/spec/kit"
    fill_heap(function() return core.list_files(folder) end)
    assert.equal(before, open_files())
  end)

  it("takes the callback and the routes as a whole", function()
    local s = core.server({ port = 0, rehearsal = true })
    local routes = { { method = "GET", pattern = "/a/:b", kind = "stream", id = 1,
      plan = { channels = { "a/:b", "c" }, keys = { "k" }, query = { keys = "symbols" } } },
      { pattern = "/f/**", kind = "static", files = { ["/f/x"] = { type = "text/plain", body = ("z"):rep(100) } } } }
    local snapshot = { routes = routes, policies = { { pattern = "a", history = 5 } },
      cors = { { pattern = "/**", origins = { "https://a.example" }, max_age = 5 } } }
    fill_heap(function() s:on(function() end) end)
    assert(s:configure(snapshot))
    collectgarbage()
    fill_heap(function() s:configure(snapshot) collectgarbage() end)
    s:shut()
  end)

  it("is not read while a finalizer changes what is read", function()
    local t = kit.start([[
      app:channel("log", { history = 3 })
      local rounds = app:state("rounds", { n = 0 })
      -- each collection publishes: events leave the history, channels come and the map grows
      local function trouble()
        setmetatable({}, { __gc = function()
          rounds().n = rounds().n + 1
          for i = 1, 5 do app:publish("log", "e", ("x"):rep(2000) .. i) end
          app:publish("c/" .. rounds().n, "e", "x")
        end })
      end
      app:get("/", function()
        local n = 0
        app:publish("log", "e", "first")
        collectgarbage("incremental", 1, 1000, 5) -- every few allocations, from now on
        collectgarbage()
        for _ = 1, 300 do
          trouble()
          local list = app:history("log")
          assert(#list <= 3, #list .. " events of a history of 3")
          for _, event in ipairs(list) do n = n + #event.data end
          n = n + #app:latest("log") + #app:channels("c/*")
        end
        collectgarbage("incremental", 200, 100, 13)
        return { n = n, rounds = rounds().n }
      end)]], { flags = { handler_budget = 60 } })
    local answer = t:get("/")
    assert.equal(200, answer.status, answer.error)
    assert.is_true(answer.json.rounds > 10, answer.body)
  end)
end)
