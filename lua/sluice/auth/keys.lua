--- API keys: from a list, a file that is read again when it changes, or a function. Only their
-- SHA-256 is kept. In memory: the rows by it, at most 10,000.
local sluice = require("sluice")
local crypto = require("sluice.crypto")
local json = require("sluice.json")
local options = require("sluice.base.options")
local users = require("sluice.auth.users")

local keys = {}

---@class sluice.auth.Keys
local Keys = {}
Keys.__index = Keys

local ROW = { id = options.NONE, hash = options.NONE, key = options.NONE, name = options.NONE,
  roles = options.NONE, expires = options.NONE }
local ROWS_MAX, FILE_MAX, SECRET_MAX = 10000, 4 << 20, 512
local LOOK_SECONDS = 1 -- how often a file is looked at
local HOW = "a key is long and random, and its SHA-256 is written here: "
  .. "printf %s KEY | sha256sum"

-- The digest of a row in lower case; or nil and what is wrong.
local function read_hash(hash)
  if type(hash) ~= "string" then return nil, "hash is missing: " .. HOW end
  local digits = hash:match("^%s*(%x+)%s*%-?%s*$") -- as sha256sum prints it
  if digits and #digits == 64 then return digits:lower() end
  return nil, "hash has to be 64 hexadecimal digits: " .. HOW
end

-- One row, checked; or nil and what is wrong.
local function read_row(given)
  if type(given) ~= "table" then return nil, "is a table, not a " .. type(given) end
  for name in pairs(given) do
    if ROW[name] == nil then return nil, ("has no field '%s'"):format(tostring(name)) end
  end
  local digest, message = read_hash(given.hash)
  if not digest then return nil, message end
  local row = { id = given.id, name = given.name, roles = given.roles, expires = given.expires }
  if type(row.expires) == "string" then
    row.expires = sluice.time(row.expires)
    if not row.expires then return nil, "expires is a time: 2027-01-31T00:00:00Z" end
  end
  local user
  user, message = users.new(row, "key", {})
  if not user then return nil, message end
  local key = given.key == nil and row.id or given.key
  if not users.is_id(key) then return nil, "key, its name, has to be like an id" end
  return { digest = digest, key = key, row = row }
end

-- All that an open stream was given by a row, as text: when it changes, the stream ends.
local function print_of(entry)
  local user = users.new(entry.row, "key", { key = entry.key })
  return (json.encode(users.plain(user)))
end

-- Rows by their digest; or nil and what is wrong with which.
local function read_rows(list, what)
  if type(list) ~= "table" then return nil, what .. " is a list of keys" end
  if #list > ROWS_MAX then return nil, ("%s: more than %d keys"):format(what, ROWS_MAX) end
  local rows = {}
  for i, given in ipairs(list) do
    local entry, message = read_row(given)
    local where = ("%s, key %d"):format(what, i)
    if not entry then return nil, ("%s: %s"):format(where, message) end
    if rows[entry.digest] then return nil, where .. ": this hash comes twice" end
    rows[entry.digest] = entry
  end
  for name in pairs(list) do
    if math.type(name) ~= "integer" then return nil, what .. " is a list of keys" end
  end
  return rows
end

local function read_file(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read(FILE_MAX + 1)
  file:close()
  if text and #text > FILE_MAX then return nil, path .. ": larger than 4 MiB" end
  return text or ""
end

local function parse_file(path, text)
  local list, message = json.decode(text)
  if list == nil then return nil, ("%s: %s"):format(path, message) end
  return read_rows(list, path)
end

--- Declare where keys come from. At the top level of an app; raises what is wrong with them.
-- @tparam sluice.App app
-- @tparam string name of the auth object
-- @tparam table|string|function source
-- @tparam sluice.auth.Revoked gone
function keys.new(app, name, source, gone)
  local self = setmetatable({ gone = gone, rows = {}, prints = app:state(name .. ".keys", {}) },
    Keys)
  if type(source) == "function" then
    self.ask = source
  elseif type(source) == "string" then
    self.path = source
    self:read(true)
    app:every(LOOK_SECONDS, { name = name .. ":keys" }, function() self:read() end)
  else
    local rows, message = read_rows(source, "auth.new: keys")
    if not rows then options.raise(message) end
    self.rows = rows
  end
  if not self.ask then
    app:on("start", function() self:compare() end)
    app:on("reload", function() self:compare() end)
  end
  return self
end

--- Read the file, when it has changed. One that makes no sense changes nothing.
-- @tparam[opt] boolean first raise instead
function Keys:read(first)
  local text, message = read_file(self.path)
  if text == self.text and message == self.problem then return end
  self.text, self.problem = text, message
  local rows
  if text then rows, message = parse_file(self.path, text) end
  if rows then
    self.rows = rows
    if not first then self:compare() end
  elseif first then
    options.raise("auth.new: keys: " .. message)
  else
    sluice.log.error("the keys stay as they were: " .. message)
  end
end

-- End the streams of keys that are gone, and of those that have changed. What was there before is
-- known by the app's state, so that a reload compares, too.
function Keys:compare()
  local before, now, gone, changed = self.prints(), {}, {}, {}
  for digest, entry in pairs(self.rows) do now[digest] = print_of(entry) end
  for digest, text in pairs(before) do
    if not now[digest] then gone[digest] = true
    elseif now[digest] ~= text then changed[digest] = true end
    before[digest] = nil
  end
  for digest, text in pairs(now) do before[digest] = text end
  local function among(set) return function(user) return set[user.digest or ""] end end
  if next(gone) then self.gone:close(nil, among(gone), "revoked") end
  if next(changed) then self.gone:close(nil, among(changed), "expired") end
end

--- The digests of the keys of a user, or of a name; nil when nobody knows.
-- @tparam string field "id" or "key"
-- @tparam string value
-- @treturn table|nil a set
function Keys:digests(field, value)
  if self.ask then return nil end
  local set = {}
  for digest, entry in pairs(self.rows) do
    if (field == "id" and entry.row.id or entry.key) == value then set[digest] = true end
  end
  return set
end

--- The user of a ticket, by what its key says now.
-- @treturn table|nil or nil and why not, for the log
function Keys:again(user)
  if self.ask or not user.digest then return user end
  local entry = self.rows[user.digest]
  if not entry then return nil, "the key that it was made by is gone" end
  return users.new(entry.row, user.via, { key = entry.key, digest = user.digest })
end

--- Whose key it is.
-- @tparam string secret as the client brought it
-- @treturn table|nil the user; or nil and why not, for the log
function Keys:find(secret)
  if #secret > SECRET_MAX then return nil, "the key is too long" end
  local digest = crypto.hex(crypto.sha256(secret))
  if self.ask then
    local given = self.ask(secret)
    if not given then return nil, "the key is unknown" end
    local user, message = users.new(given, "key", { key = given.key or given.id, digest = digest,
      issued = given.issued })
    if not user then error("auth.new: keys: the function returned: " .. message, 0) end
    return user
  end
  local entry = self.rows[digest]
  if not entry or not crypto.equal(digest, entry.digest) then return nil, "the key is unknown" end
  return users.new(entry.row, "key", { key = entry.key, digest = digest })
end

return keys
