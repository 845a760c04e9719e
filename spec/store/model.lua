--- What a durable store holds, said a second time: a plain value that operations change in commit
--- order. Knows nothing of files, groups or SQL. Rules: see csrc/store/op.h and convert.c.
local model = {}

function model.copy(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for k, v in pairs(value) do copy[k] = model.copy(v) end
  return copy
end

function model.new() return { channels = {}, keys = {}, pairs = {}, tasks = {} } end

local MEMORY = { kind = "log", durable = false }

local function new_channel(kind, durable, floor)
  return { kind = kind, durable = durable, floor = floor, last = floor, rows = {}, newest = {} }
end

local function put(c, row)
  c.newest[row.key] = not row.remove and { seq = row.seq, data = row.data } or nil
end

local function limit_keys(c, limit)
  while true do
    local n, oldest = 0, nil
    for key, v in pairs(c.newest) do
      n = n + 1
      if not oldest or v.seq < c.newest[oldest].seq then oldest = key end
    end
    if n <= (limit or math.huge) then return end
    c.newest[oldest] = nil
  end
end

--- Oldest first, once it is an eighth above its limit.
local function trim(c, limit)
  if not limit or #c.rows <= limit + limit // 8 then return end
  while #c.rows > limit do c.floor = table.remove(c.rows, 1).seq end
end

--- The answer and the number that goes with it. 'floor': of a channel that is not known yet.
function model.event(m, op, seq, policies, floor)
  local policy = policies[op.channel]
  local c = m.channels[op.channel]
  if not c then
    c = new_channel(policy.kind or "log", true, floor)
    m.channels[op.channel] = c
  end
  local known = op.idempotency and op.channel .. "\0" .. op.idempotency
  if known and m.keys[known] then return "duplicate", m.keys[known] end
  if op.update and not c.newest[op.key] then return "no key", seq end
  local row = { seq = seq, key = op.key, data = op.data, remove = op.remove }
  if c.kind ~= "state" then
    c.rows[#c.rows + 1] = row
    c.last = seq
  end
  if c.kind ~= "log" then
    put(c, row)
    limit_keys(c, policy.keys)
  end
  if known then m.keys[known] = seq end
  trim(c, policy.events)
  return "stored", seq
end

function model.trim(m, op)
  local c = m.channels[op.channel]
  while c and c.rows[1] and c.rows[1].seq <= op.seq do c.floor = table.remove(c.rows, 1).seq end
end

local function raise(c, floor)
  c.floor = math.max(c.floor, floor)
  c.last = math.max(c.last, c.floor)
end

local function drop(c)
  raise(c, c.last)
  c.rows, c.newest = {}, {}
end

--- live: while events flow; change: { was, newest, lives } of a memory channel.
local function convert(m, name, policies, number, change, live)
  local to, c = policies[name] or MEMORY, m.channels[name]
  local known = c ~= nil
  local kind = to.kind or "log"
  if not known and not to.durable then return end
  c = c or new_channel(change.was, false, 0)
  m.channels[name] = c
  if c.kind == kind and c.durable == (to.durable or false) then return end
  local was, was_durable = c.kind, c.durable
  if live then number = math.max(c.last, change and change.newest or 0) end
  if was_durable and not to.durable then drop(c) end
  if to.durable and not was_durable then
    drop(c)
    raise(c, number)
    if change and change.lives and was == kind and kind ~= "log" then c.newest = model.copy(change.lives) end
  end
  if (was == "state") ~= (kind == "state") then
    drop(c)
    if kind == "state" and live then raise(c, number) end
  elseif was ~= kind and to.durable and known then
    c.newest = {}
    if kind == "keyed" then
      for _, row in ipairs(c.rows) do put(c, row) end
      limit_keys(c, to.keys)
    end
  end
  c.kind, c.durable = kind, to.durable or false
end

--- changes: name -> { was, newest, lives }
function model.convert(m, policies, number, changes, live)
  local names = {}
  for name in pairs(m.channels) do names[name] = true end
  for name in pairs(changes) do names[name] = true end
  for name in pairs(names) do convert(m, name, policies, number, changes[name], live) end
end

function model.durable(m, channel, policies)
  local c = m.channels[channel]
  if c then return c.durable end
  return policies[channel] ~= nil and policies[channel].durable or false
end

return model
