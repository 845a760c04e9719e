--- The settings of a cluster: URLs of Redis, and what belongs together.
local config = require("sluice.live.config")
local cluster = require("sluice.live.cluster")
local core = require("sluice.core")
local process = require("spec.support.process")

local function none() end

local function resolve(flags, env) return config.resolve(flags, nil, env and function(n) return env[n] end or none) end

local function given(more)
  local flags = { cluster = "redis://r", cluster_name = "shop" }
  for name, value in pairs(more or {}) do flags[name] = value or nil end
  return flags
end

local EXPECTED = "redis://host:port/database, rediss://, redis+sentinel://host,host/NAME, rediss+sentinel:// "
  .. "or unix:///path is expected"

describe("a URL of Redis", function()
  it("names a host or a path, a user, a password and a database", function()
    for url, expected in pairs {
      ["redis://r"] = { host = "r", port = 6379, db = 0 },
      ["redis://r.example:7000/3"] = { host = "r.example", port = 7000, db = 3 },
      ["redis://r/"] = { host = "r", port = 6379, db = 0 },
      ["redis://[::1]:7000"] = { host = "::1", port = 7000, db = 0 },
      ["redis://me:se%3acret@r"] = { host = "r", port = 6379, db = 0, user = "me", password = "se:cret" },
      ["redis://:a@b@r"] = { host = "r", port = 6379, db = 0, password = "a@b" },
      ["redis://me@r"] = { host = "r", port = 6379, db = 0, user = "me" },
      ["rediss://me:pw@r:6380/2"] = { host = "r", port = 6380, db = 2, user = "me", password = "pw", tls = true },
      ["redis+sentinel://a,b:7,[::1]/shop"] = { sentinels = "a 26379,b 7,::1 26379", set = "shop", db = 0 },
      ["rediss+sentinel://me:pw@a/shop/2"] = { sentinels = "a 26379", set = "shop", db = 2, tls = true, user = "me",
        password = "pw", sentinel_password = "pw" },
      ["unix:///run/redis.sock"] = { path = "/run/redis.sock", db = 0 },
      ["unix:///run/a%20b?db=2"] = { path = "/run/a b", db = 2 },
      ["unix://me:pw@/run/redis.sock"] = { path = "/run/redis.sock", db = 0, user = "me", password = "pw" },
    } do
      assert.same({ expected }, { cluster.read(url) }, url)
    end
  end)

  it("is refused with a sentence, which does not tell its password", function()
    for url, why in pairs {
      ["r:6379"] = EXPECTED,
      ["http://r"] = EXPECTED,
      ["redis://r?x=1"] = EXPECTED,
      ["redis://"] = "a host is missing", ["redis://:6379"] = "a host is missing",
      ["redis://r:0"] = "'0' is no port", ["redis://r:65536"] = "'65536' is no port",
      ["redis://r:x"] = "'x' is no port",
      ["redis://r/x"] = "'x' is no number of a database", ["redis://r/1/2"] = "'1/2' is no number of a database",
      ["redis://r/99999"] = "'99999' is no number of a database",
      ["redis://a b"] = "'a b' is no host", ["redis://::1"] = "a host is missing",
      ["unix://run/redis"] = "a path is missing: unix:///run/redis/redis.sock",
      ["unix:///r?x=1"] = "'?x=1' is not known: ?db=1 may stand there",
      ["unix:///" .. ("x"):rep(107)] = "its path is broken, or too long",
      ["rediss://"] = "a host is missing",
      ["redis+sentinel://a,b"] = "what the Sentinels call the master is missing: host,host/NAME",
      ["redis+sentinel:///shop"] = "a host is missing", ["redis+sentinel://a,:1/shop"] = "a host is missing",
      ["redis+sentinel://a,b:x/shop"] = "'x' is no port",
      ["redis+sentinel://a/shop/x"] = "'x' is no number of a database",
      ["redis+sentinel://" .. ("a,"):rep(16) .. "a/shop"] = "16 Sentinels are the most",
    } do
      local out, message = cluster.read(url)
      assert.same({ nil, ("--cluster: %s: %s"):format(url, why) }, { out, message })
    end
    for _, url in ipairs { "redis://me:secret@", "redis://me:sec%ret@r", "redis://me:secret@r:x",
      "redis://:secret@r/y", "rediss://me:secret@r:x", "unix://me:secret@run" } do
      local _, message = cluster.read(url)
      assert.falsy(message:find("sec", 1, true), message)
      assert.truthy(message:find("^%-%-cluster: %l+://m?e?:%.%.%.@"), message)
    end
  end)
end)

