--- Base64 (RFC 4648 4), of what the core has in the alphabet of URLs. Keeps nothing in memory.
local core = require("sluice.core")

local base64 = {}

--- @treturn string|nil nil when the text is none
function base64.decode(text)
  return core.from_base64url((text:gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" })))
end

--- @treturn string
function base64.encode(bytes)
  local text = core.base64url(bytes):gsub("[-_]", { ["-"] = "+", ["_"] = "/" })
  return text .. ("="):rep(-#text % 4)
end

return base64
