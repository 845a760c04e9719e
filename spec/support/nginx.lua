--- Debian's nginx in front of a server, on a free port; with default proxy settings unless told.
---   local n = nginx.start(server.port); n.port; n.stop()
---   nginx.start(server.port, { server = nginx.documented(server.port), tls = true })
local deadline = require("spec.support.deadline")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local lfs = require("lfs")
local socket = require("socket")

local nginx = { NAME = "nginx" }

local CONFIG = [[
daemon off; master_process off; pid $D/pid; error_log $D/error.log warn;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path $D/b; proxy_temp_path $D/p; fastcgi_temp_path $D/f; uwsgi_temp_path $D/u; scgi_temp_path $D/s;
  server {
    listen 127.0.0.1:$PORT $TLS;
    $SERVER
  }
}
]]

local function program()
  for _, path in ipairs { "/usr/sbin/nginx", lfs.currentdir() .. "/build/nginx/usr/sbin/nginx" } do
    if lfs.attributes(path, "mode") == "file" then return path end
  end
end

function nginx.installed() return program() ~= nil end

local function free_port()
  local s = assert(socket.bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  s:close()
  return math.floor(tonumber(port))
end

--- What doc/operating.md writes into a server of nginx.
function nginx.documented(upstream)
  local text = markdown.read("doc/operating.md").block("nginx").text
  local changed, n = text:gsub("127%.0%.0%.1:5121", "127.0.0.1:" .. upstream)
  assert(n > 0)
  return changed
end

local SERVER = "location / { proxy_pass http://127.0.0.1:%d; }"
local TLS = "ssl http2; ssl_certificate %s/cert; ssl_certificate_key %s/key"

--- A certificate that no one signed.
local function make_certificate(folder)
  local code, output = process.run({ "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", folder .. "/key",
    "-out", folder .. "/cert" })
  assert(code == 0, output)
end

--- options: server (directives in place of the location /), tls (HTTPS with HTTP/2; needs openssl).
function nginx.start(upstream, options)
  options = options or {}
  local folder = process.temp_dir()
  if options.tls then make_certificate(folder) end
  local values = { D = folder, PORT = free_port(), SERVER = options.server or SERVER:format(upstream),
    TLS = options.tls and TLS:format(folder, folder) or "" }
  process.write_file(folder .. "/conf", (CONFIG:gsub("%$(%u+)", values)))
  local path = assert(program(), "no nginx; .ci/setup test brings it")
  local p = process.spawn({ path, "-p", folder, "-e", folder .. "/error.log", "-c", folder .. "/conf" },
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
