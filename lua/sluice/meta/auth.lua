---@meta sluice.auth
--- For editors (see init.lua): require("sluice.auth").
-- luacheck: ignore

---@class sluice.AuthKey
---@field id string the user's
---@field hash string SHA-256 of the key, in hexadecimal digits
---@field roles? string[]
---@field name? string
---@field key? string the key's name
---@field expires? number|string

---@class sluice.AuthIssuer
---@field issuer string
---@field audience string|string[]
---@field alg "HS256"|"RS256"|"ES256"
---@field key? string|table a secret, a public key as PEM, or a JWK
---@field jwks? string|table a URL, the path of a file, or a table with keys
---@field user? fun(claims: table): table?, string? { id, name, roles, expires }, or nil and why not
---@field scope? string
---@field typ? string
---@field leeway? number seconds

---@class sluice.AuthSession
---@field secret string|string[]
---@field ttl? number seconds
---@field cookie? string
---@field same_site? "Lax"|"Strict"|"None"
---@field secure? boolean

---@class sluice.AuthOptions
---@field keys? sluice.AuthKey[]|string|fun(key: string): table?
---@field jwt? sluice.AuthIssuer[]
---@field session? sluice.AuthSession
---@field tickets? { ttl?: number }|boolean
---@field header? string
---@field query? string|boolean
---@field failures? { rate?: number, per?: number, counted?: "node"|"cluster" }|false
---@field audit? boolean
---@field durable? boolean
---@field keep? number seconds
---@field name? string

---@class sluice.AuthModule require("sluice.auth")
local auth = {}
---@param app sluice.App
---@param options sluice.AuthOptions
---@return sluice.Auth
function auth.new(app, options) end

---@class sluice.Auth
local Auth = {}
---@return sluice.Guard
function Auth:user() end
---@return sluice.Guard
function Auth:optional() end
---@param ... string
---@return sluice.Guard
function Auth:role(...) end
---@param name string
---@param options? { rate?: number, per?: number, by?: "user"|"ip", counted?: "node"|"cluster" }
---@return sluice.Guard
function Auth:limit(name, options) end
---@return sluice.Guard
function Auth:idempotent() end
---@param user { id: string, name?: string, roles?: table, expires?: number }
---@return table<string, string> headers
function Auth:sign_in(user) end
---@param req sluice.Request
---@return table<string, string> headers
function Auth:sign_out(req) end
---@param user sluice.User
---@return string? ticket, string? message, string? code
function Auth:ticket(user) end
---@param password string
---@return string? hash, string? message, string? code
function Auth:hash(password) end
---@param password? string
---@param hash? string
---@return boolean?, string? message, string? code
function Auth:verify(password, hash) end
---@param what { user?: string, key?: string, session?: string }
---@return integer? streams, string? message, string? code
function Auth:revoke(what) end
---@param prefix string
---@param ... sluice.Guard
function Auth:routes(prefix, ...) end

return auth
