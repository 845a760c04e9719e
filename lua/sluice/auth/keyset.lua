--- The keys of an issuer: one, several, a JWKS (RFC 7517) in a file, or one behind a URL, which is
-- fetched by a service and never because of a word in a token. Only keys that fit the entry's
-- algorithm are used. In memory: the text of a JWKS, at most 64 KiB, in the app's state; its keys.
local sluice = require("sluice")
local crypto = require("sluice.crypto")
local http = require("sluice.http")
local json = require("sluice.json")

local keyset = {}

---@class sluice.auth.Keyset
local Keyset = {}
Keyset.__index = Keyset

local BYTES_MAX, KEYS_MAX = 65536, 100
local FETCH_SECONDS = 5
local FRESH_LEAST, FRESH_USUAL, FRESH_MOST = 300, 3600, 86400
local STALE_SECONDS = 86400 -- keys that could not be fetched again are good for this long
local AGAIN_SECONDS = 30 -- between two fetches because of a key that is not there
local RETRY_LEAST, RETRY_MOST = 2, 60
local LOOK_SECONDS, WAIT_LOOK_SECONDS, WAIT_SECONDS = 1, 0.1, 5

-- The key of a JWK, and its kid; nil when it is not for us.
local function key_of(jwk, alg)
  if type(jwk) ~= "table" then return nil end
  if jwk.use ~= nil and jwk.use ~= "sig" or jwk.alg ~= nil and jwk.alg ~= alg then return nil end
  if jwk.kid ~= nil and type(jwk.kid) ~= "string" then return nil end
  return crypto.key(alg, jwk), jwk.kid
end

-- { by = kid -> key, only = the key, when it is the only one }; or nil and what is wrong.
local function read_set(set, alg)
  if type(set) ~= "table" or type(set.keys) ~= "table" then return nil, "it is no JWKS" end
  if #set.keys > KEYS_MAX then return nil, ("it has more than %d keys"):format(KEYS_MAX) end
  local out, n = { by = {} }, 0
  for _, jwk in ipairs(set.keys) do
    local key, kid = key_of(jwk, alg)
    if key then
      if kid and out.by[kid] then return nil, ("kid '%s' comes twice"):format(kid) end
      n, out.only = n + 1, key
      if kid then out.by[kid] = key end
    end
  end
  if n == 0 then return nil, "it has no key for " .. alg end
  if n > 1 then out.only = nil end
  return out
end

local function read_text(text, alg)
  if #text > BYTES_MAX then return nil, "it is larger than 64 KiB" end
  local set, message = json.decode(text)
  if set == nil then return nil, message end
  return read_set(set, alg)
end

