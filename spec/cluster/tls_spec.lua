--- TLS between a node and Redis: what is trusted and shown, what is said when it comes to nothing, files that change,
--- and a network that is cut.
local certificates = require("spec.support.certificates")
local deadline = require("spec.support.deadline")
local links = require("sluice.core.testing_link")
local middle = require("spec.support.middle")
local network = require("spec.cluster.network")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local resp = require("spec.support.resp")

if not redis.installed() then
  describe("TLS to Redis", function() pending(redis.NAME) end)
  return
end

local FULL = os.getenv("SLUICE_SPEC_FULL")

describe("TLS to Redis", function()
  local folder, ca, good, server
  local opened, peers = {}, {}

  setup(function()
    folder = process.temp_dir()
    ca = certificates.authority(folder, "ca")
    good = ca:sign("good")
    server = redis.start { tcp = true, tls = good, config = { requirepass = "pw" } }
  end)

  teardown(function()
    server:stop()
    process.remove_dir(folder)
  end)

  after_each(function()
    for _, link in ipairs(opened) do link:shut() end
    for _, peer in ipairs(peers) do peer:shut() end
    opened, peers = {}, {}
  end)

  local function options(more)
    local out = { host = "127.0.0.1", port = server.tls_port, tls = true, ca = ca.cert, password = "pw" }
    for name, value in pairs(more or {}) do out[name] = value or nil end
    return out
  end

  -- The first event that is `what`; another end is a failure.
  local function wait_for(link, what)
    return deadline.eventually(function()
      for _, peer in ipairs(peers) do peer:step() end
      for _, e in ipairs(link:step(5)) do
        if e[1] == what then return e end
        local is_wrong = e[1] == "warn" and e[2]:find("not encrypted", 1, true)
        if is_wrong or e[1] == "down" then deadline.give_up(e[2]) end
      end
    end, 10, what)
  end

  local function open(given)
    local link = assert(links.open(given))
    opened[#opened + 1] = link
    link:dial()
    return link
  end

  local function up(given)
    local link = open(given)
    wait_for(link, "up")
    return link
  end

  local function down(given, words, refused)
    local e = wait_for(open(given), "down")
    assert.truthy(e[2]:find(words, 1, true), e[2])
    assert.equal(refused, e[3], e[2])
  end

  -- The same server, on another port, with another certificate.
  local function with(files, given, words)
    local own = redis.start { tls = files }
    finally(function() own:stop() end)
    given = options(given)
    given.port, given.password = own.tls_port, nil
    if not words then return up(given) end
    down(given, words, true)
  end

  it("comes up, and answers what is small and what is large", function()
    local link = up(options())
    local text = ("0123456789abcdef"):rep(40000)
    assert.is_true(link:send("scripts", 1, resp.command("PING", text)))
    assert.equal(text, wait_for(link, "reply")[4])
  end)

  it("says that nobody vouches for the certificate", function()
    local other = certificates.authority(folder, "other")
    down(options { ca = other.cert }, "name the file of its CA with --cluster-ca", true)
    down(options { ca = false }, "nobody who is trusted vouches for its certificate", true) -- the system does not
  end)

  it("says that the certificate has expired", function()
    with(ca:sign("old", { days = -1 }), nil, "its certificate has expired")
  end)

  it("says that it is for another name, takes the one that it is told, and sends that", function()
    local named = ca:sign("named", { names = "DNS:redis.example" })
    with(named, nil, "its certificate is not for '127.0.0.1': name what it is for with --cluster-sni")
    with(named, { sni = "redis.example" })
    local fake, heard = middle.fake(function() end), nil
    peers[1] = fake
    local link = open(options { port = fake.port, sni = "redis.example" })
    deadline.eventually(function()
      link:step(5)
      fake:step()
      for conn in pairs(fake.conns) do heard = conn.text:find("redis.example", 1, true) end
      return heard
    end, 10, "the name is in its hello")
  end)

  it("shows a certificate where one is wanted", function()
    local own = redis.start { tls = { cert = good.cert, key = good.key, ca = ca.cert, wants = true } }
    finally(function() own:stop() end)
    local mine, strange = ca:sign("mine"), certificates.authority(folder, "strange"):sign("theirs")
    local function to_own(more)
      more.port, more.password = own.tls_port, false
      return options(more)
    end
    up(to_own { cert = mine.cert, key = mine.key })
    down(to_own {}, "it wants a certificate of ours: --cluster-cert and --cluster-key", true)
    down(to_own { cert = strange.cert, key = strange.key }, "it does not take the certificate of --cluster-cert", true)
  end)

  it("says which file cannot be used", function()
    local function write(name, text, mode)
      process.write_file(folder .. "/" .. name, text)
      assert(os.execute(("chmod %s %s/%s"):format(mode or "600", folder, name)))
      return folder .. "/" .. name
    end
    local none, junk = folder .. "/none", write("junk", "junk")
    local open_key = write("open.key", process.read_file(good.key), "644")
    local locked = folder .. "/locked.key"
    assert.equal(0, (process.run { "openssl", "ec", "-in", good.key, "-aes256", "-passout", "pass:x", "-out", locked }))
    down(options { ca = none }, "--cluster-ca: certificates to trust: " .. none .. ": No such file or directory", true)
    down(options { ca = junk }, "--cluster-ca: certificates to trust: " .. junk, true)
    for _, case in ipairs { { none, good.key, none .. ": No such file" }, { junk, good.key, "certificate " .. junk },
      { good.cert, none, "key " .. none .. ": No such file" }, { good.cert, junk, "key " .. junk },
      { good.cert, open_key, "everybody on this machine may open it: chmod o= it" },
      { good.cert, locked, "key " .. locked }, { good.cert, ca.key, "key " .. ca.key } } do
      down(options { cert = case[1], key = case[2] }, "--cluster-cert and --cluster-key: ", true)
      down(options { cert = case[1], key = case[2] }, case[3], true)
    end
  end)

  it("reads its files again at each connect", function()
    local trusted = folder .. "/trusted.pem"
    local function trust(who) process.write_file(trusted, process.read_file(who.cert)) end
    trust(ca)
    local link = up(options { ca = trusted })
    trust(certificates.authority(folder, "next"))
    link:shut()
    link:dial()
    local e = deadline.eventually(function() return link:step(5)[1] end, 10, "an end")
    assert.truthy(e[2]:find("--cluster-ca", 1, true), e[2])
    trust(ca)
    link:dial()
    wait_for(link, "up")
  end)

  it("shows the next certificate, and takes the one that Redis has next", function()
    local own = redis.start { tls = { cert = good.cert, key = good.key, ca = ca.cert, wants = true } }
    finally(function() own:stop() end)
    local cert, key = folder .. "/shown.pem", folder .. "/shown.key"
    local function show(who)
      process.write_file(cert, process.read_file(who.cert))
      process.write_file(key, process.read_file(who.key))
      assert(os.execute("chmod 600 " .. key))
    end
    local given = options { cert = cert, key = key, password = false }
    given.port = own.tls_port
    show(certificates.authority(folder, "third"):sign("third-one"))
    local link = open(given)
    assert.truthy(wait_for(link, "down")[2]:find("does not take the certificate of --cluster-cert", 1, true))
    show(ca:sign("renewed"))
    link:dial()
    wait_for(link, "up")
    local other = ca:sign("other-name", { names = "DNS:elsewhere" })
    own:call("CONFIG", "SET", "tls-cert-file", other.cert, "tls-key-file", other.key)
    link:shut()
    link:dial()
    assert.truthy(wait_for(link, "down")[2]:find("its certificate is not for '127.0.0.1'", 1, true))
    local next_one = ca:sign("good-again")
    own:call("CONFIG", "SET", "tls-cert-file", next_one.cert, "tls-key-file", next_one.key)
    link:dial()
    wait_for(link, "up")
  end)

  it("says so when only one side speaks it", function()
    local why = wait_for(open(options { port = server.port }), "down")[2] -- it takes a hello for half a command
    assert.truthy(why:find("it speaks no TLS on this port: name its tls-port", 1, true)
      or why:find("no TLS within 2 s: is this its tls-port?", 1, true), why)
    local e = wait_for(open(options { tls = false }), "down")
    assert.truthy(e[2]:find("rediss: in place of redis:", 1, true), e[2])
  end)

  it("takes the next password, and says which command a user may not run", function()
    server:call("ACL", "SETUSER", "node", "on", ">one", "~sluice:*", "+@all", "-xadd")
    local file = folder .. "/password"
    local mine = options { user = "node", password = false, password_file = file }
    process.write_file(file, "one\n")
    down(mine, "may not run XADD on keys of this cluster: ACL SETUSER node +xadd", true)
    server:call("ACL", "SETUSER", "node", "+xadd")
    local link = up(mine)
    server:call("ACL", "SETUSER", "node", "resetpass", ">two")
    process.write_file(file, "two\n")
    link:shut()
    link:dial()
    wait_for(link, "up")
  end)

  it("is heard byte by byte", function()
    local proxy = middle.proxy(server.tls_port)
    proxy.one_by_one, peers[1] = true, proxy
    up(options { port = proxy.port })
  end)

  it("goes down wherever it is cut, and up again", function()
    local whole = middle.proxy(server.tls_port)
    peers[1] = whole
    up(options { port = whole.port })
    for way, bytes in pairs(whole.moved) do
      for i = 1, FULL and 60 or 3 do
        local proxy = middle.proxy(server.tls_port)
        local at = i == 1 and 1 or math.random(bytes - 300)
        peers[1], proxy.cut = proxy, { [way] = at }
        local link = open(options { port = proxy.port })
        local e = wait_for(link, "down")
        assert.is_false(e[3], ("%s %d: %s"):format(way, at, e[2]))
        proxy.cut = nil
        link:dial()
        wait_for(link, "up")
        proxy:shut()
      end
    end
    peers[1] = nil
    whole:shut()
  end)

  if not FULL then return end

  it("stores each event once, in order, while it is cut", function()
    local own = redis.start { tcp = true, tls = good }
    finally(function() own:stop() end)
    for seed = os.time(), os.time() + 10 do
      assert.same({}, network.run(own, seed, ca.cert), "seed " .. seed)
    end
  end)
end)
