--- The dead letters of an outbox: listed, replayed, dropped. Keeps nothing in memory.
local delivery = require("sluice.outbox.delivery")
local queue = require("sluice.outbox.queue")
local sluice = require("sluice")

local dead = {}

local function find_dead(self, s, id)
  local row = type(id) == "string" and s.rows[id]
  if row and row.dead and not row.ended then return row end
  return nil, ("%s: there is no dead letter with this id"):format(self.o.name), "ENOTFOUND"
end

local function shown(letter)
  return { id = letter.id, via = letter.via, target = letter.target, subject = letter.subject,
    attempts = letter.attempts, error = letter.error, code = letter.code, status = letter.status,
    refused = letter.refused, data = letter.data, created = sluice.timestamp(letter.created),
    died = sluice.timestamp(letter.died) }
end

-- Those that there are; on another node of a cluster than that of the book, what is kept.
local function find_all(self)
  local rows = {}
  if not self.lead:has_book() then
    for _, letter in self:kept():each("letter/") do
      if letter.died then rows[#rows + 1] = { id = letter.id, row = letter, letter = letter } end
    end
    return rows
  end
  for id, row in pairs(self:ready().rows) do
    if row.dead and not row.ended then rows[#rows + 1] = { id = id, row = row } end
  end
  return rows
end

--- The dead letters, the newest first.
function dead.list(self, limit)
  local rows, list = find_all(self), sluice.json.array()
  table.sort(rows, function(a, b)
    if a.row.died ~= b.row.died then return a.row.died > b.row.died end
    return a.id < b.id
  end)
  for i = 1, math.min(#rows, limit) do
    local letter = rows[i].letter or self:read(rows[i].id, rows[i].row)
    if letter then list[#list + 1] = shown(letter) end
  end
  return list, #rows
end

local function revive(self, s, id, row)
  local letter = self:read(id, row)
  if not letter then return nil, "the letter is gone", "ENOTFOUND" end
  local again = {}
  for name, value in pairs(letter) do again[name] = value end
  again.attempts, again.died, again.told, again.due = 0, nil, nil, nil
  local ok, message, code = self:write(id, row, again)
  if not ok then return nil, message, code end
  if s.rows[id] ~= row or not row.dead then return true end
  row.dead, row.died, row.owes, s.dead, row.at = false, nil, nil, s.dead - 1, sluice.now()
  if not row.flying then queue.push(s.queue, id, row) end -- else its end is being told
  return true
end

--- Deliver a dead letter after all, or all of them.
function dead.replay(self, id)
  local s, ids, n = self:ready(), {}, 0
  if id ~= nil then
    local row, message, code = find_dead(self, s, id)
    if not row then return nil, message, code end
    ids[1] = id
  else
    for one in pairs(s.rows) do
      if find_dead(self, s, one) then ids[#ids + 1] = one end
    end
  end
  for _, one in ipairs(ids) do
    local row = find_dead(self, s, one)
    if row then
      local ok, message, code = revive(self, s, one, row)
      if not ok then return nil, message, code end
      n = n + 1
    end
  end
  delivery.kick(self, s)
  return n
end

--- Give a letter up, dead or not yet delivered.
function dead.drop(self, id)
  local s = self:ready()
  local row = type(id) == "string" and s.rows[id]
  if not row or row.ended or row.saving then
    return nil, ("%s: there is no letter with this id"):format(self.o.name), "ENOTFOUND"
  end
  row.saving = true -- who adds one with this id waits
  local _ <close> = setmetatable({}, { __close = function() row.saving = nil end })
  local ok, message, code = self:delete(s, id, row)
  if not ok then
    row.ended = nil
    return nil, message, code
  end
  s.told.dropped = s.told.dropped + 1
  return true
end

return dead
