--- The durable store as the runtime sees it: opening it, and what waits for its answers.
-- The core gives a ticket for each commit and reports the answer once. In memory: one entry per
-- commit under way.
local caller = require("sluice.base.caller")
local collector = require("sluice.live.collector")
local core = require("sluice.core")
local process = require("sluice.base.process")
local store = require("sluice.app.store")

local stored = {}

---@class sluice.Stored
local Stored = {}
Stored.__index = Stored

local LINES_MAX = 10 -- of the log within a second, about what was not stored
local FOLDER = "sluice-data" -- beside the app
local ANSWERED = { answered = true } -- who waited has an answer, and the ticket gets one more

--- What a runtime has under way.
function stored.new(runtime)
  return setmetatable({ runtime = runtime, waiting = {}, is_open = false,
    busy = false, second = 0, said = 0, unsaid = 0 }, Stored)
end

-- ---- Opening -----------------------------------------------------------------------------

stored.is_needed = store.is_needed

local function say_damaged(what, n)
  if n == 0 then return end
  core.log("error", ("store: %d %s are damaged on the disk and left out: 'sluice store verify' "
    .. "names them, a backup may have them"):format(n, what))
end

--- Open the store, and take over what it has for the app.
-- @tparam sluice.Runtime runtime
-- @tparam table place { folder = } or { disk = }
-- @treturn boolean|nil true, or nil, message, code
function stored.take(runtime, place)
  local server = runtime.server
  local opened, message, code = server:store_open(place)
  if not opened then return nil, message, code end
  runtime.stored.is_open = true
  if opened.is_late then return true end -- it is new: nothing is in it
  local rows, damaged = server:stored_pairs()
  if not rows then return nil, damaged, "ESTORE" end
  runtime.stores:load(rows)
  say_damaged("values of app:store", damaged)
  rows, damaged = server:stored_tasks()
  if not rows then return nil, damaged, "ESTORE" end
  runtime.tasks:load(rows)
  say_damaged("durable tasks", damaged)
  return true
end

--- Open the store before the server starts, when the app needs it or the folder has one.
-- @tparam sluice.Runtime runtime whose first generation is live
-- @tparam string|nil folder
-- @treturn boolean|nil true, or nil, message, code
function stored.open(runtime, folder)
  local generation = runtime.generation
  folder = folder or generation.root .. "/" .. FOLDER
  runtime.stored.opener = function()
    local opened, message, code = stored.take(runtime, { folder = folder })
    if not opened then return nil, ("%s: %s"):format(folder, message), code end
    return true
  end
  if not stored.is_needed(generation) and not core.store_is_there(folder) then return true end
  return runtime.stored:open()
end

--- Open it, also while the server runs: then a reload needs it first.
-- @tparam[opt] sluice.Generation generation that needs it; nil: a durable task does
-- @treturn boolean|nil true, or nil, message, code
function Stored:open(generation) return self.opener(generation) end

--- Why no reload can change what is durable now, or nil.
function Stored:waits_for()
  return self.busy and "what the last reload has made durable, or no longer" or nil
end

-- ---- Waiting -----------------------------------------------------------------------------

--- Raise when the caller cannot wait for a commit.
-- @tparam string what for the message
function Stored:need_wait(what)
  local problem = self.runtime.scheduler:obstacle(what)
  if problem then caller.raise("%s; { wait = false } does not wait", problem) end
end

--- Hand the answer to a ticket on: to the caller, who waits, or to the log.
-- @tparam integer ticket
-- @tparam boolean waits
-- @tparam string|nil what for messages; nil: a failure is not logged
-- @tparam[opt] function settle called once, with what became of it in the end: as answer's
--   arguments from ok on. The caller may have got ETIMEOUT long before
-- @tparam[opt] function judge of a publish that is to be done in memory after all: what finish
--   returns when it is refused, or nothing
-- @treturn boolean whether it is stored
-- @return id, subscribers, whether it is a duplicate; or message, code
function Stored:finish(ticket, waits, what, settle, judge)
  local entry = { what = what, settle = settle, judge = judge,
    fiber = waits and self.runtime.scheduler.current }
  self.waiting[ticket] = entry
  if not waits then return true end
  return self.runtime.scheduler:wait(what)
end

--- Wait for the answer to a ticket that nobody else needs. The caller has asked need_wait.
-- @tparam integer ticket
-- @return as finish
function Stored:await(ticket)
  self.waiting[ticket] = self.runtime.scheduler.current
  return self.runtime.scheduler.park()
end

--- In a cluster: wait until a channel that nobody follows is here, where the caller can wait; else
-- what is here is read.
-- @tparam string channel
-- @treturn boolean|nil true, or nil, message, code
function Stored:need_here(channel)
  local runtime = self.runtime
  if not runtime.is_shared or not runtime.scheduler:can_wait() then return true end
  local ticket = runtime.server:cluster_want(channel)
  if not ticket then return true end
  local ok, message, code = self:await(ticket)
  if ok then return true end
  return nil, message, code
end

--- Have the answer to a ticket, for which no coroutine waits.
-- @tparam integer ticket
-- @tparam function settle as for finish
-- @tparam function late called once when the disk does not answer, before settle
function Stored:watch(ticket, settle, late)
  self.waiting[ticket] = { settle = settle, late = late }
end

-- Where nothing can be stored, all fails that nobody waits for.
local function say_failed(self, text, code)
  local second = core.now() // 1
  if second ~= self.second then
    if self.unsaid > 0 then
      core.log("error", ("%d more were not stored either, within a second"):format(self.unsaid))
    end
    self.second, self.said, self.unsaid = second, 0, 0
  end
  if self.said == LINES_MAX then
    self.unsaid = self.unsaid + 1
    return
  end
  self.said = self.said + 1
  core.log("error", text, { code = code })
end

-- An answer to what is more than a coroutine that waits.
local function answer(self, ticket, entry, is_final, ok, ...)
  if is_final then
    self.waiting[ticket] = nil
    if entry.settle then entry.settle(ok, ...) end
  end
  if entry.answered then return end
  entry.answered = true
  if entry.late and not is_final then return entry.late() end
  if entry.fiber then return self.runtime.scheduler:resume(entry.fiber, ok, ...) end
  local message, code = ...
  if not ok and entry.what then
    say_failed(self, ("%s was not stored: %s"):format(entry.what, message), code)
  end
end

--- The channel of a publish became one in memory before its turn came: whether it has its answer
-- by that, and is not published.
function Stored:judge(ticket)
  local entry = self.waiting[ticket]
  local verdict = entry and entry.judge and table.pack(entry.judge())
  if not verdict or verdict.n == 0 then return false end
  answer(self, ticket, entry, true, table.unpack(verdict, 1, verdict.n))
  return true
end

--- What the core calls with its answers: a function(ticket, whether it is the last one, …), as
-- finish returns from there on.
-- @tparam function turn the runtime's, called when there is something to do
function Stored:answerer(turn)
  local runtime, waiting = self.runtime, self.waiting
  local scheduler = runtime.scheduler
  return function(ticket, is_final, ok, id, subscribers, is_old)
    local entry = waiting[ticket]
    process.runtime = runtime
    if entry and entry.co then -- a coroutine, and nothing else: nearly always
      waiting[ticket] = not is_final and ANSWERED or nil
      scheduler:resume(entry, ok, id, subscribers, is_old)
    elseif entry then
      answer(self, ticket, entry, is_final, ok, id, subscribers, is_old)
    end
    if scheduler.stirred or collector.is_over then turn() end
  end
end

return stored
