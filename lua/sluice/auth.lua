--- Who is it, and may they: API keys, JSON Web Tokens, sessions, tickets, roles, limits.
---
---   local auth = require("sluice.auth").new(app, { keys = "keys.json" })
---   app:guard("/api/**", auth:user())
---   app:post("/api/announce", auth:role("Admin"), function(req) … end)
---
--- Guards put a user into req.user; when it expires, or is revoked, its streams end within a
--- second. Keeps in memory what its parts say (sluice/auth/): tickets, limits, revocations.
local sluice = require("sluice")
local crypto = require("sluice.crypto")
local handlers_only = require("sluice.base.handlers_only")
local idempotent = require("sluice.auth.idempotent")
local jwt = require("sluice.auth.jwt")
local keys = require("sluice.auth.keys")
local limits = require("sluice.auth.limits")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local revoked = require("sluice.auth.revoked")
local sessions = require("sluice.auth.sessions")
local tickets = require("sluice.auth.tickets")
local users = require("sluice.auth.users")
local who = require("sluice.auth.who")

---@class sluice.AuthModule
local auth = {}

---@class sluice.Auth
local Auth = {}
Auth.__index = Auth
Auth.__name = "sluice.Auth"

local KNOWN = { name = "auth", keys = options.NONE, jwt = options.NONE, session = options.NONE,
  tickets = options.NONE, header = "x-api-key", query = options.NONE, failures = options.NONE,
  audit = true, durable = true, keep = 30 * 86400 }
local FAILURES = { rate = 60, per = 60, by = "ip" }
local AUDIT_EVENTS = 10000

-- Paths are relative to the file of the app that calls auth.new.
local function folder_of_caller()
  for level = 3, 20 do
    local info = debug.getinfo(level, "S")
    if not info then break end
    local folder = info.what ~= "C" and info.source:match("^@(.*)/[^/]*$")
    if info.what ~= "C" then return folder or "." end
  end
  return "."
end

local function below(folder, path)
  if type(path) ~= "string" or path:find("^/") or path:find("^https?://") then return path end
  return folder .. "/" .. path
end

local function check(given)
  local o = options("auth.new", given, KNOWN)
  if not o.name:find("^%w[%w_-]*$") then
    options.raise("auth.new: name: letters, digits, _ and -")
  end
  if not (o.keep >= 3600 and o.keep <= 366 * 86400) then
    options.raise("auth.new: keep is a number of seconds from 3600")
  end
  if o.query == true then o.query = "apikey" end
  if o.query ~= nil and o.query ~= false and type(o.query) ~= "string" then
    options.raise('auth.new: query is the name of a parameter, as "apikey"')
  end
  if not (o.keys or o.jwt or o.session) then
    options.raise("auth.new: nobody could be known: give keys, jwt or session")
  end
  if o.failures ~= false then
    o.failures = limits.check("auth.new: failures", o.failures or FAILURES, "ip")
  end
  return o
end

local function make_parts(self, app, o, folder)
  self.revoked = revoked.new(app, o.name, o)
  self.limits = limits.new(app, o.name)
  if o.failures then self.limits:declare("failures", o.failures) end
  if o.keys then self.keys = keys.new(app, o.name, below(folder, o.keys), self.revoked) end
  if o.session then self.sessions = sessions.new(o.session, o.keep, o.name) end
  if o.tickets ~= false then self.tickets = tickets.new(app, o.name, o.tickets) end
  if o.jwt then
    self.jwt = jwt.new(app, o.name, o.jwt, o.keep, function(path) return below(folder, path) end)
  end
end

local function is_admin(user)
  return user ~= nil and user.roles ~= nil and user.roles.Admin == true
end

