--- Digests, signatures and hashes of passwords, computed by OpenSSL.
---
---   local hash = crypto.hash("correct horse battery staple")   -- to be stored
---   if crypto.verify(given, hash) then … end
---
--- A password is hashed with scrypt (RFC 7914; 16 MiB, about 0.2 s of a processor), which makes
--- guessing expensive also for who has the hashes. In an app it is computed by a thread of its own
--- with a low priority: only the coroutine that asked waits. Keys that a machine made need no such
--- thing: they are long and random, and their SHA-256 is stored. Keeps nothing in memory.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local names = require("sluice.base.names")
local process = require("sluice.base.process")
local show = require("sluice.base.show")

---@class sluice.Crypto
local crypto = {}

---@class sluice.Key
local Key = {}
Key.__index = Key
Key.__name = "sluice.Key"
Key.__tostring = function(self) return "sluice.Key: " .. self.alg end

-- What OWASP asks of scrypt, in its form with the least memory: N = 2^14, r = 8, p = 5.
local LOG2N, R, P = 14, 8, 5
local SALT_BYTES = 16
local PASSWORD_MAX = 1024
local SECRET_LEAST = 32 -- bytes of an HS256 secret (RFC 7518, section 3.2)
local LOOK_SECONDS = 0.01 -- how often a coroutine looks whether its hash is there
local WAIT_SECONDS = 10 -- ... and how long it waits for its turn
-- Compared with when there is no hash, so that a wrong name takes as long as a wrong password.
local NOBODY = ("scrypt:%d:%d:%d:%s:%s"):format(LOG2N, R, P, ("A"):rep(22), ("A"):rep(43))

local function check_text(what, name, value)
  if type(value) ~= "string" then
    caller.raise("crypto.%s: %s is a string, not a %s", what, name, type(value))
  end
end

--- The SHA-256 of a text.
-- @tparam string text
-- @treturn string 32 bytes
function crypto.sha256(text)
  check_text("sha256(text)", "the text", text)
  return core.sha256(text)
end

--- The HMAC-SHA256 of a text.
-- @tparam string key
-- @tparam string text
-- @treturn string 32 bytes
function crypto.hmac_sha256(key, text)
  check_text("hmac_sha256(key, text)", "the key", key)
  check_text("hmac_sha256(key, text)", "the text", text)
  return core.hmac_sha256(key, text)
end

--- Random bytes that cannot be guessed.
-- @tparam integer n up to 65536
-- @treturn string
function crypto.random(n)
  if math.type(n) ~= "integer" or n < 0 or n > 65536 then
    caller.raise("crypto.random(n): n is an integer from 0 to 65536, not %s", show(n))
  end
  return core.random_bytes(n)
end

--- Whether two texts are equal. How long that takes says nothing but their lengths.
-- @tparam string a
-- @tparam string b
-- @treturn boolean
function crypto.equal(a, b)
  check_text("equal(a, b)", "the first", a)
  check_text("equal(a, b)", "the second", b)
  return core.equal(a, b)
end

--- Bytes as text: letters, digits, - and _, without padding.
-- @tparam string bytes
-- @treturn string
function crypto.base64url(bytes)
  check_text("base64url(bytes)", "the argument", bytes)
  return core.base64url(bytes)
end

--- The bytes that such a text stands for; nil for any text that crypto.base64url does not make.
-- @tparam string text
-- @treturn string|nil
function crypto.from_base64url(text)
  check_text("from_base64url(text)", "the text", text)
  return core.from_base64url(text)
end

