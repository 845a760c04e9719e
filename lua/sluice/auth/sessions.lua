--- Sessions: a cookie that says who it is, and whose signature only this server can make.
-- Nothing is stored for a session: what ends one early is a revocation. Keeps nothing in memory.
local sluice = require("sluice")
local crypto = require("sluice.crypto")
local json = require("sluice.json")
local options = require("sluice.base.options")
local users = require("sluice.auth.users")

local sessions = {}

---@class sluice.auth.Sessions
local Sessions = {}
Sessions.__index = Sessions

local KNOWN = { secret = options.NONE, ttl = 86400, cookie = "sid", same_site = "Lax",
  secure = true }
local SAME_SITE = { Lax = true, Strict = true, None = true }
local SECRET_LEAST, SECRETS_MAX, COOKIE_MAX = 32, 8, 3800
local HOW = "make one with: openssl rand -base64 32"

local function read_secrets(secret, name, fail)
  local list = type(secret) == "table" and secret or { secret }
  if #list == 0 then fail("session.secret is missing; " .. HOW) end
  if #list > SECRETS_MAX then fail(("session.secret: at most %d"):format(SECRETS_MAX)) end
  local keys = {}
  for i, text in ipairs(list) do
    if type(text) ~= "string" then fail("session.secret is a string, or a list of them") end
    if #text < SECRET_LEAST then
      fail(("session.secret has at least %d characters; %s"):format(SECRET_LEAST, HOW))
    end
    keys[i] = crypto.hmac_sha256(text, "sluice session of " .. name) -- and of nothing else
  end
  return keys
end

--- @tparam table given { secret, ttl, cookie, same_site, secure }
-- @tparam number keep the longest life
-- @tparam string name of the auth object: another one does not take its sessions
function sessions.new(given, keep, name)
  local function fail(message) options.raise("auth.new: " .. message) end
  local o = options("auth.new: session", given, KNOWN)
  if not (o.ttl >= 1 and o.ttl <= keep) then
    fail(("session.ttl is a number of seconds from 1 to %d"):format(keep // 1))
  end
  if not o.cookie:find("^[%w_-]+$") then fail("session.cookie is a name: letters, digits, _ -") end
  if not SAME_SITE[o.same_site] then fail('session.same_site is "Lax", "Strict" or "None"') end
  if o.same_site == "None" and not o.secure then
    fail('session.same_site = "None" needs secure: browsers drop such a cookie')
  end
  return setmetatable({ keys = read_secrets(o.secret, name, fail), ttl = o.ttl, cookie = o.cookie,
    attributes = ("; Path=/; HttpOnly; SameSite=%s%s"):format(o.same_site,
      o.secure and "; Secure" or "") }, Sessions)
end

local function cookie(self, value, seconds)
  return { ["Set-Cookie"] = ("%s=%s; Max-Age=%d%s"):format(self.cookie, value, seconds,
    self.attributes) }
end

--- The header that begins a session.
-- @tparam table given { id, name, roles, expires }
-- @treturn table|nil headers; or nil and what is wrong
function Sessions:begin(given)
  local now = sluice.time()
  local user, message = users.new(given, "session", { session = sluice.id(), issued = now })
  if not user then return nil, message end
  local plain = users.plain(user)
  plain.expires = math.min(plain.expires or math.huge, now + self.ttl)
  local text = crypto.base64url((json.encode(plain)))
  local value = text .. "." .. crypto.base64url(crypto.hmac_sha256(self.keys[1], text))
  if #value > COOKIE_MAX then return nil, "name and roles are too long for a cookie" end
  return cookie(self, value, math.max(0, math.ceil(plain.expires - now))), user.session
end

--- The header that takes the cookie away.
function Sessions:clear()
  return cookie(self, "", 0)
end

--- Whose session the cookie of a request is.
-- @tparam sluice.Request req
-- @treturn table|nil the user; or nil and why not, nil for no cookie
function Sessions:find(req)
  local value = req.cookies[self.cookie]
  if value == nil or value == "" then return nil end
  if #value > COOKIE_MAX then return nil, "the cookie is too long" end
  local text, signature = value:match("^([%w_-]+)%.([%w_-]+)$")
  signature = text and crypto.from_base64url(signature)
  local good = false
  for _, key in ipairs(signature and self.keys or {}) do
    good = crypto.equal(crypto.hmac_sha256(key, text), signature) or good
  end
  if not good then return nil, "the cookie was not signed with this secret" end
  local plain = json.decode(crypto.from_base64url(text) or "")
  if type(plain) ~= "table" then return nil, "the cookie holds no session" end
  if type(plain.expires) ~= "number" or plain.expires <= sluice.time() then
    return nil, "the session is over"
  end
  return users.new(plain, "session", users.known_by(plain))
end

return sessions
