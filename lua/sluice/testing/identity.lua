--- Who asks, in a test: t:get(path, { user = "alice" }) puts req.user in, without a password.
-- The request carries a number that only this list knows; the runtime of a server that
-- listens has no such list, so that no header of the world can be taken for one. In memory:
-- the users of requests that were not claimed yet.
local core = require("sluice.core")

local identity = {}

---@class sluice.testing.Identity
local Identity = {}
Identity.__index = Identity

identity.HEADER = "x-sluice-test-user"

function identity.new()
  return setmetatable({ given = {}, n = 0 }, Identity)
end

-- "alice" or { id =, roles = {"Admin"} } as guards leave it: roles are a set.
local function complete(user)
  if type(user) == "string" then user = { id = user } end
  if type(user) ~= "table" or type(user.id) ~= "string" then
    error("user is a name, or a table with an id", 0)
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
end

--- Whether nobody asked for a user that was given.
function Identity:unclaimed(number)
  local there = self.given[number] ~= nil
  self.given[number] = nil
  return there
end

return identity
