--- Tokens for specs, signed by openssl(1) and written apart from what checks them.
---
---   local key = tokens.rsa()                          key.pem, key.jwk (public), key.sign(text)
---   tokens.make(key, { sub = "alice" }[, header])     "aaa.bbb.ccc"
local crypto = require("sluice.crypto")
local json = require("sluice.json")
local process = require("spec.support.process")

local tokens = {}

local b64 = crypto.base64url

local function openssl(words, input)
  local folder = process.temp_dir()
  if input then process.write_file(folder .. "/in", input) end
  local code, output = process.run("openssl " .. words .. (input and " <in" or "") .. " >out 2>err", { dir = folder })
  assert(code == 0, output .. words)
  local text = process.read_file(folder .. "/out")
  process.remove_dir(folder)
  return text
end

-- A big-endian number of a DER signature, as 32 bytes.
local function fixed(bytes)
  bytes = bytes:gsub("^\0+", "")
  return ("\0"):rep(32 - #bytes) .. bytes
end

local function signer(pem, raw)
  return function(text)
    local folder = process.temp_dir()
    process.write_file(folder .. "/key", pem)
    local signature = openssl("dgst -sha256 -sign " .. folder .. "/key", text)
    process.remove_dir(folder)
    if not raw then return signature end
    local n = signature:byte(4)
    local r, s = signature:sub(5, 4 + n), signature:sub(7 + n)
    return fixed(r) .. fixed(s)
  end
end

function tokens.rsa(bits)
  local private = openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:" .. (bits or 2048))
  local hex = openssl("rsa -noout -modulus", private):match("=(%x+)")
  local n = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  return { alg = "RS256", pem = openssl("pkey -pubout", private), sign = signer(private),
    jwk = { kty = "RSA", n = b64(n), e = "AQAB" } }
end

function tokens.ec()
  local private = openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256")
  local der = openssl("pkey -pubout -outform DER", private)
  return { alg = "ES256", pem = openssl("pkey -pubout", private), sign = signer(private, true),
    jwk = { kty = "EC", crv = "P-256", x = b64(der:sub(-64, -33)), y = b64(der:sub(-32)) } }
end

function tokens.secret(text)
  return { alg = "HS256", pem = text, sign = function(signed) return crypto.hmac_sha256(text, signed) end,
    jwk = { kty = "oct", k = b64(text) } }
end

--- A token; claims and header may be texts, to be anything.
function tokens.make(key, claims, header)
  header = header or { alg = key.alg, typ = "JWT", kid = key.kid }
  if type(header) == "table" then header = json.encode(header) end
  if type(claims) == "table" then claims = json.encode(claims) end
  local signed = b64(header) .. "." .. b64(claims)
  return signed .. "." .. b64(key.sign(signed))
end

return tokens
