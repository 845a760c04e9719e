--- redis.stream in drawn worlds (spec/support/stream_world.lua): each entry is one event, in order, and a loss is told;
--- mistakes that are planted into it are found. SEED= repeats one world.
local copies = require("spec.support.source_copies")
local kit = require("spec.support.kit")
local stream_world = require("spec.support.stream_world")
local worlds = require("spec.support.worlds")

local HAS_NODES = require("sluice.core").build().libraries.hiredis ~= nil

-- { part, from, to, seed }
local MISTAKES = {
  { "sources/stream", "if begins_with(list, cursor) then return entries_of(list, 2)",
    "if true then return entries_of(list, begins_with(list, cursor) and 2 or 1)", seed = 1 },
  { "sources/stream", "and (not cursor.once or once(first[1], first[2] or {}) == cursor.once)", "", seed = 90 },
  { "sources/stream", "if is_another(cursor, found) then", "if false then", seed = 33 },
  { "sources/stream", "found.has_below and found.added or went", "found.added", seed = 34 },
  { "sources/stream", "if lost == 0 or not lost and", "if true or not lost and", seed = 1 },
  { "sources/stream", "if lost == 0 or not lost and (found.last == cursor.id or cursor.id == FIRST)",
    "if lost == 0 or not lost", seed = 10 },
  { "sources/stream", "before(went_back and found.last or cursor.id, AGAIN_MS)", "cursor.id", seed = 38 },
  { "sources/stream", 'return { id = FIRST, run = self.process or cursor.run, added = found.added and 0,',
    "return { id = found.last, run = self.process or cursor.run,", seed = 9 },
  { "sources/stream", "added = cursor.added and cursor.added + n }", "added = cursor.added }", seed = 13 },
  { "sources/stream", "return entries_of(rest, 1), place", "return entries_of(rest, 2), place", seed = 1 },
  { "sources/stream_state", "if ms ~= other then return (ms or 0) > (other or 0) end", "", seed = 19 },
  { "sources/feed", "if n > 0 then self:move(at(n)) end", "self:move(at(#entries))", seed = 10 },
  { "sources/feed", "idempotency = once }", "idempotency = nil }", seed = 2 },
}

describe("a stream of Redis in drawn worlds", function()
  after_each(kit.stop_all)

  it("is read without a loss that is not told, and each entry once", function()
    worlds.hold(stream_world.play, 8, 2000)
  end)

  if HAS_NODES then it("is read once in a cluster, whoever leads", function()
    worlds.hold(function(seed) return stream_world.play(seed, nil, 3) end, 2, 200)
  end) end

  it("shows each mistake", function()
    worlds.show(stream_world.play, MISTAKES, copies.plant, 200)
  end)
end)
