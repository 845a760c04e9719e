--- The checker of machines (checker.lua) finds each thing that can be wrong in what visitors have written down, and
--- nothing in what is right.
local checker = require("spec.cluster.checker")

-- Five events in one channel, and a reader that hops behind the second.
local function history()
  local ops, log, list = {}, { { what = "connect", at = 0 }, { what = "hello", at = 0.5, id = "e-0" } }, {}
  for i = 1, 5 do
    local uid = "w-" .. i
    ops[i] = { uid = uid, lane = "w", channel = "a", node = 1, asked = i, answered = i + 0.2, result = "ok",
      id = "e-" .. i }
    log[#log + 1] = { what = "event", at = i + 0.3, channel = "a", uid = uid, id = "e-" .. i }
    list[i] = { uid = uid, id = "e-" .. i }
    if i == 2 then
      log[#log + 1] = { what = "end", at = 2.4, how = "hop" }
      log[#log + 1] = { what = "connect", at = 2.5, id = "e-2" }
      log[#log + 1] = { what = "hello", at = 2.6, id = "e-2" }
    end
  end
  return { ops = ops, readers = { { channels = { "a" }, log = log } }, lossy = {}, calm = true, short = {},
    shown = { { a = list }, { a = table.move(list, 1, 5, 1, {}) } } }
end

local function reset(input, at, reason, time)
  table.insert(input.readers[1].log, at, { what = "reset", at = time, channel = "a", reason = reason, id = "e-2" })
end

-- The n-th event is gone everywhere: Redis has lost it, at `at`, when it was the last.
local function lose_last(input, at)
  input.calm, input.lossy = false, { at }
  for _, channels in ipairs(input.shown) do table.remove(channels.a) end
end

local function drop_event(input, uid)
  local log = input.readers[1].log
  for i, one in ipairs(log) do
    if one.uid == uid then return table.remove(log, i) end
  end
end

local function words_of(found)
  local words = {}
  for word, n in pairs(found) do
    if type(n) == "number" and n > 0 and word ~= "all" then words[#words + 1] = word end
  end
  table.sort(words)
  return table.concat(words, " ")
end

local function words(input) return words_of(checker.check(input)) end

describe("the checker of machines", function()
  it("finds nothing wrong in what is right", function()
    local found = checker.check(history())
    assert.equal(0, found.all)
    assert.equal(5, found.seen.events)
    assert.equal(5, found.seen.ok)
  end)

  it("has nothing against a loss that was told", function()
    local input = history()
    reset(input, 10, "failover", 6)
    lose_last(input, 5.5)
    assert.equal("", words(input))
    assert.equal(1, checker.check(input).seen.failover)
  end)

  it("has nothing against events that come again behind another epoch", function()
    local input = history()
    input.calm = false
    reset(input, 8, "epoch", 3.4)
    local log = input.readers[1].log
    for i = 1, 2 do
      table.insert(log, 8 + i, { what = "event", at = 3.5, channel = "a", uid = "w-" .. i, id = "f-" .. i })
    end
    for i = 11, #log do log[i].id = log[i].id:gsub("e", "f") end
    assert.equal("", words(input))
  end)

  local PLANTED = {
    { "lost", "an event that one reader does not get", function(h) drop_event(h, "w-3") end },
    { "stuck", "a reader without the last one", function(h) drop_event(h, "w-5") end },
    { "missed", "an event that is not there behind a reset that takes nothing away", function(h)
      h.calm = false
      drop_event(h, "w-4")
      reset(h, 9, "failover", 4)
    end },
    { "disordered doubled", "an event that comes again", function(h)
      table.insert(h.readers[1].log, 9, { what = "event", at = 4, channel = "a", uid = "w-3", id = "e-3" })
    end },
    { "disordered lost", "two that come the other way round", function(h)
      local log = h.readers[1].log
      log[8], log[9] = log[9], log[8]
    end },
    { "twice", "an event that is stored twice", function(h)
      for _, channels in ipairs(h.shown) do table.insert(channels.a, 5, { uid = "w-5", id = "e-4" }) end
    end },
    { "disordered", "two of one writer that are stored the other way round", function(h)
      h.ops[1].uid, h.ops[2].uid = h.ops[2].uid, h.ops[1].uid
    end },
    { "vanished", "an acknowledged event that is gone, and Redis never failed", function(h)
      for _, channels in ipairs(h.shown) do table.remove(channels.a, 3) end
      drop_event(h, "w-3")
    end },
    { "untold", "an acknowledged event that is gone, without a word to who waited for it", function(h)
      reset(h, 8, "failover", 4)
      drop_event(h, "w-5")
      lose_last(h, 5.5)
    end },
    { "phantom", "an event that is gone, without a word to who has it", function(h) lose_last(h, 5.5) end },
    { "refused", "a refused event that is there", function(h) h.ops[2].result, h.ops[2].code = "no", "EBUSY" end },
    { "needless", "a reset, and nothing has failed", function(h) reset(h, 9, "failover", 4) end },
    { "divergent", "two machines that show two histories", function(h)
      h.shown[2].a[3] = { uid = "w-9", id = "e-3" }
    end },
  }
  for _, planted in ipairs(PLANTED) do
    it("finds " .. planted[2], function()
      local input = history()
      planted[3](input)
      local found = words(input)
      for word in planted[1]:gmatch("%S+") do
        assert.truthy((" " .. found .. " "):find(" " .. word .. " ", 1, true), found)
      end
    end)
  end

  -- What a reader gets of two machines, one after the other, of channels of theirs.
  local function owned(change)
    local log = { { what = "connect", at = 0, token = "m1.1" }, { what = "hello", at = 0.1 } }
    local function add(from, kind, n) log[#log + 1] = { what = "owned", at = #log, from = from, kind = kind, n = n } end
    for n = 4, 6 do
      add("m1.1", "own", n)
      add("m1.1", "load", n)
    end
    log[#log + 1] = { what = "end", at = 9, how = "hop" }
    log[#log + 1] = { what = "connect", at = 9, token = "m2.1" }
    log[#log + 1] = { what = "hello", at = 9.1 }
    add("m2.1", "load", 1)
    add("m2.1", "own", 2)
    log[#log + 1] = { what = "end", at = 12, how = "final" }
    if change then change(log) end
    return words { ops = {}, readers = { { channels = {}, log = log } }, lossy = {}, calm = true, short = {},
      shown = {}, owns = true }
  end

  it("knows what is of one machine", function()
    assert.equal("", owned())
    assert.equal("", owned(function(log) -- the reader came between own 2 and load 2
      log[13].n = 3
      table.insert(log, 13, { what = "owned", at = 12.5, from = "m2.1", kind = "load", n = 2 })
    end))
    for _, change in ipairs {
      function(log) log[3].from = "m2.1" end,
      function(log) log[5].has_id = true end,
      function(log) table.remove(log, 5) end,
      function(log) for _, i in ipairs { 7, 5, 3 } do table.remove(log, i) end end,
      function(log) table.insert(log, 6, log[5]) end,
      function(log) log[6].n = 3 end,
      function(log) table.remove(log, 12) end,
      function(log) log[13].n = 1 end,
      function(log) log[13].n = 4 end,
      function(log)
        log[13].n = 4
        table.insert(log, 13, { what = "owned", at = 12.5, from = "m2.1", kind = "load", n = 3 })
      end,
      function(log) table.insert(log, 13, { what = "owned", at = 12.5, from = "m2.1", kind = "load", n = 2 }) end,
      function(log) table.insert(log, 6, { what = "reset", at = 5, channel = "load", reason = "failover" }) end,
    } do assert.equal("foreign", owned(change)) end
  end)

  it("knows a channel that is trimmed by its numbers, and lets it be trimmed", function()
    local input = history()
    input.short, input.shown = { a = true }, {}
    drop_event(input, "w-3")
    assert.equal("lost", words(input))
    reset(input, 8, "trimmed", 3)
    assert.equal("", words(input))
  end)
end)
