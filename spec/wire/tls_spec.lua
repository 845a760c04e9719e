--- HTTPS on the wire: what openssl's own client and curl get, certificates that change, and what
--- attackers do before a handshake is done.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")
local sse = require("spec.support.sse")
local tls = require("spec.support.tls")
local wire = require("spec.support.wire")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:get("/", function(req) return 200, "hello " .. req.ip end)
app:get("/secure", function(req) return 200, tostring(req.secure) end)
app:post("/", function(req) return 200, ("n=%d;"):format(#req.body) end)
app:get("/waits", function() sluice.sleep(0.3) return 200, "waited" end)
app:get("/large", function() return 200, ("0123456789abcdef"):rep(200000) end)
app:post("/pub", function(req) app:publish("news", "text", req.body) return 204 end)
app:stream("/s", { channels = { "news" } })
app:post("/many", function(req)
  for _ = 1, 500 do app:publish("news", "text", req.body) end
  return 204
end)
app:stream("/short", function(req)
  req.user = { id = "u", expires = os.time() + 2 }
  return true
end, { channels = { "news" } })
return app
]]

local GET = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

local P256, RSA = "ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048"

-- One of its own for a name, by openssl; `names` (another order, more of them) stand in it.
local function make_pair(folder, name, kind, names)
  local at = ("%s/%s_%s"):format(folder, name:gsub("%W", "_"), (kind or P256):match("%w+"))
  local code, out = process.run(("openssl req -x509 -nodes -days 30 -newkey %s -subj '/CN=%s' "
    .. "-addext 'subjectAltName=%s' -keyout %s.key -out %s.pem"):format(kind or P256, name,
    names or "DNS:" .. name, at, at))
  assert(code == 0, out)
  return at .. ".pem", at .. ".key"
end

--- What openssl s_client says that sends `text`: all of its output.
local function s_client(port, words, text)
  local line = ("printf '%s' | timeout 10 openssl s_client -connect 127.0.0.1:%d -ign_eof %s 2>&1")
    :format((text or GET):gsub("\r\n", "\\r\\n"), port, words)
  local _, out = process.run(line)
  return out
end

-- The first words of a client, as bytes.
local function hello_of_openssl()
  local through = assert(socket.bind("127.0.0.1", 0))
  local port = select(2, through:getsockname())
  local client = process.spawn({ "openssl", "s_client", "-connect", "127.0.0.1:" .. port, "-brief" }, {})
  through:settimeout(5 * deadline.scale)
  local front = assert(through:accept())
  front:settimeout(1)
  local hello = front:receive(5)
  hello = hello .. front:receive(hello:byte(4) * 256 + hello:byte(5))
  client:kill()
  front:close()
  through:close()
  return hello
end

local function figures(s)
  local r = http.get(s.plain_port, "/-/metrics", { Authorization = "Bearer key" })
  return function(name) return tonumber(r.body:match("\n" .. name:gsub("%p", "%%%0") .. " (%d+)")) end
end

