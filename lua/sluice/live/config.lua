--- Settings of a server and where they come from: flag > SLUICE_* > options > default.
-- Keeps nothing in memory.
local certificates = require("sluice.live.certificates")
local cluster = require("sluice.live.cluster")
local core = require("sluice.core")
local limits = require("sluice.app.limits")
local options = require("sluice.base.options")

local config = {}

local function whole(min, max)
  return function(v)
    local n = math.tointeger(tonumber(v))
    if n and n >= min and n <= max then return n end
    return nil, ("a whole number from %d to %d"):format(min, max)
  end
end

local function seconds(min, max)
  return function(v)
    local n = tonumber(v)
    if n and n >= min and n <= max then return n end
    return nil, ("a number of seconds from %g to %g"):format(min, max)
  end
end

local UNIT = { k = 1024, m = 1024 ^ 2, g = 1024 ^ 3 }

local function bytes(min)
  return function(v)
    local n = math.tointeger(v)
    if type(v) == "string" then
      local number, unit = v:lower():match("^(%d+)%s*([kmg]?)i?b?$")
      n = number and math.tointeger(tonumber(number) * (UNIT[unit] or 1))
    end
    if n and n >= min then return n end
    return nil, ("a size from %d bytes, such as 65536, 64k or 1m"):format(min)
  end
end

local function one_of(...)
  local words = { ... }
  return function(v)
    for _, word in ipairs(words) do
      if v == word then return v end
    end
    return nil, "one of " .. table.concat(words, ", ")
  end
end

local function text(v)
  if type(v) == "string" and v ~= "" and not v:find("[%z\1-\31]") then return v end
  return nil, "a text"
end

