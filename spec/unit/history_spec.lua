--- Pages of durable logs, one case each: what the property test draws at random is
--- spec/property/stored.lua.
local eventstream = require("sluice.eventstream")
local support = require("spec.support.sim")
local testing = require("sluice.core.testing")

local HELD = 2
local RULES = {
  { pattern = "log/*", history = 100, durable = true },
  { pattern = "box", history = 100, durable = true, key = "k", rewind = "latest" },
  { pattern = "plain", history = 100 },
}

local function row(seq, key) return { seq = seq, name = "message", data = "d" .. seq, key = key } end

local function rows(first, last)
  local list = {}
  for seq = first, last do list[#list + 1] = row(seq) end
  return list
end

describe("pages of a durable log", function()
  local sim, streams, now

  local function start(rules)
    sim = testing.sim(1, 1, false, HELD, ("a"):rep(13), 1000)
    sim:policies(rules or RULES)
    sim:drain(1)
    now = 0
    sim:now(now)
    sim:restore("log/a", 10, 100, {})
    sim:restore("log/b", 10, 100, {})
    sim:restore("box", 10, 100, { row(5, "x"), row(60, "y") })
  end

  before_each(function()
    streams = {}
    start()
  end)

  after_each(function()
    for _, stream in ipairs(streams) do stream:close() end
    sim:close()
    collectgarbage()
    assert.equal(0, testing.alive().frames)
  end)

  local function open(last, channels, options)
    local plan = { channels = channels or { { "log/a" } } }
    for name, value in pairs(options or {}) do plan[name] = value end
    local stream = assert(sim:connect(1, plan, last and ("a"):rep(13) .. "-" .. last))
    streams[#streams + 1] = stream
    sim:flush(1)
    return stream
  end

  --- What it was sent since: "name id", without the epoch.
  local function taken(stream)
    repeat until not sim:flush(1)
    local list = {}
    for _, event in ipairs((eventstream.new():feed((stream:take())))) do
      local said = event.event == "message" and event.data or event.event
      if event.data:find('"resumed":true', 1, true) then said = said .. " true" end
      if event.event == "reset" then said = said .. " " .. event.data:match('"reason":"([^"]+)"') end
      if not support.is_opened(stream, event) then list[#list + 1] = said end
    end
    return table.concat(list, ", ")
  end

  local function answer(list, floor, given, place)
    local pages = sim:pages(1)
    sim:answer(1, pages[#pages].id, list, floor or 10, given or pages[#pages].upto, place)
  end

  it("asks for what follows the reader's place, up to what memory holds", function()
    local stream = open(40)
    assert.equal("", taken(stream))
    local page = sim:pages(1)[1]
    assert.same({ "log/a", 40, 100 }, { page.channel, page.above, page.upto })
    answer(rows(41, 43), 10, 43)
    assert.equal("hello true, d41, d42, d43", taken(stream))
    assert.equal(43, sim:pages(1)[1].above)
    answer(rows(99, 100))
    assert.equal("d99, d100", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("asks for nothing when the ring has it", function()
    open(100)
    assert.is_false(sim:paging(1))
  end)

  it("asks where the newest n begin, and says so in hello", function()
    local stream = open(nil, { { "log/a", rewind = 20 }, { "plain" } })
    sim:publish("plain", "message", "now")
    sim:drain(1)
    assert.equal("", taken(stream))
    local page = sim:pages(1)[1]
    assert.same({ "log/a", 20, 1000 }, { page.channel, page.newest, page.joined })
    answer(rows(81, 82), 10, 82, 80)
    sim:flush(1)
    local bytes = stream:take()
    assert.truthy(bytes:find("id: " .. ("a"):rep(13) .. "-80\n\n", 1, true), bytes)
    assert.truthy(bytes:find("data: d82\n", 1, true))
    page = sim:pages(1)[1]
    assert.same({ 82, 0 }, { page.above, page.newest })
    answer(rows(83, 84))
    assert.equal("d83, d84, now, sync", taken(stream)) -- its hello was taken before
    assert.is_false(sim:paging(1))
  end)

  it("asks where all begins, and resets nobody for what went before", function()
    local stream = open(nil, { { "log/a", rewind = "all" } })
    local page = sim:pages(1)[1]
    assert.equal(1000, page.joined)
    answer(rows(31, 32), 30, 32, 30)
    assert.equal("hello, d31, d32", taken(stream))
    answer(rows(33, 34), 32, 100, 30)
    assert.equal("d33, d34", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("gives a plain stream all that is left, too", function()
    local stream = open(nil, { { "log/a", rewind = "all" } }, { control = false })
    answer(rows(31, 32), 30, 100, 30)
    assert.equal("d31, d32", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("resets a newcomer for what goes after its place was said", function()
    local stream = open(nil, { { "log/a", rewind = "all" } })
    answer(rows(31, 32), 30, 32, 30)
    assert.equal("hello, d31, d32", taken(stream))
    answer(rows(51, 52), 50, 100)
    assert.equal("reset trimmed, d51, d52", taken(stream))
  end)

  it("ends when the log is durable no more: what only the store has is told", function()
    local stream = open(40)
    assert.equal("", taken(stream))
    sim:policies { { pattern = "log/*", history = 100 } }
    sim:drain(1)
    sim:publish("log/a", "message", "after")
    sim:drain(1)
    assert.equal("hello, reset trimmed, after", taken(stream))
    answer(rows(41, 43), 10, 43)
    assert.equal("", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("ends with a keyed log, too: the newest of each key follows", function()
    local stream = open(40, { { "box" } })
    assert.equal("", taken(stream))
    sim:policies { { pattern = "box", history = 100, key = "k", rewind = "latest" } }
    sim:drain(1)
    assert.equal("hello, reset trimmed, d5, d60, sync", taken(stream))
  end)

  it("ends for a newcomer without a word: it begins with what memory has", function()
    local stream = open(nil, { { "log/a", rewind = 20 } })
    sim:policies { { pattern = "log/*", history = 100 } }
    sim:drain(1)
    sim:publish("log/a", "message", "after")
    sim:drain(1)
    assert.equal("hello, after", taken(stream))
  end)

  it("ends for a newcomer with a reset for what came meanwhile, and memory has no more", function()
    local stream = open(nil, { { "log/a", rewind = 20 } })
    local n = testing.limits.backlog_events + 1
    for i = 1, n do
      sim:group { { "log/a", "message", "while " .. i, "", false } }
      sim:release()
      sim:drain(1)
    end
    sim:policies { { pattern = "log/*", history = 100 } }
    sim:drain(1)
    local list = taken(stream)
    assert.equal("hello, reset trimmed, while ", list:sub(1, 28))
    assert.equal("while " .. n, list:match("[^,]*$"):sub(2))
  end)

  it("stays with a log that becomes keyed, or was it: its rows stay, and a newcomer's place", function()
    local keyed = { pattern = "log/*", history = 100, durable = true, rewind = "latest", key = "k" }
    local reader, newcomer = open(40), open(nil, { { "log/a", rewind = 20 } })
    sim:policies { keyed }
    sim:drain(1)
    assert.equal("", taken(reader))
    assert.equal("", taken(newcomer))
    for _, page in ipairs(sim:pages(1)) do
      local place = page.newest > 0 and 80 or nil
      sim:answer(1, page.id, rows(place and 81 or 99, 100), 10, 100, place)
    end
    assert.equal("hello true, d99, d100", taken(reader))
    local bytes = (function() sim:flush(1) return newcomer:take() end)()
    assert.truthy(bytes:find("id: " .. ("a"):rep(13) .. "-80\n\n", 1, true), bytes)
    assert.falsy(bytes:find("reset", 1, true))
    assert.is_false(sim:paging(1))
  end)

  it("passes no place that is not known yet with the id of another log's reset", function()
    local function rules(rewind)
      return { RULES[1], { pattern = "key", history = 100, durable = true, key = "k", rewind = rewind } }
    end
    sim:policies(rules("latest"))
    sim:drain(1)
    sim:restore("key", 10, 100, { row(95, "y") })
    local stream = open(nil, { { "log/a", rewind = 20 }, { "key" } })
    sim:policies(rules(0))
    sim:drain(1)
    assert.equal("", taken(stream))
    answer(rows(81, 100), 10, 100, 80)
    sim:flush(1)
    local bytes = stream:take()
    local hello, reset = bytes:match("^(.-)\nevent: reset(.-\n\n)")
    assert.truthy(hello and hello:find("id: " .. ("a"):rep(13) .. "-80\n", 1, true), bytes)
    assert.falsy(reset:find("\nid: ", 1, true), bytes)
    assert.truthy(bytes:find("data: d81\n", 1, true))
  end)

  it("asks for no place when memory has the newest n", function()
    for i = 1, 2 do sim:group({ { "log/a", "message", "new" .. i, "", false } }) sim:release() end
    sim:drain(1)
    assert.equal("hello, new1, new2", taken(open(nil, { { "log/a", rewind = 2 } })))
    assert.is_false(sim:paging(1))
  end)

  it("begins with what memory has when the store cannot say where", function()
    local stream = open(nil, { { "log/a", rewind = 20 } })
    for _ = 1, 20 do
      sim:answer(1, sim:pages(1)[1].id)
      now = now + 500
      sim:now(now)
      sim:flush(1)
    end
    assert.equal("hello, reset trimmed", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("begins without a channel that was left before its place was known", function()
    local stream = open(nil, { { "log/a", rewind = 20 }, { "plain" } })
    stream:unsubscribe("log/a")
    assert.equal("hello", taken(stream))
    answer(rows(81, 82), 10, 82, 80)
    assert.equal("", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("ends a stream that does not know its place yet, behind its hello", function()
    local stream = open(nil, { { "log/a", rewind = 20 } })
    stream:bye("drain")
    assert.equal("", taken(stream))
    answer(rows(81, 82), 10, 82, 80)
    assert.equal("hello, bye", taken(stream))
  end)

  for rewind, first in pairs { all = 11, [20] = 81 } do
    it("brings a log that joins an open stream its history, rewind = " .. rewind, function()
      local stream = open(nil, { { "plain" } })
      assert.equal("hello", taken(stream))
      stream:subscribe { "log/a", rewind = rewind }
      sim:publish("plain", "message", "now")
      sim:drain(1)
      assert.equal("", taken(stream))
      answer(rows(first, first + 1), 10, first + 1, rewind ~= "all" and first - 1 or nil)
      sim:flush(1)
      local bytes = stream:take()
      assert.truthy(bytes:find("data: d" .. first, 1, true))
      assert.falsy(bytes:find("id:", 1, true))
      answer(rows(first + 2, first + 2))
      assert.equal(("d%d, sync, now"):format(first + 2), taken(stream))
      assert.is_false(sim:paging(1))
    end)
  end

  it("waits to hear where a log that joins begins, though a slow reader keeps all of it in memory", function()
    local slow, stream = open(nil, { { "log/new" } }), open(nil, { { "plain" } })
    slow:stall(true)
    local list = {}
    for i = 1, 4 do
      list[i] = row(sim:group({ { "log/new", "message", "new" .. i, "", false } }))
      sim:release()
      sim:drain(1)
      sim:flush(1)
    end
    stream:subscribe { "log/new", rewind = 3 }
    assert.equal("hello", taken(stream))
    answer({ list[2], list[3], list[4] }, 1000, nil, list[2].seq - 1)
    assert.equal("new2, new3, new4, sync", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("keeps the history of a log that joined for no stream that ends", function()
    local stream = open(nil, { { "plain" } })
    taken(stream)
    stream:subscribe { "log/a", rewind = "all" }
    assert.equal("", taken(stream))
    stream:bye("drain")
    assert.equal("bye", taken(stream))
    answer(rows(11, 12))
  end)

  it("lets no event of another log pass a page that is under way", function()
    local stream = open(98, { { "log/a" }, { "log/b" } })
    taken(stream)
    answer({ row(100) })
    assert.equal("", taken(stream))
    answer({ row(99) })
    assert.equal("hello true, d99, d100", taken(stream))
  end)

  it("delivers what is live to others meanwhile", function()
    local behind, live = open(40), open(nil, { { "plain" } })
    taken(live)
    sim:publish("plain", "message", "now")
    sim:drain(1)
    assert.equal("now", taken(live))
    assert.equal("", taken(behind))
  end)

  it("sends a reset when the store has deleted more, and nothing at or below its floor", function()
    local stream = open(40)
    answer(rows(45, 60), 50)
    assert.equal("hello, reset trimmed, d51, d52, d53, d54, d55, d56, d57, d58, d59, d60", taken(stream))
  end)

  it("sends one reset, not two, to who comes back from below a floor that has risen unheard", function()
    local stream = open(5)
    assert.equal("hello, reset trimmed", taken(stream))
    answer(rows(51, 52), 50, 52)
    assert.equal("d51, d52", taken(stream))
    answer(rows(71, 72), 70, 100) -- that went while it read
    assert.equal("reset trimmed, d71, d72", taken(stream))
  end)

  it("sends a second one for what came after it, and went before it was read", function()
    local stream = open(5)
    taken(stream)
    for i = 1, 3 do sim:publish("log/a", "message", "new" .. i) end
    sim:drain(1)
    answer({}, 1001)
    assert.equal("reset trimmed, new2, new3", taken(stream))
  end)

  it("breaks a plain stream off there", function()
    local stream = open(40, nil, { control = false })
    assert.equal("", (stream:take()))
    answer(rows(51, 60), 50)
    sim:flush(1)
    local bytes, ended = stream:take()
    assert.equal(":ok\nretry: 2500\n\n", bytes)
    assert.equal("drop", ended)
  end)

  it("replays the newest per key after a reset of a keyed log", function()
    local stream = open(40, { { "box", rewind = "all" } })
    answer({}, 100)
    assert.equal("hello, reset trimmed, d5, d60, sync", taken(stream))
  end)

  it("brings a newcomer the newest per key without a page", function()
    assert.equal("hello, d5, d60", taken(open(nil, { { "box" } })))
    assert.is_false(sim:paging(1))
  end)

  it("asks from its new place at once when a reset has moved it past the page that comes", function()
    local stream = open(40)
    local kept = rows(99, 100)
    sim:fills { { channel = "log/a", floor = 60, upto = 1000, last = 100, gone = 98, marked = 0, rows = kept } }
    sim:drain(1)
    assert.equal("", taken(stream))
    answer({}, 60, 60)
    sim:flush(1)
    assert.equal(60, sim:pages(1)[1].above)
    answer({}, 60, 98)
    assert.equal("hello, reset slow, d99, d100", taken(stream))
  end)

  it("asks again after an error, and gives up with a reset", function()
    local stream = open(40)
    taken(stream)
    local tries = 0
    while #sim:pages(1) > 0 do
      tries = tries + 1
      sim:answer(1, sim:pages(1)[1].id)
      sim:flush(1)
      assert.equal(0, #sim:pages(1))
      now = now + 500
      sim:now(now)
      sim:flush(1)
    end
    assert.equal(20, tries)
    assert.equal("hello, reset trimmed", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("takes an answer that brings nothing further for an error", function()
    open(40)
    answer({}, 10, 40)
    sim:flush(1)
    assert.equal(0, #sim:pages(1))
    assert.is_true(sim:paging(1))
  end)

  it("ends with the stream, the page still under way", function()
    local stream = open(40)
    stream:close()
    streams = {}
    assert.is_true(sim:paging(1))
    answer(rows(41, 50))
    assert.is_false(sim:paging(1))
  end)

  it("gives its turn back when it ends before all places are known", function()
    local stream = open(nil, { { "log/a", rewind = 20 }, { "log/b", rewind = 20 } })
    stream:bye("denied")
    assert.equal("bye", taken(stream))
    answer(rows(81, 82), 10, 82, 80)
    assert.equal("", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("goes on without a channel that was left meanwhile", function()
    local stream = open(98, { { "log/a" }, { "plain" } })
    taken(stream)
    sim:publish("plain", "message", "later")
    sim:drain(1)
    assert.equal("", taken(stream))
    stream:unsubscribe("log/a")
    assert.equal("later", taken(stream))
    answer({ row(99) })
    assert.equal("", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("sends what the filter of the moment wants", function()
    local stream = open(40)
    taken(stream)
    stream:filter(nil, { "k" })
    answer({ row(41), row(42, "k"), row(43) })
    assert.equal("hello true, d42", taken(stream))
  end)

  it("goes back for no newest value that a filter wants only now", function()
    local stream = open(5, { { "log/a", keys = { "y" } }, { "box", keys = { "y" } } })
    assert.equal("hello, reset trimmed, reset trimmed", taken(stream))
    answer({}, 10, 20)
    assert.equal("", taken(stream))
    stream:filter(nil, { "x", "y" })
    answer({}, 10, 100)
    assert.equal("d60", taken(stream))
  end)

  it("gives the page up while the socket is full, and asks again", function()
    local stream = open(nil, { { "log/a", rewind = "all" } })
    taken(stream)
    stream:stall(true)
    answer(rows(11, 12), 10, 12)
    sim:flush(1)
    local pages = sim:pages(1)
    if pages[1] then answer(rows(13, 14)) end
    assert.is_false(sim:paging(1))
    stream:stall(false)
    sim:flush(1)
    assert.is_true(sim:paging(1))
  end)

  for name, rules in pairs {
    ["a log in memory"] = { { pattern = "log/*", history = 100 }, RULES[2], RULES[3] },
    ["a state"] = { { pattern = "log/*", history = "latest", durable = true }, RULES[2], RULES[3] },
  } do
    it("says what is lost when the channel becomes " .. name .. ", the page under way", function()
      local stream = open(40)
      taken(stream)
      sim:policies(rules)
      sim:drain(1)
      assert.truthy(taken(stream):find("^hello, reset"))
      answer(rows(41, 50))
      assert.equal("", taken(stream))
      assert.is_false(sim:paging(1))
    end)
  end

  it("ends for good only after all that was released", function()
    local stream = open(98)
    taken(stream)
    stream:bye("stop")
    assert.equal("", taken(stream))
    answer(rows(99, 100))
    assert.equal("hello true, d99, d100, bye", taken(stream))
  end)

  it("ends at its cursor when its client comes back for the rest", function()
    local stream = open(90)
    answer(rows(91, 92), 10, 92)
    assert.equal("hello true, d91, d92", taken(stream))
    stream:bye("drain")
    assert.equal("bye", taken(stream))
    answer(rows(93, 100))
  end)

  it("says in one hello whether any of several logs misses something", function()
    for b_floor, said in pairs { [10] = "hello true", [60] = "hello, reset trimmed" } do
      local stream = open(40, { { "log/a" }, { "log/b" } })
      for _ = 1, 2 do
        assert.equal("", taken(stream))
        local pages = sim:pages(1)
        local page = pages[#pages]
        answer({}, page.channel == "log/b" and b_floor or 10)
      end
      assert.equal(said, taken(stream))
      assert.is_false(sim:paging(1))
    end
  end)

  it("does not wait with a hello that says that something is missing anyway", function()
    local stream = open(5)
    assert.equal("hello, reset trimmed", taken(stream))
    answer(rows(11, 12))
  end)

  it("says hello without a log that was left while its page was under way", function()
    local stream = open(40, { { "log/a" }, { "log/b" } })
    local left = sim:pages(1)[1].channel
    stream:unsubscribe(left)
    answer({}, 60)
    assert.equal("", taken(stream))
    assert.not_equal(left, sim:pages(1)[1].channel)
    answer({})
    assert.equal("hello true", taken(stream))
    assert.is_false(sim:paging(1))
  end)

  it("has 64 turns a thread, which go round", function()
    for _ = 1, 70 do open(40) end
    assert.equal(64, #sim:pages(1))
    answer(rows(41, 42), 10, 42)
    sim:flush(1)
    assert.equal(64, #sim:pages(1))
    for _ = 1, 200 do
      if #sim:pages(1) == 0 then break end
      answer({})
      sim:flush(1)
    end
    assert.is_false(sim:paging(1))
  end)
end)

describe("a later run", function()
  it("says restart for what was in memory, and resumes what is stored", function()
    local sim = testing.sim(1, 1, false, HELD, ("a"):rep(13), 1000)
    sim:policies(RULES)
    sim:drain(1)
    sim:restore("log/a", 10, 100, {})
    local stream = assert(sim:connect(1, { channels = { { "plain" }, { "log/a" } } }, ("a"):rep(13) .. "-100"))
    sim:flush(1)
    local bytes = stream:take()
    assert.truthy(bytes:find('"channel":"plain","reason":"restart"', 1, true))
    assert.falsy(bytes:find('"channel":"log/a"', 1, true))
    stream:close()
    sim:close()
  end)

  it("says restart for what was in memory, also when its channel falls to a durable pattern", function()
    local memory = { pattern = "log/m", history = 100, durable = false }
    local sim = testing.sim(1, 1, false, HELD, ("a"):rep(13), 1000)
    sim:policies { RULES[1], memory }
    sim:drain(1)
    sim:restore_pattern("log/*", 0)
    sim:policies { RULES[1] }
    sim:drain(1)
    local stream = assert(sim:connect(1, { channels = { { "log/m" } } }, ("a"):rep(13) .. "-100"))
    sim:flush(1)
    local bytes = stream:take()
    assert.truthy(bytes:find('"channel":"log/m","reason":"restart"', 1, true), bytes)
    stream:close()
    sim:close()
  end)
end)
