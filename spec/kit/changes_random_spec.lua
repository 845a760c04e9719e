--- changes:sqlite at random: a writer, and a server that is killed, cut from power, reloaded, whose disk is
--- full for a while. What a channel holds in the end is compared with the rows; planted bugs are
--- found. A seed that fails is printed; SEED=n repeats it.
local json = require("sluice.json")
local kit = require("spec.support.kit")
local process = require("spec.support.process")
local tree = require("spec.support.tree")

local FULL = os.getenv("SLUICE_SPEC_FULL") ~= nil
local SEEDS, STEPS, HUNT = FULL and 300 or 4, FULL and 60 or 20, FULL and 100 or 40
local PARTS = { "changes", "changes/burst", "changes/query", "changes/rows", "changes/source", "changes/together" }
local APP = [[
local changes = require("copy.changes").new(app, { durable = true, rewind = "all", history = 100000 })
changes:sqlite { path = sluice.env("DB"), table = "log", cursor = "seq", type = "x", op = "op",
  changes = "changes", start = "begin", batch = 5, every = 0.2 }
app:stream("/changes", "changes/x")
]]
local SCHEMA = "PRAGMA journal_mode = WAL; CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
  .. " op TEXT, id INTEGER, changes TEXT);"

-- Without the care of process.run, which takes three programs more.
local function shell(path, sql)
  local words = ("unset LD_PRELOAD; exec sqlite3 %s %s >/dev/null"):format(path,
    process.quote("PRAGMA synchronous = OFF;" .. sql))
  assert(os.execute(words))
end

-- The module as a user would copy it, with a part of it replaced.
local function copies(bug)
  local files = {}
  for _, part in ipairs(PARTS) do
    local text = tree.read("lua/sluice/" .. part .. ".lua"):gsub('"sluice%.changes', '"copy.changes')
    if bug and bug[1] == part then
      local at, stop = text:find(bug[2], 1, true)
      assert(at, part .. " does not hold " .. bug[2])
      text = text:sub(1, at - 1) .. bug[3] .. text:sub(stop + 1)
    end
    files["copy/" .. part .. ".lua"] = text
  end
  return files
end

-- ---- The world -----------------------------------------------------------------------------------

local World = {}
World.__index = World

