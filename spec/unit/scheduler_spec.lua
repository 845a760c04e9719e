--- Coroutines: waiting, cancelling, errors, and what happens to <close> variables.
local scheduler = require("sluice.live.scheduler")

describe("scheduler", function()
  local s, clock, reports

  before_each(function()
    clock, reports = 0, {}
    s = scheduler.new(function() return clock end, function(fiber, problem)
      reports[#reports + 1] = (fiber.name .. ": " .. problem.message)
    end)
  end)

  local G = { id = 1, phase = "live" }

  local function start(fn, on_end) return s:start(G, "spawn", "it", on_end, fn) end

  local function pass(seconds)
    local stop = clock + seconds
    while true do
      local at = s:turn()
      if not at or at > stop then break end
      clock = math.max(clock, at)
      s:tick()
    end
    clock = stop
  end

  it("sleeps, and lets others run meanwhile", function()
    local seen = {}
    start(function() s:sleep(2) seen[#seen + 1] = "two" end)
    start(function() s:sleep(1) seen[#seen + 1] = "one" end)
    pass(1.5)
    assert.same({ "one" }, seen)
    pass(1)
    assert.same({ "one", "two" }, seen)
    assert.equal(0, s.count)
  end)

  it("wakes those of one moment in the order in which they went to sleep", function()
    local seen = {}
    for i = 1, 20 do start(function() s:sleep(1) seen[#seen + 1] = i end) end
    pass(2)
    for i = 1, 20 do assert.equal(i, seen[i]) end
  end)

  it("starts what is queued after the current coroutine waits", function()
    local seen = {}
    start(function()
      s:queue(G, "spawn", "b", nil, function(a, b, c) seen[#seen + 1] = { a, b, c } end, 1, nil, 3)
      seen[#seen + 1] = "first"
    end)
    pass(0)
    assert.same({ "first", { 1, nil, 3 } }, seen)
  end)

  it("starts at most 1,000 queued coroutines in a turn and says that it will come back", function()
    local n = 0
    for _ = 1, 1500 do s:queue(G, "spawn", "x", nil, function() n = n + 1 end) end
    assert.equal(clock, s:turn())
    assert.equal(1000, n)
    assert.is_nil(s:turn())
    assert.equal(1500, n)
  end)

  it("reports an error once, with the user's position, and tells on_end", function()
    local got
    start(function() error("broken") end, function(...) got = { ... } end)
    assert.equal(1, #reports)
    assert.matches("scheduler_spec.lua:%d+: broken", reports[1])
    assert.is_false(got[1])
    assert.matches("scheduler_spec.lua", got[2].traceback)
  end)

  it("runs <close> variables after an error and after a cancel", function()
    local closed = {}
    local function guard(name)
      return setmetatable({}, { __close = function() closed[#closed + 1] = name end })
    end
    start(function() local _ <close> = guard("error") error("x") end)
    local ends = 0
    local fiber = start(function() local _ <close> = guard("cancel") s:sleep(60) end,
      function(ok) assert.is_nil(ok) ends = ends + 1 end)
    s:cancel(fiber)
    s:cancel(fiber)
    assert.same({ "error", "cancel" }, closed)
    assert.equal(1, ends)
    assert.is_nil(s:turn())
    assert.equal(0, s.times.n)
  end)

  it("ends a coroutine that cancelled itself when it waits next", function()
    local reached, after = false, false
    local fiber
    fiber = start(function()
      s:sleep(1)
      s:cancel(fiber)
      reached = true
      s:sleep(1)
      after = true
    end)
    pass(5)
    assert.is_true(reached)
    assert.is_false(after)
    assert.equal(0, s.count)
  end)

  it("refuses to wait inside a coroutine of the user's own", function()
    start(function() coroutine.wrap(function() s:sleep(1) end)() end)
    assert.matches("sluice.sleep%(%) inside a coroutine of your own", reports[1])
  end)

  it("refuses to wait inside gsub and sort, and names them", function()
    start(function() return ("a"):gsub("a", function() s:sleep(1) end), 1 end)
    assert.matches("sluice.sleep%(%) inside string.gsub cannot wait: collect first, then wait", reports[1])
    start(function() table.sort({ 2, 1 }, function() s:sleep(1) end) end)
    assert.matches("inside table.sort cannot wait", reports[2])
  end)

  it("refuses to wait outside a coroutine and while one is closed", function()
    local ok, message = pcall(s.sleep, s, 1)
    assert.is_false(ok)
    assert.matches("works in handlers, tasks, hooks, timers and services only", message)
    local fiber = start(function()
      local _ <close> = setmetatable({}, { __close = function() s:sleep(1) end })
      s:sleep(60)
    end)
    s:cancel(fiber)
    assert.matches("cannot wait while a coroutine is closed", reports[1])
  end)

  it("can wait in a <close> variable that runs because of an error", function()
    local closed = false
    start(function()
      local _ <close> = setmetatable({}, { __close = function() s:sleep(1) closed = true end })
      error("x")
    end)
    pass(2)
    assert.is_true(closed)
  end)

  it("ends a coroutine that yields outside of the scheduler", function()
    local got
    start(function() coroutine.yield(1) end, function(...) got = { ... } end)
    assert.matches("coroutine.yield%(%) cannot be resumed here", reports[1])
    assert.is_false(got[1])
    assert.equal(0, s.count)
  end)

  it("joins another coroutine, for some time at most", function()
    local seen = {}
    local slow = start(function() s:sleep(10) end)
    local quick = start(function() s:sleep(0.5) end)
    start(function() local done = s:join(quick, 1) seen[#seen + 1] = { done, clock } end)
    start(function() local done = s:join(slow, 1) seen[#seen + 1] = { done, clock } end)
    pass(20)
    assert.same({ { true, 0.5 }, { false, 1 } }, seen)
  end)
end)

describe("heap", function()
  local heap = require("sluice.base.heap")

  it("gives entries in order of time, whatever is added and removed", function()
    math.randomseed(7)
    local h, model = heap.new(), {}
    for i = 1, 500 do
      model[#model + 1] = h:add(math.random(1, 50), { name = i })
      if i % 3 == 0 then
        local gone = table.remove(model, math.random(#model))
        assert.is_true(h:remove(gone))
        assert.is_false(h:remove(gone))
      end
    end
    table.sort(model, function(a, b) return a.at < b.at or a.at == b.at and a.order < b.order end)
    for _, entry in ipairs(model) do
      assert.equal(entry, h:first())
      h:remove(entry)
    end
    assert.is_nil(h:first())
  end)
end)
