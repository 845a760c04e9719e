--- csrc/store: the power fails at any write or sync, and again while the next start recovers. What
--- was acknowledged is there; without waiting for the disk (the control) some of it is not.
local stored = require("spec.support.stored")

local CUTS = os.getenv("SLUICE_SPEC_FULL") and 600 or 60
local POLICIES = { log = { durable = true } }

--- Publish until the power fails. Returns what was acknowledged: data by number.
local function live(s, disk, acknowledged, n)
  local ids = {}
  for i = 1, 400 do
    if disk:is_dead() then break end
    ids[#ids + 1] = s:event("log", ("event %d of %d"):format(i, n), { key = ("k"):rep(i % 50) })
    if i % 3 == 0 then s:run() end
  end
  s:collect()
  for _, id in ipairs(ids) do
    if s.answers[id] == "stored" then acknowledged[s.seqs[id]] = true end
  end
end

--- The rows that are there, and the store; opening may fail when the power does so again.
local function recover(disk, weak)
  for attempt = 1, 20 do
    if attempt < 3 and math.random() < 0.5 then disk:set("die", math.random(10), true) end
    local s = stored.open({ disk = disk, weak = weak, pages = 40 }, POLICIES)
    disk:set("die", 0)
    if s then return s end
    disk:set("cut")
  end
  error("it does not open any more")
end

local function rows_of(s)
  local there, place = {}, 0
  repeat
    local page, err = s:page("log", place)
    assert.equal(0, err)
    for _, row in ipairs(page) do
      assert.is_nil(there[row.seq])
      there[row.seq] = row.data
    end
    assert.is_false(page.damaged and not s.weak)
    place = page.upto
  until not page.more
  return there
end

--- How many acknowledged rows are lost in so many cuts.
local function lost_in(cuts, weak)
  math.randomseed(7)
  local lost, kept, highest = 0, 0, 0
  local disk = stored.disk(weak and 2 or 1)
  local acknowledged = {}
  for n = 1, cuts do
    local s = recover(disk, weak)
    s.weak = weak
    if not weak then assert.is_true(s.start.first >= highest, "a number comes again") end
    local there = rows_of(s)
    for seq in pairs(acknowledged) do
      highest = math.max(highest, seq)
      if there[seq] then kept = kept + 1 else lost = lost + 1 end
    end
    acknowledged = {}
    s:ask { kind = "trim", channel = "log", seq = s.raw:head() }
    disk:set("die", math.random(300), true)
    live(s, disk, acknowledged, n)
    s:drop()
    disk:set("cut")
  end
  disk:close()
  return lost, kept
end

describe("a power cut", function()
  before_each(function() stored.at(1000000) end)

  it("takes nothing that was acknowledged: " .. CUTS .. " cuts", function()
    local lost, kept = lost_in(CUTS, false)
    assert.equal(0, lost)
    assert.is_true(kept > CUTS * 5, "too few were stored: " .. kept)
  end)

  it("takes some of it when commits do not wait for the disk (the control)", function()
    local lost = lost_in(60, true)
    assert.is_true(lost > 0)
  end)
end)
