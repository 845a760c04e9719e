--- Debian's proxies in front of a server, each on a free port, with the configuration that doc/operating.md gives.
---   local front = proxies.start("nginx", server.port); front.port; front.log(); front.stop()
---   proxies.start("nginx", server.port, { tls = true })       HTTPS; a certificate that no one signed
---   proxies.start("haproxy", server.port, { edit = { ["1h"] = "3s" } })
---   proxies.start("nginx", server.port, { block = proxies.BARE })    in place of the document's
---   front.kill(), front.again(): the same proxy on the same port, without its memory
---   proxies.bridge(front, "h2")             { port, stop }: HTTP/1.1 in, HTTPS to it; "1.1" for HTTP/1.1
--- A program is the system's, or what .ci/setup unpacks below build/. Nothing of it stays: its folder goes with it.
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local socket = require("socket")

local proxies = { NAME = "nginx or HAProxy" }

--- What nginx is told by most: a block for `block`.
proxies.BARE = "server { listen 127.0.0.1:$PORT; location / { proxy_pass http://127.0.0.1:$UPSTREAM; } }"

local SERVER = "127.0.0.1:5121" -- where it is in the document
local SITE = "app.example"

-- Each: its program; `lang` of its block in the document; `put`, what must be there and stands for something else
-- here; `tls`, what its port then needs; `files`, further blocks; `conf`, what is around the block; `words`, the
-- command line; `gentle`, it leaves something behind when it is killed. $D is the folder, $ROOT where it was unpacked.
local KINDS = {
  nginx = { "usr/sbin/nginx", lang = "nginx", tls = "ssl http2", put = {
    ["listen 443 ssl http2;"] = "listen 127.0.0.1:$PORT $TLS;", ["/etc/ssl/app.example.crt"] = "$D/cert",
    ["/etc/ssl/app.example.key"] = "$D/key" },
    conf = [[
daemon off; master_process off; pid $D/pid; error_log $D/error.log warn;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path $D/b; proxy_temp_path $D/p; fastcgi_temp_path $D/f; uwsgi_temp_path $D/u; scgi_temp_path $D/s;
  $AROUND
$BLOCK
}
]], words = "-p $D -e $D/error.log -c $D/conf" },
  haproxy = { "usr/sbin/haproxy", lang = "haproxy", tls = "ssl crt $D/pem alpn h2,http/1.1",
    put = { ["bind :80"] = "bind 127.0.0.1:$PORT $TLS", ["/etc/haproxy/"] = "$D/" },
    files = { ["away.http"] = "http" }, words = "-db -f $D/conf" },
  varnish = { "usr/sbin/varnishd", lang = "vcl", put = { ['.host = "127.0.0.1";\n    .port = "5121"'] =
    '.host = "127.0.0.1";\n    .port = "$UPSTREAM"' }, gentle = true,
    words = "-F -j none -n $D/n -f $D/conf -a 127.0.0.1:$PORT -s malloc,16m -T none -p send_timeout=2" },
  caddy = { "usr/bin/caddy", lang = "caddyfile", put = { [SITE .. " {"] = "$SITE {" }, conf = [[
{
    admin off
    auto_https disable_redirects
    storage file_system $D
    default_bind 127.0.0.1
}
$BLOCK
]], words = "run --adapter caddyfile --config $D/conf" },
  apache = { "usr/sbin/apache2", lang = "apache", put = { ["<VirtualHost *:80>"] = "<VirtualHost *:$PORT>",
    ["/srv/away"] = "$D" }, files = { ["away.asis"] = "asis" }, conf = [[
ServerRoot $D
PidFile $D/pid
ErrorLog $D/error.log
TypesConfig $D/mime.types
Mutex pthread
Listen 127.0.0.1:$PORT
ServerName localhost
LoadModule mpm_event_module $MODULES/mod_mpm_event.so
LoadModule authz_core_module $MODULES/mod_authz_core.so
LoadModule mime_module $MODULES/mod_mime.so
LoadModule alias_module $MODULES/mod_alias.so
LoadModule asis_module $MODULES/mod_asis.so
LoadModule proxy_module $MODULES/mod_proxy.so
LoadModule proxy_http_module $MODULES/mod_proxy_http.so
$BLOCK
]], modules = "usr/lib/apache2/modules", words = "-X -f $D/conf" },
  lighttpd = { "usr/sbin/lighttpd", lang = "lighttpd", put = { ["/srv/away"] = "$D",
    ['"port" => 5121'] = '"port" => $UPSTREAM' }, files = { ["away.cgi"] = "cgi" }, conf = [[
server.bind = "127.0.0.1"
server.port = $PORT
server.errorlog = "$D/error.log"
server.document-root = "$D"
$BLOCK
]], modules = "usr/lib/lighttpd", words = "-D -m $MODULES -f $D/conf" },
  squid = { "usr/sbin/squid", lang = "squid", put = { ["http_port 80 "] = "http_port 127.0.0.1:$PORT ",
    ["127.0.0.1 parent 5121 "] = "127.0.0.1 parent $UPSTREAM " }, gentle = true, conf = [[
$BLOCK
pid_filename $D/pid
access_log none
cache_log $D/error.log
coredump_dir $D
netdb_filename none
mime_table $ROOT/usr/share/squid/mime.conf
icon_directory $ROOT/usr/share/squid/icons
error_directory $ROOT/usr/share/squid/errors/templates
unlinkd_program $ROOT/usr/lib/squid/unlinkd
logfile_daemon /bin/false
pinger_enable off
memory_cache_shared off
cache_mem 0
shutdown_lifetime 0 seconds
cache_effective_user nobody
]], words = "-n s$PORT -N -f $D/conf" },
  stunnel = { "usr/bin/stunnel4", lang = "stunnel", always_tls = true, put = { ["accept = 443"] =
    "accept = 127.0.0.1:$PORT", ["/etc/ssl/app.example.crt"] = "$D/cert", ["/etc/ssl/app.example.key"] = "$D/key" },
    conf = "foreground = yes\npid =\n$BLOCK", words = "$D/conf" },
}

