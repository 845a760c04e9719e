--- What is measured: the raw baseline, Sluice with send() and through a ring of io_uring, nginx with
--- nchan. All are told by HTTP to send a burst of numbered events, all have a pid whose CPU time counts.
local cjson = require("cjson")
local lfs = require("lfs")
local socket = require("socket")
local program = require("spec.bench.program")

local target = {}

local Target = {}
Target.__index = Target

local BUILT = "build/bench/"
-- An nginx and its module: what .ci/setup has unpacked, or the system's.
local NCHAN = { { "build/nchan/usr/sbin/nginx", "build/nchan/usr/lib/nginx/modules/ngx_nchan_module.so" },
  { "/usr/sbin/nginx", "/usr/lib/nginx/modules/ngx_nchan_module.so" },
  { "/usr/sbin/nginx", "/usr/lib64/nginx/modules/ngx_nchan_module.so" } }

local function first_file(list)
  for _, path in ipairs(list) do
    local file = io.open(path, "rb")
    if file then
      file:close()
      return path
    end
  end
end

local function new(kind, dir, port, spec)
  local self = setmetatable({ kind = kind, port = port, dir = dir, last = 0 }, Target)
  self.program = program.start(spec, dir)
  return self
end

local function wait_until_it_listens(self)
  local up = program.wait_for(15, function()
    local s = socket.connect("127.0.0.1", self.port)
    if s then s:close() end
    return s ~= nil or (not self.program:alive() and "dead") or nil
  end)
  if up == true then return self end
  local message = self.program:errors()
  self.program:stop()
  error(("%s does not listen: %s"):format(self.kind, message), 0)
end

--- The raw baseline.
function target.raw(dir)
  local port = program.free_port()
  return wait_until_it_listens(new("raw", dir, port,
    { name = "rawfan", words = { BUILT .. "rawfan", "--port", port }, cpu = 0 }))
end

--- A Sluice: this checkout's, or the one that $SLUICE_COMMAND names.
-- @tparam string dir for its files
-- @tparam integer io_threads
-- @tparam[opt] boolean free all processors, not the servers' one
-- @tparam[opt] string data the data folder of a server with durable channels: spec/bench/durable_app.lua
-- @tparam[opt] boolean ring it sends through a ring of io_uring
-- @tparam[opt] string preload a library for LD_PRELOAD
-- @tparam[opt] table more words of its command line
function target.sluice(dir, io_threads, free, data, ring, preload, more)
  local port = program.free_port()
  local command = os.getenv("SLUICE_COMMAND") or "build/bin/sluice"
  local app = data and "spec/bench/durable_app.lua" or "spec/bench/app.lua"
  local words = { "env", "SLUICE_IO_URING=" .. (ring and "on" or "off"), "LD_PRELOAD=" .. (preload or ""), command,
      "run", app, "--port", port,
      "--io-threads", io_threads or 1, "--log-level", "warn", "--drain", 0, "--no-watch", "--handler-budget", 5,
      "--data", data or dir .. "/none" }
  table.move(more or {}, 1, #(more or {}), #words + 1, words)
  local self = new("sluice", dir, port, { name = "sluice", cpu = not free and 0 or nil, words = words })
  self.data = data
  return wait_until_it_listens(self)
end

--- A node of a cluster: spec/bench/cluster_app.lua, on the processor that is not Redis'.
function target.member(dir, more)
  local port = program.free_port()
  local words = { "build/bin/sluice", "run", "spec/bench/cluster_app.lua", "--port", port, "--io-threads", 1,
    "--log-level", "error", "--drain", 0, "--no-watch", "--handler-budget", 5, table.unpack(more) }
  local self = new("sluice", dir, port, { name = "node", cpu = 1, words = words })
  return wait_until_it_listens(self)
end

-- A certificate on P-256 with its key: paths.
local function pair(dir)
  local at = dir .. "/tls"
  if not first_file({ at .. ".pem" }) then
    assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "
      .. "-subj /CN=localhost -keyout %s.key -out %s.pem 2>/dev/null"):format(at, at)))
  end
  return at .. ".pem", at .. ".key"
end

--- The raw baseline over TLS.
function target.raw_tls(dir)
  local port = program.free_port()
  local certificate, key = pair(dir)
  local self = new("raw", dir, port,
    { name = "rawfan", words = { BUILT .. "rawfan", "--port", port, certificate, key }, cpu = 0 })
  self.tls_port = port
  return wait_until_it_listens(self)
