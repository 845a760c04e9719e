--- The judge of a run with kills: reads what publishers and subscribers wrote, and nothing else.
---
---   judge.judge(history.folder(folder, n, world)) -> { lost = 0, gap = 0, …, all = 0,
---     list = { sentence, … }, seen = { events =, resumed =, trimmed =, restart =, refused =, … } }
--- The words: lost (acknowledged, and nobody gets it), gap (one subscriber does not get it, and is not told),
--- repeated, disordered, divergent (one number, two contents; or other bytes than were published), phantom (never
--- published, or refused), twice (a number given to two events), reset (told without need, or not told).
---
--- Where a subscriber stands is the last id it was sent: the server is held to that. Of each log all known
--- numbers between two places must have come, or must be excused by a reset that gives its reason: `trimmed`
--- excuses what has so many newer ones as the log keeps, `restart` what another run gave to a log in memory.
local json = require("sluice.json")

local judge = {}

local WORDS = { "lost", "gap", "repeated", "disordered", "divergent", "phantom", "twice", "reset" }
local LIST_MOST = 40

local Judge = {}
Judge.__index = Judge

local function number_of(id) return id and math.tointeger(tonumber(id:match("^%w+%-(%d+)$"))) end

function Judge:find(word, text, ...)
  self.counts[word] = self.counts[word] + 1
  local list = self.counts.list
  self.counts.all = self.counts.all + 1
  if #list < LIST_MOST then list[#list + 1] = word .. ": " .. text:format(...) end
end

-- That something was there to be judged.
local function see(self, word) self.counts.seen[word] = (self.counts.seen[word] or 0) + 1 end

local function token_of(data) return data:match("^(%S+) ") end

-- ---- What there is -------------------------------------------------------------------------

