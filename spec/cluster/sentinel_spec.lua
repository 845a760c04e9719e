--- A link that asks Sentinels for its master: in turn, whom it believes, what it says, and a failover.
local deadline = require("spec.support.deadline")
local links = require("sluice.core.testing_link")
local middle = require("spec.support.middle")
local redis = require("spec.support.redis")
local resp = require("spec.support.resp")
local sentinels = require("spec.support.sentinels")

if not redis.installed() then
  describe("Sentinels", function() pending(redis.NAME) end)
  return
end

describe("a link by Sentinels", function()
  local server
  local opened, peers = {}, {}

  setup(function() server = redis.start { tcp = true, config = { appendonly = "yes", appendfsync = "no" } } end)
  teardown(function() server:stop() end)

  after_each(function()
    for _, link in ipairs(opened) do link:shut() end
    for _, peer in ipairs(peers) do peer:shut() end
    opened, peers = {}, {}
  end)

  -- A Sentinel that gives an answer (a value, or a function of the words).
  local function says(answer)
    local fake
    fake = middle.fake(function(words)
      fake.heard = table.concat(words, " ")
      if words[1] == "AUTH" then return resp.reply { err = "ERR AUTH called without any password configured" } end
      local value = answer
      if type(answer) == "function" then value = answer(words) end
      return resp.reply(value)
    end)
    peers[#peers + 1] = fake
    return "127.0.0.1 " .. fake.port, fake
  end

  local function names(port) return { "127.0.0.1", tostring(port) } end

  local function open(places, more)
    local options = { sentinels = table.concat(places, ","), set = "shop" }
    for name, value in pairs(more or {}) do options[name] = value end
    local link = assert(links.open(options))
    opened[#opened + 1] = link
    link:dial()
    return link
  end

  local function next_event(link, seconds)
    return deadline.eventually(function()
      for _, peer in ipairs(peers) do peer:step() end
      for _, e in ipairs(link:step(2)) do
        if e[1] ~= "warn" then return e end
      end
    end, seconds or 10, "something")
  end

  local function run_id(one) return one:call("INFO"):match("run_id:(%x+)") end

  local function is_up(link, one)
    local e = next_event(link)
    assert.equal("up", e[1], e[2])
    assert.equal(run_id(one or server), e[2].run)
  end

  local function is_down(link, words, refused)
    local e = next_event(link)
    assert.equal("down", e[1])
    assert.truthy(e[2]:find(words, 1, true), e[2])
    assert.equal(refused, e[3], e[2])
  end

  it("goes where the first says that answers", function()
    local dead = "127.0.0.1 " .. redis.free_port()
    local place, fake = says(names(server.port))
    is_up(open { dead, "no-such-host.invalid 26379", (says(false)), place })
    assert.equal("SENTINEL get-master-addr-by-name shop", fake.heard)
  end)

  it("gives the URL's password to Sentinels, and goes on with one that has none", function()
    local place, fake = says(names(server.port))
    local auth
    local answer = fake.answer
    function fake.answer(words, ...)
      if words[1] == "AUTH" then auth = words[2] end
      return answer(words, ...)
    end
    is_up(open({ place }, { sentinel_password = "theirs" }))
    assert.equal("theirs", auth)
  end)

  it("says why none of them can help", function()
    is_down(open { (says(false)) }, "it knows no master called 'shop'", true)
    is_down(open { "127.0.0.1 " .. server.port }, "it is no Sentinel", true)
    is_down(open { (says { err = "NOAUTH Authentication required." }) }, "it wants a password", true)
    is_down(open { (says { err = "WRONGPASS no" }) }, "it does not take the password", true)
    for _, nonsense in ipairs { 7, {}, { "h" }, { "h", "0" }, { "h", "x" }, { "", "1" }, { ("h"):rep(300), "1" } } do
      is_down(open { (says(nonsense)) }, "what it says makes no sense", false)
    end
    local dead = "127.0.0.1 " .. redis.free_port()
    is_down(open { (says(false)), dead }, "Connection refused", false)
  end)

  it("does not stay with one that names what is no master, or is not there", function()
    local replica = redis.start { tcp = true, config = { replicaof = "127.0.0.1 " .. server.port } }
    finally(function() replica:stop() end)
    local stale, lost = says(names(replica.port)), says(names(redis.free_port()))
    local link = open { stale, lost, (says(names(server.port))) }
    is_down(link, "Sentinel names it, and it is a replica as yet", false)
    link:dial()
    is_down(link, "Connection refused", false)
    link:dial()
    is_up(link)
    link:shut()
    link:dial()
    is_up(link) -- the same one is asked first
  end)

  it("leaves a master when the one that named it names another, and only then", function()
    local other = redis.start { tcp = true }
    finally(function() other:stop() end)
    local named = server.port
    local place, fake = says(function() return names(named) end)
    local link = open { place }
    is_up(link)
    named = other.port
    is_down(link, "Sentinel names another master now, 127.0.0.1:" .. other.port, false)
    link:dial()
    is_up(link, other)
    fake:shut()
    peers = {}
    assert.is_true(link:send("feed", 1, resp.command("XREAD", "BLOCK", 1500, "STREAMS", "x", "0-0"), 1500))
    assert.equal("reply", next_event(link)[1]) -- it is still there, longer than a Sentinel is asked
  end)

  it("follows a failover of a real one", function()
    local master = redis.start { tcp = true, config = { ["repl-diskless-sync-delay"] = "0" } }
    local replica = redis.start { tcp = true, config = { replicaof = "127.0.0.1 " .. master.port } }
    local own = sentinels.start(master, replica, { n = 1, password = "theirs" })
    finally(function()
      own:stop()
      master:stop()
      replica:stop()
    end)
    own:await_replica()
    local link = open({ own.places }, { sentinel_password = "theirs" })
    is_up(link, master)
    local heir = run_id(replica) -- a Sentinel closes its connections
    master.process:signal("STOP")
    deadline.eventually(function()
      local e = next_event(link, 20)
      if e[1] == "up" then return e[2].run == heir end
      link:dial()
    end, 30, "the replica's link")
    master.process:signal("CONT")
  end)
end)