end

--- A Sluice whose readers come over TLS.
function target.sluice_tls(dir, io_threads)
  local port = program.free_port()
  local certificate, key = pair(dir)
  local self = target.sluice(dir, io_threads, false, nil, false, nil,
    { "--tls-port", port, "--tls-cert", certificate, "--tls-key", key })
  self.tls_port = port
  return self
end

--- ... which speak HTTP/2, a connection each.
function target.sluice_h2(dir, io_threads)
  local self = target.sluice_tls(dir, io_threads)
  self.h2 = true
  return self
end

-- The words that start it. nchan wants the folders that are compiled in, whatever its configuration says: what is
-- only unpacked sees its own in their place.
local function nchan_words(nginx, home)
  local words = { nginx, "-p", home .. "/", "-c", home .. "/nginx.conf" }
  local own = nginx:match("^(build/[^/]+)/")
  if not own or lfs.attributes("/var/lib/nginx", "mode") then return words end
  return { "unshare", "-rm", "sh", "-c", 'mount --bind "$0/var/lib" /var/lib && exec "$@"', own, table.unpack(words) }
end

--- Whether there is an nginx, with nchan or without.
function target.has_nginx() return first_file({ NCHAN[1][1], NCHAN[2][1] }) ~= nil end

--- An nginx that answers over TLS, with the same certificate.
function target.nginx_tls(dir)
  local port = program.free_port()
  local certificate, key = pair(dir)
  local home = ("%s/%s/nginx-%d"):format(lfs.currentdir(), dir, port)
  assert(lfs.mkdir(home))
  local function full(path) return lfs.currentdir() .. "/" .. path end
  local to = assert(io.open(home .. "/nginx.conf", "w"))
  local text = ([[
daemon off;
user root;
worker_processes 1;
pid "@HOME@/nginx.pid";
error_log "@HOME@/nginx.err" error;
events { }
http {
  access_log off;
  client_body_temp_path "@HOME@/body";
  proxy_temp_path "@HOME@/proxy";
  fastcgi_temp_path "@HOME@/fastcgi";
  uwsgi_temp_path "@HOME@/uwsgi";
  scgi_temp_path "@HOME@/scgi";
  server {
    listen 127.0.0.1:@PORT@ ssl backlog=4096;
    ssl_certificate "@CERT@";
    ssl_certificate_key "@KEY@";
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:SSL:4m;
    location / { return 204; }
  }
}
]]):gsub("@(%u+)@", { HOME = home, PORT = tostring(port), CERT = full(certificate), KEY = full(key) })
  to:write(text)
  to:close()
  local self = new("nginx", dir, port, { name = "nginx", cpu = 0,
    words = nchan_words(first_file({ NCHAN[1][1], NCHAN[2][1] }), home) })
  self.tls_port = port
  return wait_until_it_listens(self)
end

--- The same through a ring.
function target.ring(dir, io_threads) return target.sluice(dir, io_threads, false, nil, true) end

local BETTER_SSE = "build/compare/node_modules/better-sse/build/index.mjs"

local function node(dir, which)
  local port = program.free_port()
  return wait_until_it_listens(new(which, dir, port, { name = which, cpu = 0,
    words = { "node", "spec/bench/compare/server.mjs", port, which, lfs.currentdir() .. "/" .. BETTER_SSE } }))
end

--- Servers of node, for spec/bench/compare.
function target.node(dir) return node(dir, "node") end
function target.better_sse(dir) return node(dir, "better-sse") end
function target.has_node() return (os.execute("command -v node >/dev/null")) == true end
function target.has_better_sse() return target.has_node() and first_file({ BETTER_SSE }) ~= nil end

--- Whether there is a ring here.
function target.has_ring()
  local pipe <close> = assert(io.popen("build/bin/sluice version"))
  return pipe:read("a"):find("io_uring: yes", 1, true) ~= nil
end

local function find_nchan()
  for _, row in ipairs(NCHAN) do
    if first_file({ row[1] }) and first_file({ row[2] }) then return row[1], row[2] end
  end
end

--- Whether nginx with nchan is here.
function target.has_nchan() return find_nchan() ~= nil end

