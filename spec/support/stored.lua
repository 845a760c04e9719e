--- A durable store on a disk in memory (or in a folder), driven step by step: for spec/store.
--- Time stands at stored.now_us until it is moved.
local testing = require("sluice.core.testing_store")
local testing_disk = require("sluice.core.testing_disk")

local stored = { WALL = 1.7e9 }

stored.ANSWERS = { [0] = "pending", "stored", "duplicate", "no key", "not durable", "failed", "unknown" }

local Store = {}
Store.__index = Store

function stored.disk(seed) return testing_disk.new(seed) end

function stored.at(us)
  if not us then return testing.time() end
  stored.now_us = us
  testing.time(us, stored.WALL + us / 1e6)
end

--- Open and begin; nil, why, code when it cannot be.
function stored.open(options, policies, begin)
  local raw, why, code = testing.open(options)
  if not raw then return nil, why, code end
  begin = begin or {}
  begin.policies = policies or {}
  local start
  start, why, code = raw:begin(begin)
  if not start then
    raw:close()
    return nil, why, code
  end
  local s = setmetatable({ raw = raw, start = start, answers = {}, seqs = {}, late = {}, log = {}, pages = {} },
    Store)
  if not begin.halt then raw:run() end
  return s
end

--- Take what the store has called.
function Store:collect()
  for e in self.raw.take, self.raw do
    local what, id = e[1], e[2]
    if what == "done" then
      self.answers[id], self.seqs[id] = stored.ANSWERS[e[3]], e[4]
    elseif what == "late" then
      self.late[id] = true
    elseif what == "page" then
      self.pages[id] = { err = e[3], seq = e[4], page = e[5] }
    end
    self.log[#self.log + 1] = e
  end
end

--- Everything that is due now.
function Store:run()
  while self.raw:step() do self:collect() end
  self:collect()
  return self
end

function Store:event(channel, data, more)
  local op = more or {}
  op.kind, op.channel, op.data = "event", channel, data
  return assert(self.raw:submit(op))
end

function Store:submit(op) return assert(self.raw:submit(op)) end

--- Carry one operation out; its answer and number.
function Store:ask(op)
  local id = self:submit(op)
  self:run()
  return self.answers[id], self.seqs[id]
end

function Store:publish(channel, data, more)
  local id = self:event(channel, data, more)
  self:run()
  return self.answers[id], self.seqs[id]
end

function Store:page(channel, above, more)
  local request = more or {}
  request.channel, request.above = channel, above or 0
  local id = assert(self.raw:read(request))
  self:run()
  local got = self.pages[id]
  return got.page, got.err, got.seq
end

--- The data of all rows above a place, page after page; and the floor of the first page.
function Store:history(channel, above, more)
  local list, floor, place = {}, nil, above or 0
  repeat
    local page, err = self:page(channel, place, more and { rows = more.rows, bytes = more.bytes })
    if err ~= 0 then return nil, err end
    floor = math.max(floor or 0, page.floor)
    for _, row in ipairs(page) do list[#list + 1] = row.data end
    place = page.upto
  until not page.more
  return list, floor
end

function Store:channel(name)
  for _, c in ipairs((self.raw:each("channels"))) do
    if c.name == name then return c end
  end
end

--- The newest values of a channel by key.
function Store:newest(name)
  local list = {}
  for _, row in ipairs((self.raw:each("newest"))) do
    if row.channel == name then list[row.key] = row.data end
  end
  return list
end

function Store:pairs(name)
  local list = {}
  for _, p in ipairs((self.raw:each("pairs"))) do
    if p.store == name then list[p.key] = p.value end
  end
  return list
end

function Store:close()
  assert(self.raw:close())
  self:collect()
end

function Store:drop()
  self.raw:drop()
  self:collect()
end

function stored.alive()
  collectgarbage()
  collectgarbage()
  return { testing.alive(), testing_disk.alive() }
end

return stored
