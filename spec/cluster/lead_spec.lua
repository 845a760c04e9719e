--- Who leads: drawn worlds in which never two do and always one does (lead_world.lua); what the scripts do with a
--- lease in a real redis-server. SEEDS=10000 runs more worlds, SEED=n repeats one.
local lead_world = require("spec.cluster.lead_world")
local redis = require("spec.support.redis")
local resp = require("spec.support.resp")
local scripts = require("sluice.core.testing_scripts")
local sim = require("sluice.testing.redis")
local testing = require("sluice.core.testing_cluster")

local FULL = os.getenv("SLUICE_SPEC_FULL")

local function hold(few, many, kind)
  local seed, wanted = tonumber(os.getenv("SEED")), tonumber(os.getenv("SEEDS"))
  local n = seed and 1 or wanted or FULL and many or few
  local first = seed or (n > few) and os.time() % 1000000 * 1000 or 1
  local problems, totals = lead_world.seeds(testing, first, first + n - 1, kind)
  assert.is_nil(problems[1] and problems[1] .. "\nrepeat it with SEED=" .. problems[1]:match("seed (%d+)"))
  return totals
end

describe("nodes in drawn worlds", function()
  it("never lead two at a time, whatever fails", function()
    local before = testing.alive()
    local totals = hold(20, 5000)
    for _, name in ipairs { "turns", "refused", "restart", "wipe" } do
      if not os.getenv("SEED") then assert.is_true(totals[name] > 0, name) end
    end
    assert.equal(before, testing.alive())
  end)

  it("are led by one again within seven seconds while the server is there", function()
    hold(20, 5000, { gentle = true })
  end)
end)

-- ---- The scripts ------------------------------------------------------------------------------

-- A server that calls are sent to; `pass` lets time go by.
local function real()
  local server = redis.start()
  return { pass = function(ms)
    local till = server:call("HGET", "sluice:{test}:m", "leadtill")
    server:call("HSET", "sluice:{test}:m", "leadtill", ("%d"):format(till - ms))
  end, call = function(...) return server:call(...) end,
  send = function(bytes) return resp.reply(server:send(bytes)) end, stop = function() server:stop() end }
end

local function simulated()
  local server, kit = sim.new {}, require("sluice.testing.resp")
  return { pass = function(ms) server.now_ms = server.now_ms + ms end,
    call = function(...) return server:call(...) end, send = function(bytes)
      return kit.reply(server:call(table.unpack((kit.words(bytes)))))
    end, stop = function() end }
end

local kinds = { simulated = simulated, real = redis.installed() and real or nil }

for name, new in pairs(kinds) do
  describe("the lease in a " .. name .. " Redis", function()
    local server, shas

    local function ask(what, args, proof)
      return scripts.answer(what, server.send(scripts.command("test", shas, what, args, proof)), #args)
    end

    local function join(slot, from)
      local j = ask("join", { slot = slot, new_epoch = "E" .. slot, label = "here", epoch = from and from.epoch,
        known = from and from.known })
      assert.equal("OK", j.answer)
      return { epoch = j.epoch, fence = j.fence, replid = j.replid, slot = slot, known = j.seq }
    end

    local function beat(p, would_lead)
      local b = ask("beat", { label = "here", would_lead = would_lead ~= false }, p)
      assert.equal("OK", b.answer)
      return b
    end

    local function publish(p, lease)
      local answer = ask("pub", { { kind = "l", channel = "c", event = "e", data = "d", token = "1", history = 9,
        ttl = 60, keys_max = 9, lease = lease } }, p)
      assert.equal("OK", answer.answer)
      return answer[1]
    end

    -- Two that have joined; the first leads.
    local function two()
      local a, b = join("a"), join("b")
      server.call("HSET", "sluice:{test}:m", "leadtill", "0")
      return a, b, beat(a)
    end

    before_each(function()
      server, shas = new(), {}
      for script, text in pairs(scripts.texts()) do shas[script] = server.call("SCRIPT", "LOAD", text) end
    end)
    after_each(function() server.stop() end)

    it("is the first one's until it ends, and rises", function()
      local a, b, first = two()
      assert.equal("a", first.leader)
      assert.equal(5000, first.left)
      assert.equal("a", beat(b).leader)
      assert.equal(first.lease, beat(a).lease)
      server.pass(5001)
      local second = beat(b)
      assert.equal("b", second.leader)
      assert.is_true(second.lease > first.lease)
      assert.equal("b", beat(a).leader)
    end)

    it("begins anew for who comes back too late, though nobody else had it", function()
      local a, _, first = two()
      server.pass(5001)
      local again = beat(a)
      assert.equal("a", again.leader)
      assert.is_true(again.lease > first.lease)
    end)

    it("lets nobody publish for it who has it no more, or not for long", function()
      local a, b, first = two()
      assert.is_true(publish(a, first.lease).seq > 0)
      assert.is_true(publish(b, first.lease).deposed)
      assert.is_true(publish(a, first.lease - 1).deposed)
      server.pass(4500)
      assert.is_true(publish(a, first.lease).deposed)
      assert.is_true(publish(a, 0).seq > 0)
      beat(a)
      assert.is_true(publish(a, first.lease).seq > 0)
    end)

    it("rests a second when it is given up", function()
      local a, b = two()
      local given = beat(a, false)
      assert.equal("", given.leader)
      assert.equal("", beat(b).leader)
      server.pass(1001)
      assert.equal("b", beat(b).leader)
    end)

    it("is nobody's for as long as it may be another one's, after a new epoch", function()
      local a, _, first = two()
      local b = join("b", { epoch = a.epoch, known = 7 }) -- the server has fallen back
      assert.not_equal(a.epoch, b.epoch)
      local none = beat(b)
      assert.equal("", none.leader)
      assert.is_true(none.left > 4000)
      server.pass(5001)
      assert.is_true(beat(b).lease > first.lease)
    end)

    it("ends no later when the server's clock was set back", function()
      local _, b = two()
      server.pass(-3600000)
      assert.is_true(beat(b).left <= 5000)
      server.pass(5001)
      assert.equal("b", beat(b).leader)
    end)
  end)
end
