--- JSON Web Tokens (RFC 7519), checked as RFC 8725 asks: an entry of `jwt` has one issuer, one
-- audience and one algorithm, and nothing that a token says about how to check it is followed.
-- Keeps nothing in memory; the keys are in sluice.auth.keyset.
local sluice = require("sluice")
local crypto = require("sluice.crypto")
local keyset = require("sluice.auth.keyset")
local options = require("sluice.base.options")
local strict_json = require("sluice.auth.strict_json")
local users = require("sluice.auth.users")

local jwt = {}

---@class sluice.auth.Jwt
local Jwt = {}
Jwt.__index = Jwt

local KNOWN = { issuer = options.STRING, audience = options.NONE, alg = options.STRING,
  key = options.NONE, jwks = options.NONE, user = options.FUNCTION, scope = options.STRING,
  typ = options.STRING, leeway = 30 }
local ALGS = { HS256 = true, RS256 = true, ES256 = true }
local TYPES = { jwt = true, ["at+jwt"] = true }
local TOKEN_MAX, LEEWAY_MAX = 8192, 60

local function read_audience(audience, fail)
  local list = type(audience) == "table" and audience or { audience }
  local set = {}
  for _, name in ipairs(list) do
    if type(name) ~= "string" or name == "" then fail("audience is a text, or a list of them") end
    set[name] = true
  end
  if next(set) == nil then fail("audience is missing: whom the tokens are for, as in their aud") end
  return set
end

local function read_entry(app, name, given, i, place)
  local what = ("auth.new: jwt[%d]"):format(i)
  local function fail(message) options.raise(what .. ": " .. message) end
  local o = options(what, given, KNOWN)
  if not o.issuer or o.issuer == "" then fail("issuer is missing: the iss of its tokens") end
  if not ALGS[o.alg or ""] then fail('alg is "HS256", "RS256" or "ES256"') end
  if not (o.leeway >= 0 and o.leeway <= LEEWAY_MAX) then
    fail(("leeway is a number of seconds up to %d"):format(LEEWAY_MAX))
  end
  if (o.key == nil) == (o.jwks == nil) then fail("key or jwks, one of them") end
  o.jwks = place(o.jwks)
  local entry = { issuer = o.issuer, audience = read_audience(o.audience, fail), alg = o.alg,
    user = o.user, scope = o.scope, typ = o.typ and o.typ:lower(), leeway = o.leeway }
  entry.keys = keyset.new(app, ("%s:jwt%d"):format(name, i), o, fail)
  return entry
end

--- Declare the issuers. At the top level of an app; raises what is wrong.
-- @tparam sluice.App app
-- @tparam string name of the auth object
-- @tparam {table,...} list { issuer, audience, alg, key or jwks, user, scope, typ, leeway }
-- @tparam number keep tokens that live longer are refused: a revocation would be over before
-- @tparam function place gives the place of a file
function jwt.new(app, name, list, keep, place)
  local fault = options.list_fault(list, "issuers", "table")
  if fault then options.raise("auth.new: jwt " .. fault) end
  local self = setmetatable({ entries = {}, keep = keep }, Jwt)
  for i, given in ipairs(list) do self.entries[i] = read_entry(app, name, given, i, place) end
  return self
end

--- Whether a text looks like a token: three parts.
function jwt.is_one(text)
  return text:find("^[%w_-]+%.[%w_-]*%.[%w_-]*$") ~= nil
end

-- Header, claims, what was signed, and the signature; or nil and what is wrong.
local function parse(token)
  if #token > TOKEN_MAX then return nil, "the token is too long" end
  local signed, head, body, signature = token:match("^(([%w_-]+)%.([%w_-]+))%.([%w_-]+)$")
  if not signed then return nil, "it is no token" end
  head, body = crypto.from_base64url(head), crypto.from_base64url(body)
  signature = crypto.from_base64url(signature)
  if not (head and body and signature) then return nil, "a part is not base64url" end
  local header, claims, message
  header, message = strict_json.object(head)
  if not header then return nil, "header: " .. message end
  claims, message = strict_json.object(body)
  if not claims then return nil, "claims: " .. message end
  return header, claims, signed, signature