describe("the settings of a cluster", function()
  local has_hiredis = core.build().libraries.hiredis ~= nil

  it("become one table, from flags and the environment", function()
    if not has_hiredis then return pending("built without hiredis") end
    local flags = given { cluster_password_file = "pw", cluster_feed = "2m", cluster_node = "n1" }
    local out = assert(resolve(flags)).cluster
    assert.same({ host = "r", port = 6379, db = 0, name = "shop", password_file = "pw", feed = 2 * 1024 * 1024,
      node = "n1" }, out)
    out = assert(resolve(given { cluster = "rediss://r", cluster_ca = "ca", cluster_cert = "c", cluster_key = "k",
      cluster_sni = "s" })).cluster
    assert.same({ true, "ca", "c", "k", "s" }, { out.tls, out.ca, out.cert, out.key, out.sni })
    out = assert(resolve(given { cluster = "redis+sentinel://:theirs@a/shop", cluster_password_file = "pw" })).cluster
    assert.same({ "theirs", nil, "pw" }, { out.sentinel_password, out.password, out.password_file })
    for value, expected in pairs { aof = { true }, ["wait:2"] = { nil, 2, 1000 }, ["wait:1,50"] = { nil, 1, 50 } } do
      out = assert(resolve(given { cluster_durable = value })).cluster
      assert.same(expected, { out.on_disk, out.replicas, out.wait_ms })
    end
    assert.is_true(assert(resolve(given { cluster_safe = "aof" })).cluster.asserts_disk)
    out = assert(resolve({}, { SLUICE_CLUSTER = "unix:///s", SLUICE_CLUSTER_NAME = "shop" })).cluster
    assert.same({ "/s", "shop", 64 * 1024 * 1024 }, { out.path, out.name, out.feed })
    local _, host = process.run({ "hostname" })
    assert.equal(host:match("%S+"), out.node)
    assert.is_nil(assert(resolve({})).cluster)
  end)

  it("are refused where one is missing, wrong, or too many", function()
    local function refused(flags, message) assert.same({ nil, message }, { resolve(flags) }) end
    refused(given { cluster_name = false }, "--cluster-name is missing: all nodes of an app say the same one")
    refused(given { cluster_name = "My Shop" },
      "--cluster-name: a name of 1 to 32 characters of a-z, 0-9 and '-' is expected, not 'My Shop'")
    refused(given { cluster_node = "a b" },
      "--cluster-node: a text of at most 64 bytes without spaces is expected, not 'a b'")
    refused(given { cluster_feed = "12" },
      "--cluster-feed: a size from 1048576 bytes, such as 65536, 64k or 1m is expected, not '12'")
    refused(given { cluster = "redis://:pw@r", cluster_password_file = "pw" },
      "--cluster-password-file: --cluster has a password already; leave that out")
    for _, value in ipairs { "always", "wait", "wait:0", "wait:17", "wait:1,0", "wait:1,2001", "wait:1.5" } do
      refused(given { cluster_durable = value }, ("--cluster-durable: aof or wait:N, with N replicas up to 16, or "
        .. "wait:N,MS up to 2000 ms is expected, not '%s'"):format(value))
    end
    refused(given { cluster_safe = "yes" }, "--cluster-safe: aof is expected, not 'yes'")
    refused(given { data = "d" }, "--data: with --cluster Redis keeps what is durable; leave it out")
    assert.same({ nil, "sluice.serve(): data: with --cluster Redis keeps what is durable; leave it out" },
      { config.resolve(given(), { data = "d" }, function() end) })
    refused(given { cluster_ca = "ca" }, "--cluster-ca: --cluster has to begin with rediss:")
    refused(given { cluster = "unix:///s", cluster_sni = "r" }, "--cluster-sni: --cluster has to begin with rediss:")
    for _, one in ipairs { "cluster_cert", "cluster_key" } do
      refused(given { cluster = "rediss://r", [one] = "x" }, "--cluster-cert and --cluster-key: one is missing")
    end
    for name, value in pairs { cluster_name = "shop", cluster_password_file = "pw", cluster_feed = "2m",
      cluster_node = "n1", cluster_durable = "aof", cluster_safe = "aof", cluster_ca = "ca",
      cluster_key = "key", cluster_sni = "r" } do
      refused({ [name] = value }, ("--%s: --cluster is missing, which names the Redis"):format((name:gsub("_", "-"))))
    end
  end)

  it("take SLUICE_DATA, which the systemd unit and the container set, as not used", function()
    if not has_hiredis then return pending("built without hiredis") end
    local function env(name) return name == "SLUICE_DATA" and "/d" or nil end
    local settings = assert(config.resolve(given(), {}, env))
    assert.same({ nil, "/d" }, { settings.data, settings.cluster.unused_data })
  end)

  it("say what is missing where the build has no hiredis", function()
    local build = core.build
    finally(function() core.build = build end)
    core.build = function() return { libraries = {} } end -- luacheck: ignore 122
    assert.same({ nil, "--cluster: Sluice was built without hiredis (libhiredis-dev)" }, { resolve(given()) })
  end)

  it("are checked before anything is loaded", function()
    if not has_hiredis then return pending("built without hiredis") end
    local folder = process.temp_dir()
    finally(function() process.remove_dir(folder) end)
    process.write_file(folder .. "/app.lua", 'return require("sluice").app()')
    local code, text = process.run("SLUICE_CLUSTER=redis://r build/bin/sluice run " .. folder .. "/app.lua")
    assert.equal(2, code)
    assert.truthy(text:find("--cluster-name is missing", 1, true), text)
  end)
end)