--- Know users. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam table given `keys` (a list of { id, hash, roles, name, key, expires }, a JSON file with
--   such a list, or fn(key) -> user), `jwt` (a list of { issuer, audience, alg, key or jwks, user,
--   scope, typ, leeway }), `session` ({ secret, ttl, cookie, same_site, secure }), `tickets`
--   ({ ttl = 30 }, or false), `header` ("x-api-key"), `query` (the name of a parameter for keys),
--   `failures` ({ rate = 60, per = 60 }, or false), `audit` (true), `durable` (true), `keep` (30
--   days), `name` ("auth")
-- @treturn sluice.Auth
function auth.new(app, given)
  local o = check(given)
  local self = setmetatable({ app = app, header = o.header:lower(), query = o.query or nil,
    failures = o.failures }, Auth)
  make_parts(self, app, o, folder_of_caller())
  self.make_answers = function() return idempotent.new(app, o.name, o.durable) end
  if o.audit then
    self.audit = o.name == "auth" and "audit" or o.name .. "/audit"
    app:channel(self.audit, { history = AUDIT_EVENTS, durable = o.durable or nil,
      read = is_admin })
  end
  return self
end

-- ---- Guards ------------------------------------------------------------------------------

local function log_audit(self, event)
  if not self.audit then return end
  event.timestamp = sluice.timestamp()
  local ok, message = self.app:publish(self.audit, "audit", event, { wait = false })
  if not ok then sluice.log.error("an audit event was not published: " .. message) end
end

local function audit_request(self, req, status)
  log_audit(self, { user = req.user and req.user.id, method = req.method, path = req.path,
    ip = req.ip, status = status })
end

--- Guard: somebody who is known. Else 401.
function Auth:user()
  return function(req)
    local status, body, headers = who.identify(self, req, true)
    if status then return status, body, headers end
    return true, self.revoked:watch(req.user)
  end
end

--- Guard: whoever it is; req.user is nil for strangers. A key or token that is no good is refused.
function Auth:optional()
  return function(req)
    local status, body, headers = who.identify(self, req, false)
    if status then return status, body, headers end
    if not req.user then return true end
    return true, self.revoked:watch(req.user)
  end
end

--- Guard: a user with one of these roles. Else 401 or 403; both answers are in the audit channel.
-- @param ... roles
function Auth:role(...)
  local roles = table.pack(...)
  if roles.n == 0 then error("auth:role(name…): a role is missing", 2) end
  for i = 1, roles.n do
    if type(roles[i]) ~= "string" then error("auth:role(name…): a role is a string", 2) end
  end
  return function(req)
    local status, body, headers = who.identify(self, req, true)
    if status then return status, body, headers end
    for _, role in ipairs(roles) do
      if req.user.roles and req.user.roles[role] then
        local done = self.revoked:watch(req.user)
        return true, function(answered)
          done()
          audit_request(self, req, answered)
        end
      end
    end
    audit_request(self, req, 403)
    return 403, "needs the role " .. table.concat(roles, " or ")
  end
end

--- Guard: at most `rate` requests in any `per` seconds, by user (by address where there is none),
-- or by address. Else 429 with Retry-After.
-- @tparam string name limits of one name count together
-- @tparam[opt] table given { rate = 10, per = 60, by = "user" | "ip", counted = "node" |
--   "cluster": by all nodes together }
function Auth:limit(name, given)
  if type(name) ~= "string" or name == "" then
    error("auth:limit(name, …): a name is missing", 2)
  end
  local o = limits.check(("auth:limit(%q)"):format(name), given, "user")
  self.limits:declare("limit " .. name, o)
  return function(req)
    local wait = self.limits:hit("limit " .. name, o, limits.who(req, o.by))
    if wait then return 429, "too many requests", { ["Retry-After"] = wait } end
    return true
  end
end

--- Guard: a request with the header Idempotency-Key that comes again gets the answer of the first,
-- and the handler does not run again.
function Auth:idempotent()
  self.answers = self.answers or self.make_answers()
  local function guard(req) return self.answers:ask(req) end
  handlers_only[guard] = "auth:idempotent()"
  return guard
