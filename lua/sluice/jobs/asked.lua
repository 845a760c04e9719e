--- What the book of sluice.jobs is asked: to start a job, to cancel one, to note how far one is.
--- In a cluster the node that leads does it for all. Keeps nothing in memory.
local ends = require("sluice.jobs.ends")
local owned = require("sluice.base.owned")
local room = require("sluice.jobs.room")
local sluice = require("sluice")
local telling = require("sluice.jobs.telling")
local work = require("sluice.jobs.work")

local asked = {}

local ARGS_MAX, TOTAL_MAX = 1 << 20, 2 ^ 53
local SEGMENT = "1 to 64 letters, digits and _ . @ + = ~ : - are expected, the first no ':'"
local METHODS = { progress = true, step = true, checkpoint = true }

local function bad(field, message) return nil, field .. ": " .. message, "EBADFIELD", field end

asked.SEGMENT, asked.bad = SEGMENT, bad

-- A new row of what jobs:start is given, and its args as text; or nil, message, code, field.
local function read_start(kind, o)
  local id, owner, total = o.id, o.owner, o.total
  if id == nil then id = sluice.id() end
  id = owned.key(id)
  if not id then return bad("id", SEGMENT) end
  if owner ~= nil then
    owner = owned.key(owner)
    if not owner then return bad("owner", "an id of " .. SEGMENT) end
  end
  if total ~= nil and not (type(total) == "number" and total >= 0 and total <= TOTAL_MAX) then
    return bad("total", "a number from 0 is expected")
  end
  local args, message, code = telling.text(o.args or {}, ARGS_MAX)
  if not args then return nil, "args: " .. message, code, "args" end
  local first
  if o.fields then
    first, message, code = telling.fields(o.fields)
    if not first then return nil, "fields: " .. message, code, "fields" end
  end
  return { id = id, first = first, kind = kind, owner = owner, processed = 0,
    total = total and math.tointeger(total) or total, percentage = total and 0 or nil,
    attempt = 0, status = "queued", created = sluice.time() }, args
end

-- Why there is no room for one more, or nil. What has ended makes room.
local function lack(self, s, args)
  if s.bytes + #args > room.BYTES_MAX then self.book:forget(#args) end
  if s.open >= self.o.concurrency + self.o.queue then
    return ("%s: %d jobs wait already (queue)"):format(self.o.name, self.o.queue)
  elseif s.bytes + #args > room.BYTES_MAX then
    return ("%s: the jobs that are kept have %d MiB already"):format(self.o.name,
      room.BYTES_MAX >> 20)
  end
end

-- A job whose work its caller does begins as it is started: one row says both.
local function begin(row, where)
  row.attended, row.holder = true, where == "away" or nil
  row.running, row.status, row.attempt = true, "running", 1
end

--- A row that is saved, or there already; or nil, message, code, field.
-- @tparam[opt] string attended where the caller does its work: "here", or "away" on another node
function asked.save_start(self, kind, o, attended)
  local s = self.book:ready()
  local new, args, code, field = read_start(kind, o)
  if not new then return nil, args, code, field end
  local row = s.rows[new.id]
  if row and (attended or row.attended or row.kind ~= kind or row.owner ~= new.owner) then
    return nil, ("id: another job has '%s'"):format(new.id), "ECONFLICT", "id"
  elseif not row then
    local message = lack(self, s, args)
    if message then return nil, message, "EFULL" end
    row = new
    if attended then begin(row, attended) end
    self.book:add(row, args)
  end
  if row.unsaved then
    local ok, message, what = self.book:save_new(row)
    if not ok then return nil, message, what end
  end
  return row
end

-- A job whose work another node does.
local function attend(self, kind, o)
  local row, message, code, field = asked.save_start(self, kind, o, "away")
  if not row then return nil, message, code, field end
  telling.note(self, row)
  return row.id
end

-- It has ended there. @treturn boolean whether it was cancelled
local function attended(self, id, ended)
  local row = self.book:find(id)
  if not row or row.outcome then return row ~= nil and row.cancel == true end
  row.running = nil
  if row.cancel then ends.decide(self, row)
  elseif ended.error then ends.fail(self, row, ended.error)
  else ends.succeed(self, row, ended.result, ended.message) end
  ends.settle(self, id)
  return row.cancel == true
end

--- The calls of some jobs, by name.
-- @tparam sluice.Jobs self
-- @treturn table
function asked.calls(self)
  return {
    start = function(kind, o)
      local row, message, code, field = asked.save_start(self, kind, o)
      if not row then return nil, message, code, field end
      if not row.said then telling.note(self, row) end
      work.kick(self)
      return row.id
    end,
    cancel = function(id)
      local row = self.book:find(id)
      if not row then return nil, "no such job", "ENOTFOUND" end
      return ends.cancel(self, row)
    end,
    attend = function(kind, o) return attend(self, kind, o) end,
    attended = function(id, ended) return attended(self, id, ended) end,
    job = function(id, method, ...)
      local row = METHODS[method] and self.book:find(id)
      if not row then return nil, "no such job", "ENOTFOUND" end
      local job = self:_job(row, true)
      return job[method](job, ...)
    end,
  }
end

return asked
