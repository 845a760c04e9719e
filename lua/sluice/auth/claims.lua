--- Idempotency keys over the nodes of a cluster: which request runs, and what was answered, in the
-- app:store that all nodes have. A node claims a key before it runs the handler, and Redis lets one
-- of them; it claims it anew while the handler runs. What Redis could not be told at the end is
-- told again each second, and until then this node knows it.
-- In memory: the claims of what runs here, and at most 256 ends that Redis was not told.
local keeper = require("sluice.base.keeper")
local sluice = require("sluice")

local claims = {}

---@class sluice.auth.Claims
local Claims = {}
Claims.__index = Claims

local UNTOLD_MAX = 256
local RENEW_PART = 4 -- of its running time, then a claim is made anew
local PASSING = { EBUSY = true, ETIMEOUT = true }

--- Whether the app is a node of a cluster, and its store that of all.
function claims.are_needed(store) return store.add ~= nil and keeper.is_shared() end

--- `times`: { keep =, running = } in seconds; `state`: an app:state of { untold = {}, n = 0 }
function claims.new(store, times, state)
  -- Weak: where the coroutine was ended from outside nobody knows how far it came. Its claim is
  -- held by nothing then, and runs out.
  local running = setmetatable({}, { __mode = "v" })
  return setmetatable({ store = store, times = times, state = state, running = running }, Claims)
end

local function is_over(self, row, now)
  return now - row.at >= (row.running and self.times.running or self.times.keep)
end

local function forget(s, key, own)
  if s.untold[key] == own and own then s.untold[key], s.n = nil, s.n - 1 end
end

--- Claim a key, unless another request has it.
-- @treturn table|nil the claim; or nil and one of:
-- @treturn ?table what another one has: the answer, or { running = true }; both have `bytes`
-- @treturn ?string that Redis cannot be asked
function Claims:take(key, bytes)
  local own = self.state().untold[key]
  if own and own.row then return nil, own.row end
  local claim = { at = sluice.time(), bytes = bytes, running = sluice.id() }
  while true do
    local row, message, code = self.store:get(key)
    if code then return nil, nil, message end
    local is_free = not row or is_over(self, row, claim.at)
      or own and row.running == own.claim.running -- this node could not give it back
    if not is_free then return nil, row end
    local ok
    ok, message, code = self.store:cas(key, row, claim)
    if ok then
      forget(self.state(), key, own)
      self.running[key] = claim
      return claim
    end
    if code ~= "ECONFLICT" then return nil, nil, message end
  end
end

-- Replace a claim, unless it ran out and another request has the key; one that Redis has lost too.
local function replace(self, key, claim, row)
  while true do
    local before, message, code = self.store:get(key)
    if code then return nil, message, code end
    if before and before.running ~= claim.running or not (before or row) then return true end
    local ok
    ok, message, code = self.store:cas(key, before, row)
    if ok or code ~= "ECONFLICT" then return ok, message, code end
  end
end

local function keep_untold(s, key, own)
  if s.n >= UNTOLD_MAX then return false end
  if not s.untold[key] then s.n = s.n + 1 end
  s.untold[key] = own
  return true
end

--- It has run: keep what was answered; without a row it may run again.
-- @treturn boolean|nil true, also when that is done later; or nil, message
function Claims:finish(key, claim, row)
  if self.running[key] == claim then self.running[key] = nil end
  local own = { claim = claim, row = row }
  local ok, message, code = replace(self, key, claim, row)
  if ok or PASSING[code] and keep_untold(self.state(), key, own) then return true end
  if row then replace(self, key, claim, nil) end
  return nil, message
end

local function sorted_keys(of)
  local list = {}
  for key in pairs(of) do list[#list + 1] = key end
  table.sort(list)
  return list
end

-- Tell Redis again; false: it is still away.
local function tell(self, s, key, now)
  local own = s.untold[key]
  if not own then return true end
  if not is_over(self, own.row or own.claim, now) then
    local ok, message, code = replace(self, key, own.claim, own.row)
    if not ok and PASSING[code] then return false end
    if not ok then
      sluice.log.warn("an answer was not kept for its Idempotency-Key: " .. message)
    end
  end
  forget(s, key, own)
  return true
end

-- Claim anew, when it is time.
local function renew(self, key, now)
  local claim = self.running[key]
  if not claim or now - claim.at < self.times.running / RENEW_PART then return end
  local before, _, code = self.store:get(key)
  if code or before and before.running ~= claim.running then return end
  local again = { at = now, bytes = claim.bytes, running = claim.running }
  if self.store:cas(key, before, again) then claim.at = now end
end

--- Each second: tell Redis what it was not told, and claim anew what still runs.
function Claims:look()
  local s, now = self.state(), sluice.time()
  for _, key in ipairs(sorted_keys(s.untold)) do
    if not tell(self, s, key, now) then return end
  end
  for _, key in ipairs(sorted_keys(self.running)) do renew(self, key, now) end
end

--- Forget what is too old; and the oldest, of more than `most`.
function Claims:trim(most)
  local now, list = sluice.time(), {}
  for key, row in self.store:each() do
    if is_over(self, row, now) then self.store:delete(key, { wait = false })
    else list[#list + 1] = { key = key, at = row.at } end
  end
  table.sort(list, function(a, b) return a.at < b.at end)
  for i = 1, #list - most do self.store:delete(list[i].key, { wait = false }) end
end

return claims
