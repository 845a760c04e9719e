--- Alerts: rules over samples, an event when one begins to hold and another when it no longer does.
---
---   local alerts = require("sluice.alerts").new(app, { channel = "device/:subject/alerts" })
---   alerts:rule("hot", { field = "temperature", above = 80, clear = 75, severity = "high" })
---   alerts:silence("offline", { after = 20 })
---   app:post("/api/devices/:id", function(req) return alerts:check(req.params.id, req:json()) end)
---
--- What is active survives a reload, and a restart when the app has a store. In memory: what
--- sluice/alerts/book.lua says, for `max_subjects` subjects.
local asked = require("sluice.alerts.asked")
local book = require("sluice.alerts.book")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local pages = require("sluice.alerts.pages")
local rules = require("sluice.alerts.rules")
local segment = require("sluice.base.segment")
local slots = require("sluice.alerts.slots")
local sluice = require("sluice")

---@class sluice.AlertsModule
local alerts = {}

---@class sluice.Alerts
local Alerts = {}
Alerts.__index = Alerts
Alerts.__name = "sluice.Alerts"

local KNOWN = { name = "alerts", channel = options.STRING, event = "alert", subject = "subject",
  history = options.NONE, rewind = options.NONE, durable = options.BOOLEAN, max_subjects = 50000,
  read = options.FUNCTION }
local CHECK = { wait = true }
local FIELDS = { id = true, rule = true, severity = true, category = true, message = true,
  value = true, since = true, timestamp = true, reason = true, user = true, acknowledged = true }
local RULES_MAX, SUBJECT_MAX = 100, 128

-- ---- Rules: at load ----------------------------------------------------------------------

local function add(self, what, rule, message)
  if not rule then options.raise(message) end
  if self.book.is_ready then
    options.raise("alerts:%s '%s' belongs at the top level of the app", what, rule.name)
  end
  if self.book.rules[rule.name] then
    options.raise("alerts: there is a rule '%s' already", rule.name)
  end
  if #self.book.limits + #self.book.silences >= RULES_MAX then
    options.raise("alerts: more than %d rules", RULES_MAX)
  end
  self.book.rules[rule.name] = rule
  table.insert(rule.after and self.book.silences or self.book.limits, rule)
end

--- Register a rule. It begins to hold when a value is above or below a limit, or a function says
-- so, and an alert begins when it has held for `hold` seconds.
-- @tparam string name
-- @tparam table given `field` with `above` or `below` (a number or fn(subject)) and `clear` (the
--   same: the value at which it is over), or `when` (fn(sample, subject, firing) -> boolean);
--   `hold` (0), `cooldown` (0: seconds after its end without another alert), `severity`
--   ("warning"), `category`, `message` (a text or fn(value, subject))
function Alerts:rule(name, given) add(self, "rule", rules.limit(name, given)) end

--- Register an alert for subjects that send nothing.
-- @tparam string name
-- @tparam table given `after` (60 seconds), `severity` ("high"), `category`, `message`
function Alerts:silence(name, given) add(self, "silence", rules.silence(name, given)) end

-- ---- Subjects ----------------------------------------------------------------------------

-- A subject as text; nil, message, code, field for what cannot be one.
local function subject_of(self, subject)
  local text = math.type(subject) == "integer" and tostring(subject) or subject
  local fine
  if self.is_pattern then
    fine = segment.fits(text)
  else
    fine = rules.is_text(text, SUBJECT_MAX) and #text > 0 and not text:find("%c")
  end
  if fine then return text end
  local wanted = self.is_pattern and "%d letters, digits and _ . @ + = ~ : -, the first no ':',"
    or "%d bytes of UTF-8 without control characters"
  wanted = wanted:format(self.is_pattern and segment.BYTES_MAX or SUBJECT_MAX)
  return nil, ("%s: 1 to %s are expected"):format(self.field, wanted), "EBADFIELD", self.field
end

--- The channel with the alerts of a subject, for a plan of one's own.
-- @tparam string subject
-- @treturn string|nil or nil, message, code, field
function Alerts:channel(subject)
  local text, message, code, field = subject_of(self, subject)
  if not text then return nil, message, code, field end
  return self.book.o.channel(text)
end

--- Check a sample of a subject against all rules. Waits when an alert begins or ends and the
-- channel is durable, and for the first sample of a subject: true says that it is on the disk.
-- @tparam string|integer subject
-- @tparam table sample
-- @tparam[opt] table opts { wait = false }: do not wait
-- @treturn boolean|nil true; or nil, message, code, field: what was decided is told later
function Alerts:check(subject, sample, opts)
  local o = options("alerts:check()", opts, CHECK)
  if type(sample) ~= "table" then
    error("alerts:check(subject, sample): the sample is a table, not a " .. type(sample), 2)
  end
  local text, message, code, field = subject_of(self, subject)
  if not text then return nil, message, code, field end
  local lead = self.book.lead
  if o.wait or lead:has_book() then return lead:call("check", text, sample, o.wait) end
  lead:send("check", text, sample, false)
  return true
