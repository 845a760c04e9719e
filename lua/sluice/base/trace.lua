--- Which trace the code that runs belongs to (W3C Trace Context). A coroutine has the traceparent
--- of the request that it was started for. Keeps nothing in memory.
local core = require("sluice.core")

local trace = {}

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

--- What a request to another server is given: the same trace, with a parent of its own.
-- @tparam string|nil traceparent
-- @treturn string|nil
function trace.child(traceparent)
  if not traceparent then return nil end
  return traceparent:sub(1, 36) .. hex(core.random_bytes(8)) .. traceparent:sub(53)
end

--- The part that stays the same all the way, for the log.
function trace.id(traceparent)
  return traceparent and traceparent:sub(4, 35)
end

return trace