-- Some rows of one transaction, of any record or of one. Each names itself in its fields: s<seq>.
function World:write(n, only)
  local values = {}
  for _ = 1, n do
    local id = only or math.random(1, 6)
    local alive, op = self.alive[id], "updated"
    if not alive then op = "created" elseif id > 3 and math.random() < 0.4 then op = "deleted" end
    self.alive[id] = op ~= "deleted"
    self.rows[#self.rows + 1] = { id = id, op = op }
    values[#values + 1] = ("('%s', %d, '{\"s%d\":1}')"):format(op, id, #self.rows)
  end
  shell(self.path, "INSERT INTO log (op, id, changes) VALUES " .. table.concat(values, ","))
end

-- A row alone, one behind it, and a kill: between the event of the first and its cursor.
function World:strike()
  local t, id = self.t, math.random(1, 6)
  t:disk { full = false, commit = 0.1 }
  self.is_full = false
  self:write(1, id)
  t:advance(0.2 + math.random() * 0.4)
  self:write(1, id)
  t:kill()
  t:disk { commit = 0.001 }
end

function World:step()
  local t, dice = self.t, math.random()
  if dice < 0.38 then
    self:write(math.random(1, 4))
  elseif dice < 0.45 then
    self:strike()
  elseif dice < 0.6 then
    t:disk { early = math.random() < 0.5, full = false } -- a full one would not open
    self.is_full = false
    t[math.random() < 0.7 and "kill" or math.random() < 0.5 and "cut" or "restart"](t)
  elseif dice < 0.65 then
    assert(t:reload())
  elseif dice < 0.7 then
    t:disk { full = true }
    self.is_full = true
  elseif self.is_full then
    t:disk { full = false }
    self.is_full = false
  end
  t:advance(math.random() < 0.5 and math.random() * 0.3 or math.random(0, 12) / 1000)
end

-- What a reader has who was there from the beginning, as { op, id, seqs }.
function World:told()
  self.t:disk { full = false }
  self.t:advance(7) -- the disk answers within 5
  local list = {}
  for i, e in ipairs(self.t:connect("/changes"):events("dataUpdate")) do
    local seqs = {}
    for name in pairs(e.data.changes) do seqs[#seqs + 1] = math.tointeger(tonumber(name:sub(2))) end
    table.sort(seqs)
    list[i] = { op = e.data.op, id = e.data.id, seqs = seqs }
  end
  return list
end

-- ---- The judge -----------------------------------------------------------------------------------

-- What is wrong with the events of one record, or nil. `rows` are its rows, in order.
local function judge_one(id, rows, events)
  local alive, told, last, gone = false, {}, 0, 0
  for _, e in ipairs(events) do
    if e.op == "created" and alive then return id .. " was created twice" end
    if e.op == "updated" and not alive then return id .. " was updated and not there" end
    if e.op == "deleted" then gone = gone + 1 end
    alive = e.op ~= "deleted"
    for _, seq in ipairs(e.seqs) do
      if seq <= last then return ("row %d of %s came again, or late"):format(seq, id) end
      told[seq], last = true, seq
    end
  end
  for _, row in ipairs(rows) do gone = gone - (row.op == "deleted" and 1 or 0) end
  if gone ~= 0 then return ("%s was deleted %+d times too often"):format(id, gone) end
  if alive ~= (rows[#rows].op ~= "deleted") then return id .. " ended wrongly" end
  -- a life that ended may have left no trace, all rows of the last one have
  for i = #rows, 1, -1 do
    if rows[i].op == "deleted" then break end
    if not told[rows[i].seq] then return ("row %d of %s is missing"):format(rows[i].seq, id) end
  end
end

local function judge(rows, events)
  local by_id = {}
  local function of(id)
    by_id[id] = by_id[id] or { rows = {}, events = {} }
    return by_id[id]
  end
  for seq, row in ipairs(rows) do table.insert(of(row.id).rows, { seq = seq, op = row.op }) end
  for _, e in ipairs(events) do table.insert(of(e.id).events, e) end
  for id, both in pairs(by_id) do
    if #both.rows == 0 then return "a record that nobody wrote" end
    local fault = judge_one(id, both.rows, both.events)
    if fault then return fault end
  end
end

-- What is wrong with a run, or nil.
local function run(seed, bug)
  math.randomseed(seed)
  local folder = process.temp_dir()
  local path = folder .. "/x.db"
  shell(path, SCHEMA)
  local t = kit.start(APP, { env = { DB = path }, files = copies(bug), seed = seed })
  local world = setmetatable({ t = t, path = path, rows = {}, alive = {} }, World)
  local ok, fault = pcall(function()
    for _ = 1, STEPS do world:step() end
    return judge(world.rows, world:told())
  end)
  if not ok then fault = "raised: " .. tostring(type(fault) == "table" and fault.message or fault) end
  kit.stop_all()
  process.remove_dir(folder)
  return fault
end

describe("a source of changes", function()
  it("skips nothing and repeats nothing, whatever is killed", function()
    local only = tonumber(os.getenv("SEED"))
    local first = only or FULL and os.time() or 1
    for seed = first, only or first + SEEDS - 1 do
      local fault = run(seed)
      assert.is_nil(fault, ("SEED=%d: %s"):format(seed, tostring(fault)))
    end
  end)

  local bugs = {
    ["stores the cursor before it publishes"] = { "changes/source",
      "  ok, message, code = send(self, place.era, events, at, id)",
      "  move(self, place.era, at, id)\n  ok, message, code = send(self, place.era, events, at, id)" },
    ["publishes without an idempotency key"] = { "changes", "idempotency = self.durable and once or nil",
      "idempotency = nil" },
    ["stores no end of a batch"] = { "changes/source", "if events[1] and not", "if false and not" },
    ["stores no end of a batch of one row"] = { "changes/source", "if events[1] and not", "if rows[2] and not" },
    ["reads the row at the cursor again"] = { "changes/query", '"> " .. operand',
      '">= " .. operand', full = true },
    ["gives one key to all of a batch"] = { "changes/source", "tostring(event.place), event.id)",
      "tostring(at), self.type)", full = true },
    ["goes on when an event was not published"] = { "changes/source",
      "if ok then done[event.once] = true else message, code = why, what end",
      "done[event.once] = ok or why or what", full = true },
  }
  for name, bug in pairs(bugs) do
    local test = bug.full and not FULL and function() end or it -- four are enough for a quick look
    test("that " .. name .. " is found", function()
      local fault
      for seed = 1, HUNT do
        fault = run(seed, bug)
        if fault then break end
      end
      assert.truthy(fault, "no seed finds it")
      assert.falsy(fault:find("raised", 1, true), fault)
    end)
  end

  it("is judged by a judge that knows what is wrong", function()
    local rows = { { id = 1, op = "created" }, { id = 1, op = "updated" }, { id = 1, op = "deleted" },
      { id = 1, op = "created" } }
    local function e(op, ...) return { op = op, id = 1, seqs = { ... } } end
    assert.is_nil(judge(rows, { e("created", 1, 2), e("deleted"), e("created", 4) }))
    assert.is_nil(judge(rows, { e("deleted"), e("created", 4) }))
    for text, events in pairs {
      ["created twice"] = { e("created", 1), e("created", 4) },
      ["came again"] = { e("created", 1), e("updated", 1, 2) },
      ["not there"] = { e("updated", 2), e("deleted"), e("created", 4) },
      ["deleted -1 times"] = { e("created", 4) },
      ["deleted +1 times"] = { e("deleted"), e("deleted"), e("created", 4) },
      ["ended wrongly"] = { e("created", 1), e("deleted") },
      ["is missing"] = { e("created", 1, 2), e("deleted"), e("created") },
    } do
      assert.matches(text, judge(rows, events), 1, true, json.encode(events))
    end
  end)
end)
