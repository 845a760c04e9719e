--- Can a TCP connection to a server be opened? Nothing is sent over it, and it is closed at once.
-- Keeps nothing in memory.
local transfer = require("sluice.out.transfer")

--- Try it. The coroutine waits; nothing else does, for no name server either.
-- @tparam string what the function's name, for messages
-- @tparam string address "host:port"
-- @tparam number timeout seconds
-- @treturn boolean|nil true, or nil, message, code: "ECONNECT", "ETIMEOUT", "EINVAL", "EFULL"
local function reach(what, address, timeout)
  local t, message, code = transfer.open(transfer.runtime(what), what,
    { connect = address, method = "CONNECT", headers = {}, timeout = timeout })
  if not t then return nil, message, code end
  local _ <close> = t
  t:head() -- there is none; it waits for the end
  if t.message then return nil, t.message, t.code end
  return true
end

return reach
