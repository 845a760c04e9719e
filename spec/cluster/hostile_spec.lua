--- A Redis that lies to a node: whatever it says, once or always, the node says in one line why it believes it no more,
--- and is back when it hears the truth; nothing that was not published is released, nothing twice, and no publisher is
--- told a number that is not so.
local deadline = require("spec.support.deadline")
local feed = require("spec.support.feed")
local liars = require("spec.support.liar")
local node = require("sluice.core.testing_node")
local redis = require("spec.support.redis")
local resp = require("spec.support.resp")

if not redis.installed() then
  describe("a Redis that lies", function() pending(redis.NAME) end)
  return
end

local SENSELESS = "what Redis answers makes no sense"
local NONSENSE, LARGE = "what the server says is not Redis' protocol", "larger than any that is asked for"
local LONG = ("x"):rep(9 * 2 ^ 20 | 0)
local UNASKED = "entries of the feed that it was not asked for"

local function bytes(text) return function() return text end end

-- The reply with something else in it.
local function changed(fn)
  return function(reply)
    local copy = fn(reply)
    return copy and resp.reply(copy)
  end
end

-- Of a list, its k-th item: fn(item) in its place.
local function with(k, fn)
  return function(reply)
    if type(reply) ~= "table" or reply[k] == nil or reply.err then return nil end
    local copy = { table.unpack(reply) }
    copy[k] = fn(copy[k])
    return copy
  end
end

-- The entries of an XREAD.
local function entries(fn) return changed(with(1, with(2, fn))) end

local function entry(id, ...) return { { "sluice:{test}:f", { { id, { ... } } } } } end

-- What a load brings of its first channel: floor, last, more, cursor, history, values.
local function page(k, fn) return changed(with(5, with(k, fn))) end

local function reversed(list)
  local out = {}
  for i = #list, 1, -1 do out[#out + 1] = list[i] end
  return #list > 1 and out or nil
end

-- A line of a history or of the feed, with another number.
local function line(number) return ("%d 0 1 0  slot.9 a\0message\0\0lie"):format(number) end

