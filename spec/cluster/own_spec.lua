--- The judge of channels of one node (own.lua), by hand: a real fan with one reader, and resets that it never sent.
local fans = require("spec.cluster.fans")
local own = require("spec.cluster.own")

describe("a log of one node", function()
  --- A node with one reader, and what it does; nothing is sent before `bad`, which says what is wrong then.
  local function read()
    local world = { owns = true, clients = {}, count = {}, step = 0 }
    function world.random() return 1 end
    function world.chance() return false end -- it publishes to its log
    local node = { world = world, streams = {}, index = 1 }
    function node.epoch() return ("a"):rep(13) end
    function node.known() return 0 end
    own.start(world)
    fans.start(node)
    local client = fans.client(world, {})
    world.clients[1] = client
    client:attach(node)
    finally(function()
      client:cut()
      fans.stop(node)
    end)
    local one = {}
    function one.publish() own.publish(node) end
    function one.flip() own.flip(node, function() fans.configure(node) end) end
    function one.reset() own.see(client, { what = "reset", channel = "n", why = "trimmed" }) end
    function one.bad()
      local bad = {}
      fans.serve(node)
      client:take(math.maxinteger)
      own.judge(world, bad)
      return bad
    end
    return one
  end

  local FITS = {
    ["one change, with something to come"] = { "publish", "flip" },
    ["two, with something to come at the second"] = { "flip", "flip", "publish", "flip", "flip", "publish" },
    ["two, with something to come at both"] = { "publish", "flip", "flip", "publish", "flip" },
    ["none"] = { "publish", "publish" },
  }
  for name, acts in pairs(FITS) do
    it("has a reset for each change at which something was to come, and no other: " .. name, function()
      local one = read()
      for _, act in ipairs(acts) do one[act]() end
      assert.same({}, one.bad())
    end)
  end

  -- Of as many resets as fit, the last is needless.
  local NEEDLESS = {
    ["before all"] = { "reset" },
    ["at a change with nothing to come"] = { "flip", "reset" },
    ["while something is to come, and no change"] = { "publish", "reset" },
    ["in front of what is to come after a change"] = { "flip", "flip", "reset", "publish" },
    ["twice for one change"] = { "publish", "flip", "reset" },
    ["at another change with nothing to come"] = { "publish", "flip", "flip", "flip", "reset" },
  }
  for name, acts in pairs(NEEDLESS) do
    it("is found to have a needless reset: " .. name, function()
      local one = read()
      for _, act in ipairs(acts) do one[act]() end
      assert.same({ ["a needless reset of an own log"] = 1 }, one.bad())
    end)
  end
end)
