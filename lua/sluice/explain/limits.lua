--- Which limit refused somebody, who set it, and what to do about it. Keeps nothing in memory.
local words = require("sluice.explain.words")

local limits = {}

local WAITS = "Its client comes back after 10 to 30 s. "
local SHARED = WAITS .. "Several people may have one address: put it into exempt; behind a proxy "
  .. "it is theirs with --trust-proxy yes only."

-- Each is given who it was about, and how many are allowed.
local SAYS = {
  max_streams_per_address = { "%s had %s open, which is all that max_streams_per_address allows",
    "stream", SHARED },
  max_streams_per_user = { "%s had %s open, which is all that max_streams_per_user allows",
    "stream", WAITS .. "Open tabs and devices count: with share: true a browser has one." },
  max_requests_per_address = { "%s sent more than the %s a minute that max_requests_per_address "
    .. "allows", "request", SHARED },
  max_requests_per_user = { "%s sent more than the %s a minute that max_requests_per_user allows",
    "request", WAITS .. "The log says how many were refused." },
  max_connections = { "It came from %s when the server had %s, as many as --max-connections allows",
    "connection", "Raise it, and ulimit -n with it, or add a server: /-/readyz and /-/load tell a "
    .. "balancer in time." },
}

-- Who set it: the command line or the environment, before what the app says.
local function set_by(runtime, name)
  if name == "max_connections" or (runtime.limits or {})[name] ~= nil then
    return ("--%s or SLUICE_%s"):format(name:gsub("_", "-"), name:upper())
  end
  local said = runtime.generation.limits
  return said and said.where or "app:limits"
end

local function whom(line)
  if not line.limit:find("_user$") then
    return ("%s%s"):format(line.limit ~= "max_connections" and "Its address " or "", line.ip or "?")
  end
  return line.user and ("Its user '%s'"):format(line.user) or "Its user"
end

--- What a limit has refused.
-- @tparam sluice.Runtime runtime
-- @tparam table line or note with `limit`, its name, and what is known of `most`, `ip`, `user`
-- @treturn string a sentence
-- @treturn string what to do
-- @treturn table the rule: option, value, where
function limits.judge(runtime, line)
  local name, said = line.limit, SAYS[line.limit]
  local most = line.most or (runtime.limits or {})[name]
    or (runtime.generation.limits or {})[name] or 0
  local where = set_by(runtime, name)
  local text = said[1]:format(whom(line), words.count(most, said[2]))
  return ("%s (%s)."):format(text, where), said[3],
    { option = name, value = ("%d"):format(most), where = where }
end

return limits
