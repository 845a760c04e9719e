--- One drawn run of the store's state machine on a disk in memory: operations, reads, time,
--- kills, power cuts, commits that fail, hang or end in doubt, conversions, restarts that change
--- the app. What the store says and holds is compared with model.lua; the first difference ends
--- the run. Equal seeds are equal runs.
local model = require("spec.store.model")
local stored = require("spec.support.stored")

local World = {}
World.__index = World

local NAMES = { "a", "b", "k", "s", "m" }
local STEP = 1 << 40

local function chance(p) return math.random() < p end
local function pick(list) return list[math.random(#list)] end

function World.fault(_, text, ...) error({ fault = text:format(...) }, 0) end

local function draw_policies()
  return {
    a = { durable = true, events = 5 },
    b = { durable = true, events = 9 },
    k = { kind = "keyed", durable = true, events = 4, keys = 4 },
    s = { kind = "state", durable = true, keys = 3 },
    m = { kind = pick { "log", "keyed", "state" }, durable = false, events = 5, keys = 4 },
  }
end

local function change_policies(from)
  local to = model.copy(from)
  for _, name in ipairs(NAMES) do
    if chance(0.3) then to[name].durable = chance(0.6) end
    if chance(0.2) then to[name].kind = pick { "log", "keyed", "state" } end
  end
  return to
end

function World.new(seed)
  math.randomseed(seed)
  stored.at(1000000)
  return setmetatable({
    disk = stored.disk(seed), policies = draw_policies(), truth = model.new(), outstanding = {}, reads = {},
    memory = {}, unsure = {}, highest = 0, n = 0, doomed = {}, rows = {}, reserves = chance(0.5),
  }, World)
end

-- ---- Comparing ---------------------------------------------------------------------------

local function text_of(m)
  local lines = {}
  for name, c in pairs(m.channels) do
    local rows, newest = {}, {}
    for _, row in ipairs(c.rows) do rows[#rows + 1] = row.seq .. "=" .. row.data end
    for key, v in pairs(c.newest) do newest[#newest + 1] = key .. "=" .. v.data end
    table.sort(newest)
    lines[#lines + 1] = ("%s %s %s floor %d rows %s newest %s"):format(name, c.kind,
      c.durable and "durable" or "memory", c.floor, table.concat(rows, " "), table.concat(newest, " "))
  end
  for key, v in pairs(m.pairs) do lines[#lines + 1] = "pair " .. key .. "=" .. v end
  for key, v in pairs(m.tasks) do lines[#lines + 1] = "task " .. key .. "=" .. v end
  table.sort(lines)
  return table.concat(lines, "\n")
end

--- What the store holds, in the model's words. Numbers above the head are committed and not
--- released: they are read here as well.
function World:held()
  local m = model.new()
  for _, c in ipairs((self.s.raw:each("channels"))) do
    m.channels[c.name] = { kind = c.kind, durable = c.durable, floor = c.floor, rows = {}, newest = {} }
  end
  for _, row in ipairs((self.s.raw:each("newest"))) do
    m.channels[row.channel].newest[row.key] = { seq = row.seq, data = row.data }
  end
  for _, p in ipairs((self.s.raw:each("pairs"))) do m.pairs[p.key] = p.value end
  for _, t in ipairs((self.s.raw:each("tasks"))) do m.tasks[t.id] = t.data end
  for name, c in pairs(m.channels) do
    local page, err = self.s:page(name, 0, { head = math.maxinteger // 2, bytes = 1 << 20 })
    if err ~= 0 then return nil end
    for _, row in ipairs(page) do
      c.rows[#c.rows + 1] = { seq = row.seq, key = row.key, data = row.data, remove = row.remove }
    end
  end
  return m
end

local function adopt_floors(m, held, first)
  for name, c in pairs(m.channels) do
    local there = held.channels[name]
    if there and there.floor % STEP == first % STEP then
      if c.last == c.floor then c.last = there.floor end
      c.floor = there.floor
    end
  end
end

-- Idempotency keys that another candidate has: what was in flight may leave nothing else behind, so
-- that the first answer tells. Until that comes they stay so.
local function keys_of(candidates, m, before)
  local unsure = {}
  for key, seq in pairs(before) do unsure[key] = not m.keys[key] and seq or nil end
  for _, other in ipairs(candidates) do
    for key, seq in pairs(other.keys) do unsure[key] = not m.keys[key] and seq or nil end
  end
  return unsure
end

--- After a start: it holds what was known, with the group in flight or without it.
function World:compare_start(candidates)
  local held = self:held()
  if not held then self:fault("it cannot be read after a start") end
  local text, expected = text_of(held), {}
  for _, m in ipairs(candidates) do
    model.convert(m, self.policies, self.s.start.first, self:durable_names(), false)
    if self.begins > 1 then adopt_floors(m, held, self.s.start.first) end
    expected[#expected + 1] = text_of(m)
    if text == expected[#expected] then
      self.truth, self.unsure = m, keys_of(candidates, m, self.unsure)
      return
    end
  end
  self:fault("after a start it holds\n%s\ninstead of\n%s", text, table.concat(expected, "\nor\n"))
end

function World:compare()
  if #self.outstanding > 0 or self.s.raw:stats().in_flight > 0 or self.disk:is_dead() then return end
  self.s.raw:pace(0)
  local held = self:held()
  if not held then return end
  local text, expected = text_of(held), text_of(self.truth)
  if text ~= expected then self:fault("it holds\n%s\ninstead of\n%s", text, expected) end
end

-- ---- Life --------------------------------------------------------------------------------

function World:durable_names()
  local list = {}
  for name, p in pairs(self.policies) do
    if p.durable then list[name] = { was = "log", newest = 0 } end
  end
  return list
end

function World:try_open()
  self.begins = self.begins + 1
  local changes = {}
  for _, name in ipairs(NAMES) do
    if self.policies[name].durable then changes[#changes + 1] = { name = name, newest = 0 } end
  end
  local s, why = stored.open({ disk = self.disk, pages = 30, reserves = self.reserves }, self.policies,
    { changes = changes })
  if s then return s end
  if not (self.disk:is_dead() or self.troubled) then self:fault("it does not open: %s", why) end
end

--- The next life, in which the system may die again.
function World:start()
  local candidates = { self.truth, self.maybe }
  self.maybe, self.begins = nil, 0
  if chance(0.3) then self.policies = change_policies(self.policies) end
  if chance(0.15) then self.disk:set("die", math.random(12), chance(0.6)) end
  repeat
    self.s = self:try_open()
    if not self.s then self.disk:set(chance(0.5) and "cut" or "kill") end
    self:calm()
  until self.s
  if self.s.start.first < self.highest then self:fault("a number comes again: %d", self.s.start.first) end
  self.highest = self.s.start.first
  self.memory = {}
  self:compare_start(candidates)
end

function World:calm()
  for _, what in ipairs { "die", "write", "sync", "limit" } do self.disk:set(what, 0) end
  self.troubled = false
end

--- The group in flight may be in the file; what is queued is not.
function World:die()
  self:collect()
  local n = self.s.raw:stats().in_flight
  self.maybe = model.copy(self.truth)
  for i = 1, math.min(n, #self.outstanding) do self:apply(self.maybe, self.outstanding[i], true) end
  self.s:drop()
  self.outstanding, self.reads, self.converting = {}, {}, nil
end

function World:kill()
  self:die()
  self.disk:set(chance(0.5) and "cut" or "kill")
  self:calm()
  self:start()
end

function World:close()
  self.closing = true
  self.s:close()
  self:collect()
  self.closing = false
  self.reads, self.converting = {}, nil
end

function World:restart()
  self:calm()
  self:close()
  if #self.outstanding > 0 then self:fault("a close gave not everything back") end
  if chance(0.3) then self.disk:set(chance(0.5) and "cut" or "kill") end
  self:start()
end

-- ---- Answers -----------------------------------------------------------------------------

--- Change a model as the operation does; the answer it must get.
function World:apply(m, op, is_maybe)
  if op.kind == "event" then
    if is_maybe and not model.durable(m, op.channel, self.policies) then return end
    return model.event(m, op, op.seq or self:predicted(op), self.policies, self.s.start.first)
  elseif op.kind == "convert" then
    model.convert(m, op.policies, 0, op.by_name, true)
  elseif op.kind == "trim" then model.trim(m, op)
  elseif op.kind == "set" then m.pairs[op.key] = op.value
  elseif op.kind == "delete" then m.pairs[op.key] = nil
  elseif op.kind == "task" then m.tasks[op.id] = op.data
  elseif op.kind == "done" then m.tasks[op.id] = nil
  end
  return "stored", op.seq
end

--- Numbers of a group in flight are given in order.
function World:predicted(op)
  local seq = self.group_first
  for _, other in ipairs(self.outstanding) do
    if other == op then return seq end
    if other.kind == "event" or other.kind == "convert" then seq = seq + 1 end
  end
end

function World:forget(op)
  for i, other in ipairs(self.outstanding) do
    if other == op then return table.remove(self.outstanding, i) end
  end
  self:fault("answered twice: %s", op.data or op.kind)
end

function World:on_release(op, seq, answer)
  if op.kind ~= "trim" then op.seq = seq end
  if (op.kind == "event" or op.kind == "convert") and answer ~= "duplicate" then
    if seq <= self.highest then self:fault("number %d comes again", seq) end
    self.highest = seq
  end
  if op.failed then self:fault("released after it was refused: %s", op.data or op.kind) end
  local key = op.idempotency and op.channel .. "\0" .. op.idempotency
  if key and answer == "duplicate" then self.truth.keys[key] = self.truth.keys[key] or self.unsure[key] end
  local expected, id = self:apply(self.truth, op)
  if op.kind == "convert" then self:on_converted(op) end
  if answer ~= expected then self:fault("%s is answered '%s', not '%s'", op.data or op.kind, answer, expected) end
  op.expected, op.expected_seq = expected, id
  if expected == "stored" and op.kind == "event" and op.idempotency then
    if self.doomed[key] then self:fault("refused, and stored by another: %s", op.idempotency) end
  end
end

function World:on_converted(op)
  self.policies, self.converting = op.policies, nil
  for name, change in pairs(op.by_name) do
    if op.policies[name].durable or op.kinds[name] ~= (op.policies[name].kind or "log") then self.memory[name] = nil end
    change.lives = nil
  end
end

--- Whether another of its key is in flight: then it may not be told that nothing is stored.
function World:has_twin_in_flight(op)
  for i = 1, math.min(self.s.raw:stats().in_flight, #self.outstanding) do
    local other = self.outstanding[i]
    if other ~= op and other.idempotency == op.idempotency and other.channel == op.channel then return true end
  end
end

function World:on_done(op, answer, seq)
  if answer == "failed" and op.idempotency and not self.closing and self.ticking and self:has_twin_in_flight(op) then
    self.doomed[op.channel .. "\0" .. op.idempotency] = true
  end
  self:forget(op)
  if op.kind == "convert" and answer ~= "stored" then self.converting = nil end
  if answer == "failed" then op.failed = true return end
  if answer == "not durable" then
    if model.durable(self.truth, op.channel, self.policies) then self:fault("'%s' is durable", op.channel) end
    if op.kind == "event" and not self.closing then self.moved[#self.moved + 1] = op end
    return
  end
  if answer == "unknown" then return end
  if answer ~= op.expected or (op.kind == "event" and seq ~= op.expected_seq) then
    self:fault("%s is answered '%s' %d", op.data or op.kind, answer, seq)
  end
end

function World:on_page(read, page)
  local floor = math.max(read.above, page.floor)
  local rows, i = read.rows, 0 -- as they were then: some may have been trimmed since
  for _, row in ipairs(rows) do
    if row.seq > floor and row.seq <= page.upto then
      i = i + 1
      local got = page[i]
      if not got or got.seq ~= row.seq or got.data ~= row.data then
        self:fault("a page of '%s' above %d has %s for %d", read.channel, read.above, got and got.seq or "nothing",
          row.seq)
      end
    end
  end
  if page[i + 1] then self:fault("a page of '%s' has %d, which is not to be read", read.channel, page[i + 1].seq) end
  if page.upto > read.head then self:fault("a page goes beyond the head") end
  if page.damaged then self:fault("a page of '%s' is damaged", read.channel) end
end

function World:collect()
  self.s:collect()
  local log = self.s.log
  self.s.log, self.moved = {}, {}
  for _, entry in ipairs(log) do self:on_entry(entry) end
  for _, op in ipairs(self.moved) do self:publish_memory(op) end -- above all that was released
end

function World:on_entry(e)
  local what, id = e[1], e[2]
  if what == "open" then
    self.group_first = id
  elseif what == "release" then self:on_release(self.by_id[id], e[3], stored.ANSWERS[e[4]])
  elseif what == "done" then self:on_done(self.by_id[id], stored.ANSWERS[e[3]], e[4])
  elseif what == "page" then
    local read = self.reads[id]
    if read and e[3] == 0 then self:on_page(read, e[5]) end
  end
end

-- ---- Actions -----------------------------------------------------------------------------

function World:submit(op)
  self.n = self.n + 1
  local id = self.s.raw:submit(op)
  if not id then return end
  self.by_id[id] = op
  self.outstanding[#self.outstanding + 1] = op
  return op
end

function World:publish_memory(op)
  local seq = self.s.raw:memory()
  if not seq then self:fault("memory is refused") end
  if seq <= self.highest then self:fault("number %d comes again", seq) end
  self.highest = seq
  local c = self.memory[op.channel] or { last = 0, newest = {} }
  self.memory[op.channel] = c
  c.last = seq
  c.newest[op.key] = not op.remove and { seq = seq, data = op.data } or nil
end

function World:publish()
  local channel = pick(NAMES)
  local op = { kind = "event", channel = channel, key = pick { "p", "q", "r", "t", "u" }, data = "e" .. self.n }
  op.remove, op.update = chance(0.15) or nil, chance(0.15) or nil
  if chance(0.3) then op.idempotency = "i" .. math.random(self.n // 4 + 1) end
  if op.idempotency and self.doomed[channel .. "\0" .. op.idempotency] then op.idempotency = nil end
  local queues = model.durable(self.truth, channel, self.policies) or (self.converting and self.converting[channel])
  self.n = self.n + 1
  if queues then self:submit(op) else self:publish_memory(op) end
end

function World:convert()
  if self.converting then return end
  local to = change_policies(self.policies)
  local op = { kind = "convert", policies = to, changes = {}, by_name = {}, kinds = {} }
  self.converting = {}
  for _, name in ipairs(NAMES) do
    local memory = self.memory[name] or { last = 0, newest = {} }
    local was = self.policies[name].kind or "log"
    local is_durable = model.durable(self.truth, name, self.policies)
    op.kinds[name] = was
    if to[name].durable or is_durable then self.converting[name] = true end
    if not is_durable then
      local change = { was = was, newest = memory.last, lives = model.copy(memory.newest) }
      op.by_name[name] = change
      local lives = {}
      for key, v in pairs(change.lives) do lives[#lives + 1] = { seq = v.seq, key = key, data = v.data } end
      op.changes[#op.changes + 1] = { name = name, kind = was, newest = memory.last, lives = lives }
      if was ~= (to[name].kind or "log") or to[name].durable then self.converting[name] = true end
    else
      op.by_name[name] = nil
    end
  end
  if not self:submit(op) then self.converting = nil end
end

function World:read()
  local channel = pick(NAMES)
  local c = self.truth.channels[channel]
  if not c then return end
  local head = self.s.raw:head()
  local above = chance(0.3) and 0 or c.floor
  if #c.rows > 0 and chance(0.5) then above = pick(c.rows).seq end
  local rows = {}
  for _, row in ipairs(c.rows) do
    if row.seq <= head then rows[#rows + 1] = row end
  end
  local id = self.s.raw:read { channel = channel, above = above, head = head, rows = math.random(4) }
  self.reads[id] = { channel = channel, above = above, head = head, rows = rows }
end

function World:other_op()
  local key = pick { "x", "y", "z" }
  local c = self.truth.channels.a
  self:submit(pick {
    { kind = "set", store = "kv", key = key, value = "v" .. self.n }, { kind = "delete", store = "kv", key = key },
    { kind = "task", id = key, name = "n", data = "t" .. self.n, due = 1 }, { kind = "done", id = key },
    { kind = "trim", channel = "a", seq = c and c.floor + math.random(30) or 1 },
  })
end

function World:trouble()
  local what = pick { "die", "die", "write", "sync", "sync", "both", "limit" }
  self.troubled = true
  if what == "both" then -- a sync that fails, and the process ends before anything is done about it
    local n = math.random(4)
    self.disk:set("sync", n)
    return self.disk:set("die", 2 * n + 1, chance(0.2))
  end
  if what == "limit" then return self.disk:set("limit", 60000 + math.random(100000)) end
  self.disk:set(what, math.random(12), chance(what == "die" and 0.6 or 0.2))
end

function World:set_pace()
  local ms = pick { 0, 0, 1, 3, 20, 2000, 7000, 12000 }
  self.s.raw:pace(ms * 1000, chance(0.3), pick { 0, 0, 3000 }, chance(0.5))
end

function World:advance(us)
  stored.at(stored.now_us + (us or pick { 0, 500, 1000, 3000, 100000, 2500000 }))
  self.ticking = true
  self.s.raw:tick(self.s.raw:head())
  self:collect()
  self.ticking = false
  for _ = 1, 4 do
    if not self.s.raw:step() then break end
    self:collect()
    if self.disk:is_dead() then break end
  end
  self:collect()
end

--- Years of events in memory, as long as the head row keeps up; perhaps the end comes then.
function World:jump_ahead()
  if #self.outstanding > 0 or self.troubled then return end
  self.s.raw:pace(0)
  self:advance(2500000) -- what was in trouble has tried again
  for _ = 1, math.random(5) do
    self.highest = self.s.raw:memory((1 << 38) + math.random(1000))
    self:advance(0)
  end
  if chance(0.5) then self:kill() end
end

--- As if a stuck app had looked at no clock while groups went on for hours.
function World:busy_hours()
  local channel = pick(NAMES)
  if #self.outstanding > 0 or self.troubled or self.converting then return end
  if not model.durable(self.truth, channel, self.policies) then return end
  self.s.raw:pace(0)
  self.s.raw:memory(1 << 41)
  self:submit { kind = "event", channel = channel, key = "p", data = "hours" .. self.n }
  while #self.outstanding > 0 and self.s.raw:step() do self:collect() end
  if chance(0.5) then self:kill() end
end

function World:step()
  local x = math.random()
  if x < 0.42 then self:publish()
  elseif x < 0.50 then self:other_op()
  elseif x < 0.56 then self:read()
  elseif x < 0.59 then self:convert()
  elseif x < 0.62 then self:trouble()
  elseif x < 0.64 then self:calm()
  elseif x < 0.68 then self:set_pace()
  elseif x < 0.70 then self:compare()
  elseif x < 0.703 then self:jump_ahead()
  elseif x < 0.705 then self:busy_hours()
  elseif x < 0.715 then self:kill()
  elseif x < 0.725 then self:restart()
  else self:advance()
  end
  if self.disk:is_dead() then self:kill() end
end

--- Nothing is wrong any more: everything is answered.
function World:settle()
  self:calm()
  self.s.raw:pace(0)
  for _ = 1, 40 do self:advance(2500000) end
  if #self.outstanding > 0 then self:fault("%d are not answered", #self.outstanding) end
  self:compare()
  self:kill()
  self:compare()
end

--- nil, or what was wrong.
function World.run(seed, steps)
  local w = World.new(seed)
  w.by_id = {}
  local ok, err = xpcall(function()
    w:start()
    for i = 1, steps do
      w.at = i
      w:step()
    end
    w:settle()
  end, function(e) return type(e) == "table" and e.fault or debug.traceback(e) end)
  if w.s then pcall(w.s.drop, w.s) end
  w.s = nil
  collectgarbage()
  w.disk:close()
  return not ok and ("seed %d, step %d: %s"):format(seed, w.at or 0, err) or nil
end

return World
