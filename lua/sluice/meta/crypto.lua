---@meta sluice.crypto
--- For editors (see init.lua): require("sluice.crypto").
-- luacheck: ignore

---@class sluice.Crypto require("sluice.crypto")
local crypto = {}
---@param text string
---@return string digest 32 bytes
function crypto.sha256(text) end
---@param key string
---@param text string
---@return string digest 32 bytes
function crypto.hmac_sha256(key, text) end
---@param n integer
---@return string bytes
function crypto.random(n) end
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end
---@param bytes string
---@return string
function crypto.base64url(bytes) end
---@param text string
---@return string? bytes
function crypto.from_base64url(text) end
---@param bytes string
---@return string digits
function crypto.hex(bytes) end
---@param alg "HS256"|"RS256"|"ES256"
---@param source string|table a secret, a public key as PEM, or a JWK
---@return sluice.Key?, string? message, string? code
function crypto.key(alg, source) end
---@param password string
---@return string? hash, string? message, string? code
function crypto.hash(password) end
---@param secret? string
---@param hash? string
---@return boolean?, string? message, string? code
function crypto.verify(secret, hash) end

---@class sluice.Key
---@field alg "HS256"|"RS256"|"ES256"
local Key = {}
---@param text string
---@param signature string bytes
---@return boolean
function Key:verify(text, signature) end

return crypto
