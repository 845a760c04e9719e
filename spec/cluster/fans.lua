--- In place of streams.lua: what a node's machine releases goes to the real fan (csrc/fan, in a sim), and clients read
--- the bytes of real streams. The same worlds, the same judge.
local core = require("sluice.core.testing")
local own = require("spec.cluster.own")
local streams = require("spec.cluster.streams")

local fans = {}

local HISTORY = 6
local HELD = 2 -- of a long history: the rest comes in pages
local STATE = "s"

fans.STATES = true

-- ---- A client ---------------------------------------------------------------------------------

local Client = {}
Client.__index = Client

function fans.client(world, channels)
  return setmetatable({ world = world, channels = channels, got = {}, out = {}, at = {}, view = {}, tales = {} },
    Client)
end

function Client:note(what) self.got[#self.got + 1] = what end

function Client:cut()
  if self.stream then self.stream:close() end
  if self.node then self.node.streams[self] = nil end
  self.node, self.open, self.out, self.stream = nil, false, {}, nil
  self:note { what = "cut", at = self.world.step }
end

function Client:leave_queue() self.queue, self.ticket = nil, nil end

--- What its id means is known to the node's threads: asked of the server first, where the node cannot say.
local function is_judged(self, node)
  if not self.last then return true end
  local asked = self.ticket and node:heard() >= self.ticket
  local verdict = node.machine:judge(self.last.epoch, self.last.seq, asked)
  if verdict == "ask" then self.ticket = self.ticket or node.machine:ask() end
  if verdict ~= "ask" and self.last.epoch ~= node.sim_epoch then node.sim:drain(1) end
  return verdict ~= "ask"
end

--- What it follows: the node's own channels, where there are some, need nothing.
function Client:plan()
  local list = table.move(self.channels, 1, #self.channels, 1, {})
  return self.world.owns and table.move(own.CHANNELS, 1, #own.CHANNELS, #list + 1, list) or list
end

function Client:attach(node)
  if self.queue ~= node then self:leave_queue() end
  self.queue = node
  if node:epoch() == "" then return end
  local ready = true
  for _, channel in ipairs(self.channels) do ready = node:want(channel) and ready end
  if not ready or not is_judged(self, node) then return end
  node.sim:drain(1)
  node.sim:know(node:known())
  local id = self.last and self.last.epoch .. "-" .. self.last.seq
  self:leave_queue()
  streams.new_tale(self, node)
  self.stream = assert(node.sim:connect(1, { channels = self:plan() }, id))
  if self.world.owns then own.attach(self, node) end
  self.node, self.open, self.out = node, true, {}
  for _, channel in ipairs(self.channels) do self.at[channel] = true end
  node.streams[self] = true
end

function Client.pump() end

--- The blocks of what was sent, each with the id that a client has behind it.
function Client:parse()
  self.bytes = self.stream:take()
  for block in self.bytes:gmatch("(.-)\n\n") do
    local fields = {}
    for name, value in block:gmatch("(%l+): ([^\n]*)") do fields[name] = value end
    local epoch, seq = (fields.id or ""):match("^(%w+)%-(%d+)$")
    local one = { id = epoch and { epoch = epoch, seq = math.tointeger(tonumber(seq)) } }
    local mine = self.world.owns and own.read(fields)
    if mine then one = mine
    elseif fields.event == "reset" then
      one.what = "reset"
      one.channel, one.why = fields.data:match('"channel":"(%w+)"'), fields.data:match('"reason":"([%w_]+)"')
      if not own.IS[one.channel] then streams.count_reset(self, one.channel, one.why) end
    elseif fields.event then one.what = fields.event
    elseif fields.data then
      one.what, one.event = "event", tonumber(fields.data)
      one.channel = self.world.publishes[one.event].channel
    end
    if one.what then self.out[#self.out + 1] = one end
  end
end

function Client:take(n)
  self:parse()
  for _ = 1, math.min(n, #self.out) do
    local one = table.remove(self.out, 1)
    self.last = one.id or self.last
    if one.what == "hello" then self.view = {} end
    self.began = self.began or self.world.step
    if self.world.owns and own.see(self, one) then self.owned = (self.owned or 0) + 1
    elseif one.channel == STATE then self:see(one)
    elseif one.what == "event" or one.what == "reset" then
      one.at, one.id = self.world.step, one.id or self.last
      self:note(one)
    end
  end
end

--- Its view of the state: by key the newest value. It begins with all there are, and again behind a reset.
function Client:see(one)
  if one.what == "reset" then self.view = {}
  else self.view[self.world:key_of(one.event)] = one.event end
end

-- ---- The fan of a node ------------------------------------------------------------------------

function fans.start(node)
  local long = node.world.long
  node.sim = core.sim(1, node.world.random(1 << 30), nil, long and HELD or nil)
  if long then node.sim:share() end
  node.filled, node.asked = {}, {}
  if node.world.owns then own.new(node) end
  fans.configure(node)
end

--- The policies as they are now.
function fans.configure(node)
  local world = node.world
  local list = { { pattern = "*", history = HISTORY, rewind = 0 }, { pattern = STATE, history = "latest", key = "k" } }
  if world.long then list[1] = { pattern = "*", history = world.history, rewind = "all", durable = true } end
  if node.world.owns then list[3], list[4] = own.policies(node) end
  node.sim:policies(list)
end

function fans.stop(node)
  node.sim:drain(1)
  node.sim:close()
end

--- A thread takes some of what was released, and sends some of it.
function fans.serve(node, most)
  node.sim:drain(1, most)
  node.sim:flush(1, most)
  if node.world.long then fans.ask(node) end
end

--- What its streams need of long histories.
function fans.ask(node)
  local world = node.world
  for _, page in ipairs(node.sim:pages(1)) do
    if not node.asked[page.id] then
      world.n_pages = world.n_pages + 1
      world.pages[world.n_pages], node.asked[page.id] = page, true
      node.machine:page(world.n_pages)
    end
  end
  node:act()
end

function fans.forget(node, channel) node.sim:drop(channel) end

local rings = {}

function rings.release(node, action)
  if action.mark then
    node.sim:mark(action.channel, action.seq, action.slot == node.slot)
    return
  end
  local key = node.world:key_of(action.id)
  assert(node.sim:give(action.channel, "message", tostring(action.id), key or "", false, key ~= nil, action.seq))
end

--- The newest of each key, by number: of what was loaded, and of what came behind it.
local function fill_state(node, fill, one)
  local values, list = {}, {}
  for key, entry in pairs(fill.values or {}) do values[key] = entry end
  for _, entry in ipairs(fill.entries) do values[node.world:key_of(entry.id)] = entry end
  for key, entry in pairs(values) do list[#list + 1] = { seq = entry.seq, key = key, data = tostring(entry.id) } end
  table.sort(list, function(a, b) return a.seq < b.seq end)
  one.values, one.state, one.last = list, true, list[1] and list[#list].seq or 0
end

--- Of a load only the newest are kept, and all marks.
local function leave_to_pages(fill, one)
  local kept, held = {}, 0
  for i = #fill.entries, 1, -1 do
    local entry = fill.entries[i]
    local is_mark = entry.mark or entry.kind == "mark"
    if is_mark or held < HELD or entry.seq > fill.upto then
      table.insert(kept, 1, entry)
      held = held + (is_mark and 0 or 1)
    else one.gone = math.max(one.gone or 0, entry.seq) end
  end
  fill.entries = kept
end

function rings.fill(node, action)
  local fill = node.world:take_fill(action.fill)
  local one = { channel = action.channel, floor = fill.floor, lost = action.lost, upto = fill.upto, rows = {},
    marked = 0, marked_by_others = 0, last = 0 }
  if action.channel == STATE then fill_state(node, fill, one) end
  if node.world.long then leave_to_pages(fill, one) end
  for _, entry in ipairs(action.channel ~= STATE and fill.entries or {}) do
    one.last = entry.seq
    if entry.mark or entry.kind == "mark" then
      one.marked = entry.seq
      if entry.slot ~= node.slot then one.marked_by_others = entry.seq end
    else one.rows[#one.rows + 1] = { seq = entry.seq, data = tostring(entry.id) } end
  end
  node.filled[#node.filled + 1] = one
  if action.more then return true end
  for _, filled in ipairs(node.filled) do filled.upto = math.max(filled.upto, filled.last) end
  node.sim:fills(node.filled)
  node.filled = {}
end

function rings.page(node, action)
  local asked = node.world.pages[action.page]
  local rows = {}
  for _, entry in ipairs(node.page.rows) do
    if entry.kind ~= "mark" then rows[#rows + 1] = { seq = entry.seq, name = "message", data = tostring(entry.id) } end
  end
  node.world.pages[action.page], node.asked[asked.id] = nil, nil
  node.world.count.pages = (node.world.count.pages or 0) + 1
  node.sim:drain(1) -- what was posted before it
  node.sim:answer(1, asked.id, rows, node.page.floor, node.page.given, node.page.above)
end

function rings.add(node, action)
  local entries = node.world.fills[action.fill].entries
  entries[#entries + 1] = action
end

function rings.drop(node, action) node.world:take_fill(action.fill) end

function rings.epoch(node, action)
  local base = action.base == math.maxinteger and -1 or action.base
  node.sim_epoch = action.epoch
  if base >= 0 then streams.count_epoch(node) end
  node.sim:adopt(action.epoch, action.lineage, base, action.pos, action.mark, action.joined)
end

fans.rings = rings

return fans
