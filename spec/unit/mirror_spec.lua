--- The mirror of what is stored: writes of a key that succeed and fail in any order of groups, against a model
--- that knows only the order of the writes.
local mirror = require("sluice.base.mirror")

-- The model: what a key must show, from the list of its writes { value, state = "open" | "ok" | "failed" }: the
-- newest that can still succeed, unless a newer one is stored.
local function expected(first, writes)
  local shown = first
  for _, write in ipairs(writes) do
    if write.state ~= "failed" then shown = write.value end
  end
  return shown
end

local function newest_stored(first, writes)
  local value = first
  for _, write in ipairs(writes) do
    if write.state == "ok" then value = write.value end
  end
  return value
end

-- What ends next: in the store's order within a group, groups in order; or, as after a time limit, what waits behind
-- a group that hangs, before it.
local function pick(random, open, in_order)
  return in_order and 1 or random(#open)
end

local function run(seed, in_order)
  math.randomseed(seed)
  local random = math.random
  local m = mirror.new()
  local first = random(2) == 1 and "first" or nil
  m.values.k = first
  local writes, open = {}, {}
  for i = 1, 60 do
    if random(2) == 1 and i < 50 or #open == 0 then
      local value = random(4) > 1 and "v" .. i or nil
      local row = { value = value, state = "open" }
      row.write = m:begin("k", value)
      writes[#writes + 1], open[#open + 1] = row, row
    else
      local row = table.remove(open, pick(random, open, in_order))
      row.state = random(3) > 1 and "ok" or "failed"
      m:settle(row.write, row.state == "ok")
    end
    local stored = newest_stored(first, writes)
    if expected(first, writes) ~= m.values.k or stored ~= m:stored("k") or m:is_pending("k") ~= (open[1] ~= nil) then
      error(("seed %d, step %d: shows %s of %s, stored %s of %s"):format(seed, i, m.values.k, expected(first, writes),
        m:stored("k"), stored))
    end
  end
  while open[1] do
    local row = table.remove(open, pick(random, open, in_order))
    row.state = random(3) > 1 and "ok" or "failed"
    m:settle(row.write, row.state == "ok")
  end
  assert.equal(newest_stored(first, writes), m.values.k)
  assert.same({}, m.flights)
end

describe("the mirror", function()
  local seeds = os.getenv("SLUICE_SPEC_FULL") and 20000 or 1000

  it("shows the newest write that can still succeed, and ends equal to what is stored", function()
    for seed = 1, seeds do run(seed, true) end
  end)

  it("does so in whatever order the writes end", function()
    for seed = 1, seeds do run(seed, false) end
  end)

  it("goes back to what is stored, step by step", function()
    local m = mirror.new()
    m.values.a = "1"
    local b, c = m:begin("a", "2"), m:begin("a", nil)
    assert.is_nil(m.values.a)
    m:settle(c, false)
    assert.equal("2", m.values.a)
    m:settle(b, false)
    assert.equal("1", m.values.a)
  end)

  it("does not show a write that is older than what is stored", function()
    local m = mirror.new()
    local a, b = m:begin("a", "1"), m:begin("a", "2")
    m:settle(b, true)
    assert.equal("2", m.values.a)
    m:settle(a, true)
    assert.equal("2", m.values.a)
  end)

  it("is quick with many writes of one key", function()
    local m, list = mirror.new(), {}
    for i = 1, 20000 do list[i] = m:begin("k", i) end
    for i = 1, 20000 do m:settle(list[i], i % 3 == 0) end
    assert.equal(19998, m.values.k)
  end)
end)
