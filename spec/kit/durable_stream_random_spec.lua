--- Readers of durable streams in drawn worlds (spec/support/feeds.lua): pages, long-polls and live readers of one log
--- get the same messages in the same order, or are told. Mistakes that are planted into the core are all found. SEED=
--- repeats one world.
local feeds = require("spec.support.feeds")
local planted = require("spec.support.planted")
local process = require("spec.support.process")
local worlds = require("spec.support.worlds")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local PATIENCE = 60 -- seeds in which a planted mistake may hide

-- Number, what is wrong, and the first seed that shows it.
local MISTAKES = {
  { 304, "an offset that is gone is read from what is left", 1 },
  { 305, "a reader that loses something is not told", 1 },
  { 306, "readers of different types share blocks", 1 },
  { 308, "blocks of a page are joined without a comma", 1 },
  { 309, "a live reader is let in before the store has said whether something is lost", 2 },
}

local function hunt(number, first, last)
  return process.run({ "env", "SLUICE_PLANT=" .. number, "LUA_PATH=./?.lua;./lua/?.lua;./lua/?/init.lua;;",
    "LUA_CPATH=" .. planted.folder .. "/?.so;;", "lua5.4", "spec/support/feeds_hunt.lua", tostring(first),
    tostring(last) }, { seconds = 300 })
end

describe("readers of durable streams", function()
  it("get the same messages in the same order, or are told", function() worlds.hold(feeds.play, 15, 3000) end)

  it("get what a log had before it closed, also where the store has yet to say where that begins", function()
    assert.is_nil(feeds.play(1796002506025))
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
