--- Requests drawn from the grammar of RFC 9110 and 9112, on connections that are cut, pipelined,
--- stalled and half-closed at random, against a running server; a model that never saw the
--- server says what each answer must be (spec/wire/front/). SEEDS=n draws more, SEED=n repeats one
--- draw; `make test-full` draws 10,000 new ones.
local deadline = require("spec.support.deadline")
local run = require("spec.wire.front.run")
local server = require("spec.support.server")
local site = require("spec.wire.front.site")

local DRAWS = os.getenv("SLUICE_PRELOAD") and 200 or 500 -- sanitizers are slow
local FULL_DRAWS = 10000

--- First and last seed: the same each time, but for the full size.
local function seeds()
  local seed, wanted = math.tointeger(tonumber(os.getenv("SEED"))), math.tointeger(tonumber(os.getenv("SEEDS")))
  if seed then return seed, seed end
  if not os.getenv("SLUICE_SPEC_FULL") then return 1, wanted or DRAWS end
  local first = os.time() % 1000000 * FULL_DRAWS
  return first, first + (wanted or FULL_DRAWS) - 1
end

describe("the HTTP front", function()
  local s

  setup(function() s = site.start() end)
  teardown(function()
    s.clean()
    server.stop_all()
  end)

  it("answers what the model says, whatever is drawn, and has nothing left of it", function()
    local before, first, last = s.fds(), seeds()
    local problems, totals = run.draws(s, run.range(first, last))
    if problems[1] then
      error(problems[1] .. "\nrepeat it with SEED=" .. problems[1]:match("seed (%d+)"), 0)
    end
    assert.equal(last - first + 1, totals.connections)
    assert.is_true(first == last or totals.starved < totals.connections, "nothing was judged")
    deadline.eventually(function() return s.fds() <= before end, 5, "descriptors are back")
    assert.equal(0, s.stop())
  end)
end)