-- { of what, what it says, the words of the node }
local LIES = {
  { "numbers that fall", "XREAD", function(reply)
    local list = reply and reversed(reply[1][2])
    return list and resp.reply { { "f", list } }
  end, hole = true },
  { "an entry again", "XREAD", entries(function(list) return { list[1], list[1] } end), UNASKED },
  { "an entry of long ago", "XREAD", bytes(resp.reply(entry("0-1", "log", line(1)))), UNASKED },
  { "an entry without a number", "XREAD", bytes(resp.reply(entry("1-1", "log", line(1)))), UNASKED },
  { "an entry whose number is too large", "XREAD",
    bytes(resp.reply(entry("0-99999999999999999999", "log", line(1)))), UNASKED },
  { "a feed of another shape", "XREAD", bytes(resp.reply { { "f", "x" } }), SENSELESS },
  { "a feed that is a number", "XREAD", bytes(":7\r\n"), SENSELESS },
  { "a number that was given already", "pub", changed(with(2, function() return "1" end)), SENSELESS },
  { "too few numbers", "pub", changed(function() return { "OK" } end), SENSELESS },
  { "a number that is none", "pub", changed(with(2, function() return "12x" end)), SENSELESS },
  { "a number below nothing", "pub", changed(with(2, function() return -3 end)), SENSELESS },
  { "a list for a number", "pub", changed(with(2, function() return { "1" } end)), SENSELESS },
  { "a moment before what was", "beat", changed(with(2, function() return "0" end)), SENSELESS },
  { "a beat that is a text", "beat", bytes("+OK\r\n"), SENSELESS },
  { "a beat as if it were a join", "beat",
    bytes(resp.reply { "OK", ("a"):rep(13), "f", "1", "", "1", "r", "r", "0", "1", "1" }), SENSELESS },
  { "an error that nobody knows", "beat", bytes("-WHAT is this\r\n"), "could not run a script of this node: WHAT is" },
  { "a history that falls", "load", page(5, reversed), SENSELESS, loads = true },
  { "a history of what is to come", "load", page(5, function() return { line(1 << 40) } end), SENSELESS, loads = true },
  { "an event without a number", "load", page(5, function() return { line(0) } end), SENSELESS, loads = true },
  { "a history that is garbage", "load", page(5, function() return { "\0\0\0" } end), SENSELESS, loads = true },
  { "a floor of what is to come", "load", page(1, function() return "9007199254740000" end), SENSELESS, loads = true },
  { "pages without an end", "load", changed(with(5, function() return { "0", "0", "0", "7", {}, {} } end)), SENSELESS,
    loads = true },
  { "more channels than were asked for", "load", changed(function(reply)
    return { table.unpack(reply), [#reply + 1] = reply[5], [#reply + 2] = reply[5] }
  end), SENSELESS, loads = true },
  { "an epoch that is none", "join", changed(with(2, function() return "no epoch" end)), SENSELESS, joins = true },
  { "less than it had, in the same epoch", "join", changed(with(4, function() return "0" end)), SENSELESS,
    joins = true },
  { "half of an answer", "beat", function(reply) return resp.reply(reply):sub(1, 9), "over" end,
    "the server closed the connection" },
  { "two answers to one question", "beat", function(reply) return resp.reply(reply):rep(20) end, "" },
  { "lists in lists", "beat", bytes(("*1\r\n"):rep(8) .. ":1\r\n"), LARGE },
  { "a list of four thousand million", "beat", bytes("*4294967297\r\n"), "" },
  { "a line without an end", "beat", bytes("+" .. LONG), LARGE },
  { "a text of 512 MB", "beat", bytes("$536870912\r\n" .. LONG), LARGE },
  { "a text longer than numbers go", "beat", bytes("$99999999999999999999999\r\n"), NONSENSE },
  { "a text below nothing", "beat", bytes("$-9223372036854775809\r\n"), NONSENSE },
  { "a number larger than numbers go", "beat", bytes("*2\r\n:99999999999999999999999\r\n"), NONSENSE },
  { "what somebody else has asked for", "beat", bytes(">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n"), NONSENSE },
  { "a map", "beat", bytes("%1\r\n+a\r\n:1\r\n"), NONSENSE },
  { "a set", "beat", bytes("~1\r\n+a\r\n"), NONSENSE },
  { "a double", "beat", bytes(",1.5\r\n"), NONSENSE },
  { "a boolean", "beat", bytes("#t\r\n"), NONSENSE },
  { "a null of another version", "beat", bytes("_\r\n"), "" },
  { "a web page", "beat", bytes("HTTP/1.1 200 OK\r\n\r\n"), NONSENSE },
}

describe("a node whose Redis lies", function()
  local real, liar, one, channel, told, released, answers, sent
  local channels = 0

  local function turn()
    for _, action in ipairs(one:step(1)) do
      if action.what == "tell" and not action.why:find("Redis keeps nothing", 1, true) then
        told[#told + 1] = action.why
      elseif action.what == "release" and action.channel == channel then
        released[#released + 1] = { action.seq, action.data }
      elseif action.what == "fill" and action.channel == channel then
        released = {}
        for i, e in ipairs(action.entries) do released[i] = { e.seq, e.data } end
      elseif action.what == "answer" then
        answers[action.data] = action
      end
    end
    liar:step()
  end

  local function until_so(fn, what)
    return deadline.eventually(function()
      for _ = 1, 10 do turn() end
      return fn()
    end, 10, what)
  end

  local function is_back() return told[1] and one:look() == "live" end

  local function publish()
    sent = sent + 1
    one:publish(channel, "n" .. sent)
    return "n" .. sent
  end

  -- Publishes and is answered; all that is there was released, once, in order; and what publishers were told is so.
  local function holds()
    local data = publish()
    until_so(function() return answers[data] end, "an answer")
    local truth, numbers = {}, {}
    for _, e in ipairs(feed.events(real:call("XRANGE", "sluice:{test}:f", "-", "+"), "log")) do
      if e.channel == channel then truth[#truth + 1] = { e.seq, e.data } end
      if e.channel == channel then numbers[e.data] = e.seq end
    end
    assert.equal(sent, #truth) -- none is stored twice
    until_so(function() return #released >= #truth end, "all is released")
    assert.same(truth, released)
    for what, action in pairs(answers) do
      assert.same({ what, numbers[what] }, { what, not action.code and action.seq or nil })
    end
  end

  setup(function()
    real = redis.start()
    liar = liars.start(real)
  end)

  teardown(function()
    liar:shut()
    real:stop()
  end)

  before_each(function()
    told, released, answers, sent = {}, {}, {}, 0
    channels = channels + 1
    channel = "a" .. channels
    liar.lie = nil
    one = assert(node.open { host = "127.0.0.1", port = liar.port, name = "test" })
    one:warm(channel)
    until_so(function() return one:look() == "live" end, "it is live")
    for _ = 1, 5 do publish() end
    holds()
  end)

  after_each(function() one:close() end)

  -- Once, as soon as it fits; what the lie needs to be told is done.
  local function lie(case)
    local lies = 0
    liar.lie = function(kind, reply)
      if kind ~= case[2] or lies > 0 or not reply then return nil end
      local said, over = case[3](reply)
      if said then lies = 1 end
      return said, over
    end
    if case.loads then
      one:cool(channel)
      one:warm(channel)
    end
    if case.joins then liar:cut_all() end
    until_so(function()
      if lies == 0 and case[2] == "beat" then
        one:ask()
      elseif lies == 0 and not case.loads and not case.joins then
        for _ = 1, case.hole and 3 or 1 do publish() end
      end
      return lies > 0
    end, "it has lied")
  end

  for _, case in ipairs(LIES) do
    it("says " .. case[1], function()
      local holes = one:counts().holes
      lie(case)
      if case.hole then -- as what was trimmed: all is loaded again
        until_so(function() return one:counts().holes > holes end, "it has found a hole")
        return holds()
      end
      until_so(is_back, "it has gone away and come back")
      assert.truthy(table.concat(told, "\n"):find(case[4], 1, true), table.concat(told, "\n"))
      assert.equal(case.joins and 2 or 1, #told, table.concat(told, "\n")) -- its connection was cut before
      holds()
    end)
  end

  it("goes on lying: it is asked ever more rarely", function()
    liar.lie = function(kind) if kind == "XREAD" then return ":7\r\n" end end
    local from = deadline.now()
    until_so(function() return #told == 6 end, "it has lied six times")
    assert.is_true(select(2, deadline.since(from)) > 0.7, "six times at once")
    liar.lie = nil
    until_so(is_back, "it is live")
    holds()
  end)
end)