end

-- ---- Sessions and tickets ----------------------------------------------------------------

--- Begin a session.
-- @tparam table user { id, name, roles, expires }; an id that cannot be a segment of a channel's
--   name raises: it is your directory's, and checked when it gets there
-- @treturn table headers for the answer
function Auth:sign_in(user)
  if not self.sessions then error("auth:sign_in(): auth.new was given no session", 2) end
  local headers, message = self.sessions:begin(user)
  if not headers then error("auth:sign_in(): " .. message, 2) end
  log_audit(self, { action = "sign-in", user = user.id })
  return headers
end

--- End the session of a request, with its streams. Waits.
-- @tparam sluice.Request req
-- @treturn table headers for the answer
function Auth:sign_out(req)
  if not self.sessions then error("auth:sign_out(): auth.new was given no session", 2) end
  local user = req.user and req.user.session and req.user or self.sessions:find(req)
  if user and user.session then
    local _, message, code = self.revoked:add("session", user.session, nil, user.id)
    if code then sluice.log.error("a session's end was not stored: " .. message) end
    log_audit(self, { action = "sign-out", user = user.id, ip = req.ip })
  end
  return self.sessions:clear()
end

--- A ticket, for one connection: ?ticket=…
-- @tparam table user whom it stands for, as req.user
-- @treturn string|nil or nil, message, code
function Auth:ticket(user)
  if not self.tickets then error("auth:ticket(): tickets are off", 2) end
  if type(user) ~= "table" or not users.is_id(user.id) then
    error("auth:ticket(user): a user is missing: req.user", 2)
  end
  return self.tickets:issue(user)
end

--- The hash of a password, to be stored. Waits (see crypto.hash).
function Auth:hash(password) -- luacheck: no unused args
  return crypto.hash(password)
end

--- Whether a password is the one of a hash. Waits; takes as long without a hash.
function Auth:verify(password, hash) -- luacheck: no unused args
  return crypto.verify(password, hash)
end

--- Revoke what identifies a user, one key or one session up to now, and end its streams. Waits
-- until that is on the disk.
-- @tparam table what { user = id }, { key = name } or { session = id }
-- @treturn integer|nil how many streams ended; or nil, message, code
function Auth:revoke(what)
  local o = options("auth:revoke()", what, { user = options.STRING, key = options.STRING,
    session = options.STRING })
  local kind, id = next(o)
  if not kind or next(o, kind) then error("auth:revoke(): user, key or session, one of them", 2) end
  local digests
  if self.keys and kind == "user" then digests = self.keys:digests("id", id) end
  if self.keys and kind == "key" then digests = self.keys:digests("key", id) end
  log_audit(self, { action = "revoke", [kind] = id })
  return self.revoked:add(kind, id, digests, kind == "user" and id or nil)
end

--- Register POST <prefix>/ticket and DELETE <prefix>/session.
-- @tparam string prefix
-- @param ... guards in place of auth:user()
function Auth:routes(prefix, ...)
  local guards = table.pack(...)
  if guards.n == 0 then guards = table.pack(self:user()) end
  if self.tickets then
    guards[guards.n + 1] = function(req)
      if req.user and req.user.via == "ticket" then return 403, "a ticket makes no ticket" end
      local ticket, message, code = self:ticket(req.user)
      if not ticket then return nil, message, code end
      return 200, { ticket = ticket, expires = sluice.timestamp(sluice.time() + self.tickets.ttl) },
        { ["Cache-Control"] = "no-store" }
    end
    self.app:post(prefix .. "/ticket", table.unpack(guards, 1, guards.n + 1))
  end
  if self.sessions then
    self.app:delete(prefix .. "/session", function(req) return 204, nil, self:sign_out(req) end)
  end
end

names.lenient(Auth, "auth", Auth, {})
return names.strict(auth, "sluice.auth", ".")
