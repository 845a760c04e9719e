--- csrc/store/convert.c, retain.c and reader.c: what becomes of a channel when the app changes, what
--- goes when it is full or old, and pages of what is left.
local stored = require("spec.support.stored")

local before, disk, s

local function open(policies, begin)
  s = assert(stored.open({ disk = disk }, policies, begin))
  return s
end

local function reopen(policies, names)
  s:close()
  local changes = {}
  for _, name in ipairs(names or {}) do changes[#changes + 1] = { name = name, newest = 0 } end
  return open(policies, { changes = changes })
end

--- Change the app; 'changes' of memory channels that become durable.
local function convert(policies, changes)
  local answer, seq = s:ask { kind = "convert", policies = policies, changes = changes or {} }
  assert.equal("stored", answer)
  return seq
end

local function fill(channel, n, more)
  local seqs = {}
  for i = 1, n do
    local op = {}
    for k, v in pairs(more or {}) do op[k] = v end
    op.key = op.key or "k" .. i
    seqs[i] = select(2, s:publish(channel, "e" .. i, op))
  end
  return seqs
end

before_each(function()
  stored.at(1000000)
  before = before or stored.alive()
  disk = stored.disk(1)
end)

after_each(function()
  s:close()
  s = nil
  disk:close()
  assert.same(before, stored.alive())
end)

describe("a conversion", function()
  it("from durable to memory deletes rows and newest values, and keeps the floor", function()
    open { a = { kind = "keyed", durable = true } }
    local seqs = fill("a", 3)
    convert { a = { kind = "keyed" } }
    assert.same({ {}, {} }, { s:history("a"), s:newest("a") })
    assert.equal(seqs[3], s:channel("a").floor)
    assert.equal("not durable", (s:publish("a", "x")))
    convert({ a = { kind = "keyed", durable = true } }, { { name = "a", kind = "keyed", newest = seqs[3] + 5 } })
    assert.same({ {}, seqs[3] + 5 }, { s:history("a") })
  end)

  it("from memory to durable takes the live values and sets the floor to the newest number", function()
    open { a = { kind = "state" } }
    local lives = { { seq = 7, key = "x", data = "1" }, { seq = 9, key = "y", data = "2" } }
    convert({ a = { kind = "state", durable = true } }, { { name = "a", kind = "state", newest = 9, lives = lives } })
    assert.same({ x = "1", y = "2" }, s:newest("a"))
    assert.equal(9, s:channel("a").floor)
    s:publish("a", "3", { key = "x" })
    reopen({ a = { kind = "state", durable = true } })
    assert.same({ x = "3", y = "2" }, s:newest("a"))
  end)

  it("between log and keyed log finds the newest values in the rows", function()
    open { a = { durable = true } }
    fill("a", 2, { key = "x" })
    s:publish("a", "other", { key = "y" })
    s:publish("a", "-", { key = "y", remove = true })
    convert { a = { kind = "keyed", durable = true } }
    assert.same({ x = "e2" }, s:newest("a"))
    assert.equal(4, #s:history("a"))
    convert { a = { durable = true } }
    assert.same({}, s:newest("a"))
    assert.equal(4, #s:history("a"))
  end)

  it("limits the newest values that it finds by what the channel becomes", function()
    open { a = { durable = true, keys = 1 } }
    fill("a", 3)
    convert { a = { kind = "keyed", durable = true, keys = 2 } }
    assert.same({ k2 = "e2", k3 = "e3" }, s:newest("a"))
    reopen({ a = { durable = true, keys = 1 } }, { "a" })
    reopen({ a = { kind = "keyed", durable = true, keys = 5 } }, { "a" })
    assert.same({ k1 = "e1", k2 = "e2", k3 = "e3" }, s:newest("a"))
  end)

  it("raises the floor of a durable pattern, and never that of a channel", function()
    local both = { ["p/*"] = { durable = true }, a = { durable = true } }
    open(both, { changes = { { name = "p/*", newest = 0 }, { name = "a", newest = 0 } } })
    fill("a", 1)
    convert(both, { { name = "p/*", newest = 70 }, { name = "a", newest = 80 } })
    assert.same({ 70, { "e1" } }, { s:channel("p/*").floor, (s:history("a")) })
  end)

  it("between log and state keeps nothing but the floor", function()
    open { a = { durable = true } }
    local seqs = fill("a", 2)
    convert { a = { kind = "state", durable = true } }
    assert.same({ {}, seqs[2] }, { s:history("a") })
    s:publish("a", "v", { key = "x" })
    convert { a = { durable = true } }
    assert.same({ {}, seqs[2], {} }, { s:history("a", 0), seqs[2], s:newest("a") })
    assert.equal(seqs[2], s:channel("a").floor)
  end)

  it("is a group of its own, and what is queued behind it is judged by it", function()
    open { a = { durable = true }, b = {} }
    local first = s:event("a", "1")
    local change = s:submit { kind = "convert", policies = { a = {}, b = { durable = true } },
      changes = { { name = "b", newest = 5 } } }
    local second, third = s:event("a", "2"), s:event("b", "3")
    s:run()
    assert.same({ "stored", "stored", "not durable", "stored" },
      { s.answers[first], s.answers[change], s.answers[second], s.answers[third] })
    assert.is_true(s.seqs[first] < s.seqs[change] and s.seqs[change] < s.seqs[third])
  end)

  it("that fails changes nothing", function()
    open { a = { durable = true } }
    fill("a", 2)
    disk:set("limit", 1)
    local answer = s:ask { kind = "convert", policies = { a = {} }, changes = {} }
    disk:set("limit", 0)
    assert.equal("failed", answer)
    assert.same({ "e1", "e2" }, s:history("a"))
    assert.equal("stored", (s:publish("a", "e3")))
  end)

  it("of what the app changed while it was away happens at the start, with its first number", function()
    open { a = { durable = true }, b = {}, c = { kind = "state", durable = true } }
    fill("a", 3)
    fill("c", 3)
    local durable = { durable = true }
    reopen({ a = {}, b = durable, c = { kind = "keyed", durable = true } }, { "b", "c" })
    assert.is_false(s:channel("a").durable)
    assert.equal(s.start.first, s:channel("b").floor)
    assert.same({ "keyed", {} }, { s:channel("c").kind, s:newest("c") })
    local first = s.start.first
    reopen({ a = durable, b = durable, c = { kind = "keyed", durable = true } }, { "a", "b", "c" })
    assert.same({ {}, s.start.first }, { s:history("a") })
    assert.equal(first, s:channel("b").floor)
  end)

  it("keeps since when a pattern is durable", function()
    open({ ["user/*"] = { durable = true } }, { changes = { { name = "user/*", newest = 0 } } })
    local first = s:channel("user/*").floor
    reopen({ ["user/*"] = { durable = true } }, { "user/*" })
    assert.equal(first, s:channel("user/*").floor)
  end)
end)

describe("the newest events of a log", function()
  local function recent(channel, n)
    local list = {}
    for _, row in ipairs(assert(s.raw:recent(channel, n))) do list[#list + 1] = row.data .. "@" .. row.before end
    return table.concat(list, " ")
  end

  it("come the newest first, each with the number before it", function()
    open { a = { durable = true }, b = { durable = true } }
    local seqs = fill("a", 3)
    fill("b", 1)
    assert.equal(("e3@%d e2@%d"):format(seqs[2], seqs[1]), recent("a", 2))
    assert.equal(("e3@%d e2@%d e1@0"):format(seqs[2], seqs[1]), recent("a", 9))
    assert.equal("", recent("nothing", 9))
  end)

  it("end above the floor, also when rows below it are still there", function()
    open { a = { durable = true } }
    local seqs = fill("a", 400)
    s:ask { kind = "trim", channel = "a", seq = seqs[398] }
    assert.equal(("e400@%d e399@%d"):format(seqs[399], seqs[398]), recent("a", 9))
    s:ask { kind = "trim", channel = "a", seq = seqs[400] }
    assert.equal("", recent("a", 9))
  end)

  it("end before the first damaged one", function()
    open { a = { durable = true } }
    s:publish("a", "first")
    local _, damaged = s:publish("a", "damage me")
    local seqs = fill("a", 2)
    s:close()
    disk:damage("sluice.db", (disk:read("sluice.db"):find("damage me", 1, true) - 1) * 8, 0)
    open { a = { durable = true } }
    assert.equal(("e2@%d e1@%d"):format(seqs[1], damaged), recent("a", 9))
  end)
end)

describe("retention", function()
  it("by count keeps at least the limit, and a floor that is exact", function()
    open { a = { durable = true, events = 40 } }
    local seqs = fill("a", 100)
    local list, floor = s:history("a")
    assert.is_true(#list >= 40 and #list <= 45, #list)
    assert.equal(seqs[100 - #list], floor)
    assert.equal(100 - #list, s.raw:stats().trimmed)
    reopen { a = { durable = true, events = 40 } }
    assert.same({ list, floor }, { s:history("a") })
  end)

  it("by bytes", function()
    open { a = { durable = true, bytes = 10000 } }
    for i = 1, 50 do s:publish("a", ("x"):rep(1000) .. i) end
    local list = s:history("a")
    assert.is_true(#list >= 9 and #list <= 11, #list)
  end)

  it("by age, also of channels that are quiet", function()
    open { a = { durable = true, age = 60000 }, b = { durable = true } }
    local seqs = fill("a", 3)
    fill("b", 3)
    stored.at(stored.now_us + 30000000)
    fill("a", 1)
    stored.at(stored.now_us + 31000000)
    s:run()
    assert.same({ { "e1" }, seqs[3] }, { s:history("a") })
    assert.equal(3, #s:history("b"))
    stored.at(stored.now_us + 31000000)
    s:run()
    assert.same({}, s:history("a"))
  end)

  it("never touches newest values", function()
    open { a = { kind = "keyed", durable = true, events = 2 } }
    fill("a", 10)
    local n = 0
    for _ in pairs(s:newest("a")) do n = n + 1 end
    assert.same({ 10, 2 }, { n, #s:history("a") })
  end)

  it("goes in steps when a limit is lowered", function()
    open { a = { durable = true } }
    for _ = 1, 20 do
      for i = 1, 100 do s:event("a", "e" .. i) end
      s:run()
    end
    convert { a = { durable = true, events = 10 } }
    local steps = 0
    repeat
      stored.at(stored.now_us + 1000000)
      s:run()
      steps = steps + 1
    until #s:history("a") <= 11 or steps > 50
    assert.is_true(steps > 1 and steps < 20, steps)
    assert.equal(1990, s.raw:stats().trimmed)
  end)

  it("forgets idempotency keys after a day", function()
    open { a = { durable = true } }
    for i = 1, 300 do s:event("a", "x", { idempotency = "k" .. i }) end
    s:run()
    stored.at(stored.now_us + 86401 * 1000000)
    for _ = 1, 5 do
      stored.at(stored.now_us + 60000000)
      s:run()
    end
    local commits = s.raw:stats().commits
    stored.at(stored.now_us + 600000000)
    s:run()
    assert.equal(commits, s.raw:stats().commits) -- there is no more work
  end)
end)

describe("a page", function()
  it("goes on where the one before ended, bounded in rows and bytes", function()
    open { a = { durable = true } }
    local seqs = fill("a", 10)
    local page = s:page("a", seqs[2], { rows = 3 })
    assert.same({ seqs[3], seqs[5], seqs[5], true }, { page[1].seq, page[3].seq, page.upto, page.more })
    page = s:page("a", seqs[2], { bytes = 9 })
    assert.same({ 2, true }, { #page, page.more })
    page = s:page("a", seqs[9], { rows = 3 })
    assert.same({ 1, s.raw:head(), false }, { #page, page.upto, page.more })
    assert.equal(10, #s:history("a", 0, { rows = 1 }))
  end)

  it("ends at the head that was released", function()
    open { a = { durable = true } }
    local seqs = fill("a", 3)
    local page = s:page("a", 0, { head = seqs[2] })
    assert.same({ 2, seqs[2], false }, { #page, page.upto, page.more })
  end)

  it("of a channel that has no row is empty", function()
    open {}
    local page, err = s:page("nothing", 0, { head = 5 })
    assert.same({ 0, 0, 0, 5 }, { err, #page, page.floor, page.upto })
  end)

  it("sees no group that is committed and not released", function()
    open { a = { durable = true } }
    fill("a", 1)
    s.raw:pace(1000, true)
    s:event("a", "early")
    s:run()
    assert.equal(1, #s:history("a"))
    stored.at(stored.now_us + 1000)
    s:run()
    assert.equal(2, #s:history("a"))
  end)
end)
