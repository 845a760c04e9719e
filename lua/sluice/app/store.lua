--- app:store: plain data by key, which outlives the process. A handle belongs to a generation; what
-- it reads and writes is in live/stores. Keeps nothing in memory.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local json = require("sluice.json")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local plain = require("sluice.base.plain")
local show = require("sluice.base.show")

local store = {}

local KEY_MAX = core.limits.PAIR_KEY_MAX
local OPTIONS = { wait = true }

---@class sluice.Store
local Store = { __name = "sluice.Store" }
Store.__index = Store
Store.__tostring = function(self) return "sluice.Store: " .. self._name end
Store.__call = function(self)
  caller.raise("store '%s' is read by its methods: write :get(key)", self._name)
end
Store.__newindex = function(self)
  caller.raise("store '%s' is written by its methods: write :set(key, value)", self._name)
end

-- The stores of the runtime; raises when they cannot be used here.
local function begin(self, method)
  if getmetatable(self) ~= Store then
    caller.raise("store.%s was called without its store: write store:%s(…) with a colon", method,
      method)
  end
  local generation = self._generation
  if generation.phase == "load" then
    caller.raise("store '%s' is not there while the app is loading: use it in a handler",
      self._name)
  elseif generation.phase == "retired" then
    caller.raise("generation %d is retired", generation.id)
  end
  return generation.runtime.stores
end

local function check_key(self, method, key)
  if type(key) ~= "string" or key == "" then
    caller.raise("store '%s': %s(): a key is a string that is not empty, not %s", self._name,
      method, show(key))
  end
  if #key <= KEY_MAX then return nil end
  return ("store '%s': a key has at most %d bytes, not %d"):format(self._name, KEY_MAX, #key),
    "ETOOBIG"
end

--- The value of a key.
-- @tparam string key
-- @return a copy, or nil
function Store:get(key)
  local stores = begin(self, "get")
  check_key(self, "get", key)
  local text, message, code = stores:read(self._name, key)
  if text == nil then return nil, message, code end
  return (json.decode(text))
end

-- The text of a value, or nil, message, code; raises what is no plain data.
local function text_of(self, what, value)
  if value == nil then caller.raise("%s: the value is nil: write :delete(key)", what) end
  local fault = plain.fault(value, "value")
  if fault then caller.raise("%s: %s: only plain data can be stored", what, fault) end
  local text, message, code = plain.text(value, "value")
  if not text then return nil, ("store '%s': %s"):format(self._name, message), code end
  return text
end

--- Set the value of a key: get returns it at once. Waits until it is on the disk.
-- @tparam string key
-- @param value plain data
-- @tparam[opt] table opts { wait = false }: do not wait; a failure is logged
-- @treturn boolean|nil true, or nil, message, code
function Store:set(key, value, opts)
  local stores = begin(self, "set")
  local what = ("store '%s': set()"):format(self._name)
  local message, code = check_key(self, "set", key)
  if message then return nil, message, code end
  local o = options(what, opts, OPTIONS)
  local text
  text, message, code = text_of(self, what, value)
  if not text then return nil, message, code end
  return stores:write(what, self._name, key, text, o.wait)
end

-- Whether two plain data are the same.
local function is_equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not is_equal(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- Why a key has not the value that is expected, or nil; then what it has, as text.
local function judge(self, stores, key, old)
  local text, message, code = stores:read(self._name, key)
  if code then return message, code end
  local value = text and json.decode(text)
  if is_equal(value, old) then return nil, nil, text end
  return ("store '%s': key '%s' %s"):format(self._name, key, old == nil and "is there already"
    or "has another value"), "ECONFLICT"
end

--- Set the value of a key only while it has the old one: of several who do so at once, on any
-- node of a cluster, one succeeds.
-- @tparam string key
-- @param old plain data, as get gives it; nil: the key is not there
-- @param value plain data; nil: the key is deleted
-- @treturn boolean|nil true, or nil, message, code: "ECONFLICT" when it has another one
function Store:cas(key, old, value)
  local stores = begin(self, "cas")
  local what = ("store '%s': cas()"):format(self._name)
  local message, code = check_key(self, "cas", key)
  if message then return nil, message, code end
  local text
  if value ~= nil then
    text, message, code = text_of(self, what, value)
    if not text then return nil, message, code end
  end
  local before
  message, code, before = judge(self, stores, key, old)
  if message then return nil, message, code end
  return stores:write(what, self._name, key, text, true, { text = before })
end

--- Set the value of a key that is not there: of several who do so at once one succeeds.
-- @tparam string key
-- @param value plain data
-- @treturn boolean|nil true, or nil, message, code: "ECONFLICT" when it is there
function Store:add(key, value)
  begin(self, "add")
  if value == nil then caller.raise("store '%s': add(): the value is nil", self._name) end
  return self:cas(key, nil, value)
end

--- Delete a key, if it is there. Waits until that is on the disk.
-- @tparam string key
-- @tparam[opt] table opts { wait = false }
-- @treturn boolean|nil true, or nil, message, code
function Store:delete(key, opts)
  local stores = begin(self, "delete")
  local what = ("store '%s': delete()"):format(self._name)
  local message, code = check_key(self, "delete", key)
  if message then return nil, message, code end
  local o = options(what, opts, OPTIONS)
  return stores:write(what, self._name, key, nil, o.wait)
end

--- Iterate over the keys in the order of their bytes, as they are at the call: what is set or
-- deleted meanwhile does not show.
-- @tparam[opt=""] string prefix only keys that begin with it
-- @treturn function gives key, value
function Store:each(prefix)
  local stores = begin(self, "each")
  if prefix ~= nil and type(prefix) ~= "string" then
    caller.raise("store '%s': each(): the prefix is a string, not %s", self._name, show(prefix))
  end
  local keys, texts, code = stores:list(self._name, prefix or "")
  if not keys then failure.refuse(texts, code) end
  local at = 0
  return function()
    at = at + 1
    if keys[at] == nil then return nil end
    return keys[at], (json.decode(texts[at]))
  end
end

names.strict(Store, "store", ":")
store.methods = Store

--- Whether something of a generation needs a disk, beside its stores.
-- @treturn boolean
function store.has_durable(generation)
  for _, policy in ipairs(generation.policies) do
    if policy.durable then return true end
  end
  return false
end

--- Whether something of a generation needs the store.
-- @tparam sluice.Generation generation
-- @treturn boolean
function store.is_needed(generation)
  return store.has_durable(generation) or next(generation.stores) ~= nil
end

--- Declare: app:store.
-- @tparam sluice.Generation generation
-- @tparam string name
-- @param given what else stands there: a store has no options
-- @treturn sluice.Store
function store.declare(generation, name, given)
  if type(name) ~= "string" then
    caller.raise("app:store(name): the name is a string, not a %s", type(name))
  end
  if name == "" then caller.raise("app:store(name): the name is empty: a store needs one") end
  if #name > KEY_MAX then
    caller.raise("app:store(name): a name has at most %d bytes", KEY_MAX)
  end
  if generation.stores[name] then
    caller.raise_taken(("store '%s' is declared twice"):format(name), generation.stores[name].where)
  end
  options(("store '%s'"):format(name), given, {})
  local handle = setmetatable({ _generation = generation, _name = name }, Store)
  generation.stores[name] = { where = caller.where(), handle = handle }
  return handle
end

return store
