--- The judge of one connection: it is told what the model knows (events as its thread gets
--- them, subscriptions, filters) and fed the bytes the client received; it raises when they
--- break a promise. It looks at one stream as a browser does: whole events only.
---
--- What must come is one list in order of sequence. Each entry is "must", "may" (the wish
--- changed while it was under way), "cut" (its compacted replay was: it comes or is told) or
--- "not" (filtered out: it moves the cursor only).
local cjson = require("cjson")
local eventstream = require("sluice.eventstream")
local model = require("spec.property.model")

local limits = require("sluice.core.testing").limits

local Watcher = {}
Watcher.__index = Watcher

local watcher = {}

local function fail(text, ...) error(text:format(...), 0) end

-- ---- Opening ----------------------------------------------------------------------------

local function add_sub(self, spec)
  local c = self.replica:channel(spec[1])
  local sub = { name = spec[1], filter = { types = spec.types, keys = spec.keys },
    state = c.policy.state, view = {}, last = 0, rewinds = 0, by_type = spec.types }
  sub.old_filters = { sub.filter }
  self.subs[spec[1]] = sub
  self.n_subs = self.n_subs + 1
  return sub
end

--- A compacted replay follows a reset on an open stream: a sync ends it, one for all that end together.
function Watcher:await_sync() self.syncs, self.sync_due = self.syncs + 1, true end

