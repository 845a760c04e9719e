--- One random run: a sim, the model of each of its threads, and clients that come, stall, are
--- cut at any byte and come back. Everything is drawn from one seed.
local core = require("sluice.core")
local model = require("spec.property.model")
local stored = require("spec.property.stored")
local watcher = require("spec.property.watcher")

local World = {}
World.__index = World
stored.mix(World)

-- How streams are sent, in turn: nothing else may differ.
local FORMS = { "chunked", "gzip", "http10", "zstd" }
local CODED = { gzip = true, zstd = true }
local GZIP_HEADER = "\x1f\x8b\8\0\0\0\0\0\0\xff"
local NAMES = { "a", "b", "c", "message" }
local KEYS = { "k1", "k2", "k3", "k4" }
local CHANNELS = { "log/a", "log/b", "state/x", "keyed/k", "state/y", "keyed/m", "free/z", "log/c" }

-- ---- Drawing ----------------------------------------------------------------------------

local random = math.random
local function chance(p) return random() < p end
local function pick(list) return list[random(#list)] end

local function some(list)
  local out = {}
  for _, item in ipairs(list) do if chance(0.5) then out[#out + 1] = item end end
  return out
end

local function draw_log_history()
  if chance(0.2) then return { count = random(1, 20), bytes = random(50, 1500) } end
  return chance(0.15) and 0 or random(1, 20)
end

local RATES = { 50, 20, 5, 2, 0.5, 0.1, 1 / 60 }

local function draw_rules(rates, changing, durable)
  local rules = {
    { pattern = chance(0.8) and "log/:id" or "log/*", history = draw_log_history(),
      rewind = pick { 0, 0, 3, "all" }, slow = chance(0.3) and "close" or nil },
    { pattern = "state/*", history = "latest", key = "k", max_keys = chance(0.3) and random(2, 6) or nil },
    { pattern = "keyed/:id", history = random(1, 20), key = "k", rewind = "latest",
      max_keys = chance(0.3) and random(2, 6) or nil },
  }
  if chance(0.3) then rules[#rules + 1] = { pattern = "log/a", history = random(0, 10) } end
  if chance(0.3) then
    local keyed = chance(0.3) or nil
    rules[#rules + 1] = { pattern = "free/**", history = keyed and 5 or random(0, 10), rewind = keyed and "latest" }
  end
  if chance(0.2) then
    rules[#rules + 1] = { pattern = "keyed/k", history = random(1, 5), rewind = chance(0.5) and 0 or nil }
  end
  for _, name in ipairs(changing and { "log/a", "keyed/k", "free/z" } or {}) do
    local state = chance(0.4)
    rules[#rules + 1] = { pattern = name, history = state and "latest" or random(0, 10),
      rewind = not state and name == "keyed/k" and "latest" or nil, key = name == "keyed/k" and "k" or nil }
  end
  for _, rule in ipairs(durable and stored.rules(changing) or {}) do rules[#rules + 1] = rule end
  for _, rule in ipairs(rates and rules or {}) do
    if rule.history == "latest" and chance(0.4) then rule.max_rate = pick(RATES) end
    if chance(0.3) then rule.batch = pick { 0.02, 0.1, 1, 60 } end
  end
  return rules
end

local function draw_spec(name, rates)
  local spec = { name, max_rate = rates and chance(0.3) and pick(RATES) or nil }
  if chance(0.2) then spec.types = some(NAMES) end
  if chance(0.2) then spec.keys = some(KEYS) end
  if chance(0.4) then spec.rewind = pick { 0, 2, 5, "all", "latest" } end
  return spec
end

function World:draw_plan()
  local plan, seen = {}, {}
  for _ = 1, random(1, 5) do
    local name = pick(self.channels)
    if not seen[name] then plan[#plan + 1] = draw_spec(name, self.rates) end
    seen[name] = true
  end
  return plan
end

-- ---- Commands ---------------------------------------------------------------------------

function World:post(command) self.commands[#self.commands + 1] = command end

function World:new_event(channel)
  self.n_events = self.n_events + 1
  local event = { channel = channel, name = pick(NAMES), key = chance(0.8) and pick(KEYS) or "" }
  local size = chance(0.9) and random(0, 40) or random(0, self.fat)
  if self.flooding then size = random(40000, 64000) end
  event.data = self.n_events .. ":" .. ("x"):rep(size)
  event.state = model.policy(self.rules, channel).state
  event.remove = chance(channel:find("^log") and 0.02 or 0.15)
  self.events[self.n_events] = event
  return event
end

function World:publish(channel)
  if self:is_durable(channel) then return self:publish_durable(channel, random(1, 3)) end
  local event = self:new_event(channel)
  local full = self:mailbox_is_full()
  local seq, _, code = self.sim:publish(channel, event.name, event.data, event.key, event.remove, event.state)
  if full ~= (code == "EBUSY") then error("publish: " .. tostring(code), 0) end
  if not seq then
    self.count.busy = (self.count.busy or 0) + 1
    return self:drain(random(self.threads))
  end
  self:number(event, seq)
end

--- Events wait for one thread up to a bound; above it no stream gets the next one.
function World:mailbox_is_full()
  for _, replica in ipairs(self.replicas) do
    local n = #self.commands > replica.applied + 4000 and self:waiting(replica) or 0
    if n >= 4096 then return true end
  end
  return false
end

function World:waiting(replica)
  local n = 0
  for i = replica.applied + 1, #self.commands do
    if self.commands[i].op == "event" then n = n + 1 end
  end
  return n
end

--- The number rises by one: a failed group gives its numbers back.
function World:number(event, seq)
  if seq ~= self.head + 1 then error(("number %d after %d"):format(seq, self.head), 0) end
  if self.group and seq >= self.group.first then error(("number %d inside the group"):format(seq), 0) end
  self:take_number(event, seq)
end

function World:take_number(event, seq)
  event.seq, self.head = seq, seq
  event.size = model.size(event)
  self:post { op = "event", event = event }
  self.count.published = self.count.published + 1
end

function World:act_publish() self:publish(pick(self.channels)) end

function World:act_burst()
  local channel = pick(self.channels)
  self.flooding = self.flood
  for _ = 1, random(2, self.burst) do self:publish(chance(0.8) and channel or pick(self.channels)) end
  self.flooding = false
end

function World:act_group()
  if self.group and chance(0.2) then return self:commit_group() end
  if self.group then return self:end_group(self.group.stored or chance(0.75)) end
  local group, rows = {}, {}
  for i = 1, random(1, 4) do
    local channel = pick(self.channels)
    if model.policy(self.rules, channel).state then channel = "log/b" end
    local event = chance(0.85) and self:new_event(channel) -- else a hole
    group[i] = event
    rows[i] = event and { channel, event.name, event.data, event.key, event.remove }
  end
  group.first = assert(self.sim:group(rows))
  if group.first <= self.head then error("a group begins below the head", 0) end
  self.group = group
end

function World:end_group(commit)
  local group = self.group
  if commit then self:commit_group() end
  self.group = nil
  if not commit then return self.sim:abort() end
  self.sim:release()
  for i, event in ipairs(group) do
    if event then self:take_number(event, group.first + i - 1) end
  end
end

function World:act_trim()
  local channel = pick(self.channels)
  local seq = self.head
  if self.n_events > 0 and chance(0.8) then seq = pick(self.events).seq or seq end
  self.sim:trim(channel, seq)
  self:post { op = "trim", channel = channel, seq = seq }
end

function World:act_drop()
  local channel = pick(self.channels)
  self.sim:drop(channel)
  self:post { op = "drop", channel = channel }
end

--- The readers of a channel that becomes a state, or a log, are away meanwhile.
function World:send_away(rules)
  local changed = {}
  for _, name in ipairs(self.channels) do
    local old, new = model.policy(self.rules, name), model.policy(rules, name)
    if old.state ~= new.state then changed[name] = true end
  end
  if not next(changed) then return false end
  if self.group then self:end_group(true) end
  for _, client in ipairs(self.clients) do
    for name in pairs(client.stream and changed or {}) do
      if client.stream and (client.watcher.subs[name] or client.watcher.gone[name]) then
        self:take(client, chance(0.5))
        self:leave(client)
      end
    end
  end
  return true
end

function World:draw_rules() return draw_rules(self.rates, self.changing, self.durable) end

function World:act_policies()
  local rules = self:draw_rules()
  local changed = self:send_away(rules)
  if not self.durable then
    self.rules = rules
    self.sim:policies(rules)
    self:post { op = "policies", rules = rules }
  else
    if self.group then self:end_group(true) end
    for thread = 1, self.threads do self:drain(thread) end
    local keyed, floors = self:convert_all(rules)
    self.rules = rules
    self.head = assert(self.sim:convert(rules, keyed, floors))
    self:post { op = "convert", rules = rules, keyed = keyed, floors = floors }
  end
  for thread = 1, changed and self.threads or 0 do self:drain(thread) end
end

-- ---- Threads ----------------------------------------------------------------------------

--- What was gathered before the rules change is judged by those it was gathered by.
function World:read_all(thread, rules)
  for _, client in ipairs(self.clients) do
    if client.stream and client.thread == thread then
      self:unstall(client)
      self:take(client)
      client.watcher:on_rules(rules)
    end
  end
end

function World:drain(thread, max)
  local n = self.sim:drain(thread, max)
  local replica = self.replicas[thread]
  for _ = 1, n do
    local command = self.commands[replica.applied + 1]
    if command.op == "policies" or command.op == "convert" then self:read_all(thread, command.rules) end
    replica:apply(command)
    for _, client in ipairs(self.clients) do
      if client.stream and client.thread == thread then
        if command.op == "event" then client.watcher:on_event(command.event) end
        client.watcher:on_latest()
      end
    end
  end
end

function World:act_drain() self:drain(random(self.threads), chance(0.5) and random(1, 5) or nil) end

function World:act_flush()
  if self.rates and chance(0.4) then self:act_clock() end
  if self.restless and chance(0.2) then self:act_policies() end
  local thread = random(self.threads)
  local more = self.sim:flush(thread, chance(0.6) and random(1, 4) or nil)
  local check = not more and not self.rates and chance(0.3) -- a rate may hold things back
  check = check and not self.sim:paging(thread)
  for _, client in ipairs(self.clients) do
    if client.stream and client.thread == thread then
      if client.stalled then client.pinned = true end
      if check or chance(0.7) then self:take(client) end
      if check and not client.stalled then client.watcher:finish() end
    end
  end
end

--- Both replicas must agree with the model on what they keep.
function World:check_replica(thread)
  local replica = self.replicas[thread]
  for _, name in ipairs(self.channels) do
    local c = replica:channel(name)
    local floor = self.sim:floor(thread, name)
    if floor and floor ~= replica:floor(name) then
      error(("floor of %s is %d, not %d (thread %d)"):format(name, floor, replica:floor(name), thread), 0)
    end
    local n = self.sim:events(thread, name)
    local want = c.policy.state and #replica:snapshot(name) or #c.history
    if n ~= want then error(("%s has %d events, not %d (thread %d)"):format(name, n, want, thread), 0) end
  end
end

-- ---- Clients ----------------------------------------------------------------------------

local function parse_id(text)
  if not text then return nil end
  local epoch, digits = text:match("^([%l2-7]+)%-(%d+)$")
  if not epoch or #epoch ~= 13 or #digits > 19 or (#digits > 1 and digits:find("^0")) then return "bad" end
  return { epoch = epoch, seq = math.tointeger(tonumber(digits)) or math.maxinteger }
end

local function to_plan(specs)
  return { channels = specs }
end

--- A client comes back on any thread; often on the one that is most behind.
function World:pick_thread()
  local slowest = 1
  for i, replica in ipairs(self.replicas) do
    if replica.head < self.replicas[slowest].head then slowest = i end
  end
  return chance(0.3) and slowest or random(self.threads)
end

function World:connect(client)
  client.thread = self:pick_thread()
  client.stalled, client.pinned = chance(self.restless and 0.4 or 0.1), false
  local id = parse_id(client.id)
  client.watcher = watcher.new { replica = self.replicas[client.thread], events = self.events,
    epoch = self.epoch, log_head = self.head, plan = client.plan, store = self.store, id = id, id_text = client.id,
    rates = self.rates }
  self.connects = (self.connects or self.seed) + 1
  local form = FORMS[self.connects % #FORMS + 1]
  client.form, client.decoder = form, CODED[form] and core.decoder(form) or nil
  if form == "gzip" then client.decoder:feed(GZIP_HEADER) end
  local stream, message = self.sim:connect(client.thread, to_plan(client.plan), client.id, "me", form)
  if not stream then error("connect: " .. message, 0) end
  client.stream = stream
  if client.stalled then stream:stall(true) end
  client.ledger = client.ledger or self:new_ledger(client)
  for _, spec in ipairs(client.plan) do
    if self.replicas[client.thread]:channel(spec[1]).policy.history == 0 then client.ledger.lossy[spec[1]] = true end
  end
  self.count[id and "resumed" or "newcomers"] = self.count[id and "resumed" or "newcomers"] + 1
end

function World:act_connect()
  for _ = 1, self.max_streams // 6 do self:connect_new() end
end

function World:connect_new()
  if #self.clients >= self.max_streams then return end
  local client = { plan = self.max_streams > 6 and self.clients[1] and self.clients[1].plan or self:draw_plan() }
  if chance(0.15) then
    client.id = pick { "garbage", "-5", "aaaaaaaaaaaaa-3", self.epoch .. "-" .. (self.head + 5),
      self.epoch .. "-01", self.epoch, ("x"):rep(200), self.epoch .. "-0" }
  end
  client.odd, client.made_up = client.id ~= nil, client.id
  self.clients[#self.clients + 1] = client
  self:connect(client)
end

--- Feed what the client received, up to a byte.
function World:take(client, cut)
  local bytes = client.stream:take()
  if cut then bytes = bytes:sub(1, random(0, #bytes)) end
  if client.decoder then bytes = assert(client.decoder:feed(bytes)) end
  if client.form == "http10" and bytes:find("\r", 1, true) then error("chunks in HTTP/1.0", 0) end
  local w = client.watcher
  local seen, told = w:feed(bytes)
  local last = w:last_id_text()
  if last then client.id = last end
  if w.greeted then client.ledger.open = true end
  for _, event in ipairs(seen) do client.ledger.seen[event] = true end
  for _, reset in ipairs(told) do self:note_loss(client, reset) end
  self.count.delivered = self.count.delivered + #seen
  if not client.pinned then w:on_gather() end
end

function World:note_loss(client, reset)
  self.count["reset " .. reset.reason] = (self.count["reset " .. reset.reason] or 0) + 1
  local lost = client.ledger.lost
  local sub = client.watcher.subs[reset.channel]
  local anew = sub and sub.compact and reset.reason ~= "slow" -- by the newest per key
  if sub and not sub.state and self.replicas[client.thread]:channel(reset.channel).policy.keyed
    and (reset.reason == "slow" or reset.again) then anew, reset.oldest = false, nil end
  if sub and sub.was_slow and reset.reason == "trimmed" then anew, reset.oldest = false, nil end
  local upto = anew and client.watcher.joined + 1 or reset.oldest or self.head + 1
  lost[reset.channel] = math.max(lost[reset.channel] or 0, upto, (reset.reaches or 0) + 1)
end

function World.leave(_, client)
  client.stream:close()
  client.stream = nil
  client.stalled, client.pinned = false, false
end

function World:with_stream(act)
  local client = #self.clients > 0 and pick(self.clients)
  if client and client.stream then return act(client) end
end

function World:act_cut()
  self:with_stream(function(client)
    self:take(client, true)
    self:count_price(client)
    self:leave(client)
    self.count.cuts = self.count.cuts + 1
  end)
end

--- The known price: cut inside a first replay that began at different places.
function World:count_price(client)
  local w = client.watcher
  local id = parse_id(client.id)
  if type(id) ~= "table" or not w.greeted or w.id_text then return end
  local seq = id.seq
  for _, sub in pairs(w.subs) do
    if sub.from and sub.from > seq then self.count.price = self.count.price + 1 end
  end
end

function World:act_resume()
  local client = #self.clients > 0 and pick(self.clients)
  if not client or client.stream then return end
  if client.id == "stop" then client.id, client.ledger = nil, nil end
  if client.odd or (client.ledger and not client.ledger.open) then client.ledger = nil end
  client.odd = client.id ~= nil and client.id == client.made_up -- nothing of ours came yet
  if chance(0.15) then client.plan, client.ledger = self:draw_plan(), nil end
  self:connect(client)
end

function World:act_stall()
  self:with_stream(function(client)
    client.stalled = true
    client.stream:stall(true)
  end)
end

function World:unstall(client)
  if not client.stalled then return end
  client.stalled, client.pinned = false, false
  client.stream:stall(false)
  self:take(client)
end

function World:act_unstall() self:with_stream(function(client) self:unstall(client) end) end

--- Calls of the app come through the same mailbox as the events it saw before.
function World:with_caught_up(act)
  self:with_stream(function(client)
    if client.watcher.ahead > self.replicas[client.thread].head then self:drain(client.thread) end
    if not client.watcher.bye_queued then act(client) end
  end)
end

function World:act_subscribe()
  self:with_caught_up(function(client)
    local spec = draw_spec(pick(self.channels), self.rates)
    if client.watcher.gone[spec[1]] then return end
    local ok, _, code = client.stream:subscribe(spec)
    if not ok then return code == "ECLOSED" or error("subscribe: " .. code, 0) end
    client.watcher:subscribe(spec)
    client.ledger.spoilt = true
  end)
end

function World:act_unsubscribe()
  self:with_caught_up(function(client)
    local name = pick(self.channels)
    local had = client.watcher.subs[name] ~= nil
    if client.stream:unsubscribe(name) ~= had then error("unsubscribe " .. name, 0) end
    if had then client.watcher:unsubscribe(name) end
    client.ledger.spoilt = true
  end)
end

function World:act_filter()
  self:with_caught_up(function(client)
    local types, keys = chance(0.4) and some(NAMES) or nil, chance(0.5) and some(KEYS) or nil
    assert(client.stream:filter(types, keys, self.rates and chance(0.5) and pick(RATES) or nil))
    client.watcher:filter(types, keys)
    client.ledger.spoilt = true
  end)
end

function World:act_send()
  self:with_caught_up(function(client)
    self.n_sent = self.n_sent + 1
    local text = "note:" .. self.n_sent
    local ok, _, code = client.stream:send("a", text)
    if ok then return client.watcher:send(text) end
    local full = code == "EFULL" and client.watcher:note_bytes() > self.testing.limits.private_bytes - 1000
    if not full and code ~= "ECLOSED" then error("send: " .. code, 0) end
  end)
end

function World:sync(client)
  local due = client.stream:sync()
  if due then client.watcher:sync() end
  self.count.syncs = self.count.syncs + (due and 1 or 0)
  return due
end

function World:act_sync() self:with_caught_up(function(client) self:sync(client) end) end

function World:act_clock()
  self.now = self.now + random(1, self.rates and pick { 30, 300, 20000 } or 20000)
  self.sim:now(self.now)
end

function World:act_bye()
  self:with_caught_up(function(client)
    local reason = pick { "stop", "drain", "age" }
    client.stream:bye(reason)
    client.watcher:bye(reason)
  end)
end

--- What the client has not been given by now it never is.
function World:act_forbid()
  self:with_stream(function(client)
    if client.watcher.at_once then return end
    self:take(client)
    if client.watcher.ended then return end
    local reason = pick { "denied", "expired", "revoked" }
    client.stream:bye(reason)
    client.watcher:bye(reason)
  end)
end

function World:act_close()
  self:with_stream(function(client)
    if client.watcher.ended or chance(0.2) then
      self:take(client, true)
      self:leave(client)
    end
  end)
end

-- ---- The truth, whatever the model thinks -----------------------------------------------

--- What a client that keeps its plan is owed since it first came.
function World:new_ledger(client)
  local start = math.max(self.replicas[client.thread].head, client.watcher.ahead)
  return { start = start, seen = {}, lost = {}, lossy = {}, plan = client.plan }
end

function World:check_ledger(client)
  local ledger = client.ledger
  if not ledger or ledger.spoilt or not ledger.open or client.odd or client.watcher.ended then return end
  for _, spec in ipairs(ledger.plan) do
    local lossy = ledger.lossy[spec[1]]
    for _, event in ipairs(self.events) do
      local due = event.channel == spec[1] and event.seq and not event.state and event.seq > ledger.start
      if due and not lossy and model.wants(spec, event) and not ledger.seen[event]
        and event.seq >= (ledger.lost[spec[1]] or 0) then
        error(("event %d of %s was lost without a word"):format(event.seq, spec[1]), 0)
      end
    end
  end
end

-- ---- A run ------------------------------------------------------------------------------

local WEIGHTS = { publish = 30, burst = 4, group = 4, trim = 2, drop = 1, policies = 1, drain = 16, flush = 20,
  connect = 7, cut = 6, resume = 8, stall = 3, unstall = 5, subscribe = 2, unsubscribe = 1, filter = 2, send = 3,
  sync = 3, clock = 2, bye = 1, forbid = 1, close = 2, pages = 14, retain = 2, restart = 1 }

local WHEEL = {}
for name, weight in pairs(WEIGHTS) do
  for _ = 1, weight do WHEEL[#WHEEL + 1] = name end
end
table.sort(WHEEL)

local world = {}

--- Everything is drawn, except for what a kind of worlds has in common.
function world.new(testing, seed, kind)
  math.randomseed(seed)
  local threads = chance(0.85) and 2 or random(1, 3)
  local self = setmetatable({ testing = testing, seed = seed, threads = threads, store = stored.store(), readings = {},
    commands = {}, clients = {}, events = {}, n_events = 0, n_sent = 0, head = 0,
    now = 0, count = { published = 0, delivered = 0, resumed = 0, newcomers = 0, cuts = 0, syncs = 0, price = 0 },
    steps = random(60, 300) }, World)
  self.fat = pick { 100, 3000, 3000, chance(0.1) and 60000 or 9000 }
  self.flood = chance(0.04) -- past the backlog of a reader that is behind
  self.max_streams = chance(0.1) and 16 or 6 -- a crowd has one plan
  self.burst = chance(0.01) and 1500 or self.flood and 160 or 12
  self.rates = chance(0.4)
  self.restless = chance(0.05) -- the rules change again and again
  self.changing = chance(0.3) -- and with them what is a log and what a state
  self.durable = seed % 2 == 0 -- some channels have a store
  for name, value in pairs(kind or {}) do self[name] = value end
  self.channels = table.move(CHANNELS, 1, random(3, #CHANNELS), 1, {})
  table.move(stored.CHANNELS, 1, self.durable and #stored.CHANNELS or 0, #self.channels + 1, self.channels)
  self.rules = self:draw_rules()
  self:begin()
  return self
end

--- The threads of a run, which may be a later one.
function World:begin(first)
  self.sim = self.testing.sim(self.threads, self.seed, self.seed % 3 == 0, stored.HELD, self.epoch, first)
  self.epoch, self.replicas = self.sim:epoch(), {}
  for i = 1, self.threads do self.replicas[i] = model.replica(first, stored.HELD) end
  self.sim:now(self.now)
  self.sim:policies(self.rules)
  self:post { op = "policies", rules = self.rules }
  for i = 1, self.threads do self:drain(i) end
  if first then self:restore(self.rules) end
end

function World:flush_all(thread)
  for _ = 1, 100000 do
    if not self.sim:flush(thread) then return end
  end
  error("flush never ends", 0)
end

--- What waits for a tick has had one, also who rested at the first.
function World:pass_ticks()
  for _ = 1, self.rates and 3 or 0 do
    self.now = self.now + 60001
    self.sim:now(self.now)
    for thread = 1, self.threads do
      self:flush_all(thread)
      self:read_pages(thread) -- a live stream may have lost its ring meanwhile
    end
  end
end

--- Everything is drained, flushed and read.
function World:settle()
  for thread = 1, self.threads do self:drain(thread) end
  for _, client in ipairs(self.clients) do if client.stream then self:unstall(client) end end
  for thread = 1, self.threads do
    self:flush_all(thread)
    self:read_pages(thread)
    self:check_replica(thread)
  end
  self:pass_ticks()
  for _, client in ipairs(self.clients) do
    if client.stream then
      self:take(client)
      client.watcher:finish()
    end
  end
end

local function is_behind(client, head)
  local logs = false
  for _, sub in pairs(client.watcher.subs) do logs = logs or not sub.state end
  return logs and not client.watcher.ended and not client.watcher.bye_queued and client.watcher.last_id < head
end

--- Who has heard nothing of the head for a minute is told by a sync.
function World:check_syncs()
  self.now = self.now + 61000
  self.sim:now(self.now)
  for _, client in ipairs(self.clients) do
    if client.stream and is_behind(client, self.replicas[client.thread].head) ~= self:sync(client) then
      error("a sync is due and does not come, or comes and is not due", 0)
    end
  end
  self:settle()
end

function World:finish()
  if self.group then self:end_group(true) end
  for _, name in ipairs(self.durable and stored.CHANNELS or {}) do self:tell_floor(name) end
  self:settle()
  self:check_syncs()
  for _, client in ipairs(self.clients) do
    if client.stream and client.watcher.ended then self:leave(client) end
    if not client.stream and client.id ~= "stop" then
      if client.odd or (client.ledger and not client.ledger.open) then client.ledger = nil end
      client.odd = client.id ~= nil and client.id == client.made_up -- nothing of ours came yet
      self:connect(client)
    end
  end
  self:settle()
  for _, client in ipairs(self.clients) do
    if client.stream then self:check_ledger(client) end
  end
  self:close()
end

function World:close()
  for _, client in ipairs(self.clients) do if client.stream then self:leave(client) end end
  self.sim:close()
end

function World:step()
  local name = pick(WHEEL)
  if self.trace then self.trace(self, name) end
  self["act_" .. name](self)
end

function World:run()
  for i = 1, self.steps do
    self.at = i
    self:step()
  end
  self.at = "the end"
  self:finish()
end

return world