describe("HTTPS", function()
  local s, folder, a_cert, a_key, b_cert, b_key
  setup(function()
    folder = process.temp_dir()
    a_cert, a_key = make_pair(folder, "a.example")
    b_cert, b_key = make_pair(folder, "*.b.example")
    s = server.start({ app = APP, tls = true, args = { "--admin-key", "key", "--allow-host", "*" }, io_threads = 2 })
  end)
  teardown(function()
    server.stop_all()
    process.remove_dir(folder)
  end)

  it("is spoken with TLS 1.3 and 1.2, and with ciphers that keep a secret", function()
    for words, version in pairs({ ["-tls1_3"] = "TLSv1.3", ["-tls1_2"] = "TLSv1.2", [""] = "TLSv1.3",
      ["-ciphersuites TLS_CHACHA20_POLY1305_SHA256 -tls1_3"] = "TLSv1.3",
      ["-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256"] = "TLSv1.2",
      ["-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305"] = "TLSv1.2", ["-groups P-256"] = "TLSv1.3" }) do
      local out = s_client(s.port, words)
      assert.truthy(out:find("New, " .. version, 1, true), words .. "\n" .. out)
      assert.truthy(out:find("hello 127.0.0.1", 1, true), words .. "\n" .. out)
      assert.truthy(out:find("closed\n", 1, true), out)
    end
  end)

  it("is refused to what is older or weaker", function()
    for _, words in ipairs({ "-tls1_1 -cipher ALL:@SECLEVEL=0", "-tls1 -cipher ALL:@SECLEVEL=0",
      "-tls1_2 -cipher AES128-SHA", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA",
      "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", "-alpn h2c", "-alpn foo" }) do
      local out = s_client(s.port, words)
      assert.truthy(out:find("alert", 1, true), words .. "\n" .. out)
      assert.falsy(out:find("HTTP/1.1 200", 1, true), words)
    end
  end)

  it("speaks HTTP/1.1, asked for it or for nothing, and HTTP/2 to who can", function()
    assert.truthy(s_client(s.port, ""):find("No ALPN negotiated", 1, true))
    for asked, chosen in pairs({ ["http/1.1"] = "http/1.1", ["foo,http/1.1"] = "http/1.1", h2 = "h2",
      ["h2,http/1.1"] = "h2", ["http/1.1,h2"] = "h2" }) do
      assert.truthy(s_client(s.port, "-alpn " .. asked):find("ALPN protocol: " .. chosen, 1, true), asked)
    end
  end)

  it("takes up a session by its ticket, on any thread, with early data off", function()
    local kept = folder .. "/session"
    for _, version in ipairs({ "-tls1_3", "-tls1_2" }) do
      assert.truthy(s_client(s.port, version .. " -sess_out " .. kept):find("New, TLS", 1, true))
      local before = figures(s)
      for _ = 1, 6 do
        local out = s_client(s.port, version .. " -sess_in " .. kept)
        assert.truthy(out:find("Reused, TLS", 1, true), out)
      end
      assert.truthy(before)
    end
    local _, text = process.run({ "openssl", "sess_id", "-in", kept, "-text", "-noout" })
    assert.falsy(text:find("Max Early Data: [1-9]"), text)
    local r = http.get(s.plain_port, "/-/metrics", { Authorization = "Bearer key" }).body
    local resumed = 0
    for n in r:gmatch('sluice_tls_resumed_handshakes_total{thread="io%d"} (%d+)') do resumed = resumed + n end
    assert.equal(12, resumed)
  end)

  it("does not renegotiate", function()
    local line = ("(sleep 0.5; echo R; sleep 1) | timeout 10 openssl s_client -connect 127.0.0.1:%d -tls1_2 2>&1")
      :format(s.port)
    local _, out = process.run(line)
    assert.truthy(out:find("RENEGOTIATING", 1, true), out)
    assert.truthy(out:find("no renegotiation", 1, true), out)
  end)

  it("says to plain HTTP what it speaks, and nothing to what is neither", function()
    for _, text in ipairs({ GET, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "P" }) do
      local c = assert(wire.connect(s.port, { plain = true }))
      c:send(text)
      local answer = c:drain(5)
      assert.truthy(answer:find("^HTTP/1%.1 400 "), answer)
      assert.truthy(answer:find("https://", 1, true), answer)
      c:close()
    end
    for _, text in ipairs({ "\0\0\0\0", "\128\46\1\3\1", "get / http/1.1\r\n\r\n", "\22\3\1\0\5hello" }) do
      local c = assert(wire.connect(s.port, { plain = true }))
      c:send(text)
      local answer, how = c:drain(5)
      assert.equal("closed", how)
      assert.is_true(#answer == 0 or answer:byte() == 21, ("%q"):format(answer)) -- an alert
      c:close()
    end
    assert.is_true(figures(s)('sluice_tls_failed_handshakes_total{reason="plain"}') >= 3)
  end)

  it("takes a hello that comes byte by byte, and gives up one that is too long", function()
    local hello = hello_of_openssl()
    local c = assert(wire.connect(s.port, { plain = true }))
    for i = 1, #hello do c:send(hello:sub(i, i)) end
    assert.equal("\22\3\3", c:read(3, deadline.after(5))) -- its answer begins
    c:reset()

    c = assert(wire.connect(s.port, { plain = true }))
    local long = "\22\3\1\64\0\1\1\0\0" .. ("x"):rep(16380) .. ("\22\3\3\64\0" .. ("x"):rep(16384)):rep(3)
    c:send(long)
    local _, how = c:drain(5)
    assert.equal("closed", how)
    c:close()
  end)

  it("closes what is cut in a record, and what was changed on its way", function()
    local before = s.fds()
    for _, text in ipairs({ "\23\3\3\1\0" .. ("x"):rep(100), "\23\3\3\1\0" .. ("x"):rep(256),
      "\23\3\3\255\255" .. ("x"):rep(100), "GET / HTTP/1.1\r\n\r\n" }) do
      for _, path in ipairs({ "/", "/s" }) do
        local w = assert(wire.connect(s.port))
        w:send("GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert(w:read_until("\r\n\r\n", deadline.after(5)))
        w.sock.sock:send(text)
        w.sock.sock:shutdown("send")
        local _, how = w:drain(5)
        assert.equal("closed", how)
        w:close()
      end
    end
    deadline.eventually(function() return s.fds() <= before end, 5, "descriptors are back")
  end)

  it("gives a client 5 seconds for its handshake", function()
    if not os.getenv("SLUICE_SPEC_FULL") then pending("full size only") return end
    for _, text in ipairs({ "", "\22\3\1\2\0" }) do
      local c = assert(wire.connect(s.port, { plain = true }))
      if text ~= "" then c:send(text) end
      local answer, how = c:drain(20)
      assert.equal("closed", how)
      assert.is_true(#answer == 0 or answer:byte() == 21)
      c:close()
    end
  end)

  it("delivers between the handshakes of a flood", function()
    local one = server.start({ app = APP, tls = true, io_threads = 1 })
    local c = assert(sse.connect(one.plain_port, "/s"))
    assert(c:wait_for("hello"))
    local hello, flood = hello_of_openssl(), {}
    for i = 1, 500 do flood[i] = assert(wire.connect(one.port, { plain = true })) end
    assert.equal("hello 127.0.0.1", http.get(one.plain_port, "/").body) -- all are accepted
    for _, w in ipairs(flood) do w:send(hello) end
    local function answered()
      local n = 0
      for _, w in ipairs(flood) do
        if #w.buffer > 0 or w:fill(0) then n = n + 1 end
      end
      return n
    end
    local delivered, at = 0
    repeat
      assert.equal(204, http.connect(one.plain_port):request("POST", "/pub", {}, "x").status)
      assert(c:wait_for("text"))
      at = answered()
      if at < #flood then delivered = delivered + 1 end
    until at == #flood
    assert.is_true(delivered > 0)
    for _, w in ipairs(flood) do w:reset() end
  end)

  it("carries large answers to slow readers, and large requests", function()
    local body = ("0123456789abcdef"):rep(4000)
    local w = assert(wire.connect(s.port, { rcvbuf = 4096 }))
    w:send("GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    local answer, how = w:drain(30)
    assert.equal("closed", how)
    assert.equal("closed", w.sock.how)
    assert.is_true(answer:match("\r\n\r\n(.*)$") == body:rep(50))
    w:close()
    local r = assert(http.connect(s.port)):request("POST", "/", {}, body)
    assert.equal("n=64000;", r.body)
  end)

  it("takes a page without TLS for another one", function()
    local function post(origin, port)
      return http.connect(port):request("POST", "/", { Host = "a.example", Origin = origin }, "x").status
    end
    assert.equal(200, post("https://a.example", s.port))
    assert.equal(403, post("http://a.example", s.port))
    assert.equal(200, post("http://a.example", s.plain_port))
    assert.equal(200, post("https://a.example", s.plain_port)) -- a proxy may have it
  end)

  it("is what req.secure says, and with a trusted proxy what that says", function()
    local function ask(port, proto)
      return http.get(port, "/secure", proto and { ["X-Forwarded-Proto"] = proto }).body
    end
    assert.equal("true", ask(s.port))
    assert.equal("false", ask(s.plain_port))
    assert.equal("false", ask(s.plain_port, "https")) -- whoever says so
    assert.equal("true", ask(s.port, "http"))
    local one = server.start({ app = APP, tls = true, args = { "--trust-proxy", "yes" } })
    for proto, want in pairs({ ["https"] = "true", ["HTTPS"] = "true", ["http, https"] = "true",
      ["https, http"] = "false", ["http"] = "false", ["wss"] = "false" }) do
      assert.equal(want, ask(one.plain_port, proto), proto)
      assert.equal(want, ask(one.port, proto), proto)
    end
    assert.equal("true", ask(one.port))
    assert.equal("false", ask(one.plain_port))
  end)

  it("keeps a stream's words in one record for each moment, and its end tells whole from cut", function()
    local one = server.start({ app = APP, tls = true, args = { "--drain", "0" } })
    local c = assert(sse.connect(one.port, "/s"))
    assert(c:wait_for("hello"))
    assert.equal(204, http.connect(one.port):request("POST", "/pub", {}, "over TLS").status)
    assert.equal("over TLS", c:wait_for("text").data)
    one.signal("TERM")
    assert.equal("bye", c:wait_for("bye").event)
    assert.equal("closed", c:wait_end())
    assert.equal("closed", c.wire.sock.how) -- said over TLS
    deadline.eventually(function() return one.code() == 0 end, 5, "the server has ended")

    one = server.start({ app = APP, tls = true })
    local w = assert(wire.connect(one.port))
    w:send("GET /s HTTP/1.1\r\nHost: localhost\r\n\r\n")
    w:read_until("event: sync", deadline.after(5))
    one.kill()
    w:drain(5)
    assert.equal("cut", w.sock.how)
    w:close()
  end)

  it("ends by right behind the record that a full socket has begun to take", function()
    local c = assert(sse.connect(s.port, "/short", { rcvbuf = 4096 }))
    assert(c:wait_for("hello"))
    local began, body = os.time(), ("0123456789"):rep(700) -- less than a record, so that one is refused as a whole
    assert.equal(204, http.connect(s.plain_port):request("POST", "/many", {}, body).status)
    deadline.eventually(function() return os.time() > began + 3 end, 10, "its time is over")
    local seen, last = 0, nil
    repeat
      local event = c:next_event(10) -- a broken chunk raises
      if event and event.event == "text" then
        seen = seen + 1
        assert.is_true(event.data == body)
      end
      last = event or last
    until not event
    assert.equal("bye", last.event)
    assert.truthy(last.data:find('"reason":"expired"', 1, true), last.data)
    assert.is_true(seen < 500)
    assert.equal("closed", c.wire.sock.how)
  end)

  it("says its end over TLS when it is done", function()
    local w = assert(wire.connect(s.port))
    w:send(GET)
    local text, how = w:drain(5)
    assert.truthy(text:find("hello 127.0.0.1", 1, true))
    assert.same({ "closed", "closed" }, { how, w.sock.how })
    w:close()
  end)

  it("answers a client that says its end over TLS, and not one that is gone below it", function()
    local function ask(finish)
      local w = assert(wire.connect(s.port))
      w:send("GET /waits HTTP/1.1\r\nHost: localhost\r\n\r\n")
      finish(w)
      local text = w:drain(5)
      w:close()
      return text
    end
    assert.matches("waited$", ask(function(w) w:finish() end))
    assert.equal("", ask(function(w) w.sock.sock:shutdown("send") end))
  end)

  it("warns of a certificate that ends soon by its file", function()
    local soon = folder .. "/soon.pem"
    assert.equal(0, (process.run({ "openssl", "req", "-x509", "-key", a_key, "-days", "2", "-subj", "/CN=soon",
      "-out", soon })))
    local one = server.start({ app = APP, args = { "--tls-port", 0, "--tls-cert", b_cert .. "," .. soon, "--tls-key",
      b_key .. "," .. a_key } })
    one.wait_log("the TLS certificate [^\n]*soon.pem expires in 4[78] h", 5)
  end)

  it("reads its files anew under open streams, and keeps what it has when they are wrong", function()
    local cert, key = folder .. "/site.pem", folder .. "/site.key"
    local function put(from_cert, from_key)
      process.write_file(cert, process.read_file(from_cert))
      process.write_file(key, process.read_file(from_key))
    end
    put(a_cert, a_key)
    os.execute("chmod 600 " .. key)
    local one = server.start({ app = APP, args = { "--tls-port", 0, "--tls-cert", cert, "--tls-key", key } })
    local port = one.tls_port()
    local function subject(words) return s_client(port, words or ""):match("subject=CN = (%S+)") end
    assert.equal("a.example", subject())
    local open = process.spawn({ "curl", "-sN", "--cacert", a_cert, "--resolve", "a.example:" .. port .. ":127.0.0.1",
      "-H", "Host: localhost", ("https://a.example:%d/s"):format(port) }, {})
    deadline.eventually(function() return open:log():find("event: sync", 1, true) end, 5, "the stream is open")

    put(b_cert, a_key)
    one.wait_log("it does not belong to the certificate .-; those in use go on", 10)
    assert.equal("a.example", subject())
    put(b_cert, b_key)
    one.wait_log("TLS certificates read anew", 10)
    assert.equal("*.b.example", subject())

    put(a_cert, a_key)
    one.signal("HUP")
    one.wait_log("reload #2 [^\n]*: TLS certificates read anew", 5)
    one.signal("HUP")
    one.wait_log("reload #3 [^\n]*: nothing has changed", 5)
    assert.equal("a.example", subject())
    os.execute("chmod 644 " .. key)
    local code, said = process.run({ "build/bin/sluice", "reload", "--socket",
      ("%s/sluice/%d.sock"):format(one.folder, one.plain_port or one.port) })
    assert.equal(1, code, said)
    assert.matches("sluice: [^\n]*everybody on this machine may open it", said)
    one.wait_log("everybody on this machine may open it.-the certificates in use go on", 5)
    assert.equal("a.example", subject())
    assert.equal(204, http.connect(one.port):request("POST", "/pub", {}, "after all").status)
    deadline.eventually(function() return open:log():find("after all", 1, true) end, 5, "the stream goes on")
    open:kill()
  end)

  it("gives each name its certificate, and the first one to the others", function()
    local one = server.start({ app = APP, args = { "--tls-port", 0, "--tls-cert", a_cert .. "," .. b_cert, "--tls-key",
      a_key .. "," .. b_key } })
    local port = one.tls_port()
    for name, want in pairs({ ["a.example"] = "a.example", ["x.b.example"] = "*.b.example",
      ["c.example"] = "a.example" }) do
      assert.equal(want, s_client(port, "-servername " .. name):match("subject=CN = (%S+)"), name)
    end
    assert.equal("a.example", s_client(port, "-noservername"):match("subject=CN = (%S+)"))
  end)

  it("gives a client the kind of key that it can verify, of two for the same names", function()
    local both = { "DNS:two.example,DNS:also.example", "DNS:also.example,DNS:two.example" }
    local ec_cert, ec_key = make_pair(folder, "two.example", P256, both[1])
    local rsa_cert, rsa_key = make_pair(folder, "two.example", RSA, both[2])
    local one = server.start({ app = APP, args = { "--tls-port", 0, "--tls-cert",
      table.concat({ a_cert, ec_cert, rsa_cert }, ","), "--tls-key", table.concat({ a_key, ec_key, rsa_key }, ",") } })
    local port = one.tls_port()
    local function kind(words)
      return s_client(port, words):match("Server public key is (%d+) bit")
    end
    local name = "-servername also.example "
    assert.equal("256", kind(name))
    assert.equal("256", kind(name .. "-sigalgs ECDSA+SHA256:RSA-PSS+SHA256"))
    assert.equal("2048", kind(name .. "-sigalgs RSA-PSS+SHA256"))
    assert.equal("2048", kind(name .. "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256"))
    assert.equal("256", kind(name .. "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256"))
    assert.is_nil(kind("-servername a.example -sigalgs RSA-PSS+SHA256")) -- it has one kind
    assert.equal("256", kind("-servername a.example"))
  end)

  it("is where the plain port leads, when that is wanted", function()
    local one = server.start({ app = APP, tls = true, args = { "--tls-redirect", "yes" } })
    local function ask(text)
      local c = assert(http.connect(one.plain_port))
      c:send(text)
      local r = c:response()
      c:close()
      return r.status, r.headers.location
    end
    local to = ("https://localhost:%d"):format(one.port)
    assert.same({ 308, to .. "/a%20b?x=1&y" }, { ask("GET /a%20b?x=1&y HTTP/1.1\r\nHost: localhost:5\r\n\r\n") })
    assert.same({ 308, to .. "/" }, { ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx") })
    assert.same({ 308, ("https://[::1]:%d/s"):format(one.port) }, { ask("GET /s HTTP/1.1\r\nHost: [::1]:80\r\n\r\n") })
    local name = "Host: localhost\r\n\r\n"
    assert.same({ 308, to .. "/t?x=1" }, { ask("GET http://localhost/t?x=1 HTTP/1.1\r\n" .. name) })
    assert.same({ 308, to .. "/?u=a://b/c" }, { ask("GET http://localhost:5?u=a://b/c HTTP/1.1\r\n" .. name) })
    assert.same({ 308, to .. "/" }, { ask("GET http://localhost HTTP/1.0\r\n\r\n") })
    assert.same({ 308, to .. "/a://b" }, { ask("GET /a://b HTTP/1.1\r\n" .. name) })
    for _, method in ipairs({ "GET", "POST" }) do -- nowhere to lead to: never served in plain
      assert.same({ 400 }, { ask(method .. " / HTTP/1.0\r\nContent-Length: 0\r\n\r\n") })
    end
    assert.equal(204, (ask("OPTIONS / HTTP/1.1\r\n" .. name)))
    assert.equal(200, (ask("GET /-/healthz HTTP/1.0\r\n\r\n")))
    assert.equal(421, (ask("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")))
    assert.equal(200, (ask("GET /-/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")))
    assert.equal("hello 127.0.0.1", http.get(one.port, "/").body)
  end)

  it("makes a certificate of this machine, once", function()
    local run = process.temp_dir()
    local function start()
      return server.start({ app = APP, env = { XDG_RUNTIME_DIR = run }, args = { "--tls", "dev", "--tls-port", 0 } })
    end
    local one = start()
    local port = one.tls_port()
    local ca = one.wait_log("certutil [^\n]- %-i (%S-) ")
    ca = ca:gsub("\\/", "/")
    assert.same({ 0, "hello 127.0.0.1" },
      { process.run({ "curl", "-sS", "--cacert", ca, ("https://localhost:%d/"):format(port) }) })
    local before = process.read_file(ca)
    assert.equal(0, one.stop())
    start()
    assert.equal(before, process.read_file(ca))
    process.remove_dir(run)
  end)

  it("does not start with what it cannot use, and says what it is", function()
    local files = tls.files()
    for words, why in pairs({
      [{ "--tls-cert", files.cert }] = "names 1 and %-%-tls%-key 0 files",
      [{ "--tls-port", "0" }] = "%-%-tls%-port: a certificate is needed: %-%-tls%-cert and %-%-tls%-key",
      [{ "--tls", "dev", "--tls-cert", files.cert, "--tls-key", files.key }] = "makes its own certificate",
      [{ "--tls-cert", "/nowhere.pem", "--tls-key", files.key }] = "TLS certificate /nowhere.pem: No such file",
      [{ "--tls-cert", files.cert, "--tls-key", a_key }] = "it does not belong to the certificate",
      [{ "--tls-port", tostring(s.port), "--tls-cert", files.cert, "--tls-key", files.key }] =
        "cannot listen on 127.0.0.1 port %d+ for TLS: address already in use",
    }) do
      local code, log = server.run_to_end({ app = APP, args = words, tls = false })
      assert.is_true(code == 1 or code == 2, log)
      assert.matches(why, log)
    end
  end)

  it("serves who is connected while others are silent before their hello", function()
    local one = server.start({ app = APP, tls = true, args = { "--admin-key", "key" } })
    local c = assert(sse.connect(one.port, "/s"))
    assert(c:wait_for("hello"))
    local silent = {}
    for i = 1, 700 do -- more than there are places
      silent[i] = assert(wire.connect(one.port, { plain = true }))
      if i % 2 == 0 then silent[i]:send("\22\3\1") end
    end
    for i = 1, 20 do
      assert.equal(204, http.connect(one.plain_port):request("POST", "/pub", {}, "n" .. i).status)
      assert.equal("n" .. i, c:wait_for("text").data)
    end
    -- places become free: in a second while all are taken
    assert.equal("hello 127.0.0.1", assert(http.connect(one.port)):request("GET", "/").body)
    deadline.eventually(function()
      return (figures(one)('sluice_tls_failed_handshakes_total{reason="timeout"}') or 0) >= 188
    end, 10, "late ones are given up")
    for _, w in ipairs(silent) do w:reset() end
  end)
end)
