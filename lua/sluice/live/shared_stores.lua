--- What all stores of an app hold in a cluster: each is a state channel that no client may follow,
-- so Redis keeps it, every node has a copy, and reading waits only until that is there. It does
-- what live/stores does on one machine. In memory: what was written and is not read back yet.
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local core = require("sluice.core")

local shared_stores = {}

---@class sluice.SharedStores
local Stores = {}
Stores.__index = Stores

local EVENT = "v"
local SEGMENT_MAX = 64 -- bytes of a channel's name
local KEY_MAX = 256
local TASKS = "sluice:tasks" -- the one of live/shared_tasks
local MOST = 2 ^ 31 -- keys: Redis has its own limit

--- The policy of their channels, for the core.
shared_stores.TASKS = TASKS
shared_stores.POLICY = { pattern = channels.STORES .. "*", history = "latest", ttl = false,
  max_keys = MOST - 1, shared = true, denies = true }

--- Make them.
-- @tparam sluice.Runtime runtime
-- @tparam boolean keeps --cluster-durable says when Redis has kept something: it holds for stores
function shared_stores.new(runtime, keeps)
  return setmetatable({ runtime = runtime, keeps = keeps, pending = {}, channels = {} }, Stores)
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- Other names than those of channels are told by a digest.
local function channel_of(self, name)
  local channel = self.channels[name]
  if channel then return channel end
  local fits = #name <= SEGMENT_MAX and name:find("^[%w_.@+=-]+$")
  channel = channels.STORES .. (fits and name or "~" .. hex(core.sha256(name):sub(1, 16)))
  self.channels[name] = channel
  return channel
end

-- Wait until it is here; it stays. nil, message, code: Redis is away, and it never was.
local function need(self, name)
  local runtime, channel = self.runtime, channel_of(self, name)
  local ticket = runtime.server:cluster_want(channel, true)
  if not ticket then return channel end
  local problem = runtime.scheduler:obstacle(("store '%s'"):format(name))
  if problem then caller.raise("%s, and it is not loaded yet", problem) end
  local ok, _, code = runtime.stored:await(ticket)
  if ok then return channel end
  return nil, ("store '%s' is not here: Redis is away"):format(name), code
end

--- Begin to load the stores of a generation.
function Stores:warm(generation)
  local function warm(name) self.runtime.server:cluster_want(channel_of(self, name), true) end
  for name in pairs(generation.stores) do warm(name) end
  if next(generation.tasks) then warm(TASKS) end
end

--- The text of a key, or nil; or nil, message, code.
function Stores:read(name, key)
  local waiting = self.pending[name] and self.pending[name][key]
  if waiting then return waiting.text end
  local channel, message, code = need(self, name)
  if not channel then return nil, message, code end
  return (self.runtime.server:latest(channel, key, EVENT))
end

-- It shows at once what is written, also where nobody waits for it.
local function show(self, name, key, text)
  local list = self.pending[name] or {}
  self.pending[name] = list
  local write = { text = text }
  list[key] = write
  return function()
    if list[key] == write then list[key] = nil end
  end
end

--- Write a key, or delete it.
-- @tparam string what for messages
-- @tparam string name
-- @tparam string key
-- @tparam string|nil text nil: delete
-- @tparam boolean waits
-- @tparam[opt] table expected { text = }: only while the key has this text, or is not there
-- @tparam[opt] boolean passing it need not be kept as --cluster-durable says
-- @treturn boolean|nil true, or nil, message, code ("ECONFLICT": it has another one)
function Stores:write(what, name, key, text, waits, expected, passing)
  local stored = self.runtime.stored
  if waits then stored:need_wait(what) end
  if #key > KEY_MAX then
    return nil, ("store '%s': a key has at most %d bytes in a cluster, not %d"):format(name,
      KEY_MAX, #key), "ETOOBIG"
  end
  local channel, message, code = need(self, name)
  if not channel then return nil, message, code end
  local ticket
  ticket, message, code = self.runtime.server:commit_event(channel, EVENT, text or "", key,
    text == nil, 0, false, nil, self.runtime.scheduler:token(), expected ~= nil,
    expected and expected.text, false, self.keeps and not passing)
  if not ticket then return nil, ("store '%s': %s"):format(name, message), code end
  local hide = expected and function() end or show(self, name, key, text)
  local ok
  ok, message, code = stored:finish(ticket, waits, ("key '%s' of store '%s'"):format(key, name),
    hide)
  if ok then return true end
  return nil, message, code
end

--- The keys that begin with a prefix, in order, and their texts.
-- @treturn {string,...}|nil keys; or nil, message, code
-- @treturn {string,...} texts
function Stores:list(name, prefix)
  local channel, message, code = need(self, name)
  if not channel then return nil, message, code end
  local values, keys, texts = {}, {}, {}
  for _, event in ipairs(self.runtime.server:newest(channel, MOST - 1, nil, EVENT)) do
    values[event.key] = event.data
  end
  for key, write in pairs(self.pending[name] or {}) do values[key] = write.text end
  for key in pairs(values) do
    if key:sub(1, #prefix) == prefix then keys[#keys + 1] = key end
  end
  table.sort(keys)
  for i, key in ipairs(keys) do texts[i] = values[key] end
  return keys, texts
end

--- How many keys a store that is here has.
function Stores:count(name)
  local _, all = self.runtime.server:newest(channel_of(self, name), 1, nil, EVENT)
  return all or 0
end

--- Of what Redis has and no generation declares nobody knows here.
function Stores.orphans() return {} end

return shared_stores
