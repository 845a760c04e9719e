--- app:every, app:task and app:service on the virtual clock.
local rehearsal = require("spec.support.rehearsal")

after_each(rehearsal.stop)

local function load(text)
  local head = 'local sluice = require("sluice")\nlocal app = sluice.app()\n'
  return rehearsal.load(head .. (text or "") .. "\nreturn app")
end

local function times(t)
  local list, start = {}, nil
  for i, row in ipairs(t.server.published) do
    start = start or t.began
    list[i] = math.floor((row.at - start) * 1000 + 0.5) / 1000
  end
  return list
end

local function begin(text)
  local t = load(text)
  t.began = rehearsal.core.now()
  return t
end

describe("app:every", function()
  it("runs after one period, then keeps its phase", function()
    local t = begin([[app:every(5, function() app:publish("a", "tick", {}) end)]])
    t:advance(16)
    assert.same({ 5, 10, 15 }, times(t))
  end)

  it("runs at once when asked", function()
    local t = begin([[app:every(5, { now = true }, function() app:publish("a", "tick", {}) end)]])
    t:advance(6)
    assert.same({ 0, 5 }, times(t))
  end)

  it("skips a tick while it still runs, or queues it", function()
    local t = begin([[app:every(1, function() app:publish("a", "tick", {}) sluice.sleep(2.5) end)]])
    t:advance(8.1)
    assert.same({ 1, 4, 7 }, times(t))
    t = begin([[app:every(1, { overlap = "queue" }, function() app:publish("a", "tick", {}) sluice.sleep(1.5) end)]])
    t:advance(6)
    assert.same({ 1, 2.5, 4, 5.5 }, times(t))
  end)

  it("keeps its phase and skips what was missed when the app was busy", function()
    local t = begin([[app:every(1, function() app:publish("a", "tick", {}) end)]])
    t:advance(1.5)
    local now = rehearsal.core.now
    rehearsal.core.now = function() return now() + 3 end -- a handler computed for three seconds
    t.runtime.scheduler.now = rehearsal.core.now
    t:call("timer")
    rehearsal.core.now, t.runtime.scheduler.now = now, now
    assert.equal(2, #t.server.published)
    assert.near(t.began + 5, t.runtime.timers.rows["1s#1"].next, 1e-6)
  end)

  it("fires 60 times in a minute however often the generation changes", function()
    local text = [[app:every(1, function() app:publish("a", "tick", {}) end)]]
    local t = begin(text)
    for i = 1, 100 do
      t:advance(0.6)
      local next_one = assert(require("sluice.live.generation").load(i + 1, "app.lua",
        'local app = require("sluice").app()\n' .. text .. "\nreturn app"))
      assert(t.runtime:swap(assert(t.runtime:prepare(next_one))))
      t.runtime.timers:adopt(next_one)
      t.runtime:turn()
    end
    local list = times(t)
    assert.is_true(#list >= 59 and #list <= 60, #list)
    for i = 2, #list do assert.near(1, list[i] - list[i - 1], 1e-6) end
  end)

  it("measures once for all, at once for the first, never without a subscriber", function()
    local t = begin([[
      app:stream("/m", "m")
      app:every(5, { while_subscribed = "m" }, function() app:publish("m", "tick", {}) end)]])
    t:advance(60)
    assert.equal(0, #t.server.published)
    t:advance(2)
    local seen
    local accept = t.server.accept
    t.server.accept = function(...) seen = seen or #t.server.published return accept(...) end
    local a = t:connect("/m")
    assert.equal(1, seen) -- measured before the stream opened
    local b = t:connect("/m")
    assert.equal(1, #t.server.published)
    t:advance(10)
    assert.same({ 62, 65, 70 }, times(t))
    t:drop(a)
    t:drop(b)
    t:advance(1)
    t:connect("/m") -- it measured within its period
    assert.equal(3, #t.server.published)
  end)

  it("lets the first wait for a slow measure, one second at most", function()
    local t = begin([[
      app:stream("/m", "m")
      app:every(5, { while_subscribed = "m" }, function() sluice.sleep(0.5) app:publish("m", "tick", {}) end)
      app:stream("/n", "n")
      app:every(5, { while_subscribed = "n" }, function() sluice.sleep(3) end)]])
    local m, n = t:request("GET", "/m"), t:request("GET", "/n")
    t:advance(0.4)
    assert.is_nil(t.server.answers[m])
    t:advance(0.2)
    assert.truthy(t.server.answers[m].client)
    assert.is_nil(t.server.answers[n])
    t:advance(0.5)
    assert.truthy(t.server.answers[n].client)
  end)

  it("names itself by period and ordinal, or as told, and refuses what makes no sense", function()
    local t = load([[
      app:every(5, function() end)
      app:every(5, function() end)
      app:every(0.5, { name = "half", jitter = 0.1 }, function() end)]])
    local names = {}
    for _, timer in ipairs(t.generation.timers) do names[#names + 1] = timer.name end
    assert.same({ "5s#1", "5s#2", "half" }, names)
    local app = 'local app = require("sluice").app() '
    assert.matches("app.lua:1: app:every%(seconds, …%): the period is a number of seconds from 0.01",
      rehearsal.load_error(app .. "app:every(0, print)"))
    assert.matches("the last argument is the function", rehearsal.load_error(app .. "app:every(1, { now = true })"))
    assert.matches("unknown option 'nam'", rehearsal.load_error(app .. "app:every(1, { nam = 'x' }, print)"))
    assert.matches("timer 'x' is registered already %(app.lua:1%)",
      rehearsal.load_error(app .. "app:every(1, { name = 'x' }, print) app:every(2, { name = 'x' }, print)"))
    assert.matches("while_subscribed: channel 'a/%*': no segment of a channel name starts",
      rehearsal.load_error(app .. "app:every(1, { while_subscribed = 'a/*' }, print)"))
  end)

  it("logs an error and goes on", function()
    local t = begin([[app:every(1, function() app:publish("a", "tick", {}) error("x") end)]])
    t:advance(3.5)
    assert.equal(3, #t.server.published)
    assert.matches("^timer 1s#1: app.lua:3: x", rehearsal.logged("error")[3])
  end)
end)

describe("app:after", function()
  local TASK = [[app:task("say", function(data) app:publish("a", "said", data) end)]]

  it("runs a task with a copy of its data", function()
    local t = begin(TASK)
    t:inside(function()
      local data = { n = 1 }
      assert.equal(22, #t.app:after(5, "say", data))
      data.n = 2
      t.app:at(rehearsal.core.time() + 7, "say", { n = 3 })
      t.app:at(rehearsal.core.time() - 7, "say", { n = 0 })
    end)
    t:advance(10)
    assert.same({ 'said {"n":0}', 'said {"n":1}', 'said {"n":3}' }, t:events("a"))
    assert.same({ 0, 5, 7 }, times(t))
    assert.equal(0, t.runtime.tasks.count)
  end)

  it("replaces by id and can be cancelled", function()
    local t = begin(TASK)
    t:inside(function()
      assert.equal("silence", t.app:after(5, "say", { n = 1 }, { id = "silence" }))
      t.app:after(8, "say", { n = 2 }, { id = "silence" })
      local id = t.app:after(1, "say", { n = 3 })
      assert.is_true(t.app:cancel(id))
      assert.is_false(t.app:cancel(id))
    end)
    t:advance(20)
    assert.same({ 'said {"n":2}' }, t:events("a"))
  end)

  it("takes names and plain data only", function()
    local t = begin(TASK)
    local function message(...) return select(2, pcall(t.app.after, t.app, ...)) end
    t:inside(function()
      assert.matches('app:after%(seconds, "task", data%): the second argument is the name of an app:task%(%); '
        .. "a function would not survive a reload", message(5, function() end))
      assert.matches('there is no app:task%("nope"%)', message(5, "nope"))
      assert.matches("data.f is a function: only plain data survives a reload", message(5, "say", { f = print }))
      assert.matches("durable is a boolean, not a string", message(5, "say", nil, { durable = "yes" }))
      assert.matches("is a number of seconds", message("5", "say"))
    end)
  end)

  it("keeps a task that the new generation does not define, until one does", function()
    local t = begin(TASK)
    t:inside(function() t.app:after(1, "say", { n = 1 }) end)
    local function swap(text)
      local new = assert(require("sluice.live.generation").load(2, "app.lua", text))
      assert(t.runtime:swap(assert(t.runtime:prepare(new))))
      t.runtime.tasks:adopt(new)
      t.runtime:turn()
    end
    swap('return require("sluice").app()')
    t:advance(10)
    assert.same({}, t:events("a"))
    assert.matches("task 'say' is due and this generation does not define it", rehearsal.logged("warn")[1])
    swap('local app = require("sluice").app() app:task("say", function(d) app:publish("a", "new", d) end) return app')
    t:advance(1)
    assert.same({ 'new {"n":1}' }, t:events("a"))
  end)
end)

describe("app:service", function()
  it("runs at once, and again with a growing pause after an end or an error", function()
    local t = begin([[app:service("feed", function() app:publish("a", "up", {}) error("cut") end)]])
    t:advance(100)
    assert.same({ 0, 1, 3, 7, 15, 31, 61, 91 }, times(t))
    assert.matches("service 'feed' ended, again in 1 s", rehearsal.logged("warn")[1])
  end)

  it("starts with the short pause again after it ran for long", function()
    local t = begin([[app:service("feed", function() app:publish("a", "up", {}) sluice.sleep(40) end)]])
    t:advance(125)
    assert.same({ 0, 41, 82, 123 }, times(t))
  end)

  it("is closed before the one of the next generation starts", function()
    local text = [[
      local app = require("sluice").app()
      app:service("feed", function()
        local _ <close> = setmetatable({}, { __close = function() app:publish("a", "closed", {}) end })
        app:publish("a", "opened", {})
        require("sluice").sleep(1000)
      end)
      return app]]
    local t = rehearsal.load(text)
    local new = assert(require("sluice.live.generation").load(2, "app.lua", text))
    assert(t.runtime:swap(assert(t.runtime:prepare(new))))
    t.runtime.services:adopt(new)
    t.runtime:turn()
    assert.same({ "opened {}" }, t:events("a"))
    t:advance(6) -- it has no checkpoint, so it is closed when its generation ends
    assert.same({ "opened {}", "closed {}", "opened {}" }, t:events("a"))
  end)
end)

describe("app:spawn", function()
  it("runs a function beside the handler", function()
    local t = begin([[app:post("/", function()
      app:spawn(function() sluice.sleep(1) app:publish("a", "later", {}) end)
      return 202
    end)]])
    assert.equal(202, t:post("/").status)
    t:advance(2)
    assert.same({ "later {}" }, t:events("a"))
  end)
end)
