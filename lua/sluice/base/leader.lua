--- A book that one node has for all of a cluster: the one that leads. The others hand their calls
--- to it, by app:tell, and get the answer the same way; what the book keeps stands in a channel, or
--- in a store, from which the next one that leads takes it over. Alone a call is a call, and costs
--- nothing. A call whose node dies before it answers is made again: at least once.
--- In memory: the calls that wait, and for a minute the answers that were given.
local core = require("sluice.core")
local keeper = require("sluice.base.keeper")
local process = require("sluice.base.process")

local leader = {}

---@class sluice.Leader
local Leader = {}
Leader.__index = Leader

local LOOK_SECONDS, AGAIN_SECONDS, GIVE_UP_SECONDS = 0.01, 2, 15
local KEPT_SECONDS = 60 -- an answer, for who asks again

--- Whether the app is a node of a cluster.
Leader.is_shared = keeper.is_shared

--- Whether this node has the book: always, where it is alone.
function Leader:has_book()
  if not self:is_shared() then return true end
  return self.ready and self.app:leads() or false
end

--- The same, once this node has taken it over, when it is about to. Waits.
function Leader:will_have_book()
  while self.beginning do process.runtime.scheduler:sleep(LOOK_SECONDS) end
  return self:has_book()
end

-- ---- On the node that leads --------------------------------------------------------------------

-- Values with their nils, as JSON has them.
local function packed(...)
  local list = table.pack(...)
  for i = 1, list.n do list[i] = { v = list[i] } end
  return { n = list.n, list = list.n > 0 and table.move(list, 1, list.n, 1, {}) or nil }
end

local function unpacked(p)
  local out = {}
  for i = 1, p.n do out[i] = p.list[i].v end
  return table.unpack(out, 1, p.n)
end

-- What a call returned; what it raised is who called's.
local function answered(ok, ...)
  if ok then return packed(...) end
  local problem = ...
  core.log("error", ("a call of another node failed: %s"):format(tostring(problem)))
  return packed(nil, tostring(problem), "EINTERNAL")
end

local function has_failed(answer) return answer.n > 0 and answer.list[1].v == nil end

-- Its coroutine belongs to this lead: what it stores and publishes carries the token.
local function work(self, ask)
  if self.given[ask.id] and not self.given[ask.id].answer then return end -- it is under way
  local given = self.given[ask.id] or { at = core.now() }
  self.given[ask.id] = given
  if not given.answer then
    local call = self.calls[ask.call]
    local _ <close> = setmetatable({}, { __close = function()
      if not given.answer then self.given[ask.id] = nil end
    end })
    given.answer = not call and packed(nil, ("this node has no '%s'"):format(ask.call), "EINVAL")
      or answered(pcall(call, unpacked(ask.args)))
  end
  if has_failed(given.answer) and not self:has_book() then -- the next one is asked again
    self.given[ask.id] = nil
    return
  end
  local ok, message, code = self.app:tell(self.name, { answer = ask.id, values = given.answer })
  if ok or code ~= "ETOOBIG" then return end
  self.app:tell(self.name, { answer = ask.id, values = packed(nil, message, code) })
end

local function sweep(self)
  if core.now() - self.swept < KEPT_SECONDS then return end
  self.swept = core.now()
  for id, given in pairs(self.given) do
    if core.now() - given.at > KEPT_SECONDS then self.given[id] = nil end
  end
end

-- ---- On any node -------------------------------------------------------------------------------

local function hear(self, event)
  local data = event.data
  if event.missed or event.name ~= self.name or type(data) ~= "table" then return end
  sweep(self)
  local waits = self.waiting[data.answer or false]
  if waits then
    waits.values = data.values
  elseif data.ask and self:has_book() then
    self:spawn(function() work(self, { id = data.ask, call = data.call, args = data.args }) end)
  end
end

local function ask(self, id, call, ...)
  return self.app:tell(self.name, { ask = id, call = call, args = packed(...) })
end

-- Wait for a time: until the answer is here, or this node has the book.
local function wait(self, waits, seconds)
  local till = core.now() + seconds
  while not waits.values and not self:has_book() and core.now() < till do
    process.runtime.scheduler:sleep(LOOK_SECONDS)
  end
end