-- The items of a list, or of a text with commas; none of anything else.
local function items_of(v)
  if type(v) == "table" then return table.move(v, 1, #v, 1, {}) end
  local out = {}
  if type(v) == "string" then
    for item in v:gmatch("[^,%s]+") do out[#out + 1] = item end
  end
  return out
end

-- Names of hosts. An empty list is refused: it would mean "all".
local function hosts(v)
  local out = items_of(v)
  local good = #out > 0 and not (type(v) == "table" and options.list_fault(v, "names", "string"))
  for _, item in ipairs(good and out or {}) do good = good and item:find("^[%w*._:%[%]-]+$") end
  if good then return out end
  return nil, "a list of host names (or a text, separated by commas)"
end

-- "auto", or descriptors: a number or a list of them.
local function descriptors(v)
  if v == "auto" then return v end
  local out = items_of(type(v) == "number" and tostring(v) or v)
  local good = #out > 0 and not (type(v) == "table" and options.list_fault(v, "numbers", "text"))
  for i, item in ipairs(out) do
    out[i] = math.tointeger(tonumber(item))
    good = good and out[i] and out[i] > 2
  end
  if good then return out end
  return nil, "auto, or numbers of descriptors from 3, separated by commas"
end

-- A path may have spaces in it.
local function paths(v)
  local out = type(v) == "table" and items_of(v) or {}
  if type(v) == "string" then
    for item in v:gmatch("[^,]+") do out[#out + 1] = item end
  end
  local good = #out > 0 and not (type(v) == "table" and options.list_fault(v, "paths", "string"))
  for _, item in ipairs(good and out or {}) do good = good and text(item) ~= nil end
  if good then return out end
  return nil, "a list of files (or a text, separated by commas)"
end

local function networks(v)
  local out = items_of(v)
  if #out > 0 and not limits.exempt_fault(out) then return out end
  return nil, "a list of addresses and networks such as 10.0.0.0/8 (or a text, separated by commas)"
end

local function yes(v)
  if v == true or v == "yes" or v == "true" or v == "1" then return true end
  if v == false or v == "no" or v == "false" or v == "0" then return false end
  return nil, "yes or no"
end

local function trust(v)
  local value = yes(v)
  if value ~= nil then return value end
  -- a list of addresses must not be taken for "trust all"
  return nil, "yes or no (addresses come in a later version)"
end

local LIMITS = core.limits

-- A default of the core, in seconds.
local function usual(name)
  return LIMITS[name] // 1000
end

--- name, check, default, argument (nil: the flag has none) and help of the flag; in the order of
--- `sluice run --help`.
config.SETTINGS = {
  { "host", text, "127.0.0.1", "<address>", "address to listen on" },
  { "port", whole(0, 65535), 5121, "<n>", "port to listen on; 0 takes a free one" },
  { "listen_fd", descriptors, "auto", "<auto|n,...>",
    "listen on these descriptors, which listen already, or on what LISTEN_FDS names" },
  { "io_threads", whole(1, LIMITS.IO_THREADS_MAX), nil, "<n>",
    "I/O threads; default: one less than processors" },
  { "io_uring", one_of("auto", "on", "off"), "auto", "<auto|on|off>",
    "send to many sockets with one system call" },
  { "heartbeat", seconds(1, 3600), usual("HEARTBEAT_MS"), "<s>",
    "seconds between heartbeats of an idle stream" },
  { "drain", seconds(0, 3600), usual("DRAIN_MS"), "<s>",
    "seconds over which streams are closed at a stop" },
  { "max_body", bytes(1), LIMITS.MAX_BODY_DEFAULT, "<size>", "largest request body" },
  { "max_connections", whole(1, 1000000), LIMITS.CONNECTIONS_MAX_DEFAULT, "<n>",
    "connections in all" },
  { "max_streams_per_address", whole(0, LIMITS.LIMIT_MOST), nil, "<n>",
    "streams of one address at a time; 0 for no limit; default: what the app says" },
  { "max_streams_per_user", whole(0, LIMITS.LIMIT_MOST), nil, "<n>", "the same of one user" },
  { "max_requests_per_address", whole(0, LIMITS.LIMIT_MOST), nil, "<n>",
    "requests of one address a minute" },
  { "max_requests_per_user", whole(0, LIMITS.LIMIT_MOST), nil, "<n>", "the same of one user" },
  { "limits_exempt", networks, nil, "<list>", "addresses and networks without these limits" },
  { "memory", bytes(1024 * 1024), LIMITS.MEMORY_DEFAULT, "<size>",
    "memory for events of all channels" },
  { "head_timeout", seconds(0.1, 3600), usual("HEAD_TIMEOUT_MS"), "<s>",
    "for a request's head, from its first byte" },
  { "body_timeout", seconds(0.1, 3600), usual("BODY_TIMEOUT_MS"), "<s>",
    "for a request's body, and 1 s more per KiB" },
  { "idle_timeout", seconds(0.1, 3600), usual("IDLE_TIMEOUT_MS"), "<s>",
    "between two requests of a connection" },
  { "request_timeout", seconds(0.1, 86400), usual("REQUEST_TIMEOUT_MS"), "<s>",
    "for a handler's answer: then 504" },
  { "stall_timeout", seconds(0.1, 3600), usual("STALL_TIMEOUT_MS"), "<s>",
    "until a socket that takes nothing is closed" },
  { "trace", yes, true, "<yes|no>", "take over or make a traceparent for each request" },
  { "trust_proxy", trust, nil, "<yes|no>", "believe X-Forwarded-For of every peer" },
  { "allow_host", hosts, nil, "<list>",
    "host names to answer to, besides addresses and localhost" },
  { "handler_budget", seconds(0, 3600), 1, "<s>",
    "seconds that a handler may compute without a pause; 0 for no limit" },
  { "lua_memory", bytes(1024 * 1024), nil, "<size>", "largest Lua heap while a handler runs" },
  { "data", text, nil, "<folder>",
    "folder of what is durable; default: sluice-data beside the app" },
  { "socket", text, nil, "<path>",
    "Unix socket of the server's own routes; default: PORT.sock in the runtime folder" },
  { "admin_key", text, nil, "<key>",
    "key to the server's own routes over TCP; default: one kept in the runtime folder" },
  { "metrics_port", whole(0, 65535), nil, "<n>",
    "port for scrapers, with metrics alone and without a key; default: none" },
  { "metrics_host", text, "127.0.0.1", "<address>", "address of the ports for scrapers, agents" },
  { "agent_port", whole(0, 65535), nil, "<n>",
    "port that tells HAProxy's agent-check the load; default: none" },
  { "tls_cert", paths, nil, "<files>",
    "certificates, each with those that vouch for it (PEM): HTTPS" },
  { "tls_key", paths, nil, "<files>", "their private keys, in the same order" },
  { "tls_port", whole(0, 65535), nil, "<n>",
    "port for HTTPS; 0 takes a free one; default with a certificate: 5443" },
  { "tls_host", text, nil, "<address>", "address of the port for HTTPS; default: --host" },
  { "tls_redirect", yes, nil, "<yes|no>", "send what comes over the plain port to HTTPS" },
  { "h2c", yes, nil, "<yes|no>",
    "HTTP/2 on the plain port too, for proxies and programs that begin with it" },
  { "tls", one_of("dev"), nil, "<dev>", "dev: make a certificate for this machine alone" },
  { "log_level", one_of("debug", "info", "warn", "error", "off"), "info",
    "<debug|info|warn|error|off>",
    "debug, info, warn, error or off" },
  { "log_format", one_of("text", "json"), nil, "<text|json>",
    "text or json; default: text on a terminal and in the journal" },
  { "demo", yes, nil, nil, "let the app show itself, with keys that everybody knows" },
}

for _, row in ipairs(cluster.settings(text, bytes)) do
  config.SETTINGS[#config.SETTINGS + 1] = row
end

local function known()
  local out = {}
  for _, row in ipairs(config.SETTINGS) do out[row[1]] = options.NONE end
  out.allow_hosts, out.signals, out.watch = options.NONE, options.BOOLEAN, options.BOOLEAN
  return out
end

-- The value of a setting, and the name of its source.
local function find(row, flags, getenv, given)
  local name = row[1]
  if flags[name] ~= nil then return flags[name], "--" .. name:gsub("_", "-") end
  local variable = "SLUICE_" .. name:upper()
  local value = getenv(variable)
  if value ~= nil and value ~= "" then return value, variable end
  if given[name] ~= nil then return given[name], "sluice.serve(): " .. name end
  if name == "allow_host" and given.allow_hosts ~= nil then
    return given.allow_hosts, "sluice.serve(): allow_hosts"
  end
  return row[3], name
end

local function shown(value)
  if type(value) == "string" then return ("'%s'"):format(value) end
  if type(value) == "number" then return "the number " .. tostring(value) end
  return "a " .. type(value)
end

-- Only this machine's own connections reach it.
local function is_loopback(host)
  return host == "localhost" or host == "::1" or host:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

--- Put the settings together.
-- @tparam table flags by name, from the command line
-- @tparam[opt] table given options of sluice.serve
-- @tparam[opt=os.getenv] function getenv
-- @treturn table|nil settings, or nil, message that names the source
function config.resolve(flags, given, getenv)
  given = options("sluice.serve()", given, known())
  local out, places = {}, {}
  for _, row in ipairs(config.SETTINGS) do
    local value, place = find(row, flags, getenv or os.getenv, given)
    if value ~= nil then
      local checked, wanted = row[2](value)
      if checked == nil then
        return nil, ("%s: %s is expected, not %s"):format(place, wanted, shown(value))
      end
      out[row[1]], places[row[1]] = checked, place
    end
  end
  if out.demo and not is_loopback(out.host) then
    return nil, ("--demo: its keys are known to everybody, so the host has to be one of "
      .. "127.0.0.0/8, ::1 or localhost, not '%s'"):format(out.host)
  end
  for _, part in ipairs({ certificates, cluster }) do
    local fits, why = part.check(out, places)
    if not fits then return nil, why end
  end
  out.signals, out.watch = given.signals == true, given.watch == true
  return out
end

--- The part of the settings that the core takes.
function config.for_core(settings)
  local out = {}
  for _, name in ipairs({ "host", "port", "io_threads", "io_uring", "heartbeat", "drain",
    "max_body", "max_connections", "memory", "trace", "trust_proxy", "signals", "head_timeout",
    "body_timeout", "idle_timeout", "request_timeout", "stall_timeout", "h2c" }) do
    out[name] = settings[name]
  end
  out.allow_hosts = settings.allow_host
  out.limits = {} -- for the app's side: see sluice.app.limits
  for _, name in ipairs(limits.NAMES) do out.limits[name] = settings[name] end
  out.limits.exempt = settings.limits_exempt
  if settings.metrics_port or settings.agent_port then
    out.metrics_port, out.metrics_host = settings.metrics_port, settings.metrics_host
    out.agent_port = settings.agent_port
  end
  return out
end

return config
