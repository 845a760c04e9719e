--- The judge finds nothing in a history that is right, and each lie in one that is not.
local history = require("spec.kills.history")
local judge = require("spec.kills.judge")
local world = require("spec.kills.world")

local RUNS = { 100, 1000 }
local LAST_AT = 50

local function data(token) return token .. " " end

-- An event as it is sent; without a number for a state.
local function event(name, token, seq)
  return ("event: %s\ndata: %s\n%s\n"):format(name, data(token), seq and ("id: e-%d\n"):format(seq) or "")
end

local function hello(seq, resumed)
  return ('event: hello\ndata: {"resumed":%s}\nid: e-%d\n\n'):format(resumed, seq)
end

local function reset(channel, reason, oldest, seq)
  return ('event: reset\ndata: {"channel":"%s","reason":"%s","from":"e-1","oldest":%s}\nid: e-%d\n\n'):format(channel,
    reason, oldest and ('"e-%d"'):format(oldest) or "null", seq)
end

local function ask(at, token, channel, key, flags)
  return ("%.1f\task\t%s\t%s\t%s\t%s\t%s\n"):format(at, token, channel, key or "", flags or "-", data(token))
end

local function ok(at, token, seq, again)
  return ("%.1f\tok\t%s\t%s\t%s\n"):format(at, token, seq and "e-" .. seq or "true", again and "duplicate" or "new")
end

-- What publisher 1 did: a kill falls between its fourth and its fifth.
local PUBLISHED = table.concat {
  ask(2, "1.1-1", "dlog"), ok(2.1, "1.1-1", 101),
  ask(3, "1.1-2", "mlog"), ok(3.1, "1.1-2", 102),
  ask(4, "1.1-3", "dlog"), "4.1\tno\t1.1-3\tESTORE\n",
  ask(5, "1.1-4", "dlog", nil, "i"), "6.0\tunknown\t1.1-4\n",
  ask(51, "1.1-4", "dlog", nil, "i"), ok(51.1, "1.1-4", 103, true),
  ask(52, "1.1-5", "mlog"), ok(52.1, "1.1-5", 1001),
  ask(53, "1.1-6", "dlog"), ok(53.1, "1.1-6", 1002),
  ask(54, "1.1-7", "mstate", "a"), ok(54.1, "1.1-7"),
  ask(55, "1.1-8", "mstate", "a"), ok(55.1, "1.1-8"),
}

-- What each of two subscribers got; the parts have names, so that a lie can change one.
local function parts()
  return {
    begin = "# connect 1.5 1 /mixed -\n# at 1.6\n" .. hello(100, false) .. "# at 5.5\n",
    first = event("dlog", "1.1-1", 101), second = event("mlog", "1.1-2", 102), third = event("dlog", "1.1-4", 103),
    back = "# end cut\n# connect 50.5 2 /mixed e-103\n# at 50.6\n" .. hello(103, true),
    told = reset("mlog", "restart", nil, 103), more = "# at 56.0\n",
    fourth = event("mlog", "1.1-5", 1001), fifth = event("dlog", "1.1-6", 1002),
    old = event("mstate", "1.1-7"), new = event("mstate", "1.1-8"), rest = "", over = "# end final\n",
  }
end

local ORDER = { "begin", "first", "second", "third", "back", "told", "more", "fourth", "fifth", "old", "new", "rest",
  "over" }

local function text_of(p)
  local list = {}
  for i, name in ipairs(ORDER) do list[i] = p[name] end
  return table.concat(list)
end

local function judged(one, other, published)
  local texts = { text_of(one), text_of(other or parts()) }
  return judge.judge { ops = history.publishers(published or PUBLISHED), runs = RUNS, last_at = LAST_AT, n = 2,
    channels = world.channels, streams = world.streams,
    subscriber = function(i) return history.subscriber(texts[i]) end }
end

local function finds(word, one, other, published)
  local found = judged(one, other, published)
  assert.is_true(found[word] > 0, "not found; but: " .. table.concat(found.list, "; "))
end

-- The true one, with some parts in other words.
local function lie(changes)
  local p = parts()
  for name, text in pairs(changes) do p[name] = text end
  return p
