--- A node of a world: its machine (csrc/cluster), and what carries its calls and entries, which may break off,
--- come late, or in pieces.
local Node = {}
Node.__index = Node

local node = {}

function node.new(world, index)
  return setmetatable({ world = world, index = index, paused = 0, runs = 0 }, Node)
end

--- A new process.
function Node:start()
  self.runs = self.runs + 1
  self.up, self.paused = true, 0
  self.rings, self.streams, self.pending = {}, {}, {}
  self.seen = {} -- events, and when
  self.saw = {} -- events of a master that was alone: it has to tell of their loss
  self.slot = ("slot%d.%d"):format(self.index, self.runs)
  self.machine = self.world.testing.machine(self.slot, self.world.random(1 << 30))
  self.server, self.calls, self.answers, self.fed, self.feed_at = nil, {}, {}, {}, nil
  self.world.streams.start(self)
  self:clock()
end

--- It dies: what it was about to answer is unknown.
function Node:crash()
  self:lose_calls()
  for id in pairs(self.pending) do self.world:on_answer(id, "ETIMEOUT") end
  for client in pairs(self.streams) do client:cut() end
  self:close()
  self.up, self.machine = false, nil
end

function Node:close()
  self.machine:close()
  self.world.streams.stop(self)
end

function Node:is_awake() return self.up and self.paused <= self.world.step end

function Node:epoch() return (select(2, self.machine:look())) end
function Node:pos() return (select(3, self.machine:look())) end
function Node:known() return (select(4, self.machine:look())) end
function Node:heard() return (select(5, self.machine:look())) end

--- Whether a channel is here; if not it will be.
function Node:want(channel)
  local is_here = self.machine:warm(channel)
  self:act()
  return is_here
end

-- ---- What the machine does -----------------------------------------------------------------

--- Calls on their way may be run later, or never.
function Node:lose_calls()
  local late = self.world.late
  if self.calls[1] then late[#late + 1] = { server = self.server, calls = self.calls } end
  self.server, self.calls, self.answers, self.fed, self.feed_at = nil, {}, {}, {}, nil
end

local acts = {}
function acts.dial(self) self.dials = true end

function acts.hang_up(self)
  self.dials = false
  self:lose_calls()
end

function acts.call(self, action)
  action.asked = self.world.now
  self.calls[#self.calls + 1] = action
end

function acts.follow(self, action) self.feed_at, self.fed = action.pos, {} end

function acts.answer(self, action)
  self.pending[action.id] = nil
  if not action.code then self.world:on_seen(self, action.id) end
  self.world:on_answer(action.id, action.code)
end

--- Do what it asked for, and send what there is to be sent.
function Node:act()
  for _, action in ipairs(self.machine:take() or {}) do
    local more = (acts[action.what] or self.world.streams.rings[action.what])(self, action)
    if not more then
      for client in pairs(action.what ~= "call" and self.streams or {}) do client:pump() end
    end
  end
end

-- ---- What comes in --------------------------------------------------------------------------

function Node:clock()
  self.machine:clock(self.world.now)
  self:act()
end

--- A connection is made; to the server that it can reach.
function Node:dial()
  self:clock()
  if not self.dials then return end
  local server = self.world:reach(self)
  if not server.up then return end
  self.dials = false
  self.server = server
  self.machine:dialled()
  self:act()
end

function Node:break_off()
  if not self.server and not self.dials then return end
  self:clock()
  self.machine:broken()
  self:act()
end

--- The server runs the next call.
function Node:run_call()
  if not (self.server and self.server.up and self.calls[1]) then return false end
  local call = table.remove(self.calls, 1)
  local reply = self.server:execute(call)
  if reply then self.answers[#self.answers + 1] = { call = call, kind = call.kind, tag = call.tag, reply = reply }
  else self.calls[#self.calls + 1] = call end
  return true
end

--- What a load brings may be long, and complete only after later answers.
function Node:take_answer()
  self:clock()
  local first, second = self.answers[1], self.answers[2]
  local late = second and first.kind == "load" and second.kind ~= "load" and self.world:chance(0.5)
  local answer = table.remove(self.answers, late and 2 or 1)
  if not answer then return false end
  for _, p in ipairs(answer.reply.results and answer.call.publishes or {}) do self.world:on_seen(self, p.id) end
  self.page = answer.reply.page
  self.machine:reply(answer.tag, answer.reply)
  self:act()
  return true
end

--- The feed: some entries leave the server; some arrive.
function Node:fetch(n)
  if not (self.server and self.server.up and self.feed_at) then return end
  for _, entry in ipairs(self.server:read(self.feed_at, n)) do
    self.fed[#self.fed + 1] = entry
    self.feed_at = entry.seq
  end
end

function Node:read(n)
  self:clock()
  if not self.server then return end
  if not self.fed[1] then
    self.machine:idle()
    return
  end
  for _ = 1, n do
    local entry = self.fed[1]
    if not entry then return end
    local fed = self.fed
    local taken = self.machine:entry(entry)
    if taken == "taken" then
      table.remove(fed, 1)
      if entry.kind == "event" then self.world:on_seen(self, entry.id) end
    end
    if taken == "stop" then self.fed = {} end
    self:act()
    if taken ~= "taken" then return end
  end
end

--- Its threads do some of what they have to; all of it without a number.
function Node:serve(most) self.world.streams.serve(self, most) end

function Node:publish(channel, id)
  self.pending[id] = true
  self.machine:publish(channel, id, self.world:key_of(id) ~= nil)
  self:act()
end

--- What nobody here follows is let go of.
function Node:cool(channel)
  for client in pairs(self.streams) do
    if client.at[channel] then return end
  end
  self.world.streams.forget(self, channel)
  self.machine:cool(channel)
  self:act()
end

return node
