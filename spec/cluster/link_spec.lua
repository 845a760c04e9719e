--- The link of a node to Redis: how it comes up, whom it refuses and with which words, and that nothing that a
--- network or a server does leaves it up and deaf.
local deadline = require("spec.support.deadline")
local links = require("sluice.core.testing_link")
local middle = require("spec.support.middle")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local resp = require("spec.support.resp")
local scripts = require("sluice.core.testing_scripts")

if not redis.installed() then
  describe("a link to Redis", function() pending(redis.NAME) end)
  return
end

local opened, peers, shared = {}, {}, nil

-- A server that all share, without data, a user or a setting of its own.
local function server()
  shared = shared or redis.start { tcp = true, config = { appendonly = "yes", appendfsync = "no" } }
  return shared
end

local function open(options)
  local link = assert(links.open(options))
  opened[#opened + 1] = link
  return link
end

local function add_peer(peer)
  peers[#peers + 1] = peer
  return peer
end

-- Turns of some links and of all that stands in between, until something is so.
local function turns(some, so, seconds, what)
  return deadline.eventually(function()
    for _ = 1, 50 do
      for name, link in pairs(some) do
        for _, e in ipairs(link:step(#peers > 0 and 1 or 20)) do
          local found = so(e, name)
          if found then return found end
        end
      end
      for _, peer in ipairs(peers) do peer:step() end
    end
  end, seconds, what)
end

-- Until something happens that is called so: that, and all that happened.
local function wait_for(link, what, seconds)
  local seen = {}
  local found = turns({ link }, function(one)
    seen[#seen + 1] = one
    for _, e in ipairs(seen) do
      if e[1] == what then return e end
      if e[1] == "down" then deadline.give_up(e[2]) end
    end
  end, seconds or 10, what)
  return found, seen
end

local function up(options)
  local link = open(options)
  link:dial()
  local e, seen = wait_for(link, "up")
  return link, e[2], seen
end

local function down(options, seconds)
  local link = open(options)
  link:dial()
  local e = wait_for(link, "down", seconds)
  assert.is_false(link:is_up())
  return e[2], e[3]
end

local function works(link)
  assert.is_true(link:send("scripts", 7, resp.command("PING", "hello")))
  assert.is_true(link:send("feed", 8, resp.command("XREAD", "BLOCK", 1, "STREAMS", "none", "0-0"), 1))
  local got = {}
  turns({ link }, function(e)
    got[#got + 1] = e
    return #got == 2
  end, 10, "both answers")
  table.sort(got, function(a, b) return a[3] < b[3] end)
  assert.same({ { "reply", "scripts", 7, "hello" }, { "reply", "feed", 8, false } }, got)
end

describe("a link to Redis", function()
  after_each(function()
    for _, link in ipairs(opened) do link:shut() end
    for _, peer in ipairs(peers) do peer:shut() end
    opened, peers = {}, {}
  end)

  teardown(function()
    if shared then shared:stop() end
    shared = nil
  end)

  it("comes up on a Unix socket, on an address and on a name, and says who answers", function()
    local info = server():call("INFO")
    for _, options in ipairs { { path = server().path }, { host = "127.0.0.1", port = server().port },
      { host = "localhost", port = server().port } } do
      local link, about = up(options)
      assert.equal(info:match("run_id:(%x+)"), about.run)
      assert.equal(info:match("master_replid:(%x+)"), about.replid)
      assert.equal(info:match("redis_version:([%d.]+)"), about.version)
      assert.same({ "no", true, 0 }, { about.safe, about.has_aof, about.replicas })
      works(link)
    end
  end)

  it("has the scripts there, its name on both connections, and the database that it was told", function()
    local link = up { path = server().path, client = "sluice:here", db = 3 }
    local proof = { epoch = "E", slot = "s", fence = "1", replid = ("0"):rep(40), known = 0 }
    assert.is_true(link:send("scripts", 1, scripts.command("test", link:shas(), "head", {}, proof)))
    assert.same({ "REPLID" }, wait_for(link, "reply")[4])
    local _, named = server():call("CLIENT", "LIST"):gsub("name=sluice:here [^\n]* db=3 ", "")
    assert.equal(2, named)
  end)

  it("answers in order, and counts", function()
    local link = up { path = server().path }
    for i = 1, 100 do assert.is_true(link:send("scripts", i, resp.command("PING", i))) end
    assert.equal(100, link:stats().pending)
    local next_one = 1
    deadline.eventually(function()
      for _, e in ipairs(link:step(20)) do
        assert.same({ "reply", "scripts", next_one, tostring(next_one) }, e)
        next_one = next_one + 1
      end
      return next_one == 101
    end, 10, "all answers")
    local s = link:stats()
    assert.same({ 1, 1, 0 }, { s.dials, s.ups, s.pending })
  end)

  it("takes no more than it may have under way, and nothing while it is down", function()
    local link = up { path = server().path }
    local taken, code = 0
    repeat
      local ok, _, why = link:send("scripts", 1, resp.command("PING"))
      taken, code = taken + (ok and 1 or 0), why
    until not ok
    assert.same({ 1024, "EBUSY" }, { taken, code })
    local megabyte = resp.command("ECHO", ("x"):rep(2 ^ 20))
    taken = 0
    while link:send("feed", 1, megabyte) do taken = taken + 1 end
    assert.equal(15, taken)
    link:shut()
    assert.equal("ECLOSED", select(3, link:send("scripts", 1, resp.command("PING"))))
    assert.same({}, link:step(1)) -- who closes is not told
  end)

  it("goes down when the server dies, and comes up again when it is told to", function()
    local own = redis.start()
    finally(function() own:stop() end)
    local link, first = up { path = own.path }
    own:kill()
    local e = wait_for(link, "down")
    assert.truthy(e[2]:find("^Redis at " .. own.path:gsub("%p", "%%%0") .. ": "), e[2])
    assert.is_false(e[3])
    link:dial()
    assert.truthy(wait_for(link, "down")[2]:find("no connection", 1, true))
    own:again()
    link:dial()
    assert.not_equal(first.run, wait_for(link, "up")[2].run)
  end)

  it("says what cannot be reached", function()
    local why, refused = down { path = "/nowhere/at/all" }
    assert.same({ "Redis at /nowhere/at/all: no connection (No such file or directory)", false }, { why, refused })
    local port = redis.free_port()
    assert.equal(("Redis at 127.0.0.1:%d: no connection (Connection refused)"):format(port),
      (down { host = "127.0.0.1", port = port }))
    assert.truthy(down({ host = "no-such-host.invalid", port = 1 }, 60):find("^Redis at no%-such%-host%.invalid:1: "))
    assert.same({ "--cluster: the socket's path is too long", true }, { down { path = "/" .. ("x"):rep(200) } })
  end)

  describe("with a password", function()
    local own, file

    before_each(function()
      own = redis.start { config = { requirepass = "first one" } }
      file = own.folder .. "/password"
    end)

    after_each(function() own:stop() end)

    it("gives it, from its settings or from a file, which is read again each time", function()
      up { path = own.path, password = "first one" }
      process.write_file(file, "first one\n")
      local link = up { path = own.path, password_file = file }
      own:call("CONFIG", "SET", "requirepass", "second")
      link:shut()
      link:dial()
      assert.truthy(wait_for(link, "down")[2]:find("does not take the password of the user 'default'", 1, true))
      process.write_file(file, "second")
      link:dial()
      wait_for(link, "up")
    end)

    it("says what is wrong with it", function()
      assert.same({ "Redis wants a password: write it into a file, and name that with --cluster-password-file", true },
        { down { path = own.path } })
      assert.same({ "--cluster-password-file " .. file .. ": No such file or directory", true },
        { down { path = own.path, password_file = file } })
      process.write_file(file, "\n")
      assert.same({ "--cluster-password-file " .. file .. ": there is no password in it", true },
        { down { path = own.path, password_file = file } })
      assert.same({ "Redis does not take the password of the user 'me': --cluster-password-file", true },
        { down { path = own.path, user = "me", password = "x" } })
      assert.truthy(down({ path = server().path, password = "x" }):find("and this Redis has none", 1, true))
    end)

    it("is the user that it was told, and names each command that this user may not run", function()
      assert.equal("OK", own:call("ACL", "SETUSER", "node", "on", ">pw", "~sluice:{test}:*", "+@all"))
      local me = { path = own.path, user = "node", password = "pw" }
      up(me)
      local commands = { XREAD = true, EVALSHA = true } -- and all that scripts call
      for _, text in pairs(scripts.texts()) do
        for command in text:gmatch("call%('(%u+)'") do commands[command] = true end
      end
      for _, one in ipairs { "XADD", "HMGET", "LTRIM", "ZADD", "SET", "TIME" } do assert.is_true(commands[one]) end
      for command in pairs(commands) do
        own:call("ACL", "SETUSER", "node", "-" .. command)
        local why, refused = down(me)
        assert.truthy(why:upper():find(command, 1, true), why)
        assert.truthy(why:find("ACL SETUSER node +" .. command:lower(), 1, true), why)
        assert.is_true(refused)
        own:call("ACL", "SETUSER", "node", "+" .. command)
      end
      own:call("ACL", "SETUSER", "node", "-script|load")
      assert.truthy(down(me):find("may not run script|load: ACL SETUSER node +script|load", 1, true))
      own:call("ACL", "SETUSER", "node", "+script|load", "-evalsha")
      assert.truthy(down(me):find("may not run evalsha: ACL SETUSER node +evalsha", 1, true))
      own:call("ACL", "SETUSER", "node", "+evalsha", "resetkeys", "~other:*")
      local why = down(me)
      assert.truthy(why:find("may not use the keys of a cluster: ACL SETUSER node ~sluice:*; all that", 1, true), why)
      own:call("ACL", "SETUSER", "node", "~sluice:{test}:*", "-config", "-client")
      assert.equal("unknown", select(2, up(me)).safe) -- what it can do without
    end)

    it("is refused with a line that gives it all that it needs", function()
      assert.equal("OK", own:call("ACL", "SETUSER", "node", "on", ">pw"))
      local me = { path = own.path, user = "node", password = "pw" }
      local words = {}
      for word in down(me):match("all that a node needs: (.*)$"):gmatch("%S+") do words[#words + 1] = word end
      assert.same({ "ACL", "SETUSER", "node" }, { table.unpack(words, 1, 3) })
      assert.equal("OK", own:call(table.unpack(words)))
      assert.equal("no", select(2, up(me)).safe)
    end)
  end)

  describe("refuses", function()
    local function refused(config, words)
      local own = redis.start { config = config, tcp = true }
      finally(function() own:stop() end)
      local why, is = down { path = own.path }
      assert.truthy(why:find(words, 1, true), why)
      assert.is_true(is)
    end

    it("a server that spreads its keys", function() refused({ ["cluster-enabled"] = "yes" }, "cluster-enabled yes") end)
    it("a server that deletes keys", function()
      refused({ maxmemory = "64mb", ["maxmemory-policy"] = "allkeys-lru" }, "set maxmemory-policy noeviction")
    end)
    it("a replica", function()
      refused({ replicaof = "127.0.0.1 " .. server().port }, "name its master, 127.0.0.1:" .. server().port)
    end)
    it("an old server", function()
      local fake = add_peer(middle.fake(function(words)
        if words[1] == "INFO" then
          return resp.reply((server():call("INFO"):gsub("redis_version:[%d.]+", "redis_version:6.2.7")))
        end
        return resp.reply(server():call(table.unpack(words)))
      end))
      local why, is = down { host = "127.0.0.1", port = fake.port }
      assert.same({ "Redis 6.2.7 is too old: the cluster needs Redis 7.0 or Valkey", true }, { why, is })
    end)
  end)

  describe("warns", function()
    local function warnings(options)
      local texts = {}
      local link, about, seen = up(options)
      for _, e in ipairs(seen) do
        if e[1] == "warn" then texts[#texts + 1] = e[2] end
      end
      link:shut()
      link:dial()
      for _, e in ipairs(select(2, wait_for(link, "up"))) do assert.not_equal("warn", e[1]) end -- once is enough
      return table.concat(texts, "\n"), about
    end

    it("of a server without a file, and of one whose every write is safe it knows that", function()
      local own = redis.start()
      finally(function() own:stop() end)
      assert.truthy(warnings { path = own.path }:find("set appendonly yes", 1, true))
      own:call("CONFIG", "SET", "appendonly", "yes")
      own:call("CONFIG", "SET", "appendfsync", "always")
      local text, about = warnings { path = own.path }
      assert.same({ "", "yes" }, { text, about.safe })
    end)

    it("of a disk that nobody may ask about, and tells when what is durable is kept", function()
      local own = redis.start { config = { appendonly = "yes", appendfsync = "everysec" } }
      finally(function() own:stop() end)
      own:call("ACL", "SETUSER", "default", "-config")
      local link, _, seen = up { path = own.path, on_disk = true }
      local text = table.concat(seen[1] or {}, " ", 2, 2)
      assert.truthy(text:find("may not run CONFIG GET", 1, true), text)
      assert.falsy(text:find("appendonly", 1, true), text)
      own:call("ACL", "SETUSER", "default", "+config")
      own:call("CONFIG", "SET", "appendfsync", "always")
      local told = ""
      deadline.eventually(function()
        for _, e in ipairs(link:step(20)) do told = told .. tostring(e[2]) end
        return told:find("what is durable is kept again", 1, true)
      end, 10, function() return told end)
    end)

    it("of replicas that nobody waits for, and of a network without TLS", function()
      local replica = redis.start { config = { replicaof = "127.0.0.1 " .. server().port } }
      finally(function() replica:stop() end)
      deadline.eventually(function() return server():call("INFO"):find("connected_slaves:1", 1, true) end, 20)
      local text = warnings { host = "0.0.0.0", port = server().port } -- this machine, by no address of loopback
      assert.truthy(text:find("set min-replicas-to-write 1", 1, true), text)
      assert.truthy(text:find("not encrypted", 1, true), text)
    end)
  end)

  describe("over a bad network", function()
    local function to_proxy()
      local proxy = add_peer(middle.proxy(server().port))
      return proxy, { host = "127.0.0.1", port = proxy.port }
    end

    it("comes up byte by byte", function()
      local proxy, options = to_proxy()
      proxy.one_by_one = true
      works((up(options)))
    end)

    it("comes up far away", function()
      local proxy, options = to_proxy()
      proxy.delay = 0.1
      works((up(options)))
    end)

    it("goes down wherever it is cut, and up again", function()
      local whole, options = to_proxy()
      up(options)
      local seed = os.time()
      math.randomseed(seed)
      for way, bytes in pairs(whole.moved) do
        for i = 1, 12 do
          local at = i == 1 and 1 or math.random(bytes - 1)
          local proxy, through = to_proxy()
          proxy.cut = { [way] = at }
          local link = open(through)
          link:dial()
          local e = wait_for(link, "down")
          assert.is_false(e[3], ("%s %d of seed %d: %s"):format(way, at, seed, e[2]))
          proxy.cut = nil
          link:dial()
          wait_for(link, "up")
          link:shut()
          table.remove(peers):shut()
        end
      end
    end)

    it("reads what came while it was stopped itself, before it says that nothing did", function()
      local proxy, options = to_proxy()
      local link = up(options)
      finally(function() links.stand() end)
      local function ping()
        assert.is_true(link:send("scripts", 1, resp.command("PING", "late")))
        links.stand(0)
        link:step(1)
        links.stand(10000) -- as if this process had not run for so long
      end
      -- Turns of a second, in which its look at the time comes four times; more than `stopped` ms before each turn.
      local function next_event(stopped)
        for _ = 1, 50 do
          local e = link:step(20)[1]
          if e then return e end
          links.stand(stopped)
        end
      end
      ping()
      assert.is_nil(next_event(1000))
      proxy:step()
      proxy:step()
      assert.same({ "reply", "scripts", 1, "late" }, wait_for(link, "reply"))
      ping() -- and now nothing comes
      assert.truthy(next_event(0)[2]:find("no answer within 3 s", 1, true))
    end)

    it("waits for no answer longer than it may, at whatever moment they stay away", function()
      local deaf = add_peer(middle.deaf())
      local silent, to_silent = to_proxy()
      local late, to_late = to_proxy()
      silent.hole = true
      local a, b, c = open { host = "127.0.0.1", port = deaf.port }, open(to_silent), open(to_late)
      c:dial()
      wait_for(c, "up")
      late.hole = true -- half-open: it takes what is sent, and nothing comes
      c:send("feed", 1, resp.command("XREAD", "BLOCK", 1000, "STREAMS", "x", "0-0"), 1000)
      a:dial()
      b:dial()
      local why = {}
      turns({ a = a, b = b, c = c }, function(e, name)
        assert.same({ "down", false }, { e[1], e[3] })
        why[name] = e[2]:match(": (.*)$")
        return why.a and why.b and why.c
      end, 15, "all are down")
      assert.same({ a = "no connection within 2 s", b = "no answer within 3 s", c = "no answer within 3 s" }, why)
    end)
  end)

  describe("believes no server:", function()
    -- Answers as the real one does, but for the n-th command.
    local function liar(nth, bytes)
      local n = 0
      return add_peer(middle.fake(function(words)
        n = n + 1
        if n == nth then return bytes end
        return resp.reply(server():call(table.unpack(words)))
      end))
    end

    local function says(bytes, words)
      for nth = 1, 11, 2 do
        local fake = liar(nth, bytes)
        local why, refused = down({ host = "127.0.0.1", port = fake.port })
        assert.is_false(refused, why)
        assert.truthy(why:find(words, 1, true), nth .. ": " .. why)
        table.remove(peers):shut()
      end
    end

    local NONSENSE, LARGE = "is not Redis' protocol", "larger than any that is asked for"

    it("what is no RESP", function() says("HTTP/1.1 400 Bad Request\r\n\r\n", NONSENSE) end)
    it("lengths below nothing", function() says("$-5\r\n", NONSENSE) end)
    it("a list of a hundred million", function() says("*100000000\r\n", LARGE) end)
    it("lists in lists", function() says(("*1\r\n"):rep(6) .. ":1\r\n", LARGE) end)
    it("a text that does not end", function()
      if os.getenv("SLUICE_PRELOAD") then return pending("too slow with a sanitizer") end
      says("$536870912\r\n" .. ("x"):rep(8 * 2 ^ 20 + 65536), LARGE)
    end)
    it("more answers than commands", function()
      local fake = liar(13, resp.reply { "OK" } .. "+more\r\n") -- the last one of the first connection
      assert.truthy(down({ host = "127.0.0.1", port = fake.port }):find("unasked", 1, true))
    end)
    it("answers of another kind", function()
      for _, nth in ipairs { 2, 3, 4, 7, 12, 13, 15 } do
        for _, bytes in ipairs { ":1\r\n", "*0\r\n", "$-1\r\n", "*2\r\n+a\r\n:1\r\n", "+short\r\n" } do
          local fake = liar(nth, bytes)
          local link = open { host = "127.0.0.1", port = fake.port }
          link:dial()
          local e = turns({ link }, function(one) return one[1] ~= "warn" and one end, 10, "up or down")
          -- what it can do without may be anything; nothing else lets it come up
          if nth ~= 3 then assert.equal("down", e[1], nth .. " " .. bytes) end
          link:shut()
          table.remove(peers):shut()
        end
      end
    end)
  end)
end)

describe("replies", function()
  it("are read as they were written, in whatever pieces", function()
    local all = { "", "text", false, 0, -7, 2 ^ 53 | 0, {}, { "a", { "b", { false, { "c", { "d" } } } } },
      { err = "ERR what" }, ("x"):rep(100000), "a\r\nb\0" }
    local bytes = {}
    for i, value in ipairs(all) do bytes[i] = resp.reply(value) end
    bytes = table.concat(bytes)
    for _, piece in ipairs { 1, 2, 3, 7, 1000, #bytes } do assert.same({ all }, { scripts.read(bytes, piece) }) end
  end)

  it("are refused for good when they are too deep, too many, too large or nothing", function()
    local function refused(code, bytes)
      local got, why = scripts.read("+fine\r\n" .. bytes .. "+late\r\n", 65536)
      assert.same({ { "fine" }, code }, { got, why })
    end
    refused("ETOOBIG", ("*1\r\n"):rep(6) .. ":1\r\n")
    refused("ETOOBIG", "*262145\r\n")
    refused("ETOOBIG", "$9000000\r\n" .. ("x"):rep(9000000) .. "\r\n")
    refused("EINVAL", "?what\r\n")
    refused("EINVAL", ":12x\r\n")
    refused("EINVAL", "*-7\r\n")
  end)
end)
