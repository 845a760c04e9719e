--- csrc/store: bits that flip and files that end too early. What is damaged is refused when the store
--- is opened, or found by its checksum when it is read and told as missing; a wrong payload never
--- comes out.
local process = require("spec.support.process")
local stored = require("spec.support.stored")
local tools = require("sluice.core.testing_disk")

local PLACES = os.getenv("SLUICE_SPEC_FULL") and 1000 or 150
local POLICIES = { log = { durable = true }, other = { durable = true }, keyed = { kind = "keyed", durable = true } }
local disk, truth, image

--- A file with some of everything; 'truth' has what it holds.
local function fill()
  truth = { rows = { log = {}, other = {}, keyed = {} }, pairs = {}, tasks = {} }
  local s = assert(stored.open({ disk = disk }, POLICIES))
  for i = 1, 120 do
    for channel, rows in pairs(truth.rows) do
      local data = ("%s %d %s"):format(channel, i, ("d"):rep(i * 3))
      local _, seq = s:publish(channel, data, { key = "k" .. i % 7, idempotency = "i" .. i })
      rows[#rows + 1] = { seq = seq, data = data }
    end
    truth.pairs["k" .. i % 20] = ("v%d"):format(i):rep(i)
    s:ask { kind = "set", store = "s", key = "k" .. i % 20, value = truth.pairs["k" .. i % 20] }
  end
  for i = 1, 20 do
    truth.tasks["t" .. i] = ("task %d"):format(i)
    s:ask { kind = "task", id = "t" .. i, name = "n", data = truth.tasks["t" .. i], due = i }
  end
  s:close()
  image = disk:read("sluice.db")
end

--- Every row is right, and what is missing is at or below a floor that says so.
local function check_history(s, channel)
  local place, i, rows = 0, 1, truth.rows[channel]
  repeat
    local page, err = s:page(channel, place, { rows = 10 })
    if err ~= 0 then return "refused" end
    local floor = math.max(place, page.floor)
    while rows[i] and rows[i].seq <= floor do i = i + 1 end
    for _, row in ipairs(page) do
      assert.same({ rows[i].seq, rows[i].data }, { row.seq, row.data })
      i = i + 1
    end
    place = page.upto
  until not page.more
  if rows[i] and rows[i].seq <= place then
    return ("%s ends at %d of %d without a word"):format(channel, i - 1, #rows)
  end
end

local function check_list(s, what, field, expected)
  for _, item in ipairs((s.raw:each(what)) or {}) do
    local key = item.key or item.id
    assert.equal(expected[key], item[field])
  end
end

--- Opens what is damaged: "refused", or what was served without a word.
local function serve()
  local s, _, code = stored.open({ disk = disk }, POLICIES)
  if not s then
    assert.truthy(({ EDAMAGED = 1, ESTORE = 1, EINVAL = 1 })[code], code)
    return "refused"
  end
  local problem
  for channel in pairs(truth.rows) do problem = check_history(s, channel) or problem end
  check_list(s, "pairs", "value", truth.pairs)
  check_list(s, "tasks", "data", truth.tasks)
  s:drop()
  return problem
end

--- The same of what an export and an import make of it: nothing of it is damaged any more.
local function serve_copy()
  local text, mine = process.temp_dir() .. "/text", disk
  disk = stored.disk(5)
  local made = tools.export(mine, text)
  local problem = "refused"
  if made then
    assert(tools.import(disk, text))
    local verdict = assert(tools.verify(disk))
    assert.equal(0, verdict.damaged, verdict.first)
    problem = serve()
  end
  disk:close()
  disk = mine
  process.remove_dir(text:match("^(.*)/"))
  return problem
end

--- A copy of the file as it was, on a disk of its own.
local function damaged(change, through)
  local copy = stored.disk(3)
  copy:write("sluice.db", image)
  local mine = disk
  disk = copy
  change(copy)
  local problem = (through or serve)()
  disk = mine
  copy:close()
  return problem
end

describe("damage", function()
  setup(function()
    stored.at(1000000)
    math.randomseed(11)
    disk = stored.disk(2)
    fill()
  end)

  teardown(function() disk:close() end)

  it("is none in a whole file", function()
    assert.is_nil(damaged(function() end))
    assert.is_nil(damaged(function() end, serve_copy))
  end)

  it("by " .. PLACES .. " flipped bits never makes a wrong payload", function()
    local refused, silent = 0, {}
    for _ = 1, PLACES do
      local problem = damaged(function(copy) copy:damage("sluice.db", math.random(#image * 8) - 1) end)
      if problem == "refused" then refused = refused + 1 else silent[#silent + 1] = problem end
    end
    assert.same({}, silent)
    assert.is_true(refused > 0)
  end)

  it("by " .. PLACES .. " flipped bits is passed on by no export", function()
    local whole, silent = 0, {}
    for _ = 1, PLACES do
      local place = math.random(#image * 8) - 1
      local problem = damaged(function(copy) copy:damage("sluice.db", place) end, serve_copy)
      if problem == nil then whole = whole + 1 end
      if problem ~= "refused" and problem then silent[#silent + 1] = place .. ": " .. problem end
    end
    assert.same({}, silent)
    assert.is_true(whole > 0)
  end)

  it("by truncation at " .. PLACES .. " places is refused, or seen when it is read", function()
    local silent = {}
    for _ = 1, PLACES do
      local problem = damaged(function(copy) copy:damage("sluice.db", nil, math.random(#image) - 1) end)
      if problem ~= "refused" then silent[#silent + 1] = problem end
    end
    assert.same({}, silent)
  end)
end)
