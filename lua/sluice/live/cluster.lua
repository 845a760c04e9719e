--- The settings of a cluster: where its Redis is, and as whom. Keeps nothing in memory.
local core = require("sluice.core")
local file = require("sluice.base.file")

local cluster = {}

local PORT = 6379
local FEED = 64 * 1024 * 1024
local FEED_LEAST = 1024 * 1024
local DATABASES_MOST = 65535
local WAIT_MS, WAIT_MOST_MS, REPLICAS_MOST = 1000, 2000, 16
local NODE_MOST, PATH_MOST = 64, 107

local SENTINEL_PORT, SENTINELS = 26379, 16
local TLS = { rediss = true, ["rediss+sentinel"] = true }

local function word(v)
  if type(v) == "string" and v ~= "" and not v:find("[%z\1-\32\127]") then return v end
  return nil, "a text without spaces"
end

-- { on_disk = true } or { replicas =, wait_ms = }
local function durable(v)
  if v == "aof" then return { on_disk = true } end
  local n, ms = tostring(v):match("^wait:(%d+),?(%d*)$")
  n, ms = tonumber(n), ms == "" and WAIT_MS or tonumber(ms)
  if n and n >= 1 and n <= REPLICAS_MOST and ms >= 1 and ms <= WAIT_MOST_MS then
    return { replicas = math.tointeger(n), wait_ms = math.tointeger(ms) }
  end
  return nil, ("aof or wait:N, with N replicas up to %d, or wait:N,MS up to %d ms"):format(
    REPLICAS_MOST, WAIT_MOST_MS)
end

local function safe(v)
  if v == "aof" then return v end
  return nil, "aof"
end

local function name(v)
  if type(v) == "string" and #v <= 32 and v:find("^[a-z0-9-]+$") then return v end
  return nil, "a name of 1 to 32 characters of a-z, 0-9 and '-'"
end

local function node(v)
  if word(v) and #v <= NODE_MOST then return v end
  return nil, ("a text of at most %d bytes without spaces"):format(NODE_MOST)
end

--- The rows of sluice.live.config, which passes in its check of a size.
function cluster.settings(path, bytes)
  return {
    { "cluster", path, nil, "<url>", "Redis of all nodes: redis[s]:, redis[s]+sentinel: or unix:" },
    { "cluster_name", name, nil, "<name>", "of the cluster: other apps in that Redis have others" },
    { "cluster_password_file", path, nil, "<file>", "its password, read at each connect" },
    { "cluster_ca", path, nil, "<file>", "who vouches for the certificate of Redis, over rediss:" },
    { "cluster_cert", path, nil, "<file>", "a certificate to show to Redis, read at each connect" },
    { "cluster_key", path, nil, "<file>", "its private key" },
    { "cluster_sni", word, nil, "<name>", "what the certificate of Redis is for, if not the host" },
    { "cluster_durable", durable, nil, "<aof|wait:N>",
      "when what is durable is kept: on the disk of Redis, or on N replicas" },
    { "cluster_safe", safe, nil, "<aof>", "Redis writes to its disk first; CONFIG is forbidden" },
    { "cluster_feed", bytes(FEED_LEAST), nil, "<size>", "what Redis keeps for nodes that lag" },
    { "cluster_node", node, nil, "<name>", "what this node is called; default: the host's name" },
  }
end

-- ---- The URL ----------------------------------------------------------------------------

-- Without the password: this goes into messages.
local function shown(url)
  return (url:gsub("^(%a[%w+.-]*://[^/@]*):[^/]*@", "%1:...@"))
end

local function decode(text)
  if text:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- user and password, of "user:password", ":password" or "user".
local function read_user(out, text)
  local user, password = text:match("^([^:]*):(.*)$")
  user, password = decode(user or text), decode(password or "")
  if not user or not password or (user .. password):find("[%z\1-\31]") then
    return nil, "what stands before '@' is no user:password (a '%' has to be written as %25)"
  end
  out.user, out.password = user ~= "" and user or nil, password ~= "" and password or nil
  return true
end

local function read_database(out, text)
  local n = text == "" and 0 or text:find("^%d+$") and tonumber(text)
  if not n or n > DATABASES_MOST then
    return nil, ("'%s' is no number of a database"):format(text)
  end
  out.db = math.tointeger(n)
  return true
end

-- host and port, or nil, message
local function read_host(text, default)
  local host, port = text:match("^%[([%x:.]+)%](.*)$")
  if not host then host, port = text:match("^([^:%[%]]*)(.*)$") end
  if not host or host == "" then return nil, "a host is missing" end
  if not host:find("^[%w._:-]+$") then return nil, ("'%s' is no host"):format(host) end
  local n = port == "" and default or port:find("^:%d+$") and tonumber(port:sub(2))
  if not n or n < 1 or n > 65535 then return nil, ("'%s' is no port"):format(port:sub(2)) end
  return host, math.tointeger(n)
end

local function read_redis(out, rest)
  local place, database = rest:match("^([^/]*)/?(.*)$")
  local user, host = place:match("^(.*)@([^@]*)$")
  if user then
    local ok, why = read_user(out, user)
    if not ok then return nil, why end
  end
  local at, port = read_host(host or place, PORT)
  if not at then return nil, port end
  out.host, out.port = at, port
  return read_database(out, database)
end

