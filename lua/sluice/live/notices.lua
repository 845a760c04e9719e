--- What the nodes of a cluster tell each other beside events. A node says it once; each node, that
-- one too, hears all notices in the same order. Who has missed some, because it was away for too
-- long or Redis has lost them, is told that, and looks up what they may have said.
-- In memory: a count of those that made no sense.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local hooks = require("sluice.app.hooks")
local json = require("sluice.json")
local reading = require("sluice.app.reading")
local stream_handle = require("sluice.app.stream_handle")

local notices = {}

---@class sluice.Notices
local Notices = {}
Notices.__index = Notices

local NAME_MAX = core.limits.EVENT_NAME_MAX

--- By letter (csrc/cluster/notice.h): { heard = fn(runtime, name, to, data, is_own), whose answer
-- false means that it made no sense; missed = fn(runtime); takes_text = true: data is no JSON }
local KINDS = {}

function notices.new(runtime)
  return setmetatable({ runtime = runtime, bad = 0 }, Notices)
end

--- Tell all nodes. Waits, where the caller can, until this one has heard it, too.
-- @tparam string letter
-- @tparam string name
-- @tparam string|nil to for which node or thing it is
-- @param data what becomes JSON
-- @treturn boolean|nil true, also where there is no cluster; or nil, message, code
function Notices:tell(letter, name, to, data)
  if not self.runtime.is_shared then return true end
  local text, message, code = json.encode(data)
  if not text then return nil, message, code end
  return self:tell_text(letter, name, to, text)
end

--- The same, of a text.
function Notices:tell_text(letter, name, to, text)
  local runtime = self.runtime
  local ticket, message, code = runtime.server:cluster_tell(letter, name, to, text)
  if not ticket then return nil, message, code end
  local ok
  ok, message, code = runtime.stored:finish(ticket, runtime.scheduler:can_wait(),
    ("what all nodes are told (%s)"):format(name))
  if ok then return true end
  return nil, message, code
end

--- A node has told all; without arguments: some were missed.
function Notices:hear(letter, name, to, text, is_own)
  if not letter then
    core.log("warn", "cluster: what other nodes told was missed: streams are checked anew")
    for _, kind in pairs(KINDS) do kind.missed(self.runtime) end
    return
  end
  local kind = KINDS[letter]
  local data = text
  if not (kind and kind.takes_text) then data = json.decode(text) end
  if data == nil or not kind or kind.heard(self.runtime, name, to, data, is_own) == false then
    self.bad = self.bad + 1
  end
end

-- ---- Of the app ------------------------------------------------------------------------------

KINDS.a = {
  heard = function(runtime, name, _, data, is_own)
    if type(data) ~= "table" or data[1] == nil then return false end
    hooks.fire(runtime, "told", { name = name, data = data[1], own = is_own })
  end,
  missed = function(runtime) hooks.fire(runtime, "told", { missed = true }) end,
}

--- app:tell: `told` hooks run on every node.
-- @tparam string name
-- @param data plain data
-- @treturn boolean|nil true, or nil, message, code
function Notices:tell_app(name, data)
  if type(name) ~= "string" or name == "" or #name > NAME_MAX then
    caller.raise("app:tell(name, data): the name is a string of 1 to %d bytes", NAME_MAX)
  end
  if data == nil then data = true end
  if self.runtime.is_shared then return self:tell("a", name, nil, { data }) end
  local text, message, code = json.encode({ data })
  if not text then return nil, message, code end
  hooks.fire(self.runtime, "told", { name = name, data = json.decode(text)[1], own = true })
  return true
end

-- ---- Leases: of no other node, and never in the feed ------------------------------------------

-- This one was taken for dead, or Redis has lost something.
KINDS.o = {
  heard = function(runtime) runtime.leases:again() end,
  missed = function() end,
}

-- Of no other node: an event of a channel that hooks hear; without a text: it was loaded.
KINDS.h = {
  takes_text = true,
  heard = function(runtime, channel, key, text, is_own)
    if text == "" then return hooks.lose(runtime, channel) end
    return hooks.heard(runtime, channel, key, text, is_own)
  end,
  missed = hooks.lose_all,
}

-- What this node may have a lease of was set or removed by another one.
KINDS.l = {
  takes_text = true,
  heard = function(runtime, event, key, text)
    runtime.leases:take(text:sub(2), event, key, text:sub(1, 1) == "r")
  end,
  missed = function() end,
}

-- ---- Clients ---------------------------------------------------------------------------------

KINDS.c = {
  takes_text = true,
  heard = function(runtime, event, client, text)
    if not core.check_event(event) then return false end
    if runtime.server:client(client) then runtime.server:send(client, event, text) end
  end,
  missed = function() end, -- what was sent was handed over, and no more
}

--- app:send: an event for one client, which may be of another node.
-- @treturn boolean|nil true: it is handed over; or nil, message, code
function Notices:send(client, event, text)
  local runtime = self.runtime
  local may, is_ours = 0, true
  if runtime.is_shared then may, is_ours = runtime.server:cluster_nodes_of(client) end
  if is_ours and runtime.server:client(client) then
    return stream_handle.new(runtime, client):send(event, text)
  end
  if may <= (is_ours and 1 or 0) then return nil, "there is no such client", "ENOTFOUND" end
  return self:tell_text("c", event, client, text)
end

-- ---- Who follows ------------------------------------------------------------------------------

-- Of nodes that tell nothing more the others learn by time (app/followers.lua).
KINDS.w = {
  heard = function(runtime, channel, node, data, is_own)
    if is_own then return end
    local makes_sense = type(data) == "table" and type(data.here) == "boolean" and node ~= nil
    if not makes_sense then return false end
    if runtime.timers.followers:hear(channel, node, data.here) then
      runtime.timers:warm_for_others(channel)
    end
  end,
  missed = function() end,
}

-- ---- Tasks -----------------------------------------------------------------------------------

KINDS.d = {
  heard = function(runtime, _, id, data)
    if type(data) ~= "table" or type(id) ~= "string" then return false end
    runtime.tasks.shared:hear(id, data)
  end,
  missed = function(runtime) runtime.tasks.shared:missed() end,
}

-- ---- Rights ----------------------------------------------------------------------------------

local RIGHTS = {}

function RIGHTS.recheck(runtime, data)
  local user = data.user
  if user ~= nil and type(user) ~= "string" and type(user) ~= "number" then return false end
  runtime.handover:recheck(user, "by app:recheck() on another node")
end

function RIGHTS.replan(runtime, data)
  local good = type(data.pattern) == "string" and core.check_pattern(data.pattern)
  if not good then return false end
  runtime.handover:replan(reading.of_pattern(runtime, data.pattern))
end

KINDS.r = {
  heard = function(runtime, name, _, data, is_own)
    if is_own then return end -- it was done before it was told
    local act = RIGHTS[name]
    if not act or type(data) ~= "table" then return false end
    return act(runtime, data)
  end,
  missed = function(runtime)
    runtime.handover:recheck(nil, "since a notice was missed")
    runtime.handover:replan(runtime.server:clients())
  end,
}

return notices
