--- The worlds of a cluster must show each bug that is planted into a node, each rule of the server that is taken
--- away, and the plainest design. The seed that is known to show it is tried first; $SLUICE_SPEC_FULL=1 knows none.
local bugs = require("spec.cluster.planted")
local planted = require("spec.support.planted")

local SEEDS = 8000
local FULL = os.getenv("SLUICE_SPEC_FULL")

local function hunt(bug, first, last, ...)
  return planted.run("spec/cluster/hunt.lua", tostring(bug), tostring(first), tostring(last), ...)
end

local function assert_shown(bug, seed, ...)
  local code, output = 0, nil
  if not FULL then code, output = hunt(bug, seed, seed, ...) end
  if code == 0 then code, output = hunt(bug, 1, SEEDS, ...) end
  assert.equal(1, code, output)
  assert.truthy(output:find("seed %d+[,:]"), output)
end

describe("the worlds of a cluster", function()
  lazy_setup(function() planted.build("core", "core/testing", "core/testing_cluster") end)

  it("find nothing when nothing is planted", function()
    local code, output = hunt(0, 1, FULL and 1000 or 20)
    assert.equal(0, code, output)
    code, output = hunt(0, 6131, 6131) -- a join finds another copy than the one that was dialled
    assert.equal(0, code, output)
    if not FULL then return end
    for _, bug in ipairs(bugs.streams) do
      code, output = hunt(0, bug[2], bug[2], "streams")
      assert.equal(0, code, output)
    end
    for _, bug in ipairs(bugs.long) do
      code, output = hunt(0, bug[2], bug[2], "long")
      assert.equal(0, code, output)
    end
    for _, bug in ipairs(bugs.owns) do
      code, output = hunt(0, bug[2], bug[2], "owns")
      assert.equal(0, code, output)
    end
    for _, bug in ipairs(bugs) do
      code, output = hunt(0, bug[2], bug[2])
      assert.equal(0, code, output)
    end
  end)

  for _, bug in ipairs(bugs) do
    it("find this one: " .. bug[3], function() assert_shown(bug[1], bug[2]) end)
  end

  for _, bug in ipairs(bugs.streams) do
    it("find this one with real streams: " .. bug[3], function() assert_shown(bug[1], bug[2], "streams") end)
  end

  for _, bug in ipairs(bugs.long) do
    it("find this one of long histories: " .. bug[3], function() assert_shown(bug[1], bug[2], "long") end)
  end

  for _, bug in ipairs(bugs.owns) do
    it("find this one of channels of one node: " .. bug[3], function() assert_shown(bug[1], bug[2], "owns") end)
  end

  for _, bug in ipairs(bugs.lead) do
    it("find this one of the lead: " .. bug[3], function() assert_shown(bug[1], bug[2], bug[4] or "lead") end)
  end

  for rule, seed in pairs(bugs.lead.rules) do
    it("find that this rule of the lead does not hold: " .. rule, function() assert_shown(0, seed, "lead", rule) end)
  end

  for _, bug in ipairs(bugs.by_hand) do
    it("find this one by hand: " .. bug[2], function()
      local run = [[require("sluice.core.testing").plant(%d)
        arg = { [0] = "busted", "-f", ".busted", %q }
        require("busted.runner")({ standalone = false })]]
      local file = bug[3] or "spec/cluster/epochs_spec.lua"
      local _, output = planted.run_bug(0, "-e", run:format(0, file))
      assert.truthy(output:find("%d+ ok") and not output:find("FAIL", 1, true), output)
      _, output = planted.run_bug(bug[1], "-e", run:format(bug[1], file))
      assert.truthy(output:find("FAIL", 1, true), output)
    end)
  end

  for rule, seed in pairs(bugs.rules) do
    it("find that this rule of the server does not hold: " .. rule, function() assert_shown(0, seed, rule) end)
  end

  it("find the plainest design in nearly all of them", function()
    local code, output = hunt(bugs.obvious.plant, 1, 50)
    assert.equal(1, code, output)
    local found = tonumber(output:match("(%d+) of 50"))
    assert.is_true(found >= 45, output)
  end)
end)
