--- Debian's nginx in front of a server, with default proxy settings, on a free port.
---   local n = nginx.start(server.port); n.port; n.stop()
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")
local lfs = require("lfs")
local socket = require("socket")

local nginx = {}

local CONFIG = [[
daemon off; master_process off; pid $D/pid; error_log $D/error.log warn;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path $D/b; proxy_temp_path $D/p; fastcgi_temp_path $D/f; uwsgi_temp_path $D/u; scgi_temp_path $D/s;
  server {
    listen 127.0.0.1:$PORT;
    location / { proxy_pass http://127.0.0.1:$UPSTREAM; $EXTRA }
  }
}
]]

local function program()
  for _, path in ipairs { "/usr/sbin/nginx", lfs.currentdir() .. "/build/nginx/usr/sbin/nginx" } do
    if lfs.attributes(path, "mode") == "file" then return path end
  end
  error("no nginx; .ci/setup test brings it")
end

local function free_port()
  local s = assert(socket.bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  s:close()
  return math.floor(tonumber(port))
end

--- extra: more directives for the location, such as "proxy_http_version 1.1;".
function nginx.start(upstream, extra)
  local folder = process.temp_dir()
  local values = { D = folder, PORT = free_port(), UPSTREAM = upstream, EXTRA = extra or "" }
  process.write_file(folder .. "/conf", (CONFIG:gsub("%$(%u+)", values)))
  local p = process.spawn({ program(), "-p", folder, "-e", folder .. "/error.log", "-c", folder .. "/conf" },
    { folders = { folder } })
  deadline.eventually(function()
    if p:code() then deadline.give_up("nginx: " .. p:log() .. process.read_file(folder .. "/error.log")) end
    local s = socket.connect("127.0.0.1", values.PORT)
    return s and s:close()
  end, 5, "nginx listens")
  local self = { port = values.PORT, pid = p.pid }
  function self.log() return process.read_file(folder .. "/error.log") end
  function self.stop() return p:stop() end
  return self
end

return nginx
