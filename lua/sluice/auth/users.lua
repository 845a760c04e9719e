--- Users as guards leave them in req.user: { id, name, roles, via, expires, claims }. What they
-- were known by (`key`, `session`, `issued`, `digest`) can be read as well, and is in no answer
-- that a user is put into: it stands behind the table. Keeps nothing in memory.
local segment = require("sluice.base.segment")

local users = {}

local ROLES_MAX, NAME_MAX = 64, 256
local KNOWN_BY = { "key", "session", "issued", "digest" }

--- Whether a text can be the id of a user.
users.is_id = segment.fits

-- The roles of a list or a set, as a set; or nil and what is wrong.
local function read_roles(roles)
  local set, n = {}, 0
  if roles == nil then return set end
  if type(roles) ~= "table" then return nil, "roles are a list, not a " .. type(roles) end
  for key, value in pairs(roles) do
    local role = key
    if math.type(key) == "integer" then role, value = value, true end
    if type(role) ~= "string" or role == "" or #role > 64 then
      return nil, "a role is a text of at most 64 bytes"
    end
    if value == true then set[role], n = true, n + 1 end
  end
  if n > ROLES_MAX then return nil, ("a user has at most %d roles"):format(ROLES_MAX) end
  return set
end

local function refuse_field(_, name)
  error(("req.user is what a guard found out, and is not written: '%s'"):format(tostring(name)), 2)
end

--- Make a user.
-- @tparam table given { id, name, roles = list or set, expires, claims }
-- @tparam string via "key", "jwt", "session" or "ticket"
-- @tparam table known what it was known by: { key, session, issued, digest }
-- @treturn table|nil or nil and what is wrong
function users.new(given, via, known)
  if type(given) ~= "table" then return nil, "a user is a table, not a " .. type(given) end
  if not users.is_id(given.id) then
    return nil, ("'%s' cannot be the id of a user: at most 64 letters, digits and _ . @ + = ~ : -")
      :format(tostring(given.id):sub(1, 80))
  end
  if given.name ~= nil and (type(given.name) ~= "string" or #given.name > NAME_MAX) then
    return nil, ("name is a text of at most %d bytes"):format(NAME_MAX)
  end
  local expires = given.expires
  if expires ~= nil and (type(expires) ~= "number" or expires ~= expires) then
    return nil, "expires is a time in seconds since 1970"
  end
  local roles, message = read_roles(given.roles)
  if not roles then return nil, message end
  local behind = { __index = known, __newindex = refuse_field, __name = "sluice.User" }
  return setmetatable({ id = given.id, name = given.name or given.id, roles = roles, via = via,
    expires = expires, claims = given.claims }, behind)
end

--- The same as plain data, for cookies and tickets.
function users.plain(user)
  local roles, out = {}, { id = user.id, expires = user.expires }
  if user.name ~= user.id then out.name = user.name end
  for role in pairs(user.roles or {}) do roles[#roles + 1] = role end
  table.sort(roles)
  out.roles = roles[1] and roles or nil
  for _, name in ipairs(KNOWN_BY) do out[name] = user[name] end
  return out
end

--- What a user was known by, of such data.
function users.known_by(plain)
  local known = {}
  for _, name in ipairs(KNOWN_BY) do known[name] = plain[name] end
  return known
end

return users
