--- What helps against the faults that `sluice doctor` finds: lines of the configuration of what
--- stands in between, those of doc/operating.md where that has them. Keeps nothing in memory.
local fixes = {}

--- The names of what may stand in between, as `--proxy` takes them, and as people write them.
fixes.PROXIES = { { "nginx", "nginx" }, { "haproxy", "HAProxy" }, { "caddy", "Caddy" },
  { "varnish", "Varnish" }, { "apache", "Apache" }, { "lighttpd", "lighttpd" },
  { "cloudflare", "Cloudflare, untested" }, { "alb", "AWS ALB, untested" } }

local SIGNS = { { "nginx", "server", "nginx" }, { "caddy", "server", "caddy" },
  { "caddy", "via", "caddy" }, { "varnish", "via", "varnish" }, { "apache", "server", "apache" },
  { "lighttpd", "server", "lighttpd" }, { "cloudflare", "server", "cloudflare" },
  { "alb", "server", "awselb" } }

local AWAY = "# the whole of it is in doc/operating.md, Behind a proxy"

local REMEDIES = {}
fixes.REMEDIES = REMEDIES

REMEDIES.buffering = {
  sluice = { "Sluice sends each event at once, and says X-Accel-Buffering: no." },
  nginx = { "proxy_buffering off; # and no proxy_ignore_headers X-Accel-Buffering" },
  haproxy = { "option http-no-delay", "# and no 'http-response wait-for-body'" },
  caddy = { "flush_interval -1 # in reverse_proxy, and no response_buffers" },
  varnish = { "return (pass);", "# in vcl_recv; and in vcl_backend_response:",
    "set beresp.do_gzip = false;" },
  apache = { "# no BUFFER and no other filter of your own on this path (SetOutputFilter)" },
  lighttpd = { "server.stream-response-body = 2" },
  cloudflare = { "# a Cache Rule that bypasses the cache for this path" },
  alb = { "# it holds nothing back: look at what stands behind it" },
}

REMEDIES.compression = {
  sluice = { 'app:stream(path, { compress = "auto" }, plan) -- holds nothing back' },
  nginx = { "gzip off; # in the location of streams" },
  haproxy = { "# no 'compression algo' in this backend" },
  caddy = { "@others not path /api/*", "encode @others gzip" },
  varnish = { "set beresp.do_gzip = false;", "# in vcl_backend_response" },
  apache = { "SetEnvIf Request_URI ^/api/ no-gzip" },
  lighttpd = { "# no text/event-stream in deflate.mimetypes" },
  cloudflare = { "# a Compression Rule that turns it off for this path" },
  alb = { "# it compresses nothing: look at what stands behind it" },
}

REMEDIES.idle = {
  sluice = { "sluice run app.lua --heartbeat N # N seconds, below the limit that was found" },
  nginx = { "proxy_read_timeout 1h;" },
  haproxy = { "timeout client 1h", "timeout server 1h" },
  caddy = { "# no read_timeout in the transport of reverse_proxy" },
  varnish = { ".between_bytes_timeout = 1h;", "set sess.send_timeout = 1d;" },
  apache = { "ProxyPass / http://127.0.0.1:5121/ retry=0 timeout=3600" },
  lighttpd = { "server.max-write-idle = 3600" },
  cloudflare = { "# its limit is 100 s: --heartbeat 15, which is the default, is below" },
  alb = { "# idle timeout (60 s unless set): above the heartbeat" },
}

REMEDIES.cors = {
  sluice = { 'app:cors("/api/**", { origins = { "https://the.page" }, credentials = true })',
    "-- and nothing in between that takes Access-Control-Allow-Origin away" },
}

REMEDIES.host = {
  sluice = { "The Host of a request has to arrive with its port." },
  nginx = { "proxy_set_header Host $http_host; # not $host: the port gets lost" },
  haproxy = { "# no 'http-request set-header Host'" },
  caddy = { "# no 'header_up Host' in reverse_proxy" },
  varnish = { "# no 'set req.http.Host'" },
  apache = { "ProxyPreserveHost On" },
  lighttpd = { "# no proxy.header with map-host-request" },
  cloudflare = { "# no Origin Rule that rewrites the Host header" },
  alb = { "# the attribute 'preserve host header' is on" },
}

