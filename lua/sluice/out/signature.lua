--- Signatures of outgoing requests, in the form of Standard Webhooks 1.0.0: three header fields say
-- which message it is, when it was sent, and that it is from somebody who has the secret.
-- Keeps nothing in memory.
local base64 = require("sluice.out.base64")
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local options = require("sluice.base.options")

local signature = {}

local KNOWN = { secret = options.NONE, id = options.STRING }
local SECRET_MIN = 24

--- Read the option `sign`; raises.
-- @tparam string what for messages
-- @tparam table|nil given { secret = "whsec_" and base64, or any text of at least 24 bytes; id = of
--   the message, default random }
-- @treturn table|nil { key, id }
function signature.check(what, given)
  if given == nil then return nil end
  local o = options(what .. ": sign", given, KNOWN)
  local coded = type(o.secret) == "string" and o.secret:match("^whsec_(.*)$")
  local key = coded and base64.decode(coded) or not coded and o.secret
  if type(key) ~= "string" or #key < SECRET_MIN then
    caller.raise("%s: sign.secret is a text of at least %d bytes, or whsec_ and base64 of as many; "
      .. "make one with: openssl rand -base64 32", what, SECRET_MIN)
  end
  local id = o.id or "msg_" .. core.id()
  if not id:find("^[%w_-]+$") then caller.raise("%s: sign.id: letters, digits, _ and -", what) end
  return { key = key, id = id }
end

--- Put the fields of a signed request; anew for each attempt, with the same id.
-- @tparam table headers a map
-- @tparam table sign as check returns it
-- @tparam string body
function signature.put(headers, sign, body)
  local at = ("%d"):format(math.floor(core.time()))
  local text = table.concat({ sign.id, at, body }, ".")
  for name in pairs(headers) do
    if name:lower():find("^webhook%-") then headers[name] = nil end
  end
  headers["webhook-id"], headers["webhook-timestamp"] = sign.id, at
  headers["webhook-signature"] = "v1," .. base64.encode(core.hmac_sha256(sign.key, text))
end

return signature
