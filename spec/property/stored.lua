--- Durable channels of a random run: a store that is a list of rows and a floor per channel,
--- and answers as a store may: late, in pages of any size, not at all; it deletes meanwhile,
--- and its rows are there before they are released. And restarts, which keep what it has.
local model = require("spec.property.model")

local stored = {}

local random = math.random
local function chance(p) return random() < p end
local function pick(list) return list[random(#list)] end

local CHANNELS = { "dur/a", "dur/b", "box/k" }
local HELD = 4

--- Rules for those channels; what is durable may change.
function stored.rules(changing)
  local durable = not (changing and chance(0.3))
  return {
    { pattern = "dur/:id", history = random(3, 60), durable = durable, rewind = pick { 0, 0, 2, "all" } },
    { pattern = "box/*", history = random(1, 30), durable = true, key = "k", rewind = "latest" },
    changing and { pattern = "dur/b", durable = chance(0.6), rewind = chance(0.4) and "latest" or 0,
      key = "k" } or nil,
    changing and chance(0.5) and { pattern = "box/k", durable = chance(0.6), rewind = chance(0.6) and "latest" or 0 }
      or nil,
  }
end

function stored.store()
  local store = {}
  for _, name in ipairs(CHANNELS) do store[name] = { floor = 0, rows = {}, gone = {}, newest = {} } end
  return store
end

local function delete(channel, floor)
  local kept = {}
  for _, event in ipairs(channel.rows) do
    local list = event.seq <= floor and channel.gone or kept
    list[#list + 1] = event
  end
  channel.rows, channel.floor = kept, math.max(channel.floor, floor)
end

--- What the channel was and is, in the transaction of a change.
local function convert(channel, was, now, n)
  if was == now then return end
  local newest = channel.rows[#channel.rows]
  delete(channel, newest and newest.seq or 0)
  if now then channel.floor = math.max(channel.floor, n) end
end

-- ---- Acts -------------------------------------------------------------------------------

local World = {}

function World:is_durable(name) return model.policy(self.rules, name).durable end

--- A group of durable events, committed and released at once, or in steps.
function World:publish_durable(channel, n)
  if self.group then self:end_group(true) end
  local group, rows = {}, {}
  for i = 1, n do
    local event = self:new_event(channel)
    group[i] = event
    rows[i] = { channel, event.name, event.data, event.key, event.remove }
  end
  group.first = assert(self.sim:group(rows))
  self.group = group
  if chance(0.2) then return self:commit_group() end
  if chance(0.9) then self:end_group(true) end
end

--- The rows are in the file; readers see them before they are released.
function World:commit_group()
  local group = self.group
  if not group or group.stored then return end
  group.stored = true
  for i, event in ipairs(group) do
    if event and self:is_durable(event.channel) and not event.state then
      local rows = self.store[event.channel].rows
      event.seq = group.first + i - 1
      event.size = model.size(event)
      rows[#rows + 1] = event
    end
  end
end

--- Retention deletes; that the fans hear of it may come later, or never.
function World:act_retain()
  local name = pick(CHANNELS)
  local channel = self.store[name]
  local last = nil
  for _, event in ipairs(channel.rows) do
    if event.seq <= self.head and chance(0.7) then last = event.seq end
  end
  if not last or not self:is_durable(name) then return end
  delete(channel, last)
  if chance(0.5) then self:tell_floor(name) end
end

function World:tell_floor(name)
  local seq = self.store[name].floor
  self.sim:raise_floor(name, seq)
  self:post { op = "floor", channel = name, seq = seq }
end

--- The place below the newest so many rows.
local function find_place(channel, page)
  local place, n = page.joined, 0
  for i = #channel.rows, 1, -1 do
    local event = channel.rows[i]
    if event.seq <= page.joined and n < page.newest then place, n = event.seq - 1, n + 1 end
  end
  return place
end

local function read(channel, page)
  local rows, given, most = {}, page.upto, random(1, random(1, 8))
  if page.newest > 0 then page.above = find_place(channel, page) end
  local top = channel.rows[#channel.rows]
  given = math.min(given, math.max(page.above, top and top.seq or 0, page.released))
  for _, event in ipairs(channel.rows) do
    if event.seq > page.above and event.seq <= page.upto then
      if #rows == most then
        given = rows[#rows].seq
        break
      end
      rows[#rows + 1] = event
    end
  end
  return { rows = rows, given = given, floor = channel.floor, place = page.newest > 0 and page.above }
end

--- Something happens to one page that a thread asked for.
function World:answer_page(thread, sure)
  local pages = self.sim:pages(thread)
  if #pages == 0 then return false end
  local page = pick(pages)
  local reading = self.readings[page.id]
  page.released = self.head
  if not reading and not sure and chance(0.12) then
    self.sim:answer(thread, page.id)
    return true
  end
  reading = reading or read(self.store[page.channel], page)
  if not sure and chance(0.3) then
    self.readings[page.id] = reading -- read, and on its way
    return true
  end
  self.readings[page.id] = nil
  if page.newest == 0 and reading.floor > page.above then self:tell_loss(page) end
  self.count.pages = (self.count.pages or 0) + 1
  self.sim:answer(thread, page.id, reading.rows, reading.floor, reading.given, reading.place or nil)
  for _, client in ipairs(self.clients) do
    if client.stream and page.stream and ("%p"):format(client.stream) == ("%p"):format(page.stream) then
      if reading.place then self:tell_place(client.watcher, page, reading.place) end
      local told_to, lost = client.watcher:on_page(page.channel, reading.floor), client.ledger.lost
      if told_to then lost[page.channel] = math.max(lost[page.channel] or 0, told_to + 1) end
    end
  end
  return true
end

--- What follows the place of a stream is gone. What it was sent before is read first.
function World:tell_loss(page)
  for _, client in ipairs(self.clients) do
    if client.stream and not client.stalled and page.stream
      and ("%p"):format(client.stream) == ("%p"):format(page.stream) then
      self:take(client)
      if not client.watcher.ended then client.watcher:on_lost_page(page.channel) end
    end
  end
end

--- A stream starts where the store says.
function World:tell_place(watcher, page, place)
  watcher:on_place(page.channel, place, page.joined)
  self.count.places = (self.count.places or 0) + 1
end

function World:act_pages()
  for _ = 1, random(1, 6) do self:answer_page(random(self.threads)) end
end

--- Until no stream of a thread needs a page.
function World:read_pages(thread)
  for _ = 1, 10000 do
    while self:answer_page(thread, true) do end
    self:flush_all(thread)
    if not self.sim:paging(thread) then return end
    if #self.sim:pages(thread) == 0 then
      self.now = self.now + 501
      self.sim:now(self.now)
    end
  end
  error("pages never end", 0)
end

-- ---- Restarts ---------------------------------------------------------------------------

local function newest_of(rows)
  local list, latest = {}, {}
  for _, event in ipairs(rows) do
    local slot = event.name .. "\0" .. event.key
    if event.remove then
      for one, old in pairs(latest) do if old.key == event.key then latest[one] = nil end end
    else
      latest[slot] = event
    end
  end
  for _, event in pairs(latest) do list[#list + 1] = event end
  table.sort(list, function(a, b) return a.seq < b.seq end)
  return list
end

--- All rows there ever were, the deleted ones too: retention pins the newest per key.
local function all_rows(channel)
  local all = table.move(channel.gone, 1, #channel.gone, 1, {})
  return table.move(channel.rows, 1, #channel.rows, #all + 1, all)
end

function World:restore(rules)
  for _, rule in ipairs(rules) do
    if rule.durable then
      self.sim:restore_pattern(rule.pattern, 0)
      for _, replica in ipairs(self.replicas) do replica.stored[rule.pattern] = true end
    end
  end
  for _, name in ipairs(CHANNELS) do
    local channel, policy = self.store[name], model.policy(rules, name)
    local top = channel.rows[#channel.rows]
    if policy.durable and (top or channel.floor > 0) then
      channel.newest = policy.keyed and newest_of(all_rows(channel)) or {}
      local last = math.max(channel.floor, top and top.seq or 0)
      self.sim:restore(name, channel.floor, last, channel.newest, false)
      for _, replica in ipairs(self.replicas) do replica:restore(name, channel) end
    end
  end
end

--- What was in memory is lost, for a channel whose rules say now that it is a state without a
--- word: the values of a state are what counts.
function World:note_states()
  for _, client in ipairs(self.clients) do
    for _, name in ipairs(client.ledger and self.channels or {}) do
      if model.policy(self.rules, name).state then client.ledger.lossy[name] = true end
    end
  end
end

--- The process dies and begins anew on what is stored, perhaps with other rules.
function World:act_restart()
  if not self.durable then return end
  for _, client in ipairs(self.clients) do
    if client.stream then
      self:take(client, chance(0.5))
      self:leave(client)
    end
  end
  if self.group and chance(0.5) then self:commit_group() end
  self.head = math.max(self.head, self.group and self.group.first + #self.group or 0)
  self.group = nil
  self.sim:close()
  self.head = self.head + random(1, 1 << 20)
  local rules = chance(0.5) and self:draw_rules() or self.rules
  for _, name in ipairs(CHANNELS) do
    convert(self.store[name], self:is_durable(name), model.policy(rules, name).durable, self.head)
  end
  self.rules = rules
  self.count.restarts = (self.count.restarts or 0) + 1
  self.commands, self.readings = {}, {}
  self:begin(self.head)
  self:note_states()
end

--- What it would take to know of a pattern's channels without an event: what they may have lost.
local function pattern_floor(replica, rules, pattern)
  local probe = { name = pattern, policy = model.policy(replica.rules, pattern) }
  local old, new, any = {}, {}, replica.any
  for _, rule in ipairs(replica.rules) do old[rule.pattern] = true end
  for _, rule in ipairs(rules) do new[rule.pattern] = true end
  if replica:frees_memory(new) then any = math.max(any, replica.first) end
  for name, floor in pairs(replica.meta) do
    local kept = replica.stored[name] and new[name] and model.policy(rules, name).durable
    if not kept then any = math.max(any, floor) end
  end
  local floor = math.max(any, replica.meta[pattern] or 0)
  local stored_before = old[pattern] and replica.stored[pattern] and probe.policy.durable
  return stored_before and floor or math.max(floor, replica.first)
end

--- A change of durability or kind has a place in the order, which its rows and floor know. Returns
--- what it brings: the newest of logs that become keyed, the floors of durable patterns.
function World:convert_all(rules)
  local keyed, floors = {}, {}
  for _, name in ipairs(self.durable and CHANNELS or {}) do
    local was, now = model.policy(self.rules, name), model.policy(rules, name)
    if was.durable ~= now.durable then convert(self.store[name], was.durable, now.durable, self.head) end
    if was.durable and now.durable and now.keyed and not was.keyed then
      keyed[name] = newest_of(self.store[name].rows)
    end
  end
  for _, rule in ipairs(rules) do
    if model.policy(rules, rule.pattern).durable then
      floors[rule.pattern] = pattern_floor(self.replicas[1], rules, rule.pattern)
    end
  end
  return keyed, floors
end

function stored.mix(into)
  for name, act in pairs(World) do into[name] = act end
end

stored.CHANNELS, stored.HELD = CHANNELS, HELD

return stored
