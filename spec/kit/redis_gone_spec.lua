--- redis.stream and what drawn worlds seldom come to, each in a world of its own (spec/support/stream_world.lua): it
--- holds, and without what makes it hold it does not. SHOW=1 prints what is wrong then.
local copies = require("spec.support.source_copies")
local kit = require("spec.support.kit")
local stream_world = require("spec.support.stream_world")

local REDIS_7, REDIS_6 = 1, 5 -- seeds

local function add(world, n)
  for _ = 1, n do world:add() end
end

-- Entries are seen and cannot be published; then the stream is gone.
local function gone_before_the_first(world)
  world.t:disk { full = true }
  add(world, 3)
  world.t:advance(2)
  world:gone(world.redis:drop())
  world.t:advance(2)
end

-- Redis stands before what was read, and is read again from an hour before that on; nothing is there.
local function go_back(world)
  local r = world.redis
  add(world, 6)
  world.t:advance(2)
  r:forget(1)
  world:gone(r:trim(0))
  r:promote()
  world.t:advance(3)
end

-- What is there then is another stream, of which fewer are gone.
local function anew_while_read_again(world)
  go_back(world)
  local r = world.redis
  world:gone(r:drop())
  add(world, 3)
  world:gone(r:trim(1))
end

-- A replica whose clock is behind has fewer entries, and is given some before what was read and one after it.
local function replaced(world)
  local r = world.redis
  add(world, 3)
  world.t:advance(0.5)
  add(world, 3)
  world.t:advance(1)
  r:forget(3)
  r:promote()
  r.skew = -1200
  add(world, 2)
  r.skew = 0
  add(world, 1)
end

local STORIES = {
  ["reads again what a replica has that took Redis' place"] = { replaced,
    "return process ~= cursor.run", "return false", seed = REDIS_6 },
  ["tells of a stream that is gone before its first entry is published"] = { gone_before_the_first,
    "not self.gone and not is_waiting(cursor)", 'not self.gone and cursor.id ~= "0-0"' },
  ["tells of a stream that is made anew while the last hour is read again"] = { anew_while_read_again,
    "went < cursor.again", "false" },
}

describe("a stream of Redis", function()
  after_each(kit.stop_all)

  for what, story in pairs(STORIES) do
    it(what, function()
      local seed, bug = story.seed or REDIS_7, copies.plant("sources/stream", story[2], story[3])
      assert.is_nil(stream_world.play(seed, nil, nil, story[1]))
      local wrong = stream_world.play(seed, bug, nil, story[1])
      if os.getenv("SHOW") then print(what, wrong) end
      assert.is_string(wrong)
    end)
  end
end)
