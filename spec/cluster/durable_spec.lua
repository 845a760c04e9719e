--- What is durable in a cluster: answered when it is on the disk of Redis, or on its replicas, and refused where it
--- is not.
local deadline = require("spec.support.deadline")
local feed = require("spec.support.feed")
local liars = require("spec.support.liar")
local middle = require("spec.support.middle")
local node = require("sluice.core.testing_node")
local redis = require("spec.support.redis")

if not redis.installed() then
  describe("what is durable", function() pending(redis.NAME) end)
  return
end

local FULL = os.getenv("SLUICE_SPEC_FULL")
local ALWAYS = { appendonly = "yes", appendfsync = "always" }

describe("what is durable in a cluster", function()
  local stops, sent

  before_each(function() stops, sent = {}, 0 end)
  after_each(function()
    for i = #stops, 1, -1 do stops[i]() end
  end)

  teardown(redis.clean)

  local function start(config, power)
    local server = redis.start { tcp = true, config = config, power = power }
    stops[#stops + 1] = function() server:stop() end
    return server
  end

  local function replica_of(server)
    server:call("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    local replica = start { replicaof = "127.0.0.1 " .. server.port }
    deadline.eventually(function()
      server:call("SET", "other", "1")
      return server:call("WAIT", "1", "100") == 1
    end, 20, "the replica acknowledges")
    return replica
  end

  local One = {}
  One.__index = One

  -- One turn; its actions.
  function One:turn()
    local actions = self.node:step(2)
    if self.middle then self.middle:step() end
    for _, action in ipairs(actions) do
      if action.what == "answer" then self.answers[action.data] = action.code or "OK" end
    end
  end

  local function open(server, options, between)
    local given = { host = "127.0.0.1", port = between and between.port or server.port, name = "test" }
    for name, value in pairs(options) do given[name] = value end
    local one = setmetatable({ node = assert(node.open(given)), middle = between, answers = {} }, One)
    stops[#stops + 1] = function() one.node:close() end
    deadline.eventually(function()
      one:turn()
      return one.node:look() == "live"
    end, 10, "it is live")
    return one
  end

  function One:publish()
    sent = sent + 1
    self.node:publish("a", tostring(sent))
    return tostring(sent)
  end

  function One:answer_to(data, seconds)
    return deadline.eventually(function()
      self:turn()
      return self.answers[data]
    end, seconds or 10, "an answer")
  end

  function One:ask() return self:answer_to(self:publish()) end

  -- Until that is the answer.
  function One:asks_until(code)
    deadline.eventually(function() return self:ask() == code end, 10, code)
  end

  local function stored(server)
    local n = 0
    for _ in ipairs((server:call("XREAD", "STREAMS", "sluice:{test}:f", "0") or { { 0, {} } })[1][2]) do n = n + 1 end
    return n
  end

  it("is on the disk, or is refused", function()
    local server = start(ALWAYS)
    local one = open(server, { on_disk = true })
    assert.equal("OK", one:ask())
    server:call("CONFIG", "SET", "appendfsync", "everysec")
    one:asks_until("ESTORE")
    local before = stored(server)
    assert.equal("ESTORE", one:ask())
    assert.equal(before, stored(server)) -- nobody has it
    server:call("CONFIG", "SET", "appendfsync", "always")
    one:asks_until("OK")
  end)

  it("is refused where nobody has said how it is kept", function()
    local one = open(start(ALWAYS), {})
    assert.equal("OK", one:ask()) -- this one is not durable
    one = open(start { appendonly = "no" }, { on_disk = true })
    assert.equal("ESTORE", one:ask())
  end)

  it("is believed to be on the disk where nobody may ask, and somebody says so", function()
    local server = start(ALWAYS)
    server:call("ACL", "SETUSER", "default", "-config")
    assert.equal("ESTORE", open(server, { on_disk = true }):ask())
    assert.equal("OK", open(server, { on_disk = true, asserts_disk = true }):ask())
  end)

  it("is on so many replicas, or nobody vouches for it", function()
    local server = start()
    local one = open(server, { replicas = 1, wait_ms = math.min(2000, 300 * deadline.scale // 1) })
    assert.equal("ESTORE", one:ask())
    assert.equal(1, stored(server)) -- it came all the same
    local replica = replica_of(server)
    one:asks_until("OK")
    assert.equal(stored(server), stored(replica))
    replica.process:signal("STOP")
    assert.equal("ESTORE", one:ask())
    replica.process:signal("CONT")
    one:asks_until("OK")
    local many = {}
    for i = 1, 200 do many[i] = one:publish() end
    for _, data in ipairs(many) do assert.equal("OK", one:answer_to(data)) end
    assert.equal(stored(server), stored(replica))
  end)

  it("waits again for what was done when the connection broke", function()
    local server = start()
    replica_of(server)
    local proxy = middle.proxy(server.port)
    stops[#stops + 1] = function() proxy:shut() end
    local one = open(server, { replicas = 1, wait_ms = 2000 }, proxy)
    for _ = 1, FULL and 10 or 1 do
      proxy.swallow = "WAIT"
      local data = one:publish()
      deadline.eventually(function()
        one:turn()
        return (proxy.swallowed or 0) > 0
      end, 10, "a wait is swallowed")
      assert.is_nil(one.answers[data])
      proxy.swallow, proxy.swallowed = nil, 0
      assert.equal("OK", one:answer_to(data))
    end
  end)

  it("waits for the disk of a server that can say when it is there", function()
    local server, has = start { appendonly = "yes" }, 1
    local newer = liars.start(server)
    function newer.lie(kind, reply) return liars.say_newer(kind, reply, has) end
    stops[#stops + 1] = function() newer:shut() end
    local one = open(server, { on_disk = true, wait_ms = 100 }, newer)
    assert.equal("OK", one:ask())
    has = 0
    assert.equal("ESTORE", one:ask())
  end)

  -- What nodes were told is there is there; of how many it was said, and how many of them are gone.
  local function judge(server, answers)
    local there, acknowledged, gone = {}, 0, 0
    for _, e in ipairs(feed.events(server:call("XRANGE", "sluice:{test}:f", "-", "+"))) do there[e.data] = true end
    for data, code in pairs(answers) do
      if code == "OK" then
        acknowledged = acknowledged + 1
        if not there[data] then gone = gone + 1 end
      end
    end
    return acknowledged, gone
  end

  -- Publishes, and goes away in the middle.
  local function publish_some(one, n)
    for _ = 1, n do one:publish() end
    local answered = 0
    deadline.eventually(function()
      one:turn()
      answered = 0
      for _, code in pairs(one.answers) do answered = answered + (code == "OK" and 1 or 0) end
      return answered >= n // 3
    end, 20, "a third is answered")
  end

  describe("when the machine of Redis loses its power", function()
    it("is there, with appendfsync always", function()
      local server = start(ALWAYS, true)
      local one = open(server, { on_disk = true })
      for _ = 1, FULL and 20 or 3 do
        publish_some(one, 300)
        server:lose_power()
        server:again()
        local n, gone = judge(server, one.answers)
        assert.is_true(n >= 100)
        assert.equal(0, gone)
        one.answers = {}
        deadline.eventually(function()
          one:turn()
          return one.node:look() == "live" and next(one.answers)
        end, 10, "it goes on")
      end
    end)

    it("is there with Redis 7.2, which says what is on its disk; and what is not durable is not", function()
      local server = start({ appendonly = "yes" }, true)
      local newer = liars.start(server)
      stops[#stops + 1] = function() newer:shut() end
      function newer.lie(kind, reply)
        local has = kind == "WAITAOF" and deadline.eventually(function() return server:unsynced() == 0 end, 5) and 1
        return liars.say_newer(kind, reply, has)
      end
      local one = open(server, { on_disk = true }, newer)
      publish_some(one, 100)
      local other, told = open(server, {}), nil
      other:ask()
      deadline.eventually(function() return server:unsynced() == 0 end, 10, "a sync")
      for _ = 1, 50 do assert.equal("OK", other:ask()) end
      deadline.eventually(function()
        other:ask()
        return server:unsynced() > 0
      end, 10, "something is not on the disk")
      server:lose_power()
      server:again()
      local n, gone = judge(server, one.answers)
      assert.is_true(n >= 33)
      assert.equal(0, gone)
      n, gone = judge(server, other.answers)
      assert.is_true(n >= 50 and gone > 0, ("%d of %d are gone"):format(gone, n))
      deadline.eventually(function()
        for _, action in ipairs(other.node:step(2)) do told = told or action.what == "epoch" end
        return told
      end, 10, "a new epoch")
    end)
  end)

  it("is there when a replica takes over whose master has died", function()
    local server = start()
    local replica = replica_of(server)
    local one = open(server, { replicas = 1, wait_ms = 2000 })
    publish_some(one, 300)
    server:kill()
    replica:call("REPLICAOF", "NO", "ONE")
    local n, gone = judge(replica, one.answers)
    assert.is_true(n >= 100)
    assert.equal(0, gone)
  end)

  it("says which command its user may not run", function()
    local server = start()
    server:call("ACL", "SETUSER", "default", "-wait")
    local said
    local one = assert(node.open { host = "127.0.0.1", port = server.port, name = "test", replicas = 1 })
    deadline.eventually(function()
      for _, action in ipairs(one:step(5)) do
        if action.what == "tell" and action.why:find("wait", 1, true) then said = action.why end
      end
      return said
    end, 10, "it says so")
    one:close()
    assert.truthy(said:find("may not run wait: ACL SETUSER default +wait", 1, true), said)
  end)
end)
