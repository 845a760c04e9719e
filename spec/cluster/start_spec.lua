--- What a server says at its start of the Redis that it is given: it ends with a sentence that says what to do, or goes
--- on with one. (By the link alone: link_spec; of TLS: tls_spec; of the version: link_spec, with one that says so.)
local deadline = require("spec.support.deadline")
local nodes = require("spec.support.nodes")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

local APP = 'return require("sluice").app()'
local DURABLE = [[
local app = require("sluice").app()
app:channel("kept", { history = 10, durable = true })
return app
]]

describe("a server in a cluster, at its start,", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  local plain
  local stops = {}

  setup(function() plain = redis.start { tcp = true } end)
  teardown(function() plain:stop() end)

  after_each(function()
    server.stop_all()
    for _, one in ipairs(stops) do one:stop() end
    stops = {}
    plain:call("ACL", "SETUSER", "node", "reset")
    plain:call("FLUSHALL")
    plain:call("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
  end)

  local function redis_with(config)
    local one = redis.start { tcp = true, config = config }
    stops[#stops + 1] = one
    return one
  end

  local function options(one, more)
    more = more or {}
    local args = { "--cluster", ("redis://%s%s:%d"):format(more.user or "", more.host or "127.0.0.1", one.port),
      "--cluster-name", "test" }
    for _, word in ipairs(more.args or {}) do args[#args + 1] = word end
    return { app = more.app or APP, args = args, tls = false }
  end

  local function refused(one, words, more)
    local code, log = server.run_to_end(options(one, more))
    assert.equal(1, code, log)
    assert.truthy(log:find(words, 1, true), log)
  end

  -- Each of them, once.
  local function warned(one, texts, more)
    local s = server.start(options(one, more))
    deadline.eventually(function() return s.log():find("cluster: live", 1, true) end, 10, "it is live")
    for _, text in ipairs(texts) do
      local _, n = s.log():gsub(text:gsub("%p", "%%%0"), "")
      assert.equal(1, n, text .. "\n" .. s.log())
    end
    assert.equal(#texts > 0, s.log():lower():find("warn", 1, true) ~= nil, s.log())
  end

  it("refuses Redis Cluster", function()
    refused(redis_with { ["cluster-enabled"] = "yes" }, "name one without it")
  end)

  it("refuses a replica", function()
    local of = "127.0.0.1 " .. plain.port
    refused(redis_with { replicaof = of }, "name its master, 127.0.0.1:" .. plain.port)
  end)

  it("refuses one that deletes keys, not one that has no limit", function()
    plain:call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    warned(plain, { "set appendonly yes" })
    plain:call("CONFIG", "SET", "maxmemory", "100mb")
    refused(plain, "set maxmemory-policy noeviction")
  end)

  it("refuses a user who lacks a group of commands, and says what to type", function()
    local groups = { stream = "xadd", list = "rpush", hash = "hset", sortedset = "zadd", string = "set" }
    for group, command in pairs(groups) do
      plain:call("ACL", "SETUSER", "node", "reset", "on", ">pw", "~sluice:*", "+@all", "-@" .. group)
      refused(plain, "+" .. command, { user = "node:pw@" })
    end
    plain:call("ACL", "SETUSER", "node", "reset", "on", ">pw", "~sluice:*", "+@all", "-@scripting")
    refused(plain, "ACL SETUSER node +script|load", { user = "node:pw@" })
    plain:call("ACL", "SETUSER", "node", "reset", "on", ">pw", "~sluice:*", "+@all", "-info")
    refused(plain, "ACL SETUSER node +info", { user = "node:pw@" })
  end)

  it("refuses keys of a newer version", function()
    plain:call("HSET", "sluice:{test}:m", "fmt", "99")
    refused(plain, "upgrade this node, or give --cluster-name another name")
  end)

  it("refuses an app with durable channels and no word of how they are kept", function()
    refused(plain, "--cluster-durable", { app = DURABLE })
  end)

  it("says that a restart of Redis forgets, that others may listen, that replicas are not waited for", function()
    redis_with { replicaof = "127.0.0.1 " .. plain.port }
    deadline.eventually(function() return plain:call("INFO"):find("connected_slaves:1", 1, true) end, 20, "a replica")
    warned(plain, { "set appendonly yes", "(give Redis a tls-port, and write rediss:)", "set min-replicas-to-write 1" },
      { host = "0.0.0.0" }) -- this machine, by no address of loopback
  end)

  it("says that nothing durable is taken as Redis is", function()
    local how = { app = DURABLE, args = { "--cluster-durable", "aof" } }
    warned(redis_with { appendonly = "yes" }, { "set appendonly yes and appendfsync always" }, how)
    how.args[2] = "wait:2"
    warned(plain, { "fewer replicas than --cluster-durable says" }, how)
  end)

  it("says nothing where all is as it should be", function()
    warned(redis_with { appendonly = "yes", appendfsync = "always" }, {})
  end)
end)
