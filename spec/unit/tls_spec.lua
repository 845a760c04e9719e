--- TLS of csrc/net on pairs of sockets: both sides, full sockets, ends, certificates, tickets.
local core = require("sluice.core")
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")
local socket = require("socket")
local support = require("spec.support.tls")
local testing = require("sluice.core.testing")
local testing_tls = require("sluice.core.testing_tls")

describe("TLS", function()
  local folder, files, server, client, fds, sessions

  setup(function()
    folder = process.temp_dir()
    files = support.make(folder)
  end)
  teardown(function() process.remove_dir(folder) end)
  before_each(function()
    fds, sessions = {}, {}
    server = assert(testing_tls.server({ files.cert }, { files.key }))
    client = assert(testing_tls.client(files.ca))
  end)
  after_each(function()
    for _, t in ipairs(sessions) do t:free() end
    for _, fd in ipairs(fds) do testing_tls.shut(fd) end
  end)

  local function opened(room, host, protocol)
    local a, b = testing_tls.pair(room)
    fds[#fds + 1], fds[#fds + 2] = a, b
    local s, c = server:open(a), client:open(b, host or "localhost", protocol)
    sessions[#sessions + 1], sessions[#sessions + 2] = s, c
    return s, c
  end

  -- Both sides in turn until they are done: true, or nil and what each said.
  local function shake(s, c)
    for _ = 1, 20 do
      local cd, cw = c:handshake()
      local sd, sw = s:handshake()
      if cd and sd then return true end
      if cd == nil or sd == nil then return nil, sw, cw end
    end
    return nil, "no end"
  end

  -- A session has words of its own too, such as tickets, behind which there is more.
  local function read_all(t)
    local parts, empty = {}, 0
    while empty < 4 do
      local bytes, why = t:read()
      if not bytes then return table.concat(parts), why end
      empty = bytes == "" and empty + 1 or 0
      parts[#parts + 1] = bytes
    end
    return table.concat(parts)
  end

  it("carries bytes in both directions", function()
    local s, c = opened()
    assert.is_true(shake(s, c))
    assert.equal("TLSv1.3", s:about().version)
    assert.equal(5, c:write("hello"))
    assert.equal("hello", s:read())
    assert.equal("", s:read())
    assert.equal(9, s:write("head ", "body"))
    assert.equal("head body", read_all(c))
  end)

  it("makes one record of head and body, and as few as can be of what is larger", function()
    local s, c = opened()
    assert.is_true(shake(s, c))
    assert.equal(6100, s:write(("h"):rep(100), ("b"):rep(6000)))
    assert.equal(6100 + 22, s:about().went)
    assert.equal(16384, s:write("", ("b"):rep(16384)))
    assert.equal(16384 + 22, s:about().went)
    local large = ("0123456789"):rep(5000)
    assert.equal(50000, s:write(large:sub(1, 20000), large:sub(20001)))
    assert.equal(50000 + 4 * 22, s:about().went)
    assert.is_true(("h"):rep(100) .. ("b"):rep(6000 + 16384) .. large == read_all(c))
  end)

  it("goes on after a full socket with the bytes that were refused, moved and with more behind them", function()
    local s, c = opened(4096)
    assert.is_true(shake(s, c))
    local sent, got, size = {}, {}, 0
    for i = 1, 200 do sent[i] = ("%d:%s;"):format(i, ("x"):rep(i * 17 % 3000)) end
    local text, at, refused = table.concat(sent), 1, 0
    while at <= #text do
      -- another string each time, split elsewhere: only its beginning is the same
      local more = text:sub(at, at + 5000 + refused * 100)
      local cut = (#more * 7 + refused) % (#more + 1)
      local n = assert(s:write(more:sub(1, cut), more:sub(cut + 1)))
      if n == 0 then refused = refused + 1 end
      at = at + n
      if n == 0 then
        local bytes = assert(c:read(700))
        got[#got + 1], size = bytes, size + #bytes
      end
    end
    got[#got + 1] = read_all(c)
    assert.is_true(text == table.concat(got))
    assert.is_true(refused > 20)
  end)

  it("tells an end that was said from one that was cut", function()
    local s, c = opened()
    assert.is_true(shake(s, c))
    s:write("all of it")
    assert.is_true(s:close())
    assert.same({ "all of it", "closed" }, { read_all(c) })
    assert.equal(4, c:write("more")) -- the other direction is open still
    assert.equal("more", s:read())

    s, c = opened()
    assert.is_true(shake(s, c))
    s:write("not all")
    testing_tls.shut(table.remove(fds, #fds - 1))
    assert.same({ "not all", "cut" }, { read_all(c) })
  end)

  it("asks for a peer whose certificate is valid and for its name", function()
    local ok, server_says, client_says = shake(opened(nil, "elsewhere.example"))
    assert.is_nil(ok)
    assert.equal("certificate", client_says or server_says)
    local other = support.make(folder, "other")
    client = assert(testing_tls.client(other.ca))
    ok, server_says, client_says = shake(opened())
    assert.is_nil(ok)
    assert.equal("certificate", client_says or server_says)
    local none, why = testing_tls.client("/nowhere")
    assert.is_nil(none)
    assert.matches("^certificates to trust: /nowhere: ", why)
  end)

  it("speaks HTTP/1.1, and says so to who asks for something else", function()
    assert.is_true(shake(opened(nil, nil, "http/1.1")))
    local ok, why = shake(opened(nil, nil, "h3"))
    assert.same({ nil, "alpn" }, { ok, why })
  end)

  it("refuses what is no hello, byte by byte or at once", function()
    for _, bytes in ipairs({ "\22\3\1\0\5hello", "\22\3\1\255\255" .. ("x"):rep(70000), ("\22"):rep(60) }) do
      local s = opened()
      local out = testing_tls.send_plain(fds[#fds], bytes)
      assert.is_true(out > 0)
      local done, why
      repeat done, why = s:handshake() until done ~= false
      assert.is_nil(done)
      assert.is_true(why == "protocol" or why == "version", why)
    end
  end)

  it("gives each name its certificate", function()
    local function named(name)
      local at = folder .. "/" .. name
      local code, out = process.run({ "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "30", "-subj", "/CN=" .. name, "-addext", "subjectAltName=DNS:" .. name, "-keyout",
        at .. ".key", "-out", at .. ".pem" })
      assert.equal(0, code, out)
      return at .. ".pem", at .. ".key"
    end
    local a_cert, a_key = named("a.example")
    local b_cert, b_key = named("*.b.example")
    assert.is_true(server:load({ files.cert, a_cert, b_cert }, { files.key, a_key, b_key }))
    for name, ca in pairs({ ["a.example"] = a_cert, ["x.b.example"] = b_cert, localhost = files.ca }) do
      client = assert(testing_tls.client(ca))
      local ok, s, c = shake(opened(nil, name))
      assert.is_true(ok, ("%s: %s %s"):format(name, s, c))
    end
  end)

  it("keeps what is in use when a pair cannot be used, and says why", function()
    local other = support.make(folder, "second")
    local function write(name, text, mode)
      local path = folder .. "/" .. name
      process.write_file(path, text)
      os.execute(("chmod %s %s"):format(mode or "600", path))
      return path
    end
    local key = process.read_file(files.key)
    local locked = folder .. "/locked.key"
    assert.equal(0, (process.run({ "openssl", "ec", "-in", files.key, "-aes256", "-passout", "pass:x",
      "-out", locked })))
    local cases = {
      { { folder .. "/none.pem" }, { files.key },
        "TLS certificate " .. folder .. "/none.pem: No such file or directory" },
      { { files.cert }, { folder .. "/none.key" }, "TLS key " .. folder .. "/none.key: No such file or directory" },
      { { write("junk.pem", "junk") }, { files.key }, "there is no certificate in it (PEM is wanted)" },
      { { files.cert }, { write("junk.key", "junk") }, "there is no private key in it (PEM is wanted)" },
      { { files.cert }, { other.key }, "it does not belong to the certificate " .. files.cert },
      { { files.cert }, { write("open.key", key, "644") }, "everybody on this machine may open it: chmod o= it" },
      { { files.cert }, { locked }, "it is under a password, which nobody is there to give" },
      { { files.cert }, { folder }, "it is no file" },
      { { write("long.pem", ("x"):rep(300000)) }, { files.key }, "it is too large" },
      { { write("cut.pem", process.read_file(files.cert) .. process.read_file(files.ca):sub(1, 300)) },
        { files.key },
        "TLS certificate " .. folder .. "/cut.pem: " },
      { { files.cert, files.cert }, { files.key, other.key }, "does not belong" },
      { {}, {}, "1 to 64 pairs" },
    }
    for _, case in ipairs(cases) do
      local ok, why = server:load(case[1], case[2])
      assert.is_nil(ok)
      assert.truthy(why:find(case[3], 1, true), why)
      assert.is_true(shake(opened()))
    end
    assert.is_true(server:load({ files.cert }, { write("group.key", key, "640") }))
  end)

  it("goes on over a certificate that changed", function()
    local s, c = opened()
    assert.is_true(shake(s, c))
    local half, other_half = opened()
    assert.is_false(other_half:handshake())
    assert.is_false(half:handshake())
    local other = support.make(folder, "third")
    assert.is_true(server:load({ other.cert }, { other.key }))
    s:write("as before")
    assert.equal("as before", read_all(c))
    assert.is_true(shake(half, other_half)) -- with the certificate that it began with
    assert.is_nil((shake(opened())))
    client = assert(testing_tls.client(other.ca))
    assert.is_true(shake(opened()))
  end)

  it("knows tickets of the last keys, and no others", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local port = select(2, listener:getsockname())
    local kept = folder .. "/session"
    -- What openssl's client says of one connection that the server ends.
    local function connect(words)
      local p = process.spawn({ "sh", "-c", ("openssl s_client -connect 127.0.0.1:%d -ign_eof %s </dev/null 2>&1")
        :format(port, words) }, {})
      listener:settimeout(5 * deadline.scale)
      local peer = assert(listener:accept())
      local t = server:open(peer:getfd())
      local left = deadline.after(5)
      repeat socket.select({ peer }, nil, 0.1) until t:handshake() or left() == 0
      t:write("HTTP/1.0 200 OK\r\n\r\n")
      local resumed = t:about().resumed
      t:close()
      t:free()
      peer:shutdown("send")
      p:wait(5)
      peer:close()
      return resumed
    end
    for _, version in ipairs({ "-tls1_2", "-tls1_3" }) do
      assert.is_false(connect(version .. " -sess_out " .. kept))
      assert.is_true(connect(version .. " -sess_in " .. kept))
      server:rotate()
      assert.is_true(connect(version .. " -sess_in " .. kept))
      server:rotate()
      assert.is_true(connect(version .. " -sess_in " .. kept))
      server:rotate()
      assert.is_false(connect(version .. " -sess_in " .. kept))
    end
    listener:close()
  end)

  it("leaves nothing behind when memory is out at any step", function()
    collectgarbage()
    local before = testing.alive().memory
    for n = 1, 3 do
      testing.fail_alloc(n)
      pcall(opened)
      testing.fail_alloc(0)
    end
    for _, t in ipairs(sessions) do t:free() end
    sessions = {}
    collectgarbage()
    assert.equal(before, testing.alive().memory)
  end)

  it("makes certificates that end when they say", function()
    local expires = core.certificate_expires(process.read_file(files.cert))
    assert.is_true(math.abs(expires - core.time() - 825 * 86400) < 100)
    assert.is_nil(core.certificate_expires("junk"))
    local code, out = process.run({ "openssl", "verify", "-CAfile", files.ca, "-verify_hostname", "localhost",
      files.cert })
    assert.equal(0, code, out)
  end)
end)