--- Bytes as hexadecimal digits, as sha256sum prints them.
-- @tparam string bytes
-- @treturn string
function crypto.hex(bytes)
  check_text("hex(bytes)", "the argument", bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- ---- Keys --------------------------------------------------------------------------------

local function refused(message) return nil, message, "EINVAL" end

-- A number of a JWK, as bytes.
local function jwk_bytes(jwk, name)
  return type(jwk[name]) == "string" and core.from_base64url(jwk[name]) or nil
end

local function jwk_key(alg, jwk, kind, first, second)
  if jwk.kty ~= kind then
    return refused(("%s needs a key with kty %q, not %q"):format(alg, kind, tostring(jwk.kty)))
  end
  if kind == "EC" and jwk.crv ~= "P-256" then return refused("the curve is not P-256") end
  local a, b = jwk_bytes(jwk, first), jwk_bytes(jwk, second)
  if not a or not b then
    return refused(("%s and %s are not both base64url"):format(first, second))
  end
  return core.public_key(alg, a, b)
end

local READ = {
  HS256 = function(source)
    local secret = source
    if type(source) == "table" then
      if source.kty ~= "oct" then return refused('HS256 needs a key with kty "oct"') end
      secret = jwk_bytes(source, "k")
      if not secret then return refused("k is not base64url") end
    end
    if secret:find("^%-%-%-%-%-BEGIN") then
      return refused("that is a key for RS256 or ES256; HS256 has a secret")
    end
    if #secret < SECRET_LEAST then
      return refused(("a secret for HS256 has at least %d bytes, not %d"):format(SECRET_LEAST,
        #secret))
    end
    return { verify = function(_, text, signature)
      return core.equal(core.hmac_sha256(secret, text), signature)
    end }
  end,
  RS256 = function(source)
    if type(source) == "string" then return core.public_key("RS256", source) end
    return jwk_key("RS256", source, "RSA", "n", "e")
  end,
  ES256 = function(source)
    if type(source) == "string" then return core.public_key("ES256", source) end
    return jwk_key("ES256", source, "EC", "x", "y")
  end,
}

--- A key that checks signatures with one algorithm. Weak keys are refused.
-- @tparam string alg "HS256", "RS256" or "ES256"
-- @tparam string|table source for HS256 the secret (32 bytes or more), for the others a public key
--   as PEM ("-----BEGIN PUBLIC KEY-----"); or a JWK as a table
-- @treturn sluice.Key|nil or nil, message, "EINVAL"
function crypto.key(alg, source)
  local read = READ[alg]
  if not read then
    caller.raise('crypto.key(alg, source): alg is "HS256", "RS256" or "ES256", not %s',
      show(alg))
  end
  if type(source) ~= "string" and type(source) ~= "table" then
    caller.raise("crypto.key(alg, source): the source is a string or a JWK, not a %s",
      type(source))
  end
  local inner, message, code = read(source)
  if not inner then return nil, message, code end
  return setmetatable({ alg = alg, _key = inner }, Key)
end

--- Whether a signature is this key's for a text.
-- @tparam string text
-- @tparam string signature its bytes
-- @treturn boolean
function Key:verify(text, signature)
  check_text("key:verify(text, signature)", "the text", text)
  check_text("key:verify(text, signature)", "the signature", signature)
  return self._key:verify(text, signature)
end

-- ---- Passwords ---------------------------------------------------------------------------

-- The scrypt of a password: by another thread where this coroutine can wait.
local function derive(password, salt, log2n, r, p)
  local runtime = not process.loading and process.runtime
  if not runtime or not runtime.scheduler:can_wait() then
    return core.scrypt(password, salt, log2n, r, p)
  end
  local stop = core.now() + WAIT_SECONDS
  local job, message, code
  repeat
    job, message, code = core.scrypt(password, salt, log2n, r, p, true)
    if code ~= "EBUSY" or core.now() > stop then break end
    runtime.scheduler:sleep(LOOK_SECONDS, "crypto.hash()")
  until false
  if type(job) ~= "userdata" then return job, message, code end
  local hash
  repeat
    runtime.scheduler:sleep(LOOK_SECONDS, "crypto.hash()")
    hash, message, code = job:result()
  until hash ~= false
  return hash, message, code
end

--- Hash a password, to be stored. Waits (about 0.2 s).
-- @tparam string password up to 1024 bytes
-- @treturn string|nil a text; or nil, message, code ("ETOOBIG", "EBUSY", "ENOMEM")
function crypto.hash(password)
  check_text("hash(password)", "the password", password)
  if #password > PASSWORD_MAX then
    return nil, ("a password has at most %d bytes"):format(PASSWORD_MAX), "ETOOBIG"
  end
  local salt = core.random_bytes(SALT_BYTES)
  local hash, message, code = derive(password, salt, LOG2N, R, P)
  if not hash then return nil, message, code end
  return ("scrypt:%d:%d:%d:%s:%s"):format(LOG2N, R, P, core.base64url(salt),
    core.base64url(hash))
end

-- The parts of a text that crypto.hash returned, or nil.
local function parse(hash)
  local log2n, r, p, salt, digest = hash:match("^scrypt:(%d+):(%d+):(%d+):([%w_-]+):([%w_-]+)$")
  if not log2n then return nil end
  salt, digest = core.from_base64url(salt), core.from_base64url(digest)
  if not salt or not digest then return nil end
  return tonumber(log2n), tonumber(r), tonumber(p), salt, digest
end

--- Whether a password, or a key, is the one that a hash was made of. Waits where the hash is a
-- password's. Without a hash it takes as long, and the answer is false.
-- @tparam string|nil secret what a client brought
-- @tparam string|nil hash what crypto.hash returned; or the SHA-256 of a key in hexadecimal
--   digits, as sha256sum prints it
-- @treturn boolean|nil or nil, message, code: it could not be computed ("EBUSY", "ENOMEM",
--   "EINVAL")
function crypto.verify(secret, hash)
  if hash ~= nil then check_text("verify(secret, hash)", "the hash", hash) end
  if type(secret) ~= "string" or #secret > PASSWORD_MAX then return false end
  if hash and #hash == 64 and not hash:find("%X") then
    return core.equal(crypto.hex(core.sha256(secret)), hash:lower())
  end
  local log2n, r, p, salt, digest = parse(hash or NOBODY)
  if not log2n then return nil, "that is no hash of crypto.hash()", "EINVAL" end
  local found, message, code = derive(secret, salt, log2n, r, p)
  if not found then return nil, message, code end
  return core.equal(found, digest) and hash ~= nil
end

names.strict(Key, "key", ":", { "alg" })
return names.strict(crypto, "sluice.crypto", ".")
