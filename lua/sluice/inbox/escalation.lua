--- What happens while something stays unread: steps, each some seconds after it was sent.
---
---    sent ──▶ armed: a task at the time of step n ──▶ step n ──▶ recorded in the inbox
---               ▲                 │ the item is gone: over              │
---               └───────────────────────────────────────────── n + 1 ──┘
---
--- What an inbox holds, and the step that it has recorded, say which step is next and when: a start
--- and a reload arm from that what is not armed. A step that the process did not survive is not
--- recorded, and is done again. In memory: a task for each item that has a step left, and in
--- app:state which of them run.
local items = require("sluice.inbox.items")
local keeper = require("sluice.base.keeper")
local sluice = require("sluice")
local steps = require("sluice.inbox.steps")

local escalation = {}

---@class sluice.inbox.Escalation
local Escalation = {}
Escalation.__index = Escalation

local EVENT = "escalation"
local PAGE, RETRY_SECONDS, LOOK_SECONDS = 100, 2, 0.05
-- The disk, or whoever waits in front of it, may take the event later.
local LATER = { ESTORE = true, ETIMEOUT = true, EBUSY = true, EFULL = true, ENOMEM = true }

--- At load, of an inbox.
-- @tparam sluice.Inbox inbox
-- @tparam table|nil rules { severity = { step, … } }
function escalation.new(inbox, rules)
  local app, name = inbox.app, inbox.name .. ".escalate"
  local self = setmetatable({ inbox = inbox, app = app, task = name,
    rules = steps.check(rules, items.PRIORITY),
    state = app:state(inbox.name .. ".inbox", { running = {} }) }, Escalation)
  app:task(name, { restart = true }, function(d) self:run(d) end)
  if not next(self.rules) then return self end
  app:on("start", function() self:arm_all() end)
  app:on("reload", function() self:arm_all() end)
  if inbox.durable then -- also what is stored when nobody waits for it any more
    app:on("published", inbox.name .. "/:user", function(event)
      if event.event == inbox.event then self:arm(event.data, 1) end
    end)
  end
  return self
end

local function task_id(self, channel, id) return ("%s %s %s"):format(self.task, channel, id) end

--- Have a step done when its time has come.
function Escalation:arm(item, n)
  local step = type(item) == "table" and self.rules[item.severity]
  step = step and step[n]
  local channel = step and self.inbox:channel(item.to)
  if not channel or type(item.id) ~= "string" then return end
  local at = (sluice.time(item.timestamp) or sluice.time()) + step.after
  local ok, message, code = self.app:at(at, self.task, { to = item.to, id = item.id, step = n },
    { id = task_id(self, channel, item.id) })
  if ok then return end
  self.state().is_late = true -- the next sweep arms it
  sluice.log.error(("inbox '%s': an escalation waits: %s"):format(self.inbox.name, message),
    { code = code, id = item.id })
end

--- An item is about to be sent. In a cluster its node may die between that and what comes behind.
function Escalation:sending(item)
  if not self.rules[item.severity] then return end
  if keeper.is_shared() then self:arm(item, 1) end
end

--- An item was sent. In memory nobody can be closed between its publish and this.
function Escalation:sent(item)
  if not self.inbox.durable then self:arm(item, 1) end
end

--- An item is no longer there.
function Escalation:done(channel, id)
  if next(self.rules) then self.app:cancel(task_id(self, channel, id)) end
end

-- The step that is next, by what is recorded.
local function next_step(self, channel, id, least)
  local last = self.app:latest(channel, id, EVENT)
  local n = type(last) == "table" and math.type(last.step) == "integer" and last.step or 0
  return math.max(n + 1, least or 1)
end

--- Arm what the inboxes hold: after a start, and for the rules of a new version.
function Escalation:arm_all()
  local running = self.state().running
  for _, channel in ipairs(self.app:channels(self.inbox.name .. "/*")) do
    local after
    repeat
      local rows = self.app:newest(channel,
        { event = self.inbox.event, limit = PAGE, after = after })
      if not rows then -- Redis is away
        self.state().is_late = true
        break
      end
      for _, row in ipairs(rows) do
        if self.rules[row.data.severity] and not running[task_id(self, channel, row.key)] then
          self:arm(row.data, next_step(self, channel, row.key))
        end
        after = row.id
      end
      sluice.sleep(0)
    until #rows < PAGE
  end
end

--- Once a minute: arm what found no room.
function Escalation:sweep()
  local s = self.state()
  if not s.is_late then return end
  s.is_late = nil
  self:arm_all()
end

-- Record a step, unless the item has gone; whether it is still there. What the disk refuses is
-- recorded when it does not: the step after it comes later then.
local function record(self, channel, item, n, step, ok, why)
  local data = { id = item.id, step = n, via = step.name, ok = ok, error = why,
    timestamp = sluice.timestamp() }
  while true do
    local done, message, code = self.app:publish(channel, EVENT, data, { key = item.id,
      update = true, idempotency = ("%s %s %d %s"):format(EVENT, item.id, n, data.timestamp) })
    if done then return true end
    if code == "ENOTFOUND" then return false end
    if not LATER[code] then
      local text = "inbox '%s': an escalation was refused: %s"
      sluice.log.error(text:format(self.inbox.name, message), { code = code, id = item.id })
      return true
    end
    sluice.sleep(RETRY_SECONDS)
  end
end

-- One step of an item, when it is due; the next one then.
local function go_on(self, channel, d)
  local item = self.app:latest(channel, d.id, self.inbox.event)
  if type(item) ~= "table" then return end
  local n = next_step(self, channel, d.id, d.step)
  local step = self.rules[item.severity] and self.rules[item.severity][n]
  if not step then return end
  local sent = sluice.time(item.timestamp)
  if sent and sent + step.after > sluice.time() + 0.001 then return self:arm(item, n) end
  local ok, why = steps.run(step, item, n)
  if record(self, channel, item, n, step, ok, why) then self:arm(item, n + 1) end
end

--- The task: one run of an item at a time, in all versions of the app. One that has armed the next
-- may still be about to end: then that waits, or a step would be lost.
function Escalation:run(d)
  local channel, running = self.inbox:channel(d.to), self.state().running
  local id = task_id(self, channel, d.id)
  while running[id] do sluice.sleep(LOOK_SECONDS) end
  running[id] = true
  local _ <close> = setmetatable({}, { __close = function() running[id] = nil end })
  go_on(self, channel, d)
end

return escalation