REMEDIES.address = {
  sluice = { "With --trust-proxy yes the last address of X-Forwarded-For counts: the proxy has to "
    .. "add one, and nothing else may connect. Without a proxy: no --trust-proxy." },
  nginx = { "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" },
  haproxy = { "option forwardfor" },
  caddy = { "# no 'trusted_proxies' with addresses of clients" },
  varnish = { "# it adds the address itself: nothing that sets X-Forwarded-For back" },
  apache = { "ProxyAddHeaders On # which is the default" },
  lighttpd = { "# mod_proxy adds the address itself: nothing that takes it away" },
  cloudflare = { "# it adds the address itself: let nothing else connect to the server" },
  alb = { "# routing.http.xff_header_processing.mode is append, the default" },
}

REMEDIES.trust = {
  sluice = { "sluice run app.lua --trust-proxy yes # when nothing but the proxy can connect" },
}

REMEDIES.resume = {
  sluice = { "The header Last-Event-ID has to arrive: nothing in between may take it away." },
}

REMEDIES.cache = {
  sluice = { "The answer says Cache-Control: no-store, no-transform: nothing may keep it." },
  nginx = { "proxy_cache off; # and no proxy_ignore_headers Cache-Control" },
  varnish = { "return (pass);", "# in vcl_recv" },
  cloudflare = { "# a Cache Rule that bypasses the cache for this path" },
}

REMEDIES.restart = {
  sluice = { "An EventSource that is answered 502, 503 or 504 ends for good: what stands in "
    .. "between answers streams itself while the server is away.", AWAY },
  nginx = { "error_page 502 503 504 = @away;", "location @away {",
    '    set $asks "$http_accept $http_cache_control";',
    '    if ($asks !~ "text/event-stream.* no-cache") { return 502; }',
    "    default_type text/event-stream;", '    return 200 "retry: 3000\\n\\n";', "}" },
  haproxy = { "errorfile 502 /etc/haproxy/away.http", "errorfile 503 /etc/haproxy/away.http",
    "errorfile 504 /etc/haproxy/away.http" },
  caddy = { "handle_errors {", "    @source {", "        header Accept *text/event-stream*",
    "        header Cache-Control *no-cache*", "    }", "    handle @source {",
    "        header Content-Type text/event-stream",
    '        respond "retry: 3000', "", '" 200',
    "    }", "}" },
  varnish = { "sub vcl_backend_error {",
    '    if (bereq.http.Accept ~ "text/event-stream" && bereq.http.Cache-Control ~ "no-cache") {',
    "        set beresp.status = 200;",
    '        set beresp.http.Content-Type = "text/event-stream";',
    '        synthetic({"retry: 3000',
    "", '"});', "        return (deliver);", "    }", "}" },
  apache = { '<If "%{HTTP:Accept} =~ m#text/event-stream# && %{HTTP:Cache-Control} =~ /no-cache/">',
    "    ErrorDocument 502 /away.asis", "    ErrorDocument 503 /away.asis",
    "    ErrorDocument 504 /away.asis", "</If>" },
  lighttpd = { 'server.error-handler = "/away.cgi"' },
  cloudflare = { "# a Worker that answers for the server; /sluice.js comes back without one" },
  alb = { "# it cannot: put nginx behind it, or use /sluice.js, which comes back after a 502" },
}

--- Which of them an answer has come through, by its header fields.
-- @tparam table headers
-- @treturn string|nil its name
-- @treturn string|nil what it says of itself
function fixes.proxy_of(headers)
  for _, row in ipairs(SIGNS) do
    local value = headers[row[2]]
    if value and value:lower():find(row[3], 1, true) then return row[1], value end
  end
end

-- The page that the user named, in place of one that stands for it.
local function with_origin(lines, origin)
  local list = {}
  for i, line in ipairs(lines) do
    list[i] = origin and line:gsub("https://the%.page", (origin:gsub("%%", "%%%%"))) or line
  end
  return list
end

--- The remedies of a fault: { { title, { line, … } }, … }.
-- @tparam string remedy
-- @tparam[opt] string proxy only those of this one
-- @tparam[opt] string origin of the page that should be able to read
function fixes.of(remedy, proxy, origin)
  local all, list = REMEDIES[remedy], {}
  if all.sluice then list[1] = { "Sluice", with_origin(all.sluice, origin) } end
  for _, row in ipairs(fixes.PROXIES) do
    if all[row[1]] and (not proxy or proxy == row[1]) then
      list[#list + 1] = { row[2], all[row[1]], name = row[1] }
    end
  end
  return list
end

return fixes
