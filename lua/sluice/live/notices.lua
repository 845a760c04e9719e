--- What the nodes of a cluster tell each other beside events. A node says it once; each node, that
-- one too, hears all notices in the same order. Who has missed some, because it was away for too
-- long or Redis has lost them, is told that, and looks up what they may have said.
-- In memory: a count of those that made no sense.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local hooks = require("sluice.app.hooks")
local json = require("sluice.json")
local reading = require("sluice.app.reading")

local notices = {}

---@class sluice.Notices
local Notices = {}
Notices.__index = Notices

local NAME_MAX = core.limits.EVENT_NAME_MAX

--- By letter (csrc/cluster/notice.h): { heard = fn(runtime, name, to, data, is_own), whose answer
-- false means that it made no sense; missed = fn(runtime) }
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
  local runtime = self.runtime
  if not runtime.is_shared then return true end
  local text, message, code = json.encode(data)
  if not text then return nil, message, code end
  local ticket
  ticket, message, code = runtime.server:cluster_tell(letter, name, to, text)
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
  local data = json.decode(text)
  local kind = KINDS[letter]
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
