--- The server of a world: processes that number, keep and distribute, as the scripts do, and lose what such
--- servers lose. Every write is one step; what was before it is remembered, so that a suffix can be lost.
local server = {}

local JUMP = 2 ^ 20 // 1 | 0
local FEED_MOST, REMEMBERED = 14, 9
local PAGE = 2 -- events of a page

local Server = {}
Server.__index = Server

local function copy(list, from)
  return table.move(list, from or 1, #list, 1, {})
end

local function empty()
  return { feed = {}, last = 0, mark = 0, history = {}, full = {}, lineage = {}, fences = {}, values = {} }
end

--- A process over a state; without one it is empty. `promoted`: it was a replica.
--- `rules`: those that hold (see planted.lua).
function server.new(world, state, promoted)
  world.processes = world.processes + 1
  local n = world.processes
  return setmetatable({ run = "run" .. n, replid = "repl" .. n, up = true, snapshots = {}, world = world,
    promoted = promoted, state = state or empty() }, Server)
end

function Server:flush() self.state, self.snapshots = empty(), {} end

--- Before a write: the state is another one from here on.
function Server:write()
  local old, new = self.state, {}
  for name, value in pairs(old) do new[name] = value end
  for _, name in ipairs { "history", "full", "fences", "values" } do
    new[name] = {}
    for key, value in pairs(old[name]) do new[name][key] = value end
  end
  new.feed = copy(old.feed)
  local snapshots = self.snapshots
  snapshots[#snapshots + 1] = old
  if #snapshots > REMEMBERED then table.remove(snapshots, 1) end
  self.state = new
  return new
end

--- The state without its last writes.
function Server:prefix(lose)
  return lose > 0 and self.snapshots[#self.snapshots + 1 - lose] or self.state
end

local function append(state, entry)
  state.last = entry.seq
  local feed = state.feed
  feed[#feed + 1] = entry
  if #feed > FEED_MOST then table.remove(feed, 1) end
end

local function keep(state, entry, most)
  local old = state.history[entry.channel] or {}
  local list = copy(old, #old >= most and #old - most + 2 or 1)
  list[#list + 1] = entry
  state.history[entry.channel] = list
end

--- The newest value of a key of a state, which has no history.
local function put_value(state, entry)
  local values = {}
  for key, value in pairs(state.values[entry.channel] or {}) do values[key] = value end
  values[entry.key], entry.before = entry, nil
  state.values[entry.channel] = values
end

local function newest(state, channel)
  local list = state.history[channel]
  return list and list[#list]
end

-- ---- Scripts --------------------------------------------------------------------------------

--- What is wrong with the proof of a call, if anything is.
local function refusal(self, call)
  local state, rules = self.state, self.world.rules
  if rules.runid and state.epoch ~= call.epoch then return "lineage" end
  if rules.replid and self.replid ~= call.replid then return "lineage" end
  if rules.fence and state.fences[call.slot] ~= call.fence then return "lineage" end
  if rules.known and call.known > state.last then return "lineage" end
end

local function lineage_text(lineage)
  local rows = {}
  for i, row in ipairs(lineage) do rows[i] = row.epoch .. ":" .. row.base end
  return table.concat(rows, ",")
end

local scripts = {}

--- Is this the process that numbered last, and has it all of that?
local function is_doubtful(self, state, call)
  local rules = self.world.rules
  if not rules.runid then return false end
  local moved = state.run ~= self.run or rules.replid and state.replid ~= self.replid
  local back = rules.known and call.epoch == state.epoch and call.known > state.last
  local is_safe = state.safe and not (rules.promoted and self.promoted)
  return back or moved and not is_safe
end

function scripts.join(self, call)
  local state, took = self:write(), false
  self.joined = true
  if not state.epoch then
    if call.epoch ~= "" then state.lineage = { { epoch = call.epoch, base = 0 } } end
    state.epoch, state.began, took = call.new_epoch, self.world.now, true
  elseif is_doubtful(self, state, call) then
    local base, lineage = state.last, copy(state.lineage)
    table.insert(lineage, 1, { epoch = state.epoch, base = base })
    lineage[17] = nil
    local above = math.max(base, call.known) + JUMP
    append(state, { kind = "epoch", seq = above, epoch = call.new_epoch, base = base })
    state.epoch, state.lineage, state.began, took = call.new_epoch, lineage, self.world.now, true
  end
  if state.epoch ~= call.epoch and not took and call.replid ~= self.replid then
    self.world:on_other_epoch(call.slot, call.asked - (self.world.now - state.began))
  end
  state.run, state.replid, state.safe = self.run, self.replid, self.world.always
  state.fence = (state.fence or 0) + 1
  state.fences[call.slot] = tostring(state.fence)
  return { seq = state.last, mark = state.mark, epoch = state.epoch, fence = tostring(state.fence),
    replid = self.replid, lineage = lineage_text(state.lineage), took = took,
    age = self.world.now - state.began }
end

function scripts.publish(self, call)
  local state, results = self:write(), {}
  for i, p in ipairs(call.publishes) do
    local before = newest(state, p.channel)
    local entry = { kind = "event", seq = state.last + 1, channel = p.channel, id = p.id, slot = call.slot,
      token = p.token, before = before and before.seq or 0 }
    append(state, entry)
    entry.key = self.world:key_of(p.id)
    if entry.key then
      put_value(state, entry)
    else
      keep(state, entry, self.world.history)
      state.full[p.channel] = { entry = entry, before = state.full[p.channel] }
    end
    self.world:on_stored(p.id, self)
    results[i] = { seq = entry.seq }
  end
  return { results = results }
end

--- What is long takes several steps, of which each has its moment: then there is no answer yet.
function scripts.load(self, call)
  local state = self.state
  call.results = call.results or {}
  for i = #call.results + 1, #call.channels do
    local list = state.history[call.channels[i]] or {}
    local first = list[1]
    call.results[i] = { upto = state.last, last = #list > 0 and list[#list].seq or 0,
      fill = self.world:keep_fill { floor = first and first.before or 0, upto = state.last, entries = copy(list),
        values = state.values[call.channels[i]] } }
    if i < #call.channels and self.world:chance(0.2) then return nil end
  end
  return { results = call.results }
end

--- A part of a history, for a reader of it.
function scripts.page(self, call)
  local ask = self.world.pages[call.page]
  if not ask then return {} end -- it is answered: this comes late
  local list = self.state.history[ask.channel] or {}
  local page = { rows = {}, floor = list[1] and list[1].before or ask.upto, given = ask.upto, above = ask.above }
  if ask.newest > 0 then page.above = list[1] and page.floor or ask.joined end -- all
  for _, entry in ipairs(list) do
    if entry.seq > page.above and entry.seq <= ask.upto then
      if #page.rows == PAGE then break end
      page.rows[#page.rows + 1] = entry
      page.given = entry.seq
    end
  end
  if #page.rows < PAGE or page.rows[PAGE] == list[#list] then page.given = ask.upto end
  return { page = page }
end

function scripts.mark(self, call)
  local state = self:write()
  for _, channel in ipairs(call.channels) do
    local before = newest(state, channel)
    local tells = before and before.kind == "mark" and before.at >= self.world.now - call.since
    if not tells then
      local entry = { kind = "mark", seq = state.last + 1, channel = channel, before = before and before.seq or 0,
        slot = call.slot, at = self.world.now }
      append(state, entry)
      keep(state, entry, self.world.history)
    end
  end
  if #call.channels == 0 then
    append(state, { kind = "mark", seq = state.last + 1, channel = "", slot = call.slot })
    state.mark = state.last
  end
  return { seq = state.last }
end

function scripts.beat(self)
  return { seq = self.state.last, mark = self.state.mark }
end

--- Run one call; its answer.
function Server:execute(call)
  local is_write = call.kind ~= "load" and call.kind ~= "page"
  if self.world:is_cut_off(self) and is_write and self.world.min_replicas then return { refused = "replicas" } end
  local refused = call.kind ~= "join" and refusal(self, call)
  if refused then return { refused = refused } end
  return scripts[call.kind](self, call)
end

--- Up to n entries behind a number.
function Server:read(after, n)
  local out = {}
  for _, entry in ipairs(self.state.feed) do
    if entry.seq > after and #out < n then out[#out + 1] = entry end
  end
  return out
end

--- The events of a channel that there are, in order.
function Server:all(channel)
  local out, at = {}, self.state.full[channel]
  while at do
    out[#out + 1] = at.entry
    at = at.before
  end
  for i = 1, #out // 2 do out[i], out[#out + 1 - i] = out[#out + 1 - i], out[i] end
  return out
end

return server
