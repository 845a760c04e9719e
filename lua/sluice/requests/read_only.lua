--- What Lua of an operator may see of a running app while it may change nothing: `app` with the
--- methods that read, `state` and `store` by name, and libraries that reach nothing else. All that
--- is handed out is a copy. Keeps nothing in memory.
local caller = require("sluice.base.caller")
local json = require("sluice.json")

local read_only = {}

local DEPTH_MAX = 64
local READS = { "channels", "event_types", "has_store", "history", "latest", "newest", "slowest",
  "stats" }
local CLIENT_FIELDS = { "id", "ip", "meta", "params", "path", "resumed", "user" }
local CLIENT_ACTS = { close = true, send = true, set = true, stop = true, subscribe = true,
  unsubscribe = true }
local PLAIN = { "assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber",
  "tostring", "type" }
local LIBRARIES = { math = math, string = string, table = table, utf8 = utf8,
  os = { clock = os.clock, date = os.date, difftime = os.difftime, time = os.time } }

local function refuse(name)
  caller.raise("%s changes something, and this only reads: sluice repl --write", name)
end

-- A deep copy of plain data; what is none is named.
local function copied(value, depth)
  if value == json.null or type(value) ~= "table" then return value end
  if depth > DEPTH_MAX then return "…" end
  local out = {}
  for k, v in next, value do
    local kind = type(v)
    local odd = (kind == "function" or kind == "userdata" or kind == "thread") and v ~= json.null
    out[k] = odd and "a " .. kind or copied(v, depth + 1)
  end
  return out
end

local function results(...)
  local list = table.pack(...)
  for i = 1, list.n do list[i] = copied(list[i], 1) end
  return table.unpack(list, 1, list.n)
end

-- ---- Clients -----------------------------------------------------------------------------

local function client_view(client)
  local view = {}
  for _, name in ipairs(CLIENT_FIELDS) do view[name] = copied(client[name], 1) end
  return setmetatable(view, { __index = function(_, name)
    if name == "stats" then return function() return copied(client:stats(), 1) end end
    if CLIENT_ACTS[name] then refuse("client:" .. name .. "()") end
  end })
end

local function clients(app, filter)
  local each = app:clients(filter)
  return function()
    local client = each()
    return client and client_view(client)
  end
end

-- ---- The app -----------------------------------------------------------------------------

local function app_view(generation)
  local app, view = generation.app, {}
  for _, name in ipairs(READS) do
    view[name] = function(_, ...) return results(app[name](app, ...)) end
  end
  function view.client(_, id)
    local client = app:client(id)
    return client and client_view(client)
  end
  function view.clients(_, filter) return clients(app, filter) end
  return setmetatable(view, { __index = function(_, name)
    if app[name] ~= nil then refuse("app:" .. tostring(name) .. "()") end
    caller.raise("app:%s() does not exist", tostring(name))
  end })
end

local function state_view(runtime, generation)
  return setmetatable({}, { __index = function(_, name)
    local row = generation.states[name] and runtime.states[name]
    if not row then caller.raise("there is no state '%s'", tostring(name)) end
    return copied(row.data, 1)
  end })
end

local function store_view(generation)
  return function(name)
    local row = generation.stores[name]
    if not row then caller.raise("there is no store '%s'", tostring(name)) end
    local store = row.handle
    return setmetatable({ get = function(_, key) return store:get(key) end,
      each = function(_, prefix) return store:each(prefix) end },
      { __index = function(_, method) refuse("store:" .. tostring(method) .. "()") end })
  end
end

--- The environment.
-- @tparam sluice.Runtime runtime
-- @treturn table
function read_only.environment(runtime)
  local generation, env = runtime.generation, {}
  for _, name in ipairs(PLAIN) do env[name] = _G[name] end
  for name, library in pairs(LIBRARIES) do
    env[name] = {}
    for key, value in pairs(library) do env[name][key] = value end
  end
  env.string.dump = nil
  env.json = { encode = json.encode, decode = json.decode, null = json.null, array = json.array }
  env.app, env.state = app_view(generation), state_view(runtime, generation)
  env.store, env._VERSION = store_view(generation), _VERSION
  return env
end

return read_only
