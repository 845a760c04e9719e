--- Reads what readers and writers of machines have written down (visitors.lua), and what the machines show in the
--- end, and nothing else: knows no node and no Redis. An event is its uid and its number: what was lost on its way into
--- Redis, and published again by its node, is another one.
---
---   checker.check { ops =, readers = { { channels =, log = }, … },
---     shown = { [machine] = { [channel] = { { uid =, id = }, … } } },
---     owns = true: machines have channels of their own,
---     short = { [channel] = true }, calm = true: Redis never failed, lossy = { times at which it may have lost },
---     durable = true: what was acknowledged is there whatever failed }
---   -> { lost = 0, …, all = 0, list = { sentence, … }, seen = { events =, resets =, hops =, … } }
---
--- The words: lost (a reader did not get what there is, and is not told), missed (it was told, but not of a reason
--- that takes anything away), doubled (a reader got it twice), twice (stored twice), disordered, untold (acknowledged
--- and gone, and a reader who waited for it is not told), phantom (a reader got what is gone, and is not told),
--- vanished (acknowledged and gone, and Redis never failed), refused (and stored), needless (a reset, and nothing had
--- failed), divergent (two machines show two histories), stuck (a reader did not come to the end), foreign (what is of
--- one machine alone reached a reader of another one, has an id, or did not come, each once and in order).
local checker = {}

local WORDS = { "lost", "missed", "doubled", "twice", "disordered", "untold", "phantom", "vanished", "refused",
  "needless", "divergent", "stuck", "foreign" }
local LIST_MOST = 40

-- Behind one of these a reader may get again what it has, and what is left may begin anywhere.
local BEGINS_ANEW = { epoch = true, future = true, restart = true }

local Checker = {}
Checker.__index = Checker

function Checker:find(word, text, ...)
  local found = self.found
  found[word], found.all = found[word] + 1, found.all + 1
  if #found.list < LIST_MOST then found.list[#found.list + 1] = word .. ": " .. text:format(...) end
end

local function see(self, word) self.found.seen[word] = (self.found.seen[word] or 0) + 1 end

local function number_of(id) return id and math.tointeger(tonumber(id:match("%-(%d+)$"))) end
local function epoch_of(id) return id and id:match("^(%w+)%-") end

-- ---- What there is --------------------------------------------------------------------------

-- uid -> { place, number }
local function places_of(self, channel, list)
  local places = {}
  for i, one in ipairs(list) do
    local before = places[one.uid]
    if before then self:find("twice", "%s of %s is at %d and %d", one.uid, channel, before.place, i) end
    places[one.uid] = { place = i, number = number_of(one.id) }
  end
  return places
end