end

local function swapped(text, from, to)
  local at, stop = text:find(from, 1, true)
  return text:sub(1, at - 1) .. to .. text:sub(stop + 1)
end

describe("the judge", function()
  it("finds nothing in what is right", function()
    local found = judged(parts())
    assert.same({}, found.list)
    assert.equal(14, found.seen.events)
    assert.equal(2, found.seen.restart)
  end)

  it("knows that what was refused once may come of an attempt that was not answered", function()
    local refused = "51.1\tno\t1.1-4\tESTORE\n"
    local open = swapped(PUBLISHED, ok(51.1, "1.1-4", 103, true), refused)
    assert.same({}, judged(parts(), nil, open).list)
    local no = swapped(open, "6.0\tunknown\t1.1-4\n", "6.0\tno\t1.1-4\tESTORE\n")
    finds("phantom", parts(), nil, no)
  end)

  it("finds an acknowledged event that nobody gets", function()
    finds("lost", lie { first = "" }, lie { first = "" })
    finds("lost", lie { fifth = "" }, lie { fifth = "" }) -- the last one
  end)

  it("finds one that a single subscriber does not get", function()
    finds("gap", lie { first = "" })
    finds("gap", lie { third = "", back = swapped(parts().back, "/mixed e-103", "/mixed e-102") })
    finds("gap", lie { fourth = "" }) -- of a log in memory, within a run
  end)

  it("finds an event that comes again, also with another number", function()
    finds("repeated", lie { second = parts().second .. parts().first })
    finds("repeated", lie { rest = event("dlog", "1.1-1", 1003) })
    finds("repeated", lie { rest = parts().new })
    finds("repeated", parts(), nil, swapped(PUBLISHED, "e-103\tduplicate", "e-1000\tnew"))
  end)

  it("finds a wrong order", function()
    finds("disordered", lie { first = parts().second, second = parts().first })
    finds("disordered", lie { old = parts().new, new = parts().old })
    finds("disordered", lie { back = swapped(parts().back, "id: e-103", "id: e-90") })
    local low = swapped(PUBLISHED, ok(53.1, "1.1-6", 1002), ok(53.1, "1.1-6", 999))
    finds("disordered", lie { fifth = "" }, lie { fifth = "" }, low) -- asked later, and a lower number
  end)

  it("finds two contents of one number, and bytes that were not published", function()
    finds("divergent", lie { first = swapped(parts().first, "1.1-1 ", "1.1-1 x") })
    finds("divergent", lie { first = swapped(parts().first, "event: dlog", "event: mlog") })
    finds("divergent", lie { new = "" }) -- another value at the end
  end)

  it("finds what was never published, or was refused", function()
    finds("phantom", lie { rest = event("dlog", "9.9-9", 1003) })
    finds("phantom", lie { rest = event("dlog", "1.1-3", 1003) })
  end)

  it("finds a number that was given twice", function()
    finds("twice", parts(), nil, PUBLISHED .. ask(60, "1.2-1", "dlog") .. ok(60.1, "1.2-1", 103))
    finds("twice", lie { fifth = event("dlog", "1.1-6", 1001) })
  end)

  it("finds a reset that is not sent, and one without need", function()
    finds("reset", lie { told = "" })
    finds("reset", lie { told = parts().told .. reset("dlog", "trimmed", 1002, 103) })
    finds("reset", lie { told = parts().told .. reset("dlog", "restart", nil, 103) })
    finds("reset", lie { more = reset("mlog", "epoch", nil, 103) })
  end)

  it("does not take a reset for an excuse of what the log must keep", function()
    finds("gap", lie { fifth = reset("dlog", "trimmed", nil, 103), rest = event("dlog", "1.1-9", 1003) }, nil,
      PUBLISHED .. ask(60, "1.1-9", "dlog") .. ok(60.1, "1.1-9", 1003))
  end)

  it("finds a value that is missing at the end", function()
    finds("gap", lie { new = "" }, lie { new = "" })
    finds("gap", lie { old = "", new = "" }, lie { old = "", new = "" })
  end)
end)