end

--- Forget a subject that is no longer in use: its alerts are cleared, and it is not missed.
-- @treturn boolean|nil true, or nil, message, code, field
function Alerts:forget(subject)
  local text, message, code, field = subject_of(self, subject)
  if not text then return nil, message, code, field end
  return self.book.lead:call("forget", text)
end

-- ---- What is active ------------------------------------------------------------------------

local function shown(slot)
  local copy = {}
  for name, value in pairs(slot.alert) do copy[name] = value end
  if slot.ack then
    copy.acknowledged = { user = slot.ack.user, timestamp = slot.ack.timestamp }
  end
  return copy
end

local function newest_first(a, b)
  if a.timestamp ~= b.timestamp then return a.timestamp > b.timestamp end
  return a.id < b.id
end

--- The alerts that are active, the newest first.
-- @tparam[opt] string subject only of this one
-- @treturn {table,...} the data of their events, with acknowledged = { user, timestamp }
function Alerts:active(subject)
  local list = sluice.json.array()
  local text = subject ~= nil and subject_of(self, subject)
  if text and self.book.lead:has_book() then
    for _, slot in pairs(self.book:ready().slots[text] or {}) do
      if slots.is_active(slot) then list[#list + 1] = shown(slot) end
    end
  elseif text ~= nil then
    self.book:each_active(function(slot, of)
      if not text or of == text then list[#list + 1] = shown(slot) end
    end)
  end
  table.sort(list, newest_first)
  return list
end

function Alerts:_find(id) return asked.find(self.book, id) end

--- Acknowledge an alert: it stays active, and the event says who has seen it. The first one counts.
-- @tparam string id of the alert
-- @param[opt] user a user, or an id
-- @treturn boolean|nil true, or nil, message, code, field
function Alerts:ack(id, user)
  if type(user) == "table" then user = user.id end
  if math.type(user) == "integer" then user = tostring(user) end
  if user ~= nil and not rules.is_text(user, SUBJECT_MAX) then
    return nil, ("user: an id of at most %d bytes is expected"):format(SUBJECT_MAX), "EBADFIELD",
      "user"
  end
  return self.book.lead:call("ack", id, user)
end

-- ---- Making --------------------------------------------------------------------------------

local function option_fault(o)
  if not o.name:find("^[%w_][%w_.-]*$") then
    return ("name '%s' may hold letters, digits and _ . - only"):format(o.name)
  end
  if not o.event:find("^[%w_][%w_.-]*$") or #o.event > 64 then
    return ("event '%s' may hold letters, digits and _ . - only"):format(o.event)
  end
  if FIELDS[o.subject] or not o.subject:find("^[%w_]+$") then
    return ("subject '%s' is the name of a field of an alert, which no other has"):format(o.subject)
  end
  if math.type(o.max_subjects) ~= "integer" or o.max_subjects < 1 then
    return "max_subjects is an integer from 1"
  end
  local rest = ("/" .. (o.channel or o.name) .. "/"):gsub("/:subject/", "/", 1)
  if rest:find("/[:*]") then
    return ("channel '%s': its only pattern is one segment :subject"):format(o.channel)
  end
end

-- Where the alerts are kept is decided when alerts.new runs: the app may say more below.
local function check_order(app)
  app:check(function()
    if not app:has_store() then return true end
    return false, "alerts.new stands above the stores and durable channels of this app: put it "
      .. "below them, or say durable = true or false"
  end)
end

--- Make alerts. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `name` ("alerts": of its state and store), `channel` (the name; with
--   ":subject" each subject has its own), `event` ("alert"), `subject` ("subject": the field with
--   it), `history` (200), `rewind` (20; "latest": what is active), `durable` (whether the app has a
--   store), `max_subjects` (50000), `read` (who may read)
-- @treturn sluice.Alerts
function alerts.new(app, given)
  local o = options("alerts.new", given, KNOWN)
  local fault = option_fault(o)
  if fault then error("alerts.new: " .. fault, 2) end
  local durable = o.durable
  if durable == nil then
    durable = app:has_store()
    if not durable then check_order(app) end
  end
  local pattern, key = o.channel or o.name, o.rewind == "latest" and "id" or nil
  app:channel(pattern, { history = o.history or 200, rewind = o.rewind or 20, key = key,
    ttl = false, durable = durable or o.durable, read = o.read })
  local front, back = ("/" .. pattern .. "/"):match("^/(.-):subject(.*)/$")
  local kept = book.new(app, { name = o.name, event = o.event, subject = o.subject, key = key,
    durable = durable, max_subjects = o.max_subjects,
    channel = function(subject) return front and front .. subject .. back or pattern end,
    calls = asked })
  return setmetatable({ app = app, book = kept, pattern = pattern, is_pattern = front ~= nil,
    field = o.subject, read = o.read }, Alerts)
end

Alerts.routes, Alerts.stream = pages.routes, pages.stream
names.lenient(Alerts, "alerts", Alerts, {})
return names.strict(alerts, "sluice.alerts", ".")