-- The password is the Sentinels', and that of Redis where no file has another one.
local function read_sentinels(out, rest)
  local places, set, database = rest:match("^([^/]*)/([^/]+)/?(.*)$")
  if not places then
    return nil, "what the Sentinels call the master is missing: host,host/NAME"
  end
  local user, hosts = places:match("^(.*)@([^@]*)$")
  if user then
    local ok, why = read_user(out, user)
    if not ok then return nil, why end
  end
  local list = {}
  for text in (hosts or places):gmatch("([^,]*),?") do
    if text == "" and #list > 0 then break end
    local host, port = read_host(text, SENTINEL_PORT)
    if not host then return nil, port end
    list[#list + 1] = host .. " " .. port
  end
  if #list > SENTINELS then return nil, ("%d Sentinels are the most"):format(SENTINELS) end
  out.sentinels, out.set = table.concat(list, ","), decode(set)
  out.sentinel_password = out.password
  if not out.set then return nil, ("'%s' is no name"):format(set) end
  return read_database(out, database)
end

local function read_unix(out, rest)
  local user, path = rest:match("^([^/@]*)@(/.*)$")
  if user then
    local ok, why = read_user(out, user)
    if not ok then return nil, why end
  end
  local database
  path, database = (path or rest):match("^(/[^?]+)%??(.*)$")
  if not path then return nil, "a path is missing: unix:///run/redis/redis.sock" end
  path = decode(path)
  if not path or #path > PATH_MOST then return nil, "its path is broken, or too long" end
  out.path = path
  if database == "" then return read_database(out, "") end
  local number = database:match("^db=(.*)$")
  if not number then return nil, ("'?%s' is not known: ?db=1 may stand there"):format(database) end
  return read_database(out, number)
end

--- Read a URL of Redis.
-- @tparam string url
-- @treturn table|nil host and port, or path, or sentinels and set; db, user, password
-- @treturn ?string instead: what is wrong
function cluster.read(url)
  local scheme, rest = url:match("^(%a[%w+.-]*)://(.*)$")
  local out = {}
  local ok, why
  local kind = scheme and scheme:match("^rediss?(.*)$")
  out.tls = TLS[scheme]
  if kind == "" and not rest:find("[?#]") then
    ok, why = read_redis(out, rest)
  elseif kind == "+sentinel" then
    ok, why = read_sentinels(out, rest)
  elseif scheme == "unix" then
    ok, why = read_unix(out, rest)
  else
    why = "redis://host:port/database, rediss://, redis+sentinel://host,host/NAME, "
      .. "rediss+sentinel:// or unix:///path is expected"
  end
  if ok then return out end
  return nil, ("--cluster: %s: %s"):format(shown(url), why)
end

-- ---- Together ---------------------------------------------------------------------------

local function host_name()
  local text = file.read("/proc/sys/kernel/hostname") or ""
  return text:match("^%S+") or "node"
end

local OF_TLS = { "ca", "cert", "key", "sni" }
local OTHERS = { "name", "password_file", "durable", "safe", "feed", "node" }

-- The first of these that is set, as its flag.
local function first_set(settings, names)
  for _, one in ipairs(names) do
    if settings["cluster_" .. one] ~= nil then return "--cluster-" .. one:gsub("_", "-") end
  end
end

local function needs_cluster(settings)
  local flag = first_set(settings, OTHERS) or first_set(settings, OF_TLS)
  if flag then return nil, flag .. ": --cluster is missing, which names the Redis" end
  return true
end

local function check_tls(out, settings)
  local flag = first_set(settings, OF_TLS)
  if flag and not out.tls then return nil, flag .. ": --cluster has to begin with rediss:" end
  if (settings.cluster_cert == nil) ~= (settings.cluster_key == nil) then
    return nil, "--cluster-cert and --cluster-key: one is missing"
  end
  for _, one in ipairs(OF_TLS) do out[one] = settings["cluster_" .. one] end
  return true
end

-- The variable may have been set for any app, as the systemd unit and the container do.
local function check_data(out, settings, place)
  if not settings.data then return true end
  if place ~= "SLUICE_DATA" then
    return nil, place .. ": with --cluster Redis keeps what is durable; leave it out"
  end
  out.unused_data, settings.data = settings.data, nil
  return true
end

--- Check the settings against each other; `cluster` becomes a table.
-- @tparam table settings
-- @tparam table places where each comes from, by name
-- @treturn boolean|nil true, or nil, message
function cluster.check(settings, places)
  if not settings.cluster then return needs_cluster(settings) end
  local out, why = cluster.read(settings.cluster)
  if not out then return nil, why end
  if not settings.cluster_name then
    return nil, "--cluster-name is missing: all nodes of an app say the same one"
  end
  if settings.cluster_password_file and out.sentinels then out.password = nil end
  if settings.cluster_password_file and out.password then
    return nil, "--cluster-password-file: --cluster has a password already; leave that out"
  end
  local fits, problem = check_tls(out, settings)
  if not fits then return nil, problem end
  fits, problem = check_data(out, settings, places.data)
  if not fits then return nil, problem end
  if not core.build().libraries.hiredis then
    return nil, "--cluster: Sluice was built without hiredis (libhiredis-dev)"
  end
  out.name, out.password_file = settings.cluster_name, settings.cluster_password_file
  for key, value in pairs(settings.cluster_durable or {}) do out[key] = value end
  out.asserts_disk = settings.cluster_safe and true or nil
  out.feed, out.node = settings.cluster_feed or FEED, settings.cluster_node or host_name()
  settings.cluster = out
  return true
end

return cluster
