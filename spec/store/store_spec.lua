--- csrc/store: what is asked of the store and what it answers, on a disk in memory.
local stored = require("spec.support.stored")

local POLICIES = {
  log = { durable = true },
  keyed = { kind = "keyed", durable = true, keys = 3 },
  state = { kind = "state", durable = true },
  memory = {},
}
local before, disk, s

local function open(begin) return assert(stored.open({ disk = disk }, POLICIES, begin)) end

local function again()
  s:close()
  s = open()
end

before_each(function()
  stored.at(1000000)
  before = before or stored.alive()
  disk = stored.disk(1)
  s = open()
end)

after_each(function()
  s = s and s:close() -- luacheck: ignore
  disk:close()
  assert.same(before, stored.alive())
end)

describe("a store", function()
  it("has its epoch for ever, and begins each run far above the one before", function()
    local first = s.start
    assert.truthy(first.epoch:find("^[a-z2-7]+$"))
    assert.same({ 13, 0, true, false }, { #first.epoch, first.first, first.new, first.clean })
    local answer, seq = s:publish("log", "a")
    assert.equal("stored", answer)
    again()
    assert.same({ epoch = first.epoch, first = seq + (1 << 40), new = false, clean = true }, s.start)
  end)

  it("numbers a group above the gap and answers after the release", function()
    local one, two = s:event("log", "a"), s:event("log", "b")
    s:run()
    local order = {}
    for _, e in ipairs(s.log) do order[#order + 1] = e[1] end
    assert.same({ "open", "release", "release", "done", "done" }, order)
    assert.same({ (1 << 24) + 1, (1 << 24) + 2 }, { s.seqs[one], s.seqs[two] })
  end)

  it("keeps data as it is, any bytes", function()
    local data = "\0\255\r\n" .. ("x"):rep(70000)
    s:publish("log", data, { name = "n", key = "\0k" })
    again()
    local page = s:page("log")
    assert.same({ data, "n", "\0k" }, { page[1].data, page[1].name, page[1].key })
  end)

  it("stores a large group in the order that it came in, whatever lies between its events", function()
    local wanted = { log = {}, keyed = {} }
    local function add(channel, data, more)
      table.insert(wanted[channel], data)
      return s:event(channel, data, more)
    end
    for i = 1, 35 do add("log", "a" .. i) end -- two full statements, and three of one row each
    for i = 1, 20 do add(i % 2 == 0 and "log" or "keyed", "b" .. i, { key = i % 5 == 0 and "k" .. i or nil }) end
    s:submit { kind = "set", store = "s", key = "k", value = "v" }
    for i = 1, 17 do add("log", "c" .. i, i == 3 and { expires = 2000000 } or nil) end
    s:run()
    again()
    assert.same(wanted.log, s:history("log"))
    assert.same(wanted.keyed, s:history("keyed"))
    assert.same({ k = "v" }, s:pairs("s"))
  end)

  it("trims what was published before it in the same group", function()
    for i = 1, 5 do s:event("log", "a" .. i) end
    s:submit { kind = "trim", channel = "log", seq = 1 << 60 }
    local after = s:event("log", "b")
    s:run()
    assert.same({ "b" }, s:history("log", s:channel("log").floor))
    assert.is_true(s:channel("log").floor < s.seqs[after])
  end)

  it("hands off what is queued for a memory channel", function()
    assert.equal("not durable", (s:publish("memory", "a")))
    assert.equal("not durable", (s:publish("unknown", "a")))
    assert.equal("not durable", (s:ask { kind = "trim", channel = "memory", seq = 1 }))
  end)

  it("knows an idempotency key for a day, over restarts", function()
    local _, seq = s:publish("log", "a", { idempotency = "k" })
    local answer, same = s:publish("log", "b", { idempotency = "k" })
    assert.same({ "duplicate", seq }, { answer, same })
    again()
    assert.equal("duplicate", (s:publish("log", "b", { idempotency = "k" })))
    assert.equal("stored", (s:publish("state", "b", { idempotency = "k" })))
    stored.at(1000000 + 86400 * 1000000)
    assert.equal("stored", (s:publish("log", "c", { idempotency = "k" })))
    assert.same({ "a", "c" }, s:history("log"))
  end)

  it("stores two of one key in one group once", function()
    local one = s:event("log", "a", { idempotency = "k" })
    local two = s:event("log", "b", { idempotency = "k" })
    s:run()
    assert.same({ "stored", "duplicate", s.seqs[one] }, { s.answers[one], s.answers[two], s.seqs[two] })
  end)

  it("finds a key for a memory channel's publisher", function()
    local _, seq = s:publish("log", "a", { idempotency = "k" })
    local _, err, found = s:page("log", 0, { key = "k" })
    assert.same({ 0, seq }, { err, found })
    _, err = s:page("log", 0, { key = "other" })
    assert.equal(-2009, err)
  end)

  it("keeps the newest per key of keyed logs and states", function()
    for _, channel in ipairs { "keyed", "state" } do
      s:publish(channel, "1", { key = "a" })
      s:publish(channel, "2", { key = "b" })
      s:publish(channel, "3", { key = "a" })
      s:publish(channel, "4", { key = "a", name = "other" })
      s:publish(channel, "-", { key = "b", remove = true })
    end
    again()
    for _, channel in ipairs { "keyed", "state" } do
      local rows = {}
      for _, row in ipairs((s.raw:each("newest"))) do
        if row.channel == channel then rows[#rows + 1] = row.key .. row.name .. row.data end
      end
      assert.same({ "a3", "aother4" }, rows)
    end
    assert.same({ "1", "2", "3", "4", "-" }, s:history("keyed"))
    assert.same({}, s:history("state"))
  end)

  it("drops the oldest above max_keys", function()
    for i = 1, 5 do s:publish("keyed", "v" .. i, { key = "k" .. i }) end
    assert.same({ k3 = "v3", k4 = "v4", k5 = "v5" }, s:newest("keyed"))
  end)

  it("stores an update only while its key is there", function()
    assert.equal("no key", (s:publish("keyed", "x", { key = "a", update = true })))
    s:publish("keyed", "1", { key = "a" })
    local id = s:event("keyed", "-", { key = "a", remove = true })
    local late = s:event("keyed", "2", { key = "a", update = true })
    s:run()
    assert.same({ "stored", "no key" }, { s.answers[id], s.answers[late] })
    assert.same({}, s:newest("keyed"))
  end)

  it("keeps pairs and tasks, without numbers", function()
    assert.equal("stored", (s:ask { kind = "set", store = "users", key = "a", value = "1" }))
    s:ask { kind = "set", store = "users", key = "a", value = "2" }
    s:ask { kind = "set", store = "users", key = "b", value = "\0" }
    s:ask { kind = "set", store = "other", key = "a", value = "3" }
    s:ask { kind = "delete", store = "other", key = "a" }
    s:ask { kind = "task", id = "t1", name = "send", data = "x", due = 5 }
    s:ask { kind = "task", id = "t2", name = "send", data = "y", due = 4 }
    s:ask { kind = "done", id = "t1" }
    again()
    assert.same({ a = "2", b = "\0" }, s:pairs("users"))
    assert.same({}, s:pairs("other"))
    assert.same({ { id = "t2", name = "send", data = "y", due = 4 } }, (s.raw:each("tasks")))
    assert.same({}, s.log)
  end)

  it("trims on demand, and the floor is exact", function()
    local seqs = {}
    for i = 1, 5 do seqs[i] = select(2, s:publish("log", "e" .. i)) end
    assert.equal("stored", (s:ask { kind = "trim", channel = "log", seq = seqs[2] }))
    local list, floor = s:history("log")
    assert.same({ { "e3", "e4", "e5" }, seqs[2] }, { list, floor })
    s:ask { kind = "trim", channel = "log", seq = seqs[5] + 100 }
    assert.equal(seqs[5], s:channel("log").floor)
  end)

  it("lets memory events use the gap while a commit runs", function()
    s.raw:pace(1000)
    local id = s:event("log", "a")
    s:run()
    assert.is_nil(s.answers[id])
    assert.same({ 1, 2, 3 }, { s.raw:memory(), s.raw:memory(), s.raw:memory() })
    assert.equal(stored.now_us + 1000, s.raw:next())
    stored.at(stored.now_us + 1000)
    s:run()
    assert.equal("stored", s.answers[id])
    assert.equal((1 << 24) + 2, s.raw:memory())
  end)

  it("lets join what comes while the transaction is open, but no conversion, nor what comes behind one", function()
    s.raw:pace(1000, false, 0, true)
    local ids = { s:event("log", "a") }
    s:run()
    ids[2], ids[3] = s:submit { kind = "set", store = "kv", key = "k", value = "v" }, s:event("log", "b")
    ids[4], ids[5] = s:submit { kind = "convert", policies = POLICIES, changes = {} }, s:event("log", "c")
    local rounds = {}
    for round = 1, 3 do
      stored.at(stored.now_us + 1000)
      s:run()
      for i, id in ipairs(ids) do rounds[i] = rounds[i] or s.answers[id] == "stored" and round end
    end
    assert.same({ 1, 1, 1, 2, 3 }, rounds)
    assert.equal(s.seqs[ids[1]] + 1, s.seqs[ids[3]])
    assert.same({ "a", "b", "c" }, (s:history("log")))
  end)

  it("fails those that joined with their group", function()
    s.raw:pace(1000, false, 0, true)
    local first = s:event("log", "a")
    s:run()
    local joined = s:event("log", "b")
    disk:set("limit", 1)
    stored.at(stored.now_us + 1000)
    s:run()
    assert.same({ "failed", "failed" }, { s.answers[first], s.answers[joined] })
    disk:set("limit", 0)
    s.raw:pace(0)
    assert.equal("stored", (s:publish("log", "c")))
    assert.same({ "c" }, (s:history("log")))
  end)

  it("writes what a commit adds to its log at once, where a reader sees it before any sync", function()
    s:publish("log", "a")
    local _, steps = disk:is_dead()
    s:publish("log", "b")
    assert.equal(2, select(2, disk:is_dead()) - steps) -- a write and a sync
    s:close()
    s = assert(stored.open({ disk = disk, weak = true }, POLICIES))
    s:publish("log", "c")
    assert.same({ "a", "b", "c" }, (s:history("log")))
  end)

  it("writes the head when memory events have gone far", function()
    s.raw:memory((1 << 39) + 5)
    s.raw:tick(s.raw:head())
    s:run()
    assert.equal((1 << 39) + 5, s.raw:stats().head)
    again()
    assert.equal((1 << 39) + 5 + (1 << 40), s.start.first)
  end)

  it("adopts a running epoch and head", function()
    local other = stored.disk(2)
    local t = assert(stored.open({ disk = other }, POLICIES, { epoch = "abcdefghijklm", head = 77 }))
    assert.same({ epoch = "abcdefghijklm", first = 77, new = true, clean = false }, t.start)
    t:close()
    local _, why, code = stored.open({ disk = other }, POLICIES, { epoch = "bbcdefghijklm", head = 99 })
    assert.same({ "EINVAL", true }, { code, why:find("restart") ~= nil })
    other:close()
  end)

  it("is one writer's", function()
    local _, _, code = stored.open({ disk = disk }, POLICIES)
    assert.equal("ELOCKED", code)
  end)

  it("refuses what it cannot hold, and takes nothing after its end", function()
    s.raw:pace(1000000000)
    for _ = 1, 4096 do s:event("memory", "x") end
    local ok, _, code = s.raw:submit { kind = "event", channel = "log", data = "x" }
    assert.same({ false, "EBUSY" }, { ok ~= nil, code })
    s.raw:pace(0)
    s:run()
  end)

  it("gives everything back when it is dropped", function()
    s.raw:pace(1000)
    local flying = s:event("log", "a")
    s:run()
    local queued = s:event("log", "b")
    s:drop()
    assert.same({ "unknown", "unknown" }, { s.answers[flying], s.answers[queued] })
    disk:set("kill")
    s = open()
    assert.is_false(s.start.clean)
  end)

  it("finishes what is queued when it is closed", function()
    local id = s:event("log", "a")
    s:close()
    assert.equal("stored", s.answers[id])
    s = open()
    assert.same({ "a" }, s:history("log"))
  end)
end)
