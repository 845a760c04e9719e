--- What no longer identifies anybody, and the streams that it opened.
--
-- A revocation names a user, a key or a session. It holds from the moment of the call, then it is
-- stored, and it is kept until what it revokes would have expired by itself; those of keys stay.
-- A request whose guards have agreed may still be about to open its stream: its user expires at
-- once, which is judged when the stream opens.
-- In memory: in the app's store, and the users of the guarded requests that run.
local sluice = require("sluice")
local keeper = require("sluice.base.keeper")

local revoked = {}

---@class sluice.auth.Revoked
local Revoked = {}
Revoked.__index = Revoked

local SLICE = 256 -- streams that are looked at before others have a turn
local CLEAN_SECONDS = 600

-- By the table of an auth object's state, which a reload leaves as it is: the users of requests
-- that run, by number. Requests of the code before the reload are among them.
local running = setmetatable({}, { __mode = "k" })
local WEAK = { __mode = "v" }

--- Declare what it keeps. At the top level of an app.
-- @tparam sluice.App app
-- @tparam string name of the auth object
-- @tparam table o { durable, keep }
function revoked.new(app, name, o)
  local self = setmetatable({ app = app, keep = o.keep, name = name .. ".revoked",
    kept = keeper(app, name .. ".revoked", o.durable),
    state = app:state(name .. ".revoking", { now = {}, serial = 0 }) }, Revoked)
  app:every(CLEAN_SECONDS, { name = name .. ":clean" }, function() self:clean() end)
  app:on("told", function(event)
    if event.missed then
      self:close(nil, function(user) return self:has(user) end, "revoked")
    elseif event.name == self.name and not event.own then
      self:hear(event.data)
    end
  end)
  return self
end

-- Whether a revocation is about this user.
local function covers(row, user)
  if row.till and row.till <= sluice.time() then return false end
  if user.digest and row.digests then return row.digests[user.digest] == true end
  return not (user.issued and user.issued > row.at)
end

local function hit(self, kind, id, user)
  if not id then return false end
  local name = kind .. ":" .. id
  local row = self.state().now[name] or self.kept:get(name)
  return row ~= nil and covers(row, user)
end

--- Whether a user was known by something that has been revoked since.
-- @tparam table user
function Revoked:has(user)
  return hit(self, "user", user.id, user) or hit(self, "key", user.key, user)
    or hit(self, "session", user.session, user)
end

-- Let others have their turn, where the caller can wait.
local function pause(n)
  if n % SLICE == 0 then sluice.sleep(0) end
end

--- End the streams of users that a function picks, also those that are about to open.
-- @tparam table|nil filter as of app:clients()
-- @tparam function wanted fn(user)
-- @tparam string reason "revoked" or "expired"
-- @treturn integer how many were open
function Revoked:close(filter, wanted, reason)
  local n, seen = 0, 0
  for _, user in pairs(running[self.state()] or {}) do
    if wanted(user) then rawset(user, "expires", 1) end
  end
  for client in self.app:clients(filter) do
    local user = client.user
    if user and wanted(user) and client:close(reason) then n = n + 1 end
    seen = seen + 1
    pause(seen)
  end
  return n
end

-- What a row is about, and is open on this node. @treturn integer how many
local function close_of(self, kind, id, row, user_id)
  return self:close(user_id and { user = user_id }, function(user)
    return (kind == "user" and user.id or user[kind]) == id and covers(row, user)
  end, "revoked")
end

-- Keep it: on the disk when this returns.
local function keep(self, name, row)
  local state = self.state()
  local ok, message, code = self.kept:set(name, row)
  if not ok then return nil, message, code end
  if state.now[name] == row then state.now[name] = nil end
  return true
end

--- Another node has revoked it.
function Revoked:hear(what)
  local row = { at = what.at, till = what.till, digests = what.digests }
  local name = what.kind .. ":" .. what.id
  self.state().now[name] = row
  close_of(self, what.kind, what.id, row, what.user)
  keep(self, name, row)
end

--- Revoke: from now on, on the disk when this returns, and every node of a cluster has been told.
-- @tparam string kind "user", "key" or "session"
-- @tparam string id
-- @tparam table|nil digests the keys that are meant: others of the same name stay good
-- @tparam[opt] string user_id whose they are, when that is known
-- @treturn integer|nil how many streams it ended; or nil, message, code: until the process ends it
--   holds all the same
function Revoked:add(kind, id, digests, user_id)
  local state, now, name = self.state(), sluice.time(), kind .. ":" .. id
  local for_ever = kind == "key" or digests ~= nil and next(digests) ~= nil
  local row = { at = now, till = not for_ever and now + self.keep or nil, digests = digests }
  state.now[name] = row
  local n = close_of(self, kind, id, row, user_id)
  local ok, message, code = keep(self, name, row)
  local told, why, what = self.app:tell(self.name, { kind = kind, id = id, at = now,
    till = row.till, digests = digests, user = user_id })
  if not ok then return nil, message, code end
  if not told then return nil, why, what end
  return n
end

--- A request of this user runs. Call what is returned when its answer is there.
-- @tparam table user
-- @treturn function
function Revoked:watch(user)
  local state = self.state()
  local serial = state.serial + 1
  state.serial = serial
  local list = running[state] or setmetatable({}, WEAK)
  running[state], list[serial] = list, user
  return function() list[serial] = nil end
end

--- Forget what has expired by itself.
function Revoked:clean()
  local now = sluice.time()
  for name, row in self.kept:each() do
    if row.till and row.till <= now then self.kept:delete(name, { wait = false }) end
  end
end

return revoked
