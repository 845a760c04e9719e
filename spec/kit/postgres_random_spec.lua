--- postgres.listen in drawn worlds (spec/support/outbox_world.lua): each committed row is one event, in the order that
--- is promised; mistakes that are planted into it are found. SEED= repeats one world.
local copies = require("spec.support.source_copies")
local kit = require("spec.support.kit")
local outbox_world = require("spec.support.outbox_world")
local worlds = require("spec.support.worlds")

local HAS_NODES = require("sluice.core").build().libraries.hiredis ~= nil

-- { part, from, to, seed }
local MISTAKES = {
  -- the obvious one: a sequence is no order of commits
  { "sources/outbox", 'OR xid = ANY (ARRAY(SELECT "\n  .. "pg_snapshot_xip($1::pg_snapshot)))) "',
    'OR false) "', seed = 3 },
  { "sources/outbox", 'local PART = "AND pg_visible_in_snapshot(xid, $2::pg_snapshot) AND',
    'local PART = "AND true AND', seed = 142 },
  { "sources/outbox", "return entries, cursor, #rows < self.batch", "return entries, cursor, #rows <= self.batch" },
  { "sources/outbox", "if cursor.lsn and cursor.server ~= place.server then", "if false then", seed = 64 },
  { "sources/outbox", "part.lsn, part.sure, part.since = now.lsn, cursor.snap, cursor.again",
    "part.lsn, part.sure, part.since = now.lsn, now.snap, nil", seed = 32 },
  { "sources/outbox", "if cursor.line ~= place.line then return true end",
    "if true then return false end", seed = 14 },
  { "sources/outbox", "again = cursor.again or cursor.at or place.at,", "snap = place.snap,", seed = 2 },
  { "sources/outbox", "if woken == nil then return message end", "if not woken then db:wait(3600000) end", seed = 52 },
  { "sources/feed", "if n > 0 then self:move(at(n)) end", "self:move(at(#entries))", seed = 9 },
  { "sources/feed", "idempotency = once }", "idempotency = nil }", seed = 1 },
  { "sources/feed", "return failed and places[failed] - 1 or #entries", "return #entries", seed = 3 },
}

describe("an outbox table in drawn worlds", function()
  after_each(kit.stop_all)

  it("is read without a loss, and each row once", function() worlds.hold(outbox_world.play, 12, 2000) end)

  if HAS_NODES then it("is read once in a cluster, whoever leads", function()
    worlds.hold(function(seed) return outbox_world.play(seed, nil, 3) end, 3, 200)
  end) end

  it("shows each mistake", function()
    worlds.show(outbox_world.play, MISTAKES, copies.plant, 200)
  end)
end)
