--- The durable store as the runtime sees it: opening it, and what waits for its answers.
-- The core gives a ticket for each commit and reports the answer once. In memory: one entry per
-- commit under way.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local patterns = require("sluice.base.patterns")

local stored = {}

---@class sluice.Stored
local Stored = {}
Stored.__index = Stored

local FOLDER = "sluice-data" -- beside the app
-- What the store keeps of a channel.
local KEPT = { "history", "ttl", "max_keys", "rewind", "durable" }

--- What a runtime has under way.
function stored.new(runtime)
  return setmetatable({ runtime = runtime, waiting = {}, failed = 0 }, Stored)
end

-- ---- Opening -----------------------------------------------------------------------------

--- Whether something of a generation needs the store.
function stored.is_needed(generation)
  for _, policy in ipairs(generation.policies) do
    if policy.durable then return true end
  end
  return false
end

--- Open the store before the server starts, when the app needs it or the folder has one.
-- @tparam sluice.Runtime runtime whose first generation is live
-- @tparam string|nil folder
-- @treturn boolean|nil true, or nil, message, code
function stored.open(runtime, folder)
  local generation = runtime.generation
  folder = folder or generation.root .. "/" .. FOLDER
  if not stored.is_needed(generation) and not core.store_is_there(folder) then return true end
  local opened, message, code = runtime.server:store_open { folder = folder }
  if not opened then return nil, ("%s: %s"):format(folder, message), code end
  return true
end

-- The policies that may concern a durable channel, as text.
local function describe(generation)
  local list = {}
  for _, policy in ipairs(generation.policies) do
    local concerns = false
    for _, other in ipairs(generation.policies) do
      concerns = concerns or other.durable and patterns.may_overlap(policy.pattern, other.pattern)
    end
    local words = { policy.pattern }
    for _, name in ipairs(concerns and KEPT or {}) do
      local value = policy[name]
      if type(value) == "table" then value = ("%s/%s"):format(value.count, value.bytes) end
      words[#words + 1] = name .. "=" .. tostring(value)
    end
    if words[2] then list[#list + 1] = table.concat(words, " ") end
  end
  table.sort(list)
  return list
end

--- Why a generation cannot follow the current one while the server runs; nil: it can.
-- @tparam sluice.Generation before
-- @tparam sluice.Generation after
-- @treturn string|nil
function stored.refusal(before, after)
  local old, new = describe(before), describe(after)
  local seen = {}
  for _, text in ipairs(old) do seen[text] = true end
  for _, text in ipairs(new) do
    if not seen[text] then return text:match("^%S+") end
    seen[text] = nil
  end
  local gone = next(seen)
  return gone and gone:match("^%S+")
end

-- ---- Waiting -----------------------------------------------------------------------------

--- Raise when the caller cannot wait for a commit.
-- @tparam string what for the message
function Stored:need_wait(what)
  local problem = self.runtime.scheduler:obstacle(what)
  if problem then caller.raise("%s; { wait = false } does not wait", problem) end
end

--- Wait for the answer to a ticket.
-- @treturn boolean whether it is stored
-- @return id, subscribers, whether it is a duplicate; or message, code
function Stored:wait(ticket, what)
  self.waiting[ticket] = self.runtime.scheduler.current
  return self.runtime.scheduler:wait(what)
end

--- Do not wait: a failure is logged and counted.
-- @tparam integer ticket
-- @tparam string what for the log
-- @tparam[opt] function done called with what wait returns
function Stored:leave(ticket, what, done)
  self.waiting[ticket] = { what = what, done = done }
end

--- An answer of the core's.
function Stored:answer(ticket, ok, first, second, third)
  local entry = self.waiting[ticket]
  self.waiting[ticket] = nil
  if not entry then return end
  if not ok then self.failed = self.failed + 1 end
  if entry.co then return self.runtime.scheduler:resume(entry, ok, first, second, third) end
  if not ok then
    core.log("error", ("%s was not stored: %s"):format(entry.what, first), { code = second })
  end
  if entry.done then entry.done(ok, first, second, third) end
end

return stored
