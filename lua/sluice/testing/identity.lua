--- The user of a request, in a test: t:get(path, { user = "alice" }) sets req.user, without a
-- password. The request carries a number that only this list knows; the runtime of a server that
-- listens has no such list, so that no header from outside can be taken for one. In memory: the
-- users of requests that were not claimed yet, or not answered.
local caller = require("sluice.base.caller")
local core = require("sluice.core")

local identity = {}

---@class sluice.testing.Identity
local Identity = {}
Identity.__index = Identity

identity.HEADER = "x-sluice-test-user"

function identity.new()
  return setmetatable({ given = {}, claims = {}, requests = setmetatable({}, { __mode = "k" }),
    n = 0 }, Identity)
end

-- "alice" or { id =, roles = {"Admin"} } as guards leave it: roles are a set.
local function complete(user)
  if type(user) == "string" then user = { id = user } end
  if type(user) ~= "table" or type(user.id) ~= "string" then
    caller.raise("user is a name, or a table with an id")
  end
  local out, roles = {}, {}
  for name, value in pairs(user) do out[name] = value end
  for key, value in pairs(user.roles or {}) do
    if type(key) == "number" then roles[value] = true else roles[key] = value end
  end
  out.name, out.roles = out.name or out.id, roles
  return out
end

--- Remember a user.
-- @treturn string the header's value
function Identity:give(user)
  self.n = self.n + 1
  self.given[tostring(self.n)] = complete(user)
  return tostring(self.n)
end

--- Give the request its user; for the runtime.
function Identity:claim(raw)
  raw.headers = raw.headers or core.headers(raw.header_text)
  local number = raw.headers[identity.HEADER]
  if not number then return end
  raw.headers[identity.HEADER] = nil
  raw.user, self.given[number] = self.given[number], nil
  self.claims[number] = { user = raw.user }
  self.requests[raw] = self.claims[number]
end

--- Look at what a guard left of the user; for the runtime, after each guard.
-- @tparam sluice.Request req
-- @tparam table guard its place: `n`, `where`
function Identity:look(req, guard)
  local claim, user = self.requests[req], rawget(req, "user")
  if not claim or claim.replaced or user == claim.user then return end
  if type(user) == "table" and user.id == claim.user.id then return end -- it knows more of it
  claim.replaced = ("guard #%d of %s put %s in place of the test's user '%s': write req.user = "
    .. "req.user or …"):format(guard.n, guard.where, user and "another user" or "no user",
    claim.user.id)
end

--- Which guard put another user in the place of one that was given: a sentence, or nil.
-- @tparam string number from give; forgotten now
function Identity:replaced(number)
  local claim = self.claims[number]
  self.claims[number] = nil
  return claim and claim.replaced
end

--- Whether no code used a user that was given.
function Identity:unclaimed(number)
  local there = self.given[number] ~= nil
  self.given[number] = nil
  return there
end

return identity