--- The program of a kind, and where it was unpacked: nil when it is not there, "" for the system's.
local function program(name)
  local path = KINDS[name][1]
  for _, root in ipairs { "", lfs.currentdir() .. "/build/" .. path:match("[^/]+$") } do
    if lfs.attributes(root .. "/" .. path, "mode") == "file" then return root .. "/" .. path, root end
  end
end

--- Whether all of these are there: nginx and HAProxy when none is named.
function proxies.installed(...)
  for _, name in ipairs(select("#", ...) > 0 and { ... } or { "nginx", "haproxy" }) do
    if not program(name) then return false end
  end
  return true
end

--- Folders with libraries below a folder.
local function libraries(root)
  if root == "" then return nil end
  local pipe <close> = assert(io.popen("find " .. process.quote(root) .. " -name '*.so*' -printf '%h\\n' | sort -u"))
  return pipe:read("a"):gsub("\n$", ""):gsub("\n", ":")
end

local function free_port()
  local s = assert(socket.bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  s:close()
  return math.floor(tonumber(port))
end

local function make_certificate(folder)
  local code, output = process.run({ "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
    "subjectAltName=DNS:localhost,DNS:*.test", "-keyout", folder .. "/key", "-out", folder .. "/cert" })
  assert(code == 0, output)
  process.write_file(folder .. "/pem", process.read_file(folder .. "/cert") .. process.read_file(folder .. "/key"))
end

--- Put another text in place of each that must be there.
local function put(text, changes)
  for from, to in pairs(changes or {}) do
    local changed, n = text:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%")))
    assert(n > 0, "this is not in the block: " .. from)
    text = changed
  end
  return text
end

local function fill(text, values) return (text:gsub("%$(%u+)", values)) end

local function block_of(kind, upstream, options)
  local text = options.block
  if text then return text end
  text = markdown.read("doc/operating.md").block(kind.lang).text
  if text:find(SERVER, 1, true) then text = put(text, { [SERVER] = "127.0.0.1:" .. upstream }) end
  return put(put(text, kind.put), options.edit)
end

local function site(port, tls)
  return (tls and "https://:%d {\n    tls $D/cert $D/key\n" or "http://:%d {\n"):format(port)
end

-- A folder with all that it reads: what stands for the names in its configuration.
local function write_files(kind, upstream, port, root, options)
  local folder = process.temp_dir()
  local values = { D = folder, ROOT = root, PORT = port, UPSTREAM = upstream,
    MODULES = root .. "/" .. (kind.modules or ""), TLS = options.tls and fill(kind.tls or "", { D = folder }) or "" }
  values.AROUND = fill(options.around or "", values)
  local block = block_of(kind, upstream, options):gsub("%$SITE {\n", function() return site(port, options.tls) end)
  values.BLOCK = fill(block, values)
  if options.tls or block:find("$D/cert", 1, true) then make_certificate(folder) end
  process.write_file(folder .. "/conf", fill(kind.conf or "$BLOCK", values))
  process.write_file(folder .. "/mime.types", "")
  for file, lang in pairs(kind.files or {}) do
    process.write_file(folder .. "/" .. file, markdown.read("doc/operating.md").block(lang).text)
  end
  os.execute("chmod 777 " .. folder) -- some are another user when root starts them
  return folder, values
end

--- options: tls, block, edit ({ [text of the block] = another }), around (nginx: more for its http).
function proxies.start(name, upstream, options)
  options = options or {}
  local kind, port = assert(KINDS[name], name), free_port()
  local path, root = program(name)
  assert(path, "no " .. name .. "; .ci/setup test brings it")
  local self, p, folder = { name = name, port = port, tls = options.tls or kind.always_tls or false }, nil, nil

  function self.log() return p:log() .. (process.read_file(folder .. "/error.log") or "") end

  --- Start it on its port, which it had before.
  function self.again()
    local values
    folder, values = write_files(kind, upstream, port, root, options)
    local words = { path }
    for word in kind.words:gmatch("%S+") do words[#words + 1] = fill(word, values) end
    p = process.spawn(words, { env = { LD_LIBRARY_PATH = libraries(root), HOME = folder }, folders = { folder } })
    self.pid = p.pid
    deadline.eventually(function()
      if p:code() then deadline.give_up(name .. ": " .. self.log()) end
      local s = socket.connect("127.0.0.1", port)
      return s and s:close()
    end, 20, name .. " listens")
  end

  --- End it at once, or as it must be told where it would leave something behind.
  function self.kill()
    if kind.gentle then return p:stop(20) end
    return p:kill()
  end
  self.stop = self.kill

  self.again()
  return self
end

--- HTTP/1.1 for clients that know no TLS; the proxy sees HTTP/2 or HTTP/1.1 over TLS, and the client's address.
function proxies.bridge(front, version)
  local p = process.spawn({ "node", lfs.currentdir() .. "/spec/support/tls_bridge.mjs", version, front.port }, {})
  local port = deadline.eventually(function()
    if p:code() then deadline.give_up("the bridge: " .. p:log()) end
    return p:log():match("^(%d+)\n")
  end, 20, "the bridge listens")
  return { port = math.tointeger(tonumber(port)), stop = function() return p:kill() end }
end

return proxies
