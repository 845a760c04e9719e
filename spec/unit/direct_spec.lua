--- A plan function that is called alone (requests/direct.lua) does what one does whose route has a guard, which
--- has a session (requests/streams.lua).
local rehearsal = require("spec.support.rehearsal")

after_each(rehearsal.stop)

describe("a plan function that is called alone", function()
  local BODIES = {
    channel = 'return "x"', table = 'return { channels = { "x", "y" }, heartbeat = 20 }',
    options = 'return { channels = { { "x", rewind = 3 } }, meta = { a = 1 } }',
    status = 'return 404', text = 'return 403, "not you"', code = 'return nil, "gone", "ENOTFOUND"',
    headers = 'return 302, nil, { Location = "/" }',
    nothing = "", wrong = "return 7.5", no_channel = 'return "a b"',
    surplus = 'return { channels = { "x" } }, "more"', surplus_status = 'return 404, "x", nil, 4',
    many = 'local list = {} for i = 1, 9 do list[i] = "c" .. i end return { channels = list }',
    fails = 'error("broken")', fails_table = 'error({ message = "broken" })', aborts = 'req:abort(410, "over")',
    yields = 'coroutine.yield(true, "x")', yields_more = 'coroutine.yield() return "x"',
    knows = 'coroutine.running() return "x"',
    user = 'req.user = { id = "ann" } return "x"', expired = 'req.user = { id = "ann", expires = 5 } return "x"',
    query = 'return "q" .. tostring(req.query.a)', reads = 'return req.headers.cookie and req.cookies.a and "x" or 500',
    waits = 'sluice.sleep(1) return "x"', waits_fails = 'sluice.sleep(1) error("broken")',
    waits_status = 'sluice.sleep(1) return 404, "late"', waits_aborts = 'sluice.sleep(1) req:abort(409)',
    waits_yields = 'sluice.sleep(1) coroutine.yield(true)',
    loops = 'while true do end',
    closes = 'local c <close> = setmetatable({}, { __close = function() error("in close") end }) return "x"',
    own = 'local co = coroutine.wrap(function() coroutine.yield(1) end) co() return "x"',
    own_fails = 'local co = coroutine.wrap(function() error("inner") end) co()',
    publishes = 'app:publish("x", "e", { a = 1 }) return "x"',
    spawns = 'app:spawn(function() sluice.sleep(1) end) return "x"',
    trace = 'return sluice.traceparent() and "x" or "none"', exits = 'pcall(os.exit, 3) return "x"',
  }

  -- What a client and the operator see of it.
  local function seen(guard, body, refused, more)
    local t = rehearsal.load(('local sluice = require("sluice")\nlocal app = sluice.app()\n'
      .. "app:stream('/s/:id', %s function(req)\n%s\nend)\n%s\nreturn app")
      :format(guard, body, more or ""))
    if refused then t.server.open = function() return false, "there is no memory", "ENOMEM" end end
    local id = t:request("GET", "/s/1", { headers = { Cookie = "a=b" } })
    t:advance(2)
    local answer = t:answer(id)
    assert.is_nil(t.runtime.scheduler.current)
    assert.same({}, t.runtime.opening)
    local log = {}
    for _, line in ipairs(rehearsal.lines()) do
      log[#log + 1] = ("%s %s\n%s"):format(line.level, line.message, line.fields and line.fields.traceback)
    end
    local client = answer.client and t.runtime.server:client(answer.client)
    local text = (answer.body or ""):gsub("%w+%-%d+", "ID"):gsub("retry: %d+", "retry"):gsub('"client":"[^"]+"', "")
    return { status = answer.status, text = text, channels = client and client.channels,
      user = client and client.user, log = log, published = #t.server.published, errors = t.runtime.errors_total,
      fibers = t.runtime.scheduler.count, running = t.runtime.generation.running }
  end

  for name, body in pairs(BODIES) do
    it("does the same as one with a guard: " .. name, function()
      local alone = seen("", body)
      rehearsal.stop()
      local guarded = seen("function() return true end,", body)
      assert.same(guarded, alone)
    end)
  end

  it("opens a stream", function()
    assert.same({ "x", "y" }, seen("", BODIES.table).channels)
  end)

  for what, more in pairs({ ["what a timer publishes first"] =
      'app:every(5, { while_subscribed = "x" }, function() app:publish("x", "tick", { a = 1 }) end)',
    ["a rule for readers"] = 'app:channel("y", { read = function() return false end })' }) do
    it("minds " .. what, function()
      local alone = seen("", BODIES.table, false, more)
      rehearsal.stop()
      assert.same(seen("function() return true end,", BODIES.table, false, more), alone)
      assert.are_not.same(alone, seen("", BODIES.table))
    end)
  end

  it("is told of a refusal", function()
    local alone = seen("", BODIES.table, true)
    rehearsal.stop()
    assert.same(seen("function() return true end,", BODIES.table, true), alone)
    assert.matches("event: bye", alone.text)
  end)

  it("keeps nothing of a generation that is gone", function()
    local t = rehearsal.serve([[
      local app = require("sluice").app()
      app:stream("/s", function() return "x" end)
      return app]])
    assert(t:connect("/s"))
    assert.is_nil(t.runtime.scheduler.spare_plan.generation)
    local before = setmetatable({ t.runtime.generation }, { __mode = "v" })
    t:reload()
    t:look()
    t:advance(1)
    for _ = 1, 3 do collectgarbage() end
    assert.is_nil(before[1])
    assert(t:connect("/s"))
  end)

  it("that could not wait for a client to read is not woken when that reads", function()
    local t = rehearsal.load([[
      local sluice = require("sluice")
      local app = sluice.app()
      local reader
      app:on("connect", function(c) if c.path == "/slow" then reader = c end end)
      app:stream("/slow", "slow")
      app:stream("/full", function()
        local function send() reader:send("e", ("y"):rep(4000)) end
        local sent, message
        repeat sent, message = pcall(function() ("x"):gsub("x", send) end) until not sent
        return message:find("inside string.gsub cannot wait") and "x" or error(message)
      end)
      app:stream("/waits", function() sluice.sleep(1) return "x" end)
      app:post("/send", function() reader:send("late", {}) return "sent" end)
      return app]])
    local slow = t.streams[t:connect("/slow")]
    slow.pump = function() return false end
    local full = t:connect("/full")
    if not full then error(table.concat(rehearsal.logged("error"), "\n")) end
    local post = t:request("POST", "/send")
    t:advance(1)
    slow.pump = nil
    t:advance(2)
    assert.equal("sent", t:answer(post).body)
    local waits = t:request("GET", "/waits")
    t:advance(2)
    assert.truthy(t:answer(waits).client)
    assert.same({ 0, {} }, { t.runtime.scheduler.count, t.runtime.opening })
    assert.same({}, rehearsal.logged("error"))
  end)

  it("closes what its function has left when that failed, or returned what is no plan", function()
    local LEFT = [[
      local co = coroutine.wrap(function()
        local c <close> = setmetatable({}, { __close = function()
          app:publish("x", "closed", { trace = sluice.traceparent() or "none" })
        end })
        coroutine.yield()
      end)
      co()
    ]]
    for _, ends in ipairs { 'error("broken")', "return 7.5", 'return { "x" }', 'return "x"' } do
      local alone = seen("", LEFT .. ends)
      rehearsal.stop()
      assert.same(seen("function() return true end,", LEFT .. ends), alone)
      assert.equal(ends == 'return "x"' and 0 or 1, alone.published)
    end
  end)

  it("is ended when its client goes while it waits", function()
    local t = rehearsal.load([[
      local sluice = require("sluice")
      local app = sluice.app()
      local closed = app:state("closed", { n = 0 })
      app:stream("/s", function()
        local c <close> = setmetatable({}, { __close = function() closed().n = closed().n + 1 end })
        sluice.sleep(5)
        return "x"
      end)
      app:get("/closed", function() return tostring(closed().n) end)
      return app]])
    local id = t:request("GET", "/s")
    assert.equal(1, t.runtime.scheduler.count)
    t:hang_up(id)
    assert.equal(0, t.runtime.scheduler.count)
    assert.same({}, t.runtime.opening)
    assert.equal("1", t:get("/closed").body)
  end)
end)
