--- The address of a server for the commands that speak to it by sockets of their own.
-- Keeps nothing in memory.
local address = {}

--- Read a URL.
-- @tparam string url
-- @tparam boolean may_choose its port may be 0
-- @tparam[opt] string no_tls what is said of https, where that is not spoken
-- @treturn string|nil host, or nil and what is wrong
-- @treturn integer port
-- @treturn string path, with the query
-- @treturn boolean whether it is https
function address.read(url, may_choose, no_tls)
  local secure = url:find("^https:") ~= nil
  if secure and no_tls then return nil, no_tls end
  local host, port, path = url:match("^https?://%[([%x:.]+)%]:?(%d*)(.*)$")
  if not host then host, port, path = url:match("^https?://([^/:?#@%s]+):?(%d*)(.*)$") end
  if not host or not (path == "" or path:find("^[/?]")) or path:find("[%c ]") then
    return nil, ("'%s' is no address like http://127.0.0.1:5121/api/news"):format(url)
  end
  port = port == "" and (secure and 443 or 80) or math.tointeger(tonumber(port))
  if port > 65535 or port == 0 and not may_choose then
    return nil, ("'%s': a port is 1 to 65535%s"):format(url, may_choose and ", or 0" or "")
  end
  path = path:gsub("#.*", "")
  return host, port, path == "" and "/" or path, secure
end

return address
