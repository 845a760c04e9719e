--- What one thread must hold after a prefix of the commands, written to be plainly right:
--- lists are walked, nothing is cached. It knows the words of the design (log, state, keyed
--- log, floor, meta floor, newest per name and key) and nothing of the C code.
---
---   replica = model.replica()
---   replica:apply { op = "event" | "trim" | "drop" | "policies", … }
local model = {}

-- ---- Policies ---------------------------------------------------------------------------

local function segments(text)
  local list = {}
  for part in (text .. "/"):gmatch("([^/]*)/") do list[#list + 1] = part end
  return list
end

local function is_wild(part)
  local first = part:sub(1, 1)
  return first == ":" or first == "*"
end

local function is_rest(part) return #part > 1 and part:sub(1, 1) == "*" end

function model.matches(pattern, name)
  local want, have = segments(pattern), segments(name)
  for i, part in ipairs(want) do
    if is_rest(part) then return true end
    if not have[i] or not (is_wild(part) or part == have[i]) then return false end
  end
  return #want == #have
end

--- The longest literal start wins, then the fewest wildcards, then what was declared later.
local function more_specific(a, b)
  local function literal(pattern) return (pattern:find("[:*]") or #pattern + 1) - 1 end
  local function wilds(pattern)
    local n = 0
    for _, part in ipairs(segments(pattern)) do if is_wild(part) then n = n + 1 end end
    return n
  end
  local x, y = literal(a.pattern), literal(b.pattern)
  if x ~= y then return x > y end
  x, y = wilds(a.pattern), wilds(b.pattern)
  if x ~= y then return x < y end
  return a.place > b.place
end

--- The merged policy of a channel: { history, bytes, state, keyed, rewind, max_keys, slow, pattern }
function model.policy(rules, name)
  local found = {}
  for place, rule in ipairs(rules) do
    if model.matches(rule.pattern, name) then
      found[#found + 1] = { pattern = rule.pattern, place = place, rule = rule }
    end
  end
  table.sort(found, more_specific)
  local function option(key, default)
    for _, one in ipairs(found) do
      if one.rule[key] ~= nil then return one.rule[key] end
    end
    return default
  end
  local history, rewind = option("history", 100), option("rewind", 0)
  local bounds = type(history) == "table" and history or { count = history }
  return {
    state = history == "latest",
    keyed = history ~= "latest" and rewind == "latest",
    history = history == "latest" and 0 or bounds.count or math.huge,
    bytes = history ~= "latest" and bounds.bytes or math.huge,
    rewind = rewind,
    max_keys = option("max_keys", 10000),
    slow = option("slow", "reset"),
    durable = option("durable", false),
    pattern = found[1] and found[1].pattern or "",
  }
end

--- Bytes of an event on the wire (its data is one line).
function model.size(event)
  local n = #("data: " .. event.data .. "\n\n")
  if event.name ~= "message" then n = n + #("event: " .. event.name .. "\n") end
  if not event.state then n = n + #("id: " .. ("e"):rep(13) .. "-" .. event.seq .. "\n") end
  return n
end

-- ---- Replicas ---------------------------------------------------------------------------

local Replica = {}
Replica.__index = Replica

--- @param first the head that a later run begins with
--- @param held events of a durable log that memory holds
function model.replica(first, held)
  return setmetatable({ head = first or 0, first = first or 0, held = held, applied = 0, rules = {},
    channels = {}, meta = {}, stored = {}, any = 0, left = {} }, Replica)
end

function Replica:channel(name)
  local c = self.channels[name]
  if not c then
    c = { name = name, known = false, floor = 0, history = {}, latest = {}, fate = {}, emptied = {}, all = {},
      removals = {}, removal_gone = 0, left = 0, unstored = 0, last = 0, policy = model.policy(self.rules, name) }
    self.channels[name] = c
  end
  return c
end

--- What a resume is judged by.
function Replica:floor(name)
  local c = self:channel(name)
  return c.known and c.floor or self:meta_floor(c)
end

--- Of a channel without an event: what dropped ones left, and what a log lost with the last
--- run, unless it is durable and a store knows it.
function Replica:meta_floor(c)
  local pattern = c.policy.pattern
  local floor = math.max(self.meta[pattern] or 0, self.any)
  local stored = c.policy.durable and self.stored[pattern]
  return (c.policy.state or stored) and floor or math.max(floor, self.first)
end

local function slot(event) return event.name .. "\0" .. event.key end

--- An event is no longer the newest of its name and key: why, and since which command.
function Replica:leave(c, event, why)
  c.latest[slot(event)] = nil
  c.fate[slot(event)] = why
  if why ~= "newer" then c.emptied[slot(event)] = self.applied end
  self.left[event] = { why = why, at = self.applied }
end

--- The newest per name and key, oldest first.
function Replica:snapshot(name)
  local list = {}
  for _, event in pairs(self:channel(name).latest) do list[#list + 1] = event end
  table.sort(list, function(a, b) return a.seq < b.seq end)
  return list
end

--- Removals of a state are kept for readers behind, as many as there may be keys.
local function count_removals(c)
  local over = #c.removals - c.policy.max_keys
  if over > 0 then c.removal_gone = math.max(c.removal_gone, c.removals[over].seq) end
end

--- Whether the name and key of an event had no newest at some time since a command.
function Replica:was_emptied(event, applied)
  return (self:channel(event.channel).emptied[slot(event)] or 0) >= applied
end

function Replica:put_latest(c, event)
  if event.remove then
    for _, old in ipairs(self:snapshot(c.name)) do
      if old.key == event.key then self:leave(c, old, "removed") end
    end
    return
  end
  local old = c.latest[slot(event)]
  if old then self:leave(c, old, "newer") end
  c.latest[slot(event)] = event
end

function Replica:enforce_keys(c)
  local all = next(c.latest) and self:snapshot(c.name) or {}
  for i = 1, #all - c.policy.max_keys do self:leave(c, all[i], "aged") end
  count_removals(c)
end

local function bytes_of(history)
  local n = 0
  for _, event in ipairs(history) do n = n + event.size end
  return n
end

--- What leaves a durable log is in the store, unless it came before the log was durable.
local function drop_first(c)
  local seq = table.remove(c.history, 1).seq
  if not c.policy.durable or seq <= c.unstored then c.floor = math.max(c.floor, seq) end
  c.left = math.max(c.left, seq)
end

--- The newest number that is in the store and not in memory, if any.
local function beyond(c)
  return c.policy.durable and not c.policy.state and c.left > math.max(c.floor, c.unstored) and c.left or nil
end

function Replica:enforce(c)
  self:enforce_keys(c)
  local most = c.policy.durable and math.min(c.policy.history, self.held) or c.policy.history
  while #c.history > most do drop_first(c) end
  while #c.history > 0 and bytes_of(c.history) > c.policy.bytes do drop_first(c) end
end

function Replica:on_event(command)
  local event = command.event
  local c = self:channel(event.channel)
  if not c.known then
    c.known = true
    c.floor = self:meta_floor(c)
  end
  self.head, c.last = event.seq, event.seq
  c.all[#c.all + 1] = event
  if event.remove then c.removals[#c.removals + 1] = event end
  if not c.policy.state then c.history[#c.history + 1] = event end
  if c.policy.state or c.policy.keyed then self:put_latest(c, event) end
  self:enforce(c)
end

function Replica:trim(c, seq)
  local stay = c.policy.keyed and #c.history > 0 -- there is something else to go
  while c.history[1] and c.history[1].seq <= seq do drop_first(c) end
  if c.policy.durable or stay then return end -- the newest of a durable channel stay
  for _, event in ipairs(self:snapshot(c.name)) do
    if event.seq <= seq then self:leave(c, event, "aged") end
  end
  for _, event in ipairs(c.removals) do
    if event.seq <= seq then c.removal_gone = math.max(c.removal_gone, event.seq) end
  end
end

function Replica:on_trim(command) self:trim(self:channel(command.channel), command.seq) end

--- The store has deleted all up to a number.
function Replica:on_floor(command)
  local c = self:channel(command.channel)
  c.floor = math.max(c.floor, command.seq)
  while c.history[1] and c.history[1].seq <= c.floor do drop_first(c) end
end

--- What a start finds in the store: its floor, its rows and its newest per name and key.
function Replica:restore(name, store)
  local c = self:channel(name)
  c.known, c.floor, c.unstored = true, store.floor, store.floor
  local newest = store.rows[#store.rows]
  c.last = math.max(store.floor, newest and newest.seq or 0)
  c.left = c.last
  for _, event in ipairs(store.rows) do c.all[#c.all + 1] = event end
  for _, event in ipairs(c.policy.keyed and store.newest or {}) do
    c.latest[slot(event)] = event
    if event.seq <= c.floor then c.all[#c.all + 1] = event end -- pinned
  end
  table.sort(c.all, function(a, b) return a.seq < b.seq end)
end

function Replica:on_drop(command)
  local c = self:channel(command.channel)
  if not c.known or (c.policy.durable and c.floor < c.last) then return end
  self:trim(c, math.maxinteger)
  for _, event in ipairs(self:snapshot(c.name)) do self:leave(c, event, "aged") end
  c.known = false
  local pattern = c.policy.pattern
  self.meta[pattern] = math.max(self.meta[pattern] or 0, c.floor)
end

--- A pattern of logs in memory goes: what its channels lost with the last run holds for those that
--- they are channels of now.
function Replica:frees_memory(new)
  for _, rule in ipairs(self.rules) do
    local was = model.policy(self.rules, rule.pattern)
    if not was.durable and not was.state and not new[rule.pattern] then return true end
  end
  return false
end

--- Floors of dropped channels are kept by pattern; when the patterns change, none is known any
--- more which channel they were of: they hold for all. But what a store knows of the channels of a
--- durable pattern holds as long as there is that pattern.
function Replica:share_floors(rules, new)
  if self:frees_memory(new) then self.any = math.max(self.any, self.first) end
  local kept, floors = {}, {}
  for pattern in pairs(self.stored) do
    kept[pattern] = new[pattern] and model.policy(rules, pattern).durable or nil
  end
  for pattern, floor in pairs(self.meta) do
    if kept[pattern] then floors[pattern] = floor else self.any = math.max(self.any, floor) end
  end
  self.meta, self.stored = floors, kept
end

function Replica:on_policies(command)
  local old, new = {}, {}
  for _, rule in ipairs(self.rules) do old[rule.pattern] = true end
  for _, rule in ipairs(command.rules) do new[rule.pattern] = true end
  local same = true
  for pattern in pairs(old) do same = same and new[pattern] end
  for pattern in pairs(new) do same = same and old[pattern] end
  if not same then self:share_floors(command.rules, new) end
  self.rules = command.rules
  for pattern in pairs(self.stored) do
    self.stored[pattern] = model.policy(self.rules, pattern).durable or nil
  end
  for _, c in pairs(self.channels) do
    local was_keyed, was_state, was_beyond = c.policy.keyed, c.policy.state, beyond(c)
    local was_durable = c.policy.durable
    c.policy = model.policy(self.rules, c.name)
    if c.policy.durable and not was_durable then c.unstored = c.last end
    if was_state ~= c.policy.state then self:begin_anew(c, was_state) end
    if was_keyed ~= c.policy.keyed then self:change_kind(c) end
    if was_durable and not c.policy.durable then c.floor = math.max(c.floor, was_beyond or 0) end
    self:enforce(c)
  end
end

--- A log that becomes a state, or the other way: nothing of the one is of use to the other.
--- What left a log so is gone for everybody; values of a state were never owed by number.
function Replica:begin_anew(c, was_state)
  for _, event in ipairs(self:snapshot(c.name)) do self:leave(c, event, "aged") end
  local last = c.all[#c.all]
  if not was_state and last then c.floor = math.max(c.floor, last.seq) end
  c.history, c.removals, c.removal_gone = {}, {}, 0
end

--- The newest per key of a log that becomes keyed are those of its history.
function Replica:change_kind(c)
  for _, event in ipairs(self:snapshot(c.name)) do self:leave(c, event, "aged") end
  if not c.policy.keyed then return end
  for _, event in ipairs(c.history) do
    if not c.policy.durable or event.seq > c.unstored then
      self.left[event] = nil
      self:put_latest(c, event)
    end
  end
end

--- At its place the store has converted: the newest per key of durable logs that become keyed are
-- those of all its rows, and it knows since when channels of a pattern are durable.
function Replica:on_convert(command)
  self:on_policies(command)
  for name, newest in pairs(command.keyed) do
    local c = self:channel(name)
    for _, event in ipairs(self:snapshot(name)) do self:leave(c, event, "aged") end
    for _, event in ipairs(newest) do
      self.left[event] = nil
      self:put_latest(c, event)
    end
    self:enforce_keys(c)
  end
  for pattern, floor in pairs(command.floors) do
    self.stored[pattern] = true
    self.meta[pattern] = math.max(self.meta[pattern] or 0, self.any, floor)
  end
end

function Replica:apply(command)
  self.applied = self.applied + 1
  self["on_" .. command.op](self, command)
end

-- ---- Filters and starts -----------------------------------------------------------------

local function has(list, item)
  if not list then return true end
  for _, one in ipairs(list) do if one == item then return true end end
  return false
end

--- Whether a filter { types, keys } wants an event; nil wants all, an empty list nothing.
function model.wants(filter, event)
  return has(filter.types, event.name) and has(filter.keys, event.key)
end

--- What lies below the floor is lost, with the last run or since.
function Replica:below(c, seq)
  local floor = self:floor(c.name)
  if not c.policy.durable and not c.policy.state then floor = math.max(floor, self.first) end
  if seq >= floor then return nil end
  local restart = seq < self.first and (not c.policy.durable or floor == self.first)
  return restart and "restart" or "trimmed"
end

--- Why a client that comes with this id must be told a reset; nil: nothing is missing. And
--- whether something of a log without history, which is lossy by name, is missing untold.
-- @param id nil | "bad" | { epoch =, seq = }
-- @param log_head the newest number given, on any thread
function Replica:reason(name, id, epoch, log_head)
  local c = self:channel(name)
  local why
  if id == "bad" then why = "unknown_id"
  elseif id and id.epoch ~= epoch then why = "epoch"
  elseif id and id.seq > log_head then why = "future"
  elseif id then why = self:below(c, id.seq) end
  if c.policy.state then return (why == "trimmed" or why == "restart") and why or nil end
  if c.policy.history == 0 and not c.policy.keyed then return nil, why ~= nil end
  return why
end

local function last_n(list, n)
  return table.move(list, math.max(1, #list - n + 1), #list, 1, {})
end

--- What is there above a number: in memory, or of a durable log in the store.
function Replica.after(_, c, seq)
  local list = {}
  for _, event in ipairs(beyond(c) and c.all or c.history) do
    if event.seq > seq and not event.state then list[#list + 1] = event end
  end
  return list
end

--- The oldest number that a reset names: below it there is nothing.
function Replica:oldest(name)
  local c = self:channel(name)
  if beyond(c) then return c.floor + 1 end
  return c.history[1] and c.history[1].seq
end

--- What a log has between two numbers.
function Replica:between(name, above, upto)
  local list = {}
  for _, event in ipairs(self:channel(name).all) do
    if event.seq > above and event.seq <= upto and not event.state then list[#list + 1] = event end
  end
  return list
end

--- How many of a list are in memory: hello counts those.
function Replica:held_of(name, list)
  local first = self:channel(name).history[1]
  local held = {}
  for _, event in ipairs(list) do
    if first and event.seq >= first.seq then held[event] = true end
  end
  return held
end

--- What a log replays to a newcomer or after a reset: a list of events, and whether it is the
--- compacted replay of a keyed log; or nil when the store has to say where it starts.
function Replica:replay(name, rewind, reset)
  local c = self:channel(name)
  local more = rewind == "all" or (type(rewind) == "number" and rewind > #c.history)
  if more and not reset and beyond(c) then return nil end
  if rewind == "latest" and c.policy.keyed then return self:snapshot(name), true end
  if reset or rewind == "all" then return self:after(c, c.floor), false end
  return rewind == "latest" and {} or last_n(c.history, rewind), false
end

--- Where a log starts: { from =, list =, compact =, reason = }. 'from' is the cursor it stands
--- for; the list holds what is there to replay, before any filter.
function Replica:start(name, rewind, id, epoch, log_head)
  local c = self:channel(name)
  local reason, untold = self:reason(name, id, epoch, log_head)
  if rewind == nil then rewind = c.policy.rewind end
  local good = type(id) == "table" and id.epoch == epoch and id.seq <= log_head
  if good and not reason and (c.policy.history > 0 or c.policy.keyed) then
    return { from = id.seq, list = self:after(c, id.seq) }
  end
  local list, compact = self:replay(name, rewind, reason ~= nil)
  if not list then return { from = self.head, list = {}, seeks = true } end
  local from = list[1] and list[1].seq - 1 or math.max(self.head, good and id.seq or 0)
  if not compact and (reason or rewind == "all") and beyond(c) then from = c.floor end
  if good then from = math.max(from, id.seq) end -- what lies below comes without ids
  return { from = from, list = list, compact = compact, reason = reason, untold = untold, beyond = beyond(c) }
end

return model
