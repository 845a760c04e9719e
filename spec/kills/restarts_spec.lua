--- A service whose socket belongs to its manager is restarted while many publish and read: nothing that
--- is durable is lost, what was in memory is reported, no connection is refused, and all come back.
local history = require("spec.kills.history")
local judge = require("spec.kills.judge")
local manager = require("spec.support.manager")
local process = require("spec.support.process")
local run = require("spec.kills.run")
local world = require("spec.kills.world")

local FULL = os.getenv("SLUICE_SPEC_FULL")
local RESTARTS, SUBSCRIBERS = FULL and 20 or 2, FULL and 500 or 30

-- Who connected while nobody served: the highest number that it was sent says by which run.
local function find_runs(blocks, runs)
  local connection
  for _, b in ipairs(blocks) do
    if b.what == "connect" then connection = b end
    local seq = b.id and b.what == "block" and tonumber(b.id:match("%-(%d+)$")) or 0
    for number, first in ipairs(runs) do
      if first <= seq then connection.run = math.max(connection.run, number) end
    end
  end
  return blocks
end

-- What was published into memory while one server left and the next came may be of either.
local function either(ops, window)
  for _, op in ipairs(ops) do
    local during = op.asked >= window[1] and op.asked <= window[2]
    if during and not world.channels[op.channel].durable then op.flags = op.flags .. "w" end
  end
end

describe("restarts of a service with a socket unit", function()
  local folder
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    manager.stop_all()
    process.remove_dir(folder)
  end)

  it(("lose nothing and refuse nobody: %d restarts, %d streams"):format(RESTARTS, SUBSCRIBERS), function()
    local seed = tonumber(os.getenv("SEED")) or (FULL and os.time()) or 1
    local here = ("SEED=%d: "):format(seed)
    local ok, life = pcall(run.restarts, { folder = folder, seed = seed, cycles = RESTARTS, subscribers = SUBSCRIBERS,
      publishers = 4, lanes = 4, start = function(port)
        return manager.start { app = world.app, port = port, folder = folder, args = { "--data", folder .. "/data",
          "--drain", "0.3", "--log-level", "warn" } }
      end })
    assert(ok, here .. tostring(life))
    local from = history.folder(folder, SUBSCRIBERS, world)
    local read = from.subscriber
    from.subscriber = function(i) return find_runs(read(i), from.runs) end
    either(from.ops, life.window)
    local found = judge.judge(from)
    assert.equal(0, found.all, here .. table.concat(found.list, "\n"))
    for _, list in ipairs { life.subs, life.all_lanes } do
      for _, one in ipairs(list) do assert.is_nil(one.refused, here .. "a connection was refused") end
    end
    for i, sub in ipairs(life.subs) do
      assert.equal(#world.streams[sub.path], sub.marks, ("%ssubscriber %d is not back"):format(here, i))
    end
    local seen = found.seen
    assert.is_true(seen.events > 100 * RESTARTS and seen.restart >= RESTARTS and seen.resumed >= RESTARTS,
      here .. "too little was seen")
    assert.same({ 0, RESTARTS + 1 }, { #table.concat(life.service.ends(), ""):gsub("0", ""), life.service.lives() })
  end)
end)