-- Of a channel that keeps all: what the machines show, which must be the same on each.
local function collect_shown(self, channel)
  local first, by
  for machine, channels in pairs(self.input.shown) do
    local list = channels[channel]
    if not first then first, by = list, machine end
    for i = 1, math.max(#list, #first) do
      local here, there = (list[i] or {}).uid, (first[i] or {}).uid
      if here ~= there then
        self:find("divergent", "%s %d is %s on machine %s and %s on machine %s", channel, i, tostring(there), by,
          tostring(here), machine)
        break
      end
    end
  end
  return first or {}
end

-- Of one that is trimmed: what is known of it, by its numbers, while they are all of one epoch.
local function collect_known(self, channel)
  local known, list = {}, {}
  local function add(uid, id)
    if not number_of(id) or known[uid] then return end
    known[uid] = true
    list[#list + 1] = { uid = uid, id = id }
  end
  for _, op in ipairs(self.input.ops) do
    if op.channel == channel and op.result == "ok" then add(op.uid, op.id) end
  end
  for _, reader in ipairs(self.input.readers) do
    for _, one in ipairs(reader.log) do
      if one.what == "event" and one.channel == channel then add(one.uid, one.id) end
    end
  end
  table.sort(list, function(a, b) return number_of(a.id) < number_of(b.id) end)
  return list
end

local function collect(self)
  for _, reader in ipairs(self.input.readers) do
    for _, channel in ipairs(reader.channels) do
      local short = self.input.short[channel]
      if not self.lists[channel] and (self.input.calm or not short) then
        local list = (short and collect_known or collect_shown)(self, channel)
        self.lists[channel], self.places[channel] = list, places_of(self, channel, list)
      end
    end
  end
end

-- ---- Writers --------------------------------------------------------------------------------

local function judge_op(self, op, newest)
  local places = self.places[op.channel]
  local place = places and places[op.uid] and places[op.uid].place
  see(self, op.result)
  if op.result == "no" and place then self:find("refused", "%s, with %s, and it is stored", op.uid, op.code) end
  if op.result == "ok" and places and not place and (self.input.calm or self.input.durable) then
    self:find("vanished", "%s (%s %s) is not there", op.uid, op.channel, op.id)
  end
  if not place then return end
  local lane = op.lane .. " " .. op.channel
  local before = newest[lane]
  if before and before.place > place then
    self:find("disordered", "%s is stored before %s, which was answered first", op.uid, before.uid)
  end
  if op.result == "ok" then newest[lane] = { place = place, uid = op.uid } end -- another may come late
end

local function judge_ops(self)
  local newest = {}
  for _, op in ipairs(self.input.ops) do judge_op(self, op, newest) end
end

-- ---- Readers --------------------------------------------------------------------------------

local Walk = {}
Walk.__index = Walk

local function walk(self, index, reader, channel)
  return setmetatable({ checker = self, index = index, reader = reader, channel = channel, seen = {}, mine = {},
    gone = {}, places = self.places[channel], list = self.lists[channel], last_reset = -1 }, Walk)
end

function Walk:find(word, text, ...)
  self.checker:find(word, "reader %d, %s: " .. text, self.index, self.channel, ...)
end

function Walk:reset(one)
  see(self.checker, one.reason)
  self.told, self.last_reset = one.reason, one.at
  self.anew = self.anew or BEGINS_ANEW[one.reason]
  self.trimmed = self.trimmed or one.reason == "trimmed" or one.reason == "slow"
  if self.anew then self.seen = {} end
  local may_lag = self.checker.input.short[self.channel] and (one.reason == "trimmed" or one.reason == "slow")
  if self.checker.input.calm and not may_lag then
    self:find("needless", "%s at %s", one.reason, one.id)
  end
end

-- Its place against the one before.
function Walk:step(place, uid)
  local before = self.place
  if before and place <= before and not self.anew then
    self:find("disordered", "%s comes behind %s", uid, self.list[before].uid)
  elseif before and place > before + 1 and not self.told then
    self:find("lost", "%d, from %s on, before %s", place - before - 1, self.list[before + 1].uid, uid)
  elseif before and place > before + 1 and not self.anew and not self.trimmed then
    self:find("missed", "%d, from %s on, before %s, behind %s", place - before - 1, self.list[before + 1].uid, uid,
      self.told)
  end
  self.place, self.told, self.anew, self.trimmed = place, nil, nil, nil
end

function Walk:event(one)
  see(self.checker, "events")
  local number, epoch = number_of(one.id), epoch_of(one.id)
  if self.seen[one.uid] == number then self:find("doubled", "%s, as %s", one.uid, one.id) end
  self.seen[one.uid], self.mine[one.uid] = number, one.at
  if self.epoch == epoch and self.number >= number and not self.anew then
    self:find("disordered", "%s has %s, behind %d", one.uid, one.id, self.number)
  end
  self.epoch, self.number = epoch, number
  if not self.places then return end
  local known = self.places[one.uid]
  if known and known.number == number then self:step(known.place, one.uid)
  else self.gone[#self.gone + 1] = { uid = one.uid, at = one.at } end
end

-- When what was asked then can have been lost: at the first fault behind it.
local function lost_at(self, op)
  for _, at in ipairs(self.checker.input.lossy) do
    if at >= op.asked then return at end
  end
  return op.asked
end

function Walk:finish(began)
  if self.places and self.place ~= #self.list and #self.list > 0 then
    self:find("stuck", "it ends at %s of %d", tostring(self.place), #self.list)
  end
  for _, one in ipairs(self.gone) do
    if self.last_reset < one.at then self:find("phantom", "%s is gone", one.uid) end
  end
  local keeps_all = not self.checker.input.short[self.channel]
  for _, op in ipairs(keeps_all and self.checker.input.ops or {}) do
    local is_gone = op.channel == self.channel and op.result == "ok" and not self.places[op.uid]
    local awaited = is_gone and not self.mine[op.uid] and op.asked > began
    if awaited and self.last_reset < lost_at(self, op) then
      self:find("untold", "%s (%s) is gone", op.uid, op.id)
    end
  end
end

local function judge_reader(self, index, reader, channel)
  local w, began = walk(self, index, reader, channel), math.huge
  for _, one in ipairs(reader.log) do
    if one.what == "hello" then began = math.min(began, one.at) end
    if one.channel == channel then w[one.what](w, one) end
  end
  w:finish(began)
end

-- ---- What is of one machine -------------------------------------------------------------------

local OF_ONE = { own = true, load = true }
local SOON = 1 -- second, after which a newcomer has the value that there is

-- A machine publishes own 1, load 1, own 2, load 2 and so on, and a stream gets the log before the state. A newcomer
-- may come between own n and load n: then it has load n - 1, gets load n, and of the log begins with own n + 1.
local function judge_order(find, at, one)
  local before, shown = at[one.kind], at.shown or math.huge
  if before and one.kind == "own" and one.n ~= before + 1 then find("own %d came behind %d", one.n, before) end
  if before and one.n <= before then find("%s %d came behind %d", one.kind, one.n, before) end
  if one.kind == "load" then
    if one.n > (at.own or shown + 1) then find("load %d came before own %d", one.n, one.n) end
    return
  end
  if not before and at.load and one.n <= at.load then find("own %d came behind load %d", one.n, at.load) end
  if not before and one.n > shown + 2 then find("own %d is the first, and load was %d", one.n, shown) end
end

local function owned(self, index, at, one)
  local function find(text, ...) self:find("foreign", "reader %d: " .. text, index, ...) end
  if one.from ~= at.token then find("%s %d of %s came on %s", one.kind, one.n, one.from, at.token) end
  if one.has_id then find("%s %d has an id", one.kind, one.n) end
  judge_order(find, at, one)
  if one.kind == "load" and not at.own then at.shown = at.shown or one.n end
  at[one.kind] = one.n
end

local function judge_owned(self, index, reader)
  local at = {}
  for _, one in ipairs(reader.log) do
    if one.what == "connect" then at = { token = one.token }
    elseif one.what == "hello" then at.hello = one.at
    elseif one.what == "owned" then owned(self, index, at, one)
    elseif one.what == "reset" and OF_ONE[one.channel] then
      self:find("foreign", "reader %d: %s was reset: %s", index, one.channel, one.reason)
    elseif one.what == "end" and at.hello and one.at > at.hello + SOON and not at.load then
      self:find("foreign", "reader %d had no value of %s", index, at.token)
    end
  end
end

--- Judge; see the top.
function checker.check(input)
  local found = { all = 0, list = {}, seen = {} }
  for _, word in ipairs(WORDS) do found[word] = 0 end
  local self = setmetatable({ input = input, found = found, lists = {}, places = {} }, Checker)
  collect(self)
  judge_ops(self)
  for index, reader in ipairs(input.readers) do
    for _, one in ipairs(reader.log) do see(self, one.what) end
    for _, channel in ipairs(reader.channels) do judge_reader(self, index, reader, channel) end
    if input.owns then judge_owned(self, index, reader) end
  end
  return found
end

return checker