local function read_file(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read(BYTES_MAX + 1)
  file:close()
  return text or ""
end

-- ---- Kinds -------------------------------------------------------------------------------

-- One key: whatever a token calls it.
local function fixed(self, o, fail)
  local key, message = crypto.key(o.alg, o.key)
  if not key then fail("key: " .. message) end
  self.set = { by = {}, any = key }
end

local function from_file(self, app, name, path, fail)
  local function read(first)
    local text, message = read_file(path)
    if text == self.text and message == self.problem then return end
    self.text, self.problem = text, message
    local set
    if text then set, message = read_text(text, self.alg) end
    if set then self.set = set return end
    if first then fail(("jwks: %s: %s"):format(path, message)) end
    sluice.log.error(("the keys of %s stay as they were: %s"):format(path, message))
  end
  read(true)
  app:every(1, { name = name }, function() read(false) end)
end

-- Seconds for which an answer may be used.
local function freshness(headers)
  local age = (headers["cache-control"] or ""):match("max%-age=(%d+)")
  local seconds = age and #age <= 9 and tonumber(age) or FRESH_USUAL
  return math.min(math.max(seconds, FRESH_LEAST), FRESH_MOST)
end

-- Fetch once. Seconds until the next time; or nil and what is wrong.
local function fetch(self)
  local answer, message = http.get(self.url, { timeout = FETCH_SECONDS, max_bytes = BYTES_MAX,
    redirects = 0, headers = { accept = "application/json" } })
  if not answer then return nil, message end
  if answer.status ~= 200 then return nil, ("status %d"):format(answer.status) end
  local set
  set, message = read_text(answer.body, self.alg)
  if not set then return nil, message end
  local state = self.state()
  state.text, state.fetched = answer.body, sluice.time()
  return freshness(answer.headers)
end

-- The service: fetch, and again when it is time, or somebody wants it.
local function keep_fresh(self)
  local retry = RETRY_LEAST
  while true do
    local state = self.state()
    state.wanted, state.tried = nil, sluice.time()
    local wait, message = fetch(self)
    if wait then
      retry = RETRY_LEAST
    else
      sluice.log.warn(("the keys of %s were not fetched: %s"):format(self.url, message))
      wait, retry = retry, math.min(retry * 2, RETRY_MOST)
    end
    local till = sluice.time() + wait
    repeat
      sluice.checkpoint()
      sluice.sleep(LOOK_SECONDS)
    until sluice.time() >= till or self.state().wanted
  end
end

local function from_url(self, app, name, url, fail)
  local host = url:match("^http://%[?([%w.:-]+)%]?[:/]")
  local is_near = host == "localhost" or host == "127.0.0.1" or host == "::1"
  if not url:find("^https://") and not is_near then
    fail("jwks: https, or http on this machine: whoever can change the keys is every user")
  end
  self.url, self.state = url, app:state(name, {})
  app:service(name, function() keep_fresh(self) end)
end

--- Declare keys. At the top level of an app.
-- @tparam sluice.App app
-- @tparam string name
-- @tparam table o { alg, key or jwks }
-- @tparam function fail raises
function keyset.new(app, name, o, fail)
  local self = setmetatable({ alg = o.alg }, Keyset)
  if o.key ~= nil then
    if type(o.key) ~= "string" and type(o.key) ~= "table" then
      fail("key is a secret, a public key as PEM, or a JWK")
    end
    fixed(self, o, fail)
  elseif type(o.jwks) == "table" then
    local set, message = read_set(o.jwks, o.alg)
    if not set then fail("jwks: " .. message) end
    self.set = set
  elseif type(o.jwks) ~= "string" then
    fail("jwks is a URL, the path of a file, or a table with keys")
  elseif o.jwks:find("^https?://") then
    from_url(self, app, name, o.jwks, fail)
  else
    from_file(self, app, name, o.jwks, fail)
  end
  return self
end

-- ---- Looking up --------------------------------------------------------------------------

-- What was fetched last, as keys; nil when that is too long ago.
local function current(self)
  if not self.url then return self.set end
  local state = self.state()
  if not state.text or sluice.time() - state.fetched > STALE_SECONDS then return nil end
  if self.text ~= state.text then
    self.text, self.set = state.text, read_text(state.text, self.alg)
  end
  return self.set
end

local function pick(set, kid)
  if set.any then return set.any end
  if kid == nil then return set.only end
  return set.by[kid]
end

-- Wait until something was fetched after a time.
local function wait_for(self, since)
  local till = sluice.time() + WAIT_SECONDS
  repeat
    sluice.sleep(WAIT_LOOK_SECONDS)
    local state = self.state()
    if (state.fetched or 0) >= since then return end
  until sluice.time() >= till
end

--- The key of a token.
-- @param kid as its header says it, or nil
-- @treturn sluice.Key|nil or nil, why not, and true when it is not the token's fault
function Keyset:find(kid)
  if kid ~= nil and type(kid) ~= "string" then return nil, "kid is no text" end
  local set = current(self)
  local key = set and pick(set, kid)
  if key then return key end
  if self.url then
    local state, now = self.state(), sluice.time()
    if not set then
      wait_for(self, 1)
    elseif now - (state.tried or 0) >= AGAIN_SECONDS then
      state.wanted = true
      wait_for(self, now)
    end
    set = current(self)
    if not set then return nil, "its issuer's keys could not be fetched", true end
  end
  key = set and pick(set, kid)
  if key then return key end
  return nil, kid and "its key is unknown (kid)" or "it names no key (kid)"
end

return keyset