--- An nginx with nchan, its files in a folder of its own.
function target.nchan(dir)
  local port = program.free_port()
  local nginx, module = find_nchan()
  local home = ("%s/%s/nginx-%d"):format(lfs.currentdir(), dir, port)
  assert(lfs.mkdir(home))
  local from <close> = assert(io.open("spec/bench/nchan.conf"))
  local values = { DIR = home, PORT = tostring(port), MODULE = module:gsub("^build", lfs.currentdir() .. "/%0") }
  local text = from:read("a"):gsub("@(%u+)@", values)
  local to = assert(io.open(home .. "/nginx.conf", "w"))
  to:write(text)
  to:close()
  return wait_until_it_listens(new("nchan", dir, port,
    { name = "nginx", words = nchan_words(nginx, home), cpu = 0 }))
end

local function send_request(self, method, path)
  local s = assert(socket.connect("127.0.0.1", self.port))
  s:setoption("tcp-nodelay", true)
  assert(s:send(("%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 0\r\n\r\n"):format(method, path, self.port)))
  return s
end

local function read_answer(s, seconds, path)
  s:settimeout(seconds)
  local status = assert(s:receive("*l"), path .. ": no answer"):match("^HTTP/1.1 (%d+)")
  local length = 0
  for line in function() return s:receive("*l") end do
    if line == "" then break end
    length = tonumber(line:match("^[Cc]ontent%-[Ll]ength:%s*(%d+)")) or length
  end
  local body = length > 0 and assert(s:receive(length)) or ""
  s:close()
  if status:sub(1, 1) ~= "2" then error(("%s: %s %s"):format(path, status, body), 0) end
  return body ~= "" and cjson.decode(body) or nil
end

--- Ask and wait for the answer.
function Target:request(method, path, seconds)
  return read_answer(send_request(self, method, path), seconds or 10, path)
end

--- Ask; the function that is returned waits for the answer, or with 0 looks whether it is there.
function Target:request_later(method, path)
  local s = send_request(self, method, path)
  return function(seconds)
    if seconds == 0 then return #socket.select({ s }, nil, 0) > 0 end
    return read_answer(s, seconds, path)
  end
end

--- Have it send: b.events, b.batch, b.every (us), b.kind (raw only), b.to (Sluice: the channel; raw: to
--- how many streams).
function Target:burst(b)
  if self.kind == "nchan" then
    self.publisher = program.start({ name = "publish", cpu = 1, words = { BUILT .. "publish", "--port", self.port,
      "--path", "/publish", "--events", b.events, "--batch", b.batch or 1, "--every", b.every or 0, "--first",
      self.last + 1 } }, self.dir)
    self.last = self.last + b.events
    return
  end
  self:request("POST", ("/burst?events=%d&batch=%d&every=%d&kind=%s&to=%s%s"):format(b.events, b.batch or 1,
    b.every or 0, b.kind or "joined", b.to or "one", b.pad and "&pad=" .. b.pad or ""))
end

--- Publish over one connection, so many requests of it under way at a time; returns when all are
--- answered, with the microseconds of each.
function Target:publish_in_flight(events, in_flight)
  local s = assert(socket.connect("127.0.0.1", self.port))
  s:setoption("tcp-nodelay", true)
  s:settimeout(10)
  local request = ("POST /publish HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 0\r\n\r\n"):format(self.port)
  local began, took, sent = {}, {}, 0
  local function send(n)
    for _ = 1, n do
      sent = sent + 1
      began[sent] = socket.gettime()
    end
    assert(s:send(request:rep(n)))
  end
  send(math.min(in_flight, events))
  for n = 1, events do
    local status = assert(s:receive("*l"), "no answer")
    local length = 0
    for line in function() return s:receive("*l") end do
      if line == "" then break end
      length = tonumber(line:match("^[Cc]ontent%-[Ll]ength:%s*(%d+)")) or length
    end
    if length > 0 then assert(s:receive(length)) end
    if not status:find(" 200 ", 1, true) then error("a publish was answered " .. status, 0) end
    took[n] = (socket.gettime() - began[n]) * 1e6
    if sent < events then send(1) end
  end
  s:close()
  return took
end

--- After the events of a burst have come: the publisher is done, too.
function Target:settle()
  if not self.publisher then return end
  local line = assert(self.publisher:line(10), "publish has not ended: " .. self.publisher:errors())
  self.publisher:stop()
  self.publisher = nil
  if cjson.decode(line).refused > 0 then error("nchan refused a publish: " .. line, 0) end
end

--- CPU time so far in ns: of all its threads, and of the kernel's that do the network's work behind it.
function Target:cpu() return self.program:cpu() + program.ksoftirqd() end
function Target:stop() self.program:stop() end

return target