-- Call it on this node. What it stores and publishes carries the token of this lead, whose end
-- closes the work of the book, and not this caller.
local function here(self, call, ...)
  local fiber = process.runtime.scheduler.current
  if not fiber or fiber.lease then return self.calls[call](...) end
  fiber.lease, fiber.borrows = process.runtime.leadership.token, true
  local _ <close> = setmetatable({}, { __close = function()
    fiber.lease, fiber.borrows = nil, nil
  end })
  return self.calls[call](...)
end

-- The same: true and what it returns; or false, when another node has the book.
local function call_here(self, ...)
  if not self:has_book() then return false end
  local values = table.pack(here(self, ...))
  if values[1] == nil and not self:has_book() then return false end
  return true, table.unpack(values, 1, values.n)
end

--- Call a function of the book, wherever it is. Waits.
-- @tparam string call its name in `calls`
-- @param ... plain data
-- @return what it returns, as JSON gives it back; or nil, message, code ("EBUSY": no node has it)
function Leader:call(call, ...)
  if not self:is_shared() then return self.calls[call](...) end
  local values = table.pack(call_here(self, call, ...))
  if values[1] then return table.unpack(values, 2, values.n) end
  local id, waits = core.id(), {}
  self.waiting[id] = waits
  local _ <close> = setmetatable({}, { __close = function() self.waiting[id] = nil end })
  local till = core.now() + GIVE_UP_SECONDS
  repeat
    local ok, message, code = ask(self, id, call, ...)
    if not ok and code ~= "EBUSY" and code ~= "ETIMEOUT" then return nil, message, code end
    wait(self, waits, AGAIN_SECONDS)
    if waits.values then return unpacked(waits.values) end
    values = table.pack(call_here(self, call, ...))
    if values[1] then return table.unpack(values, 2, values.n) end
  until core.now() >= till
  return nil, ("%s: no node of the cluster answers"):format(self.name), "EBUSY"
end

--- The same, and wait for nothing.
function Leader:send(call, ...)
  if not self:is_shared() then return self.calls[call](...) end
  if self:has_book() then return here(self, call, ...) end
  local given = table.pack(...)
  return self.app:spawn(function() self:call(call, table.unpack(given, 1, given.n)) end)
end

--- Spawn work of the book: in a cluster it belongs to the lead, and ends with it.
function Leader:spawn(fn)
  local runtime = process.runtime
  runtime.leadership:lend("cluster")
  local ok, message, code = self.app:spawn(fn)
  runtime.scheduler.lease = nil
  return ok, message, code
end

-- Take the book over, or let it go; true: try again, Redis is away.
local function turn_once(self)
  local leads, token = self.app:leads()
  local s = self.state()
  if not leads then
    self.ready, s.token = false, nil
    return false
  end
  if self.ready and s.token == token then return false end
  self.ready = false
  -- what the one before has written is heard before this
  if not self.app:tell(self.name, { lead = true }) then return true end
  self.begin(s.token == token)
  s.token, self.ready = token, true
  return self.app:leads() ~= true or select(2, self.app:leads()) ~= token
end

-- This node leads, or no more. A new lead takes the book over, a reload goes on with it.
local function turn(self)
  if not self:is_shared() or self.beginning then return end
  self.beginning = true
  local _ <close> = setmetatable({}, { __close = function() self.beginning = false end })
  while turn_once(self) do process.runtime.scheduler:sleep(AGAIN_SECONDS) end
end

--- Make one. At load.
-- @tparam sluice.App app
-- @tparam string name
-- @tparam table o `calls` by name, `begin` (fn(goes_on), on a node that is about to have the book;
--   a reload goes on with what is in memory), `keeps` (it has no store of its own)
-- @treturn sluice.Leader
function leader.new(app, name, o)
  local self = setmetatable({ app = app, name = "sluice:" .. name, calls = o.calls, begin = o.begin,
    waiting = {}, given = {}, ready = false, beginning = false, swept = 0,
    state = app:state(name .. ".lead", {}) }, Leader)
  if o.keeps then self.kept = keeper.shared(app, name .. ".book") end
  app:on("told", function(event) hear(self, event) end)
  for _, kind in ipairs({ "start", "cluster", "reload" }) do
    app:on(kind, function() turn(self) end)
  end
  return self
end

return leader