end

-- What is wrong with a header, or nil.
local function header_fault(entry, header)
  if header.crit ~= nil then return "crit names an extension, and none is known" end
  local typ = header.typ
  if typ ~= nil and type(typ) ~= "string" then return "typ is no text" end
  typ = typ and typ:lower():gsub("^application/", "")
  if entry.typ then
    return typ ~= entry.typ and ("typ is not '%s'"):format(entry.typ) or nil
  end
  if typ and not TYPES[typ] then return "typ is of another kind of token" end
end

local function is_time(value) return math.type(value) == "integer" and value >= 0 end

-- What is wrong with the times, or nil. A token is over when it says so, to the second.
local function time_fault(entry, claims, keep)
  local now = sluice.time()
  if not is_time(claims.exp) then return "exp is missing, or no time" end
  if claims.exp <= now then return "it is over (exp)" end
  if claims.exp - now > keep then
    return ("it lives longer than %d days, which is how long a revocation is kept")
      :format(keep // 86400)
  end
  for _, name in ipairs({ "nbf", "iat" }) do
    if claims[name] ~= nil and not is_time(claims[name]) then return name .. " is no time" end
    if (claims[name] or 0) > now + entry.leeway then return ("%s is to come"):format(name) end
  end
end

local function has_audience(entry, aud)
  if type(aud) == "string" then return entry.audience[aud] == true end
  for _, name in ipairs(type(aud) == "table" and aud or {}) do
    if type(name) == "string" and entry.audience[name] then return true end
  end
  return false
end

local function has_scope(wanted, scope)
  local there = {}
  for word in (type(scope) == "string" and scope or ""):gmatch("%S+") do there[word] = true end
  for word in wanted:gmatch("%S+") do
    if not there[word] then return false end
  end
  return true
end

local function claims_fault(entry, claims, keep)
  local fault = time_fault(entry, claims, keep)
  if fault then return fault end
  if not has_audience(entry, claims.aud) then return "it is for others (aud)" end
  if entry.scope and not has_scope(entry.scope, claims.scope) then return "its scope is another" end
end

-- What stands for the user when the app does not say.
local function plain_user(claims)
  local roles = type(claims.roles) == "table" and claims.roles or nil
  return { id = claims.sub, name = type(claims.name) == "string" and claims.name or nil,
    roles = roles }
end

local function user_of(entry, claims)
  local given, why
  if entry.user then
    given, why = entry.user(claims)
    if not given then return nil, why and tostring(why) or "the app knows no such user" end
  else
    given = plain_user(claims)
  end
  local made = { id = given.id, name = given.name, roles = given.roles, claims = claims,
    expires = math.min(given.expires or math.huge, claims.exp) }
  return users.new(made, "jwt", { issued = claims.iat })
end

-- The entries that a token may belong to; nil and what is wrong when there is none.
local function entries_for(self, header, claims)
  local list, known = {}, false
  for _, entry in ipairs(self.entries) do
    if entry.issuer == claims.iss then
      known = true
      if entry.alg == header.alg then list[#list + 1] = entry end
    end
  end
  if list[1] then return list end
  return nil, known and "alg is not the issuer's" or "its issuer is unknown (iss)"
end

local function try(self, entry, header, claims, signed, signature)
  local fault = header_fault(entry, header)
  if fault then return nil, fault end
  local key, message, busy = entry.keys:find(header.kid)
  if not key then return nil, message, busy end
  if not key:verify(signed, signature) then return nil, "the signature is not right" end
  fault = claims_fault(entry, claims, self.keep)
  if fault then return nil, fault end
  return user_of(entry, claims)
end

--- Whose token it is. May wait, for the keys of its issuer.
-- @tparam string token
-- @treturn table|nil the user; or nil, why not (for the log), and true when that is not the
--   token's fault
function Jwt:find(token)
  local header, claims, signed, signature = parse(token)
  if not header then return nil, claims end
  local list, message, busy = entries_for(self, header, claims)
  for _, entry in ipairs(list or {}) do
    local user
    user, message, busy = try(self, entry, header, claims, signed, signature)
    if user then return user end
  end
  return nil, message, busy
end

return jwt