local function add_start(self, spec, id, hello)
  local sub = add_sub(self, spec)
  if sub.state then
    local reason = self.replica:reason(spec[1], id, self.epoch, self.log_head)
    if reason then
      hello.resets = hello.resets + 1
      self.resets[spec[1]] = { reason = reason }
    end
    hello.states[spec[1]] = 0
    for _, event in ipairs(self.replica:snapshot(spec[1])) do
      if model.wants(sub.filter, event) then hello.states[spec[1]] = hello.states[spec[1]] + 1 end
    end
    return
  end
  local start = self.replica:start(spec[1], spec.rewind, id, self.epoch, self.log_head)
  sub.from, sub.compact, sub.seeks = start.from, start.compact, start.seeks
  hello.untold = hello.untold or start.untold
  self.compact = self.compact or start.compact
  if start.seeks then
    for _, event in ipairs(self.replica:channel(spec[1]).history) do
      if model.wants(sub.filter, event) then hello.replay = hello.replay + 1 end
    end
    return
  end
  hello.lowest = math.min(hello.lowest or math.huge, start.from)
  local held = not start.compact and self.replica:held_of(spec[1], start.list)
  for _, event in ipairs(start.list) do
    local want = model.wants(sub.filter, event)
    if want and (not held or held[event]) then hello.replay = hello.replay + 1 end
    self.expect[#self.expect + 1] =
      { event = event, want = want and "must" or "not", compact = start.compact }
  end
  if start.reason then
    hello.resets = hello.resets + 1
    self.resets[spec[1]] = { reason = start.reason, oldest = self.replica:oldest(spec[1]) }
    sub.told = not start.compact and start.beyond
  end
end

--- @param given { replica =, events =, epoch =, log_head =, plan = list of specs, id = nil |
---   "bad" | { epoch, seq }, id_text = } ; `events` maps the number in an event's data to it
function watcher.new(given)
  local self = setmetatable({ replica = given.replica, events = given.events, epoch = given.epoch,
    log_head = given.log_head, plan = given.plan, parser = eventstream.new(), id_text = given.id_text,
    rates = given.rates, store = given.store,
    subs = {}, n_subs = 0, expect = {}, next = 1, resets = {}, notes = {}, gone = {}, widened = {},
    joined = given.replica.head, since = given.replica.applied,
    gathered = given.replica.head, delivered = 0, slow = 0, syncs = 0 }, Watcher)
  local hello = { states = {}, replay = 0, resets = 0 }
  for _, spec in ipairs(given.plan) do
    if not self.subs[spec[1]] then add_start(self, spec, given.id, hello) end
  end
  table.sort(self.expect, function(a, b) return a.event.seq < b.event.seq end)
  hello.id = hello.lowest or self.replica.head
  hello.resumed = given.id ~= nil and hello.resets == 0 and not hello.untold
  self.hello, self.hello_channels = hello, self.n_subs
  local good = type(given.id) == "table" and given.id.epoch == given.epoch
  good = good and given.id.seq <= given.log_head
  self.ahead = good and given.id.seq or 0
  self.came_with = self.ahead
  for _, entry in ipairs(self.expect) do entry.behind = entry.compact and entry.event.seq <= self.ahead end
  -- what is lost is told before an id passes it: then the last reset brings the first id
  hello.silent = hello.resets > 0 and not (good and hello.id <= self.ahead)
  self.opening = self.n_subs > 0
  for name, sub in pairs(self.subs) do
    self.asks = self.asks or sub.seeks or given.id and self.replica:channel(name).policy.durable
  end
  return self
end

-- ---- What the world tells ---------------------------------------------------------------

--- The store says where a log starts: with what lies above that place, up to where it joined.
function Watcher:on_place(name, place, joined)
  local sub = self.subs[name]
  if not sub or not sub.seeks then return end
  sub.seeks = false
  local list = self.replica:between(name, place, joined)
  if sub.late then return self:add_history(sub, sub.late, list) end
  self.hello.id = math.min(self.hello.id, place)
  for _, event in ipairs(list) do
    self.expect[#self.expect + 1] = { event = event, want = model.wants(sub.filter, event) and "must" or "not" }
  end
  table.sort(self.expect, function(a, b) return a.event.seq < b.event.seq end)
end

--- The store has deleted what follows the place that a page was asked from, and hello is not out:
--- it may not say that nothing is missing.
function Watcher:on_lost_page(name)
  local sub = self.subs[name]
  if sub and not sub.late and not self.greeted then self.lost_page = true end
end

--- The thread took an event.
function Watcher:on_event(event)
  local sub = self.subs[event.channel]
  if self.bye_queued or not sub or sub.state or event.seq <= (sub.from or 0) then return end
  local want = model.wants(sub.filter, event) and event.seq >= (sub.oldest or 0) and "must" or "not"
  self.expect[#self.expect + 1] = { event = event, want = want }
end

--- The newest of a key changed: what a compacted replay has not sent yet is no longer owed.
function Watcher:on_latest()
  if not self.compact then return end
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    if entry.event.seq > math.max(self.joined, self.replayed or 0) then break end
    if entry.compact and entry.want == "must" and self.replica.left[entry.event] then
      local keyed = self.replica:channel(entry.event.channel).policy.keyed
      entry.want = keyed and "may" or "cut"
    end
  end
end

--- What a store has of a log is out of reach from now on: a newcomer that asked where to start begins
--- with what memory has, which is at least its history; others are told what they do not get.
local function lose_store(self, sub, c, keyed)
  sub.was_stored = true
  if sub.seeks then
    sub.seeks = false
    local list = sub.late and sub.late.history or self.expect
    for _, event in ipairs(self.replica:between(sub.name, 0, sub.late and sub.from or self.joined)) do
      local want = event.seq > c.left and "must" or "may"
      list[#list + 1] = { event = event, want = model.wants(sub.filter, event) and want or "not" }
    end
    if not sub.late then
      self.hello.below = math.min(self.hello.below or math.huge, c.left)
      table.sort(self.expect, function(a, b) return a.event.seq < b.event.seq end)
    end
    if c.left <= (sub.late and sub.from or self.joined) then return end -- else it misses what came since it joined
  end
  local r = self.replica
  sub.stopped = { keyed = keyed, holds = #c.history > 0, head = r.head, since = r.applied,
    pending = self.bye_queued } -- what lies behind its end is told all the same
  local function cut(entry)
    if entry.event.channel ~= sub.name or entry.compact or entry.event.seq > c.left then return end
    sub.stopped.pending = true
    if entry.want == "must" then entry.want = "cut" end
  end
  for i = self.next, #self.expect do cut(self.expect[i]) end
  for _, note in ipairs(self.notes) do
    for i = note.at or 1, note.history and #note.history or 0 do cut(note.history[i]) end
  end
end

--- The thread takes other rules next. All that was gathered before is read.
function Watcher:on_rules(rules)
  for name, sub in pairs(self.subs) do
    local c, now = self.replica:channel(name), model.policy(rules, name)
    if c.policy.keyed and not now.keyed then sub.unkeyed = true end
    local stored = c.policy.durable and not c.policy.state
    if stored and not now.durable and not now.state then lose_store(self, sub, c, c.policy.keyed and now.keyed) end
  end
end

--- A flush begins, or bytes were taken: what comes from now on is gathered at this place.
function Watcher:on_gather()
  self.since, self.gone = self.replica.applied, {}
  self.gathered = self.replica.head
  for _, sub in pairs(self.subs) do sub.old_filters = { sub.filter } end
end

--- Who began with a reset, and has got nothing of the log yet, hears no more of what went before it
--- joined. Returns up to where that reset reached, when it was received already.
function Watcher:skip_gone(channel, floor)
  local sub, reset = self.subs[channel], self.resets[channel]
  if not sub or not sub.told or floor > self.joined then return nil end
  sub.told_to = sub.told_to or floor
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    if entry.event.channel == channel and entry.event.seq <= floor and entry.want == "must" then entry.want = "may" end
  end
  if not reset then return floor end
  reset.reaches = math.max(reset.reaches or 0, floor)
end

--- A page came to this stream: a reset that it causes is of this place. One of a log that is durable
--- no more is of no use.
function Watcher:on_page(channel, floor)
  if not self.replica:channel(channel).policy.durable then return nil end
  local told_to = self:skip_gone(channel, floor)
  self.page_head = self.page_head or self.replica.head
  self.page_since = self.page_since or self.replica.applied
  local sub = self.subs[channel]
  if sub then sub.page_keyed, sub.unkeyed = self.replica:channel(channel).policy.keyed, nil end
  return told_to
end

--- A list that is not given stays as it is.
function Watcher:filter(types, keys)
  for _, sub in pairs(self.subs) do
    sub.filter = { types = types or sub.filter.types, keys = keys or sub.filter.keys }
    sub.by_type = sub.by_type or types
    sub.old_filters[#sub.old_filters + 1] = sub.filter
    sub.rewinds = sub.rewinds + 1
    for slot, event in pairs(sub.view) do
      if not model.wants(sub.filter, event) then sub.view[slot] = nil end
    end
  end
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    local sub = self.subs[entry.event.channel]
    local compact = entry.want == "cut" and entry.compact
    local owed = entry.want == "must" or entry.want == "cut"
    local wanted = sub and model.wants(sub.filter, entry.event)
    if entry.compact and wanted and not owed then self.widened[entry.event] = true end
    if sub and not compact and owed ~= wanted then entry.want = "may" end
  end
  for _, note in ipairs(self.notes) do self:rewish(note) end
end

--- The filter has changed: what it wants no more, or wants only now, may come.
function Watcher:rewish(note)
  local sub = note.history and self.subs[note.channel]
  if not sub or sub.seeks then return end
  for _, entry in ipairs(note.history) do entry.want = "may" end
end

function Watcher:unsubscribe(name)
  self.subs[name] = nil
  self.gone[name] = true
  self.n_subs = self.n_subs - 1
  self.left_one = true -- its replay may have been under way
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    local owed = entry.want == "must" or entry.want == "cut" and not entry.compact
    if entry.event.channel == name and owed then entry.want = "may" end
  end
  self:excuse_history(name, math.huge, "may")
end

function Watcher:add_note(note)
  note.after = math.max(self.replica.head, self.ahead)
  note.states, note.applied = {}, self.replica.applied
  for name, sub in pairs(self.subs) do
    if sub.state then
      for _, event in ipairs(self.replica:snapshot(name)) do
        if model.wants(sub.filter, event) then note.states[#note.states + 1] = { sub, event, sub.filter } end
      end
    end
  end
  self.notes[#self.notes + 1] = note
end

--- History of a log that joined: it comes before the sync that confirms it, with an id or without.
function Watcher.add_history(_, sub, note, list)
  for _, event in ipairs(list) do
    note.history[#note.history + 1] = { event = event, want = model.wants(sub.filter, event) and "must" or "not" }
  end
end

function Watcher:subscribe(spec)
  if self.subs[spec[1]] then return end
  local c = self.replica:channel(spec[1])
  local sub = add_sub(self, spec)
  if sub.state then return end
  local rewind = spec.rewind
  if rewind == nil then rewind = c.policy.rewind end
  local list, compact = self.replica:replay(spec[1], rewind, false)
  for _, event in ipairs(compact and list or {}) do
    if model.wants(sub.filter, event) then self:add_note { what = "history", event = event } end
  end
  sub.from = self.replica.head
  local note = { what = "sync", channel = spec[1], history = {} }
  self:add_note(note)
  sub.late, sub.seeks = note, not list
  if not compact and list then self:add_history(sub, note, list) end
end

--- What of a channel was asked for on the open stream is not owed any more.
function Watcher:excuse_history(name, below, want)
  for _, note in ipairs(self.notes) do
    for _, entry in ipairs(note.channel == name and note.history or {}) do
      local owed = entry.want == "must" or entry.want == "cut"
      if entry.event.seq < below and owed then entry.want = want end
    end
  end
end

function Watcher:send(text) self:add_note { what = "send", text = text } end

--- About what waits in the private queue of the stream.
function Watcher:note_bytes()
  local n = 0
  for _, note in ipairs(self.notes) do n = n + (note.event and note.event.size or 100) end
  return n
end

function Watcher:sync() self:add_note { what = "sync" } end

local AT_ONCE = { denied = true, expired = true, revoked = true }

--- An end by right takes the place of all that was to be sent, another bye included.
function Watcher:bye(reason)
  if AT_ONCE[reason] then
    self.at_once = true
    self.notes = { { what = "bye", reason = reason, after = 0, states = {} } }
  elseif not self.bye_queued then
    local seeks = false
    for _, sub in pairs(self.subs) do seeks = seeks or sub.seeks end
    self:add_note { what = "bye", reason = reason, seeks = seeks }
  end
  self.bye_queued = true
end

-- ---- What the client received -----------------------------------------------------------

--- A number is on the wire as an id: everything up to it is settled.
function Watcher:settle(seq, what)
  if self.last_id and seq < self.last_id then fail("%s has id %d after %d", what, seq, self.last_id) end
  if seq > math.max(self.replica.head, self.ahead) then fail("%s has id %d, which no event has yet", what, seq) end
  self.last_id = seq
  self:pass(seq, what)
end

-- What may come before the entries that have no ids.
local BEFORE = { hello = true, reset = true, bye = true }

--- Nothing up to seq may be owed any more.
function Watcher:pass(seq, what)
  while self.expect[self.next] and self.expect[self.next].event.seq <= seq do
    local entry = self.expect[self.next]
    local event = entry.event
    if entry.behind and BEFORE[what] then return end
    if entry.want == "must" or entry.want == "cut" then
      fail("%s passes %d of %s, which is owed", what, event.seq, event.channel)
    end
    self.next = self.next + 1
  end
end

function Watcher:parse_id(text, what)
  local epoch, digits = text:match("^([%l2-7]+)%-(%d+)$")
  if epoch ~= self.epoch then fail("%s has the id %q", what, text) end
  return math.tointeger(tonumber(digits))
end

function Watcher:on_hello(event, id)
  local data, want = cjson.decode(event.data), self.hello
  if self.greeted then fail("hello comes twice") end
  self.greeted = true
  if want.below and id and id <= math.min(want.below, want.id) then want.id = id end
  if id ~= (not want.silent and want.id or nil) then fail("hello has id %s, not %d", id, want.id) end
  if data.replay ~= want.replay then fail("hello.replay is %d, not %d", data.replay, want.replay) end
  if data.resumed and (not want.resumed or self.lost_page) then fail("hello.resumed is true") end
  self.owes_reset = want.resumed and not data.resumed -- something was missed while the store was asked
  if data.channels ~= self.hello_channels then fail("hello.channels is %d", data.channels) end
  if data.epoch ~= self.epoch then fail("hello.epoch is %s", data.epoch) end
  for name, n in pairs(want.states) do
    if data.state[name] ~= n then fail("hello.state.%s is %s, not %d", name, data.state[name], n) end
    data.state[name] = nil
  end
  if next(data.state) then fail("hello.state has %s too many", next(data.state)) end
  if id then self:settle(id, "hello") end
end

local function null(value) return value ~= cjson.null and value or nil end

function Watcher:number(text)
  return text and self:parse_id(text, "reset")
end

function Watcher:on_reset(event, id)
  local data = cjson.decode(event.data)
  local want = self.resets[data.channel]
  if id then self:settle(id, "reset") end
  self.told[#self.told + 1] = { channel = data.channel, oldest = self:number(null(data.oldest)), reason = data.reason }
  if not want and data.reason == "trimmed" then
    local told = self.told[#self.told]
    return self:on_retained(data, told) or self:on_stopped(data, told) or self:on_cut_replay(data)
  end
  if not want then return self:on_slow_reset(data) end
  self.resets[data.channel] = nil
  self.told[#self.told].reaches = want.reaches
  local silent = self.hello.silent and next(self.resets) ~= nil
  if id ~= (not silent and self.hello.id or nil) then fail("the reset of %s has id %s", data.channel, id) end
  if data.reason ~= want.reason then fail("reset of %s for %s, not %s", data.channel, data.reason, want.reason) end
  local from = self.id_text
  if want.reason == "unknown_id" then from = nil end
  if null(data.from) ~= from then fail("reset.from is %s, not %s", data.from, from) end
  if self:number(null(data.oldest)) ~= want.oldest then
    fail("reset.oldest of %s is %s, not %s", data.channel, data.oldest, want.oldest)
  end
end

--- How much of a channel came after an event on this thread.
local function since(list, event)
  local n, bytes = 0, 0
  for _, one in ipairs(list) do
    if one.seq > event.seq then n, bytes = n + 1, bytes + one.size end
  end
  return n, bytes
end

--- Whether the bound of the backlog was really reached behind an event.
local function overflowed(self, event)
  local n, bytes = since(self.replica:channel(event.channel).all, event)
  return n >= limits.backlog_events or bytes + event.size > limits.backlog_bytes
end

--- The newest event below 'oldest' that this stream was still owed must have overflowed.
function Watcher:check_overflow(name, oldest)
  local lost
  for i = self.next, #self.expect do
    local event = self.expect[i].event
    if event.channel == name and event.seq < oldest then lost = event end
  end
  for _, note in ipairs(self.notes) do
    for i = note.at or 1, note.channel == name and note.history and #note.history or 0 do
      local event = note.history[i].event
      if event.seq < oldest and (not lost or event.seq > lost.seq) then lost = event end
    end
  end
  if not lost then fail("needless reset (slow) of %s", name) end
  if not overflowed(self, lost) then fail("%s was reset as slow with little behind", name) end
end

function Watcher:check_slow_bye()
  self.slow = self.slow + 1
  for i = self.next, #self.expect do
    if overflowed(self, self.expect[i].event) then return end
  end
  fail("needless bye (slow)")
end

--- Whether the compacted replay of a channel was cut before all of it was sent.
function Watcher:was_cut(name)
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    local cut = entry.want == "cut" or entry.compact and entry.want == "may"
    if cut and entry.event.channel == name then return true end
  end
  return false
end

--- Nothing is replayed before an end.
function Watcher:excuse_replay(name)
  for i = self.next, self.bye_queued and #self.expect or 0 do
    local entry = self.expect[i]
    if entry.event.channel == name and entry.want == "must" then entry.want = "may" end
  end
end

--- Whether a compacted replay was cut, and that has not been told.
function Watcher:owes_replay(name)
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    if entry.compact and entry.want == "cut" and entry.event.channel == name then return true end
  end
  return false
end

--- The store was out of reach before all of a log was read. False: it is no such reset.
function Watcher:on_stopped(data, told)
  local sub = self.subs[data.channel]
  local stopped = sub and sub.stopped
  if not stopped or not stopped.pending then return false end
  local was_cut = stopped.holds or not stopped.keyed and self:owes_replay(sub.name)
  if was_cut and not null(data.oldest) then return false end -- a replay that was cut comes before
  local oldest = self:number(null(data.oldest)) or math.huge
  local function judge(entry)
    if entry.event.channel ~= sub.name or entry.want ~= "cut" or entry.compact then return end
    entry.want = entry.event.seq < oldest and "not" or "must"
  end
  for i = self.next, #self.expect do judge(self.expect[i]) end
  for _, note in ipairs(self.notes) do
    for i = note.at or 1, note.history and #note.history or 0 do judge(note.history[i]) end
  end
  sub.stopped = nil
  if not stopped.keyed then return true end
  if sub.unkeyed and not self.replica:channel(sub.name).policy.keyed then
    sub.was_slow = true -- the replay that followed was cut
    return true
  end
  told.again = true
  self.gathered, self.since = math.min(self.gathered, stopped.head), math.min(self.since, stopped.since)
  self:replay_again(sub)
  self:excuse_replay(sub.name)
  return true
end

--- A page found that the store has deleted what this stream was to get. False: it is no such
--- reset.
function Watcher:on_retained(data, told)
  local sub, store = self.subs[data.channel], self.store[data.channel]
  if not sub and store and self.page_head then -- it was left before this was read
    self.syncs = self.syncs + 1 -- perhaps its replay was over, or cut, by then
    return true
  end
  if not sub or sub.state or not store then return false end
  if not self.replica:channel(data.channel).policy.durable and not (sub.was_stored and self.page_head) then
    return false -- no page
  end
  if sub.stopped and sub.stopped.keyed and not sub.page_keyed then return false end
  local from, oldest = self:number(null(data.from)) or 0, self:number(null(data.oldest))
  if not oldest then return false end -- a replay that was cut
  if sub.told and oldest - 1 <= (sub.told_to or 0) then fail("a second reset of %s for the same", sub.name) end
  local gone = false
  for _, event in ipairs(store.gone) do gone = gone or event.seq > from and event.seq < oldest end
  if not gone and from >= store.floor then return false end -- no page: a replay that was cut
  if oldest - 1 > store.floor then
    for _, event in ipairs(store.rows) do
      if event.seq > store.floor and event.seq < oldest then
        fail("reset of %s passes row %d", data.channel, event.seq)
      end
    end
  end
  if sub.page_keyed and self.replica:channel(sub.name).policy.keyed and not sub.unkeyed then
    told.again = true
    self.gathered = math.min(self.gathered, self.page_head or self.gathered)
    self.since = math.min(self.since, self.page_since or self.since)
    self.page_head, self.page_since = nil, nil
    self:replay_again(sub)
    self:excuse_replay(sub.name)
    return true
  end
  if sub.unkeyed and sub.page_keyed then -- the replay that followed was cut, or over: then its sync comes
    sub.was_slow, self.syncs = true, self.syncs + 1
  end
  self:excuse_history(sub.name, oldest, "not")
  sub.oldest = oldest -- the thread may not have got yet what is lost
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    if entry.event.channel == data.channel and entry.event.seq < oldest then
      entry.want = "not"
    end
  end
  return true
end

--- A stream that reads pages of a durable log may end at its cursor, when its client comes back.
function Watcher:replays()
  for name, sub in pairs(self.subs) do
    if not sub.state and (sub.was_stored or self.replica:channel(name).policy.durable) then return true end
  end
  return false
end

--- History that was asked for on the open stream has not come, or not all.
function Watcher:owes_history()
  for name, sub in pairs(self.subs) do if sub.seeks and sub.late then return name end end
  for _, note in ipairs(self.notes) do
    for _, entry in ipairs(note.history or {}) do
      if entry.want == "must" or entry.want == "may" or entry.want == "cut" then return note.channel end
    end
  end
end

local COMES_BACK = { drain = true, age = true }

--- The rest of a compacted replay, whose channel became a plain log.
function Watcher:on_cut_replay(data)
  local owed, sub = 0, self.subs[data.channel]
  if sub and sub.was_slow then owed, self.syncs = 1, self.syncs + 1 end
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    local unsure = entry.compact and entry.want == "may" -- it may have been the newest when it was cut
    if entry.want == "cut" and entry.compact and entry.event.channel == data.channel then
      entry.want, owed = entry.later and "may" or "not", owed + 1
    elseif unsure and entry.event.channel == data.channel then
      owed = owed + 1
    elseif sub and sub.was_slow and entry.want ~= "not" and entry.event.channel == data.channel then
      entry.want, owed = "may", owed + 1
    end
  end
  if owed == 0 and (sub or not self.gone[data.channel]) then
    fail("needless reset (trimmed) of %s", data.channel)
  end
end

--- A reset of a keyed log on an open stream: the newest of each key comes anew, whatever its
--- number; what was the newest only for a while may.
-- Where a bye waits it was told before or after that was queued: then there may be no replay.
function Watcher:replay_again(sub)
  local c, rest = self.replica:channel(sub.name), {}
  self:excuse_history(sub.name, math.huge, "may")
  self:await_sync()
  self.compact, self.left_one = true, self.left_one or self.bye_queued
  local bye = self.notes[#self.notes]
  self.replayed = self.replica.head
  for i = self.next, #self.expect do
    if self.expect[i].event.channel ~= sub.name then rest[#rest + 1] = self.expect[i] end
  end
  for _, event in ipairs(c.all) do
    local left = self.replica.left[event]
    local newest = c.latest[event.name .. "\0" .. event.key] == event and not event.remove
    local want = false -- by the filter that it was gathered by
    for _, filter in ipairs(sub.old_filters) do want = want or model.wants(filter, event) end
    newest = newest and #sub.old_filters == 1
    local may = #sub.old_filters > 1 or event.seq > self.gathered or left and left.at > self.since
    if self.bye_queued then
      newest = newest and event.seq > (self.last_id or 0) and event.seq <= bye.after
      may = true
    end
    if newest or may then
      rest[#rest + 1] = { event = event, want = want and (newest and "must" or "may") or "not", compact = true,
        later = event.seq > self.gathered, -- than the reset, perhaps: then no part of its replay
        behind = event.seq <= (self.last_id or self.came_with) }
    end
  end
  table.sort(rest, function(a, b) return a.event.seq < b.event.seq end)
  self.expect, self.next = rest, 1
end

function Watcher:on_slow_reset(data)
  if data.reason ~= "slow" then fail("needless reset (%s) of %s", data.reason, data.channel) end
  local sub = self.subs[data.channel]
  if not sub and self.gone[data.channel] then return end
  if not sub then fail("reset of %s, which is not followed", data.channel) end
  self.slow = self.slow + 1
  if sub.state then
    local gone = self.replica:channel(sub.name).removal_gone
    if gone <= math.max(sub.last, self.joined) then fail("needless reset of the state %s", sub.name) end
    sub.view, sub.last = {}, 0
    return
  end
  if self.replica:channel(sub.name).policy.keyed then return self:replay_again(sub) end
  sub.was_slow = true -- perhaps it was a keyed log then, and its replay was cut before this was read
  local oldest = self:number(null(data.oldest)) or math.huge
  -- what a stream that waits for its bye lost may lie behind its end: it is told all the same
  if not self.bye_queued then self:check_overflow(data.channel, oldest) end
  self:excuse_history(sub.name, oldest, "not")
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    if entry.event.channel == data.channel and entry.event.seq < oldest then entry.want = "not" end
  end
end

--- The next note must be this one, and what stood before it must have come.
function Watcher:take_note(what)
  local note = table.remove(self.notes, 1)
  if not note then fail("%s comes and none is due", what) end
  if note.what ~= what then fail("%s comes before %s", what, note.what) end
  self:pass(note.after, what)
  for _, entry in ipairs(note.history or {}) do
    if entry.want == "must" or entry.want == "cut" then
      fail("%s comes before %d of %s", what, entry.event.seq, note.channel)
    end
  end
  for _, pair in ipairs(note.states) do
    local sub, event = pair[1], pair[2]
    local same = self.subs[sub.name] == sub and sub.filter == pair[3]
    local left = self.replica.left[event]
    local superseded = left and (what ~= "bye" or self.replica:was_emptied(event, note.applied))
    local held_back = self.rates and what ~= "bye"
    if same and sub.last < event.seq and not superseded and not held_back and sub.rewinds == 0 then
      fail("%s comes before the state %d of %s", what, event.seq, event.channel)
    end
  end
  return note
end

function Watcher:on_bye(event, id_text)
  local data = cjson.decode(event.data)
  self.ended = data.reason
  if data.reason == "slow" then
    self:check_slow_bye()
    return self:settle(self:parse_id(id_text, "bye"), "bye")
  end
  local seq = COMES_BACK[data.reason] and self:replays() and self:parse_id(id_text, "bye")
  local last = self.notes[#self.notes]
  if seq and last and last.what == "bye" and (seq < last.after or last.seeks or self:owes_history()) then
    last.after = seq
    self.notes = { last }
  end
  local note = self:take_note("bye")
  if note.reason ~= data.reason then fail("bye for %s", data.reason) end
  if note.reason == "stop" or note.reason == "denied" then
    if id_text ~= "stop" then fail("bye (%s) has id %s", note.reason, id_text) end
  elseif not self.at_once or id_text ~= "" then -- one that was told no id keeps its own
    self:settle(self:parse_id(id_text, "bye"), "bye")
  end
end

-- ---- Events with data -------------------------------------------------------------------

local function find_entry(self, event)
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    if entry.event == event then return entry end
    if entry.event.seq > event.seq then return nil end
  end
end

function Watcher:on_log(event)
  local what = ("event %d of %s"):format(event.seq, event.channel)
  local entry = find_entry(self, event)
  self.widened[event] = nil
  if entry and entry.behind then fail("%s lies behind the cursor and has an id", what) end
  if self.resets[event.channel] then fail("%s comes before its reset", what) end
  if self.last_id and event.seq <= self.last_id then fail("%s comes after id %d", what, self.last_id) end
  if self.notes[1] and event.seq > self.notes[1].after then fail("%s comes before the note that waits", what) end
  if not entry and not self:is_late(event) then fail("%s comes without being wanted", what) end
  if not entry then
    self:pass(event.seq - 1, what)
    self.last_id = event.seq
    return
  end
  if entry.want == "not" then fail("%s comes against the filter", what) end
  if self.subs[event.channel] then self.subs[event.channel].told = nil end
  self:pass(event.seq - 1, what)
  self.next = self.next + 1
  self.last_id = event.seq
  self.seen[#self.seen + 1] = event
end

--- The next of the history of a log that joined this stream.
function Watcher:is_late(event)
  for _, note in ipairs(self.notes) do
    for i = note.channel == event.channel and note.history and (note.at or 1) or math.huge, #(note.history or {}) do
      local entry = note.history[i]
      if entry.event == event then
        if entry.want == "not" then fail("history %d of %s is not wanted", event.seq, event.channel) end
        note.at = i + 1
        entry.want = "came"
        return true
      end
      if entry.want == "must" then return false end
    end
  end
  return false
end

--- An entry of a compacted replay that follows a reset: behind the cursor it has no id.
function Watcher:is_behind(event)
  local entry = find_entry(self, event)
  if not entry or not entry.behind then return false end
  local note = self.notes[1]
  if entry.want == "may" and note and note.event == event then return false end -- history that was asked for
  if entry.want == "not" then fail("entry %d of %s comes against the filter", event.seq, event.channel) end
  if self.resets[event.channel] then fail("entry %d of %s comes before its reset", event.seq, event.channel) end
  self:pass(event.seq - 1, "an entry without id")
  self.next = self.next + 1
  self.seen[#self.seen + 1] = event
  return true
end

--- An entry of a compacted replay that is wanted since a change of the filter: where the cursor has passed it
--- meanwhile, it comes once, without an id.
function Watcher:is_widened(event)
  if not self.widened[event] or event.seq > (self.last_id or self.came_with) then return false end
  if self.resets[event.channel] then fail("entry %d of %s comes before its reset", event.seq, event.channel) end
  self.widened[event] = nil
  self.seen[#self.seen + 1] = event
  return true
end

--- It was the newest at some moment since the last gathering.
local function check_fresh(self, sub, event)
  local left = self.replica.left[event]
  local stale = left and left.why ~= "aged" and left.at <= self.since
  if stale then fail("state %d of %s is no longer the newest", event.seq, sub.name) end
  if event.seq > self.replica.head then fail("state %d comes before its time", event.seq) end
end

function Watcher:on_state(event)
  local sub = self.subs[event.channel]
  if not sub then
    if not self.gone[event.channel] then fail("state of %s, which is not followed", event.channel) end
    return
  end
  if self.resets[event.channel] then fail("state %d comes before the reset of %s", event.seq, sub.name) end
  local wanted = false
  for _, filter in ipairs(sub.old_filters) do wanted = wanted or model.wants(filter, event) end
  if not wanted then fail("state %d of %s comes against the filter", event.seq, sub.name) end
  if event.seq <= sub.last then
    if sub.rewinds == 0 then fail("state %d of %s comes after %d", event.seq, sub.name, sub.last) end
    sub.rewinds = sub.rewinds - 1
  end
  check_fresh(self, sub, event)
  sub.last = event.seq
  for slot, old in pairs(sub.view) do
    if event.remove and old.key == event.key then sub.view[slot] = nil end
  end
  if not event.remove and model.wants(sub.filter, event) then
    sub.view[event.name .. "\0" .. event.key] = event
  end
end

function Watcher:on_data(event, id_text, fresh_id)
  if event.data:find("^note:") then
    if fresh_id then fail("a note has an id") end
    local note = self:take_note("send")
    if note.text ~= event.data then fail("%s comes before %s", event.data, note.text) end
    return
  end
  local one = self.events[tonumber(event.data:match("^%d+"))]
  if not one or one.data ~= event.data or one.name ~= event.event then fail("a phantom: %q", event.data:sub(1, 40)) end
  self.delivered = self.delivered + 1
  if fresh_id then
    if one.state then fail("a state event has the id %s", id_text) end
    if self:parse_id(id_text, "event") ~= one.seq then fail("event %d has the id %s", one.seq, id_text) end
    return self:on_log(one)
  end
  if one.state then return self:on_state(one) end
  if self:is_behind(one) then return end
  if self:is_late(one) then return end
  if self:is_widened(one) then return end
  local note = self:take_note("history")
  if note.event ~= one then fail("history %d comes before %d", one.seq, note.event.seq) end
end

--- Whether history that a sync confirms has still to come, or the store has not said yet what there is.
local function is_owed(self, note)
  local sub = self.subs[note.channel]
  if sub and sub.late == note and sub.seeks then return true end
  for _, entry in ipairs(note.history or {}) do
    if entry.want == "must" or entry.want == "cut" then return true end
  end
end

local HANDLERS = { hello = true, reset = true, sync = true, bye = true }

function Watcher:on_block(event)
  local fresh = event.id ~= (self.id_seen or "")
  self.id_seen = event.id
  if self.ended then fail("%s after bye", event.event) end
  if self.at_once then
    if event.event ~= "bye" then fail("%s after the end by right", event.event) end
  elseif not self.greeted and event.event ~= "hello" then
    fail("%s before hello", event.event)
  end
  if self.owes_reset and event.event ~= "reset" and not self.bye_queued then -- it would come behind the bye
    fail("hello was not resumed, and %s comes instead of a reset", event.event)
  end
  self.owes_reset = false
  if not HANDLERS[event.event] then return self:on_data(event, event.id, fresh) end
  if event.event == "bye" then return self:on_bye(event, event.id) end
  local id = event.id ~= "" and self:parse_id(event.id, event.event) or nil
  if event.event == "hello" then return self:on_hello(event, id) end
  if event.event == "reset" then return self:on_reset(event, id) end
  local asked = self.notes[1] and self.notes[1].what == "sync" and self.notes[1].after == id
    and not is_owed(self, self.notes[1])
  if self.opening and not (asked and self.asks) then -- where a store is asked first, others may go before it
    self.opening = nil
    if id < self.joined then fail("the sync that ends the opening has id %d, and %d was there", id, self.joined) end
    return self:settle(id, "sync")
  end
  if self.syncs > 0 and not asked then
    self.syncs, self.sync_due = self.syncs - 1, false
    return self:settle(id, "sync")
  end
  local note = self:take_note("sync")
  self:settle(id, "sync")
  if id ~= note.after then fail("sync has id %d, not %d", id, note.after) end
end

--- Take bytes. Returns the log events and the resets they held.
function Watcher:feed(bytes)
  self.seen, self.told = {}, {}
  local events, problem = self.parser:feed(bytes)
  if problem then fail("%s", problem) end
  for _, event in ipairs(events) do self:on_block(event) end
  return self.seen, self.told
end

--- The last id a browser would send back; nil before the first.
function Watcher:last_id_text()
  return self.parser.last_id ~= "" and self.parser.last_id or nil
end

-- ---- The end ----------------------------------------------------------------------------

local function check_view(self, sub)
  for _, event in ipairs(self.replica:snapshot(sub.name)) do
    if model.wants(sub.filter, event) and sub.view[event.name .. "\0" .. event.key] ~= event then
      fail("the newest of %s %s/%s, %d, never came", sub.name, event.name, event.key, event.seq)
    end
  end
  local c = self.replica:channel(sub.name)
  for slot, event in pairs(sub.view) do
    local stale = not c.latest[slot] and c.fate[slot] ~= "aged"
    if stale and not sub.by_type then -- by type: its wish may have kept the removal from it
      fail("%d of %s is gone without a reset", event.seq, sub.name)
    end
  end
end

--- All was drained, flushed and read: nothing may be owed.
function Watcher:finish()
  if self.ended then return end
  if not self.greeted then fail("no hello came") end
  for i = self.next, #self.expect do
    local entry = self.expect[i]
    if entry.want == "must" or entry.want == "cut" then
      fail("event %d of %s never came", entry.event.seq, entry.event.channel)
    end
  end
  if self.notes[1] then fail("%s never came", self.notes[1].what) end
  if self.opening then fail("no sync ended the opening") end
  if self.sync_due and not self.left_one then fail("no sync ended a replay that followed a reset") end
  if next(self.resets) then fail("the reset of %s never came", next(self.resets)) end
  for _, sub in pairs(self.subs) do if sub.state then check_view(self, sub) end end
end

return watcher
