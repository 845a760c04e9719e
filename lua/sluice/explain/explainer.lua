--- Explaining: asks the I/O threads how a client or a channel stands and what they noted, adds what
-- the thread of the app noted, and says what it comes to (GET /-/explain, sluice explain, console).
-- In memory: the questions under way.
local arrays = require("sluice.base.arrays")
local channel = require("sluice.explain.channel")
local client = require("sluice.explain.client")
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local json = require("sluice.json")
local words = require("sluice.explain.words")

local explainer = {}

---@class sluice.Explainer
local Explainer = {}
Explainer.__index = Explainer

local ASKED_MOST = 64

--- Make the explainer of a runtime.
-- @tparam sluice.Runtime runtime
-- @treturn sluice.Explainer
function explainer.new(runtime)
  return setmetatable({ runtime = runtime, asked = {}, count = 0 }, Explainer)
end

-- ---- What the threads answer -------------------------------------------------------------------

-- The earlier of two times until which a recorder reaches back.
local function later(a, b)
  if not a or not b then return a or b end
  return math.max(a, b)
end

local TAKE = {}

function TAKE.stream(told, line) told.stream = line end
function TAKE.subscription(told, line) table.insert(told.subscriptions, line) end
function TAKE.channel(told, line) table.insert(told.channels, line) end

function TAKE.recorder(told, line)
  for _, name in ipairs({ "visits", "deeds" }) do
    told.since = later(told.since, line[name] and words.time(line[name]))
  end
  told.requests_since = later(told.requests_since, line.requests and words.time(line.requests))
end

-- What was asked for by an address and by the client's id comes twice.
local function take(told, text)
  for line in (text or ""):gmatch("[^\n]+") do
    local row = not told.seen[line] and json.decode(line)
    told.seen[line] = true
    if row then
      row.time = words.time(row.time) or 0
      local act = TAKE[row.message]
      if act then act(told, row) else table.insert(told.recorded, row) end
    end
  end
end

-- Of all threads in order of time; what one thread wrote stays in its order.
local function sort(recorded)
  local order = {}
  for i, row in ipairs(recorded) do order[row] = i end
  table.sort(recorded, function(a, b)
    if a.time ~= b.time then return a.time < b.time end
    return order[a] < order[b]
  end)
end

--- One thread has answered.
-- @tparam integer ticket
-- @tparam string|nil lines
function Explainer:told(ticket, lines)
  local question = self.asked[ticket]
  if not question then return end
  take(question.told, lines)
  question.left = question.left - 1
  if question.left > 0 then return end
  self.asked[ticket], self.count = nil, self.count - 1
  sort(question.told.recorded)
  question.told.since = later(question.told.since, self.runtime.recorder:since())
  local good, problem = failure.try(question.done, question.told)
  if good then return end
  self.runtime:report(nil, problem, "explain") -- a mistake in Sluice: who asked is answered
  question.fail()
end

-- Ask all threads; the answer comes in another turn, in `told` if another question began that.
local function ask(self, told, done, fail, ...)
  if self.count >= ASKED_MOST then return nil, "too many questions at a time", "EBUSY" end
  local ticket, left, code = self.runtime.server:ask_threads(...)
  if not ticket then return nil, left, code end
  self.count = self.count + 1
  self.asked[ticket] = { left = left, done = done, fail = fail, told = told or { subscriptions = {},
    channels = {}, recorded = {}, seen = {}, stream = nil, since = nil } }
  return true
end

-- ---- Questions ---------------------------------------------------------------------------------

local KINDS = {}

-- The client of the last line that names one.
local function last_client(told)
  for i = #told.recorded, 1, -1 do
    if told.recorded[i].client then return told.recorded[i].client end
  end
end

-- By its id, or as the only one with that user, address or path: then what was noted of the client
-- itself is asked for, too, since a line about a reset names no address.
function KINDS.client(self, id, done, fail)
  local server = self.runtime.server
  local open = server:is_open(id) and { id } or server:clients_with(id)
  local one = #open == 1 and open[1] or nil
  local function explain(told)
    done(client.explain(self.runtime, { asked = id, open = open, one = one }, told))
  end
  return ask(self, nil, function(told)
    local found = one or #open == 0 and last_client(told)
    if found and found ~= id and ask(self, told, explain, fail, nil, nil, found) then return end
    explain(told)
  end, fail, one, nil, id)
end

function KINDS.channel(self, name, done, fail)
  local good, message = core.check_channel(name)
  if not good then return nil, ("'%s': %s"):format(name, message), "ECHANNEL" end
  return ask(self, nil, function(told) done(channel.explain(self.runtime, name, told)) end, fail,
    nil, name, name, "channel")
end

function KINDS.reset(self, id, done, fail)
  return ask(self, nil, function(told)
    done(client.explain_reset(self.runtime, id, told))
  end, fail, nil, nil, id)
end

Explainer.KINDS = arrays.mark({ "client", "channel", "reset" })

--- Explain something.
-- @tparam string kind "client", "channel" or "reset"
-- @tparam string id
-- @tparam function done called with the answer, in another turn: { subject, found, because,
--   timeline, since, and facts }
-- @tparam function fail called instead when that went wrong, which the log has
-- @treturn boolean|nil true, or nil, message, code
function Explainer:explain(kind, id, done, fail)
  return KINDS[kind](self, id, done, fail)
end

return explainer
