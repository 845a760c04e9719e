--- What happens to open streams after a swap, in slices so that no turn is long: streams that a
-- coroutine writes are taken over by the new code, and the read rules are applied again.
-- In memory: the ids that are still pending.
local budget = require("sluice.base.budget")
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local reading = require("sluice.app.reading")
local stream_handle = require("sluice.app.stream_handle")
local streams = require("sluice.requests.streams")

local handover = {}

---@class sluice.Handover
local Handover = {}
Handover.__index = Handover

local WRITERS_A_TURN = 128
local CHECKS_A_TURN, CHECK_TURNS_MAX = 128, 400
local TURN_SECONDS = 0.001 -- a slice, and the pause after it, in which other work is done

--- Make one.
function handover.new(runtime)
  return setmetatable({ runtime = runtime, running = false }, Handover)
end

-- Call fn(id) for each of a list: in each turn at most 'size', or what a millisecond allows.
local function slice(self, list, size, fn, done)
  local scheduler, at = self.runtime.scheduler, 0
  local function go_on()
    local stop = core.now() + TURN_SECONDS
    for _ = 1, size do
      at = at + 1
      if at > #list then return done and done() end
      fn(list[at])
      if core.now() > stop then break end
    end
    scheduler:at(core.now() + TURN_SECONDS, go_on)
  end
  go_on()
end

-- Fibers that wait until a client can be written to, without those that have ended.
local function prune(runtime, id)
  local list, left = runtime.writable[id], {}
  for _, fiber in ipairs(list or {}) do
    if not fiber.ended then left[#left + 1] = fiber end
  end
  runtime.writable[id] = left[1] and left or nil
end

-- Close the coroutine that writes a stream, and let the new code go on writing it.
local function pass_on(self, id, why)
  local runtime = self.runtime
  local fiber = runtime.writers[id]
  local session = fiber and fiber.session
  if fiber then
    session.handed, runtime.writers[id] = true, nil
    runtime.scheduler:cancel(fiber)
    prune(runtime, id)
  end
  return streams.again(runtime, id, session, why)
end

local ENDED = "%d of the streams that functions wrote ended: since the reload no stream is "
  .. "registered for their path, as for %s"

local function older_writers(runtime)
  local list = {}
  for id, fiber in pairs(runtime.writers) do
    if fiber.generation ~= runtime.generation then list[#list + 1] = id end
  end
  table.sort(list)
  return list
end

--- Take over the streams that coroutines of an older generation write.
function Handover:begin()
  local runtime = self.runtime
  if self.running or not next(runtime.writers) then return end
  self.running = true
  runtime.scheduler:at(core.now() + TURN_SECONDS, function()
    local list = older_writers(runtime)
    if #list == 0 then
      self.running = false
      return
    end
    local n_ended, path = 0, nil
    slice(self, list, WRITERS_A_TURN, function(id)
      local fiber = runtime.writers[id]
      if not fiber or fiber.generation == runtime.generation then return end
      local ended = pass_on(self, id, "reload")
      if ended then n_ended, path = n_ended + 1, ended end
    end, function()
      if n_ended > 0 then core.log("warn", ENDED:format(n_ended, path)) end
      self.running = false
      self:begin() -- for those that began to write meanwhile
    end)
  end)
end

--- Run the plans of some streams again: app:replan.
-- @tparam {string,...} list ids
function Handover:replan(list)
  self.runtime.scheduler:at(core.now(), function()
    slice(self, list, WRITERS_A_TURN, function(id) pass_on(self, id, "replan") end)
  end)
end

-- A rule that is stopped by its budget denies.
local function recheck_one(runtime, id, user, why)
  local client = stream_handle.new(runtime, id)
  if user ~= nil and not (client.user and client.user.id == user) then return end
  local ok, problem = budget.call("read rules", reading.recheck_one, runtime.generation, client,
    why)
  if ok then return end
  runtime:report(nil, failure.late(problem), "read rules")
  runtime.server:close(id, "revoked")
end

--- Apply the read rules of the current generation to all open streams, within a second.
-- @tparam[opt] string user only to this user's
-- @tparam[opt] string why for whoever asks later; default: the reload
function Handover:recheck(user, why)
  local runtime = self.runtime
  local generation = runtime.generation
  why = why or ("after reload #%d"):format(generation.id)
  if #generation.readers == 0 then return end
  runtime.scheduler:at(core.now() + TURN_SECONDS, function()
    local list = runtime.server:clients()
    local size = math.max(CHECKS_A_TURN, #list // CHECK_TURNS_MAX)
    slice(self, list, size, function(id)
      if generation == runtime.generation then recheck_one(runtime, id, user, why) end
    end)
  end)
end

return handover
