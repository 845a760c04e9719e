--- Limits in drawn worlds (spec/support/limited.lua), and mistakes that are planted into the core, which they find.
--- SEED= repeats one world.
local limited = require("spec.support.limited")
local planted = require("spec.support.planted")
local worlds = require("spec.support.worlds")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local PATIENCE = 60 -- seeds in which a planted mistake may hide

-- Number, what is wrong, and the first seed that shows it.
local MISTAKES = {
  { 501, "one more stream than the limit", 1 },
  { 502, "the place of a request that opens nothing is never given back", 1 },
  { 503, "a user's place is never given back", 1 },
  { 504, "a client takes a place beside that of its request", 1 },
  { 505, "each address of an IPv6 network counts for itself", 1 },
  { 506, "what was used under a higher limit is made up for by the lower one", 19 },
  { 507, "each poll of a client takes a place", 7 },
  { 508, "refused requests are counted", 56 },
}

local function hunt(number, first, last)
  return planted.run_bug(number, "spec/support/limited_hunt.lua", tostring(first), tostring(last))
end

describe("limits in drawn worlds", function()
  it("refuse who is over one, nobody else, and forget nobody's place", function()
    worlds.hold(limited.play, 12, 2000)
  end)

  it("find nothing when no mistake is active", function()
    planted.build("core")
    assert.same({ 0, "" }, { hunt(0, 1, 3) })
  end)

  for _, row in ipairs(MISTAKES) do
    it("find this one: " .. row[2], function()
      planted.build("core")
      local code, output = 0, nil
      if not FULL then code, output = hunt(row[1], row[3], row[3]) end
      if code == 0 then code, output = hunt(row[1], 1, PATIENCE) end
      assert.equal(1, code, output)
      assert.truthy(output:find("^seed %d+"), output)
    end)
  end
end)