-- A number and what it was given to.
local function add(self, channel, id, token, who)
  local seq = number_of(id)
  if not seq then return self:find("phantom", "%s has the id %s of %s", token, tostring(id), who) end
  local known, op = self.tokens[seq], self.ops[token]
  if known and known ~= token then return self:find("twice", "%d is %s and %s", seq, known, token) end
  if op and op.seq and op.seq ~= seq then
    return self:find("repeated", "%s is %d and %d", token, op.seq, seq)
  end
  if known then return end
  self.tokens[seq] = token
  if op then op.seq = seq end
  local all = self.all[channel]
  if all then all[#all + 1] = seq end
end

local function collect_acknowledged(self)
  for _, op in ipairs(self.ops) do
    if op.refused > 0 then see(self, "refused") end
    if op.open or op.result == "unknown" then see(self, "unknown") end
    if #op.ids > 1 then see(self, "duplicates") end
    for _, id in ipairs(op.ids) do
      if id ~= "true" then add(self, op.channel, id, op.token, "the publisher") end
    end
  end
end

local function collect_received(self, blocks)
  for _, b in ipairs(blocks) do
    local c = b.what == "block" and self.channels[b.event]
    local token = c and token_of(b.data)
    local op = token and self.ops[token]
    if c and not op then
      self:find("phantom", "%s of %s was never published", b.data:sub(1, 40), b.event)
    elseif c and (op.data ~= b.data or op.channel ~= b.event) then
      self:find("divergent", "%s came as %d bytes of %s, not as %d of %s", token, #b.data, b.event, #op.data,
        op.channel)
    elseif c then
      if op.result == "no" and op.refused == op.asks then
        self:find("phantom", "%s was refused, and yet it came", token)
      end
      op.seen = true
      if b.id and c.kind ~= "state" then add(self, b.event, b.id, token, "a subscriber") end
    end
  end
end

-- What a lane has queued, also without waiting, is stored in that order.
local function judge_lanes(self)
  local last = {}
  for _, op in ipairs(self.ops) do
    if op.seq and op.asks == 1 and self.channels[op.channel].durable then
      local before = last[op.lane]
      if before and before.seq > op.seq then
        self:find("disordered", "%s got %d after %s got %d", op.token, op.seq, before.token, before.seq)
      end
      last[op.lane] = op
    end
  end
end

-- Numbers follow the order of what was answered before the next was asked.
local function judge_order(self)
  local begun, answered = {}, {}
  for _, op in ipairs(self.ops) do
    if op.result == "ok" and op.seq then
      begun[#begun + 1] = op
      if op.id ~= "true" then answered[#answered + 1] = op end
    end
  end
  table.sort(begun, function(a, b) return a.from < b.from end)
  table.sort(answered, function(a, b) return a.answered < b.answered end)
  local i, highest = 1, nil
  for _, op in ipairs(begun) do
    while answered[i] and answered[i].answered < op.from do
      if not highest or answered[i].seq > highest.seq then highest = answered[i] end
      i = i + 1
    end
    if highest and highest.seq > op.seq then
      self:find("disordered", "%s got %d after %s got %d", op.token, op.seq, highest.token, highest.seq)
    end
  end
end

-- ---- One subscriber --------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

-- The place of the first number above 'seq'.
local function above(all, seq)
  local low, high = 1, #all + 1
  while low < high do
    local middle = (low + high) // 2
    if all[middle] > seq then high = middle else low = middle + 1 end
  end
  return low
end

local function run_first(self, run) return self.judge.runs[run] end

-- Whether 'trimmed' may have taken the i-th of a channel's: enough newer ones were published before.
local function may_be_trimmed(self, name, i, before)
  local all, keep = self.judge.all[name], self.judge.channels[name].history
  if #all - i < keep then return false end
  local newer = self.judge.ops[self.judge.tokens[all[i + keep]]]
  return newer ~= nil and newer.begun < before
end

local function is_excused(self, name, i)
  local seq, told = self.judge.all[name][i], self.told[name]
  local op = self.judge.ops[self.judge.tokens[seq]]
  if self.loose[name] and op and op.begun < self.loose[name] then return true end
  if not told then return false end
  if told.reason == "restart" and seq <= run_first(self, self.run) then return true end
  return may_be_trimmed(self, name, i, told.at)
end

-- Everything of a log up to 'upto' has come, or is excused.
local function pass(self, name, upto)
  local all, from = self.judge.all[name], self.place[name]
  if not from or upto <= from then return end
  for i = above(all, from), #all do
    local seq = all[i]
    if seq > upto then break end
    if not is_excused(self, name, i) then
      local token = self.judge.tokens[seq]
      local word = self.judge.ops[token].seen and "gap" or "lost"
      self.judge:find(word, "subscriber %d misses %s (%s, %d) at %d, in run %d", self.index, token, name, seq,
        upto, self.run)
    end
  end
  self.place[name] = upto
end

local function move(self, seq, own)
  for _, name in ipairs(self.names) do
    if self.judge.all[name] then
      pass(self, name, name == own and seq - 1 or seq)
      if name == own then
        self.place[name] = seq
        if self.judge.channels[name].kind == "log" then self.loose[name] = nil end
        self.told[name] = nil
      end
    end
  end
  self.cursor = seq
end

-- A log in memory is reset when its reader comes from another run, and only then.
local function judge_restarts(self)
  self.opening = false
  if not self.came or self.fresh then return end
  for _, name in ipairs(self.names) do
    local c = self.judge.channels[name]
    local due = not c.durable and c.kind ~= "state" and self.came < run_first(self, self.run)
    local told = self.told[name] ~= nil and self.told[name].reason == "restart"
    if due ~= told then
      self.judge:find("reset", "subscriber %d with id %d: restart of %s %s in run %d", self.index, self.came, name,
        due and "is not told" or "is told without need", self.run)
    end
  end
end

local function connect(self, b)
  self.run, self.names, self.came = b.run, self.judge.streams[b.path], number_of(b.id)
  self.told, self.opening, self.states = {}, true, {}
  self.fresh = not b.id or self.fresh
  self.place = {}
  if b.id and not self.came then self.judge:find("divergent", "subscriber %d came with %s", self.index, b.id) end
  for _, name in ipairs(self.names) do
    self.place[name] = self.came or -1
    if not self.fresh then self.loose[name] = nil end
  end
  self.cursor = self.came or -1
end

local function hello(self, b)
  if b.data:find('"resumed":true', 1, true) then see(self.judge, "resumed") end
  if not self.came then
    for _, name in ipairs(self.names) do self.loose[name] = b.at end
    self.since = b.at
  end
  for _, name in ipairs(self.names) do
    if self.judge.channels[name].kind == "state" then self.values[name] = {} end
  end
end

local function is_missed(self, name, upto)
  local all = self.judge.all[name]
  local i = above(all, self.came or self.cursor)
  return all[i] ~= nil and (not upto or all[i] < upto)
end

local REASONS = { trimmed = true, restart = true }

local function reset(self, b)
  local r = json.decode(b.data)
  local name, oldest = r.channel, number_of(type(r.oldest) == "string" and r.oldest or nil)
  local c = self.judge.channels[name]
  self.told[name] = { reason = r.reason, at = b.at }
  see(self.judge, r.reason)
  if not c or c.kind == "state" or not REASONS[r.reason] or (c.durable and r.reason == "restart") then
    return self.judge:find("reset", "subscriber %d: %s of %s in run %d", self.index, r.reason, name, self.run)
  end
  if r.reason == "trimmed" and not self.fresh and not is_missed(self, name, oldest) then
    self.judge:find("reset", "subscriber %d with id %s misses nothing of %s below %s, in run %d", self.index,
      tostring(self.came), name, tostring(oldest), self.run)
  end
  if c.kind == "keyed" then
    self.values[name] = {}
    self.loose[name] = b.at
  end
end

-- A key's values only get newer, whatever was skipped.
local function value(self, b, c, op)
  local newest = self.newest[op.key .. b.event]
  if newest and newest > op.number then
    self.judge:find("disordered", "subscriber %d gets %s of %s after number %d", self.index, op.token, b.event, newest)
  end
  self.newest[op.key .. b.event] = op.number
  if c.kind == "state" then
    if self.states[op.token] then self.judge:find("repeated", "subscriber %d gets %s again", self.index, op.token) end
    self.states[op.token] = true
  end
  self.values[b.event] = self.values[b.event] or {}
  self.values[b.event][op.key] = not op.flags:find("r") and op.token or nil
end

local function event(self, b, seq)
  local token, c = token_of(b.data), self.judge.channels[b.event]
  local op = self.judge.ops[token]
  see(self.judge, "events")
  if not op then return end
  if seq and seq <= self.cursor then
    self.judge:find(self.had[token] and "repeated" or "disordered", "subscriber %d gets %s (%d) behind %d", self.index,
      token, seq, self.cursor)
  elseif seq and self.had[token] and c.kind == "log" then
    self.judge:find("repeated", "subscriber %d gets %s again", self.index, token)
  end
  if seq then
    self.had[token] = true
    if op.begun > (self.since or 0) then self.fresh = false end
  end
  if c.kind ~= "state" then move(self, math.max(seq or -1, self.cursor), seq and b.event) end
  if c.kind ~= "log" then value(self, b, c, op) end
end

local function block(self, b)
  local seq = number_of(b.id)
  if self.opening and b.event ~= "hello" and b.event ~= "reset" then judge_restarts(self) end
  if b.event == "hello" then hello(self, b)
  elseif b.event == "reset" then reset(self, b) end
  if self.judge.channels[b.event] then return event(self, b, seq) end
  if not seq then return end
  if seq < self.cursor then
    self.judge:find("disordered", "subscriber %d: %s has %d behind %d", self.index, b.event, seq, self.cursor)
  end
  if b.event == "sync" then self.fresh = false end
  if self.came or b.event ~= "hello" then move(self, math.max(seq, self.cursor))
  else
    self.cursor = seq
    for _, name in ipairs(self.names) do self.place[name] = seq end
  end
end

-- ---- The end ---------------------------------------------------------------------------------

-- What a key's value may be at the end: what was last acknowledged, and what came of later attempts.
local function allowed(self, name)
  local keys = {}
  for _, op in ipairs(self.ops) do
    local c = self.channels[op.channel]
    local here = op.channel == name and (c.durable or op.asked > self.last_at)
    if here then
      keys[op.key] = keys[op.key] or { none = true }
      local content = op.flags:find("r") and "none" or op.token
      local sure = op.result == "ok" and (op.id ~= "true" or c.kind == "state") and not op.flags:find("w")
      if sure then keys[op.key] = {} end
      if op.result ~= "no" then keys[op.key][content] = true end
    end
  end
  return keys
end

local function listed(tokens)
  local list = {}
  for token in pairs(tokens) do list[#list + 1] = token end
  table.sort(list)
  return table.concat(list, " or ")
end

local function judge_values(self, reader, name, keys)
  local have = reader.values[name] or {}
  for key, tokens in pairs(keys) do
    local token = have[key] or "none"
    if not tokens[token] then
      self:find("gap", "subscriber %d ends with %s as %s of %s, not %s", reader.index, token, key, name, listed(tokens))
    end
    local other = self.final[name .. key]
    if other and other ~= token then
      self:find("divergent", "subscriber %d ends with %s as %s of %s, another with %s", reader.index, token, key, name,
        other)
    end
    self.final[name .. key] = token
  end
  for key, token in pairs(have) do
    if not keys[key] then
      self:find("phantom", "subscriber %d has %s of %s from an earlier run", reader.index, token, name)
    end
  end
end

local function finish(self, reader)
  for _, name in ipairs(reader.names) do
    if self.all[name] then pass(reader, name, math.maxinteger) end
    if self.keys[name] then judge_values(self, reader, name, self.keys[name]) end
  end
end

local function judge_reader(self, index, blocks)
  local reader = setmetatable({ judge = self, index = index, values = {}, newest = {}, had = {}, loose = {}, told = {},
    cursor = -1 }, Reader)
  for _, b in ipairs(blocks) do
    if b.what == "connect" then connect(reader, b)
    elseif b.what == "block" then block(reader, b)
    elseif b.how == "final" then finish(self, reader) end
  end
end

local function each_subscriber(from, fn)
  for i = 1, from.n do fn(i, from.subscriber(i)) end
end

--- All that was found, see above.
function judge.judge(from)
  local counts = { all = 0, list = {}, seen = {} }
  for _, word in ipairs(WORDS) do counts[word] = 0 end
  local self = setmetatable({ ops = from.ops, runs = from.runs, channels = from.channels, streams = from.streams,
    last_at = from.last_at, counts = counts, tokens = {}, all = {}, keys = {}, final = {} }, Judge)
  for name, c in pairs(self.channels) do
    if c.kind ~= "state" then self.all[name] = {} end
  end
  collect_acknowledged(self)
  each_subscriber(from, function(_, blocks) collect_received(self, blocks) end)
  for _, all in pairs(self.all) do table.sort(all) end
  judge_order(self)
  judge_lanes(self)
  for name, c in pairs(self.channels) do
    if c.kind ~= "log" then self.keys[name] = allowed(self, name) end
  end
  each_subscriber(from, function(i, blocks) judge_reader(self, i, blocks) end)
  return counts
end

return judge
