--- Idempotency keys over the nodes of a cluster: which request runs, and what was answered, in the
-- app:store that all nodes have. A node claims a key before it runs the handler, and Redis lets one
-- of them. In memory: nothing of its own; the store is a copy of what Redis has.
local keeper = require("sluice.base.keeper")
local sluice = require("sluice")

local claims = {}

---@class sluice.auth.Claims
local Claims = {}
Claims.__index = Claims

--- Whether the app is a node of a cluster, and its store that of all.
function claims.are_needed(store) return store.add ~= nil and keeper.is_shared() end

--- `times`: { keep =, running = } in seconds
function claims.new(store, times) return setmetatable({ store = store, times = times }, Claims) end

local function is_over(self, row, now)
  return now - row.at >= (row.running and self.times.running or self.times.keep)
end

--- Claim a key, unless another request has it.
-- @treturn table|nil the claim; or nil and one of:
-- @treturn ?table what another one has: the answer, or { running = true }; both have `bytes`
-- @treturn ?string that Redis cannot be asked
function Claims:take(key, bytes)
  local claim = { at = sluice.time(), bytes = bytes, running = sluice.id() }
  while true do
    local row, message, code = self.store:get(key)
    if code then return nil, nil, message end
    if row and not is_over(self, row, claim.at) then return nil, row end
    local ok
    ok, message, code = self.store:cas(key, row, claim)
    if ok then return claim end
    if code ~= "ECONFLICT" then return nil, nil, message end
  end
end

--- It has run: keep what was answered; without a row it may run again.
-- @treturn boolean|nil true, or nil, message
function Claims:finish(key, claim, row)
  local ok, message, code = self.store:cas(key, claim, row)
  if ok or code == "ECONFLICT" then return true end -- it took so long that another one has run it
  if row then self.store:cas(key, claim, nil) end
  return nil, message
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
