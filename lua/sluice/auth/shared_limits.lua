--- Limits that count over all nodes of a cluster: each node tells the others, by a channel that no
-- client may follow, whom it has let through, at once and then some times a second. Nobody waits
-- for that: each decides by what it knows. While Redis is away a node goes on with what it has
-- heard, and its own. In memory: what is not told yet, at most TOLD_MAX names.
local keeper = require("sluice.base.keeper")
local sluice = require("sluice")

local shared_limits = {}

---@class sluice.auth.SharedLimits
local Shared = {}
Shared.__index = Shared

local EVENT = "n"
local TELL_SECONDS, AGAIN_SECONDS = 0.05, 1
local TOLD_MAX, A_TIME = 10000, 500

local function nobody() return false end

--- At the top level of an app. `hear` is called with (limit, who, n, number) for what other nodes
-- let through in the window of that number.
function shared_limits.new(app, name, hear)
  local channel = name .. "/limits"
  local self = setmetatable({ app = app, channel = channel, telling = false,
    state = app:state(name .. ".told", { list = {}, n = 0 }) }, Shared)
  app:channel(channel, { history = 0, read = nobody })
  app:on("heard", channel, function(event)
    if event.missed or event.own or type(event.data) ~= "table" then return end
    for _, row in ipairs(event.data) do hear(row[1], row[2], row[3], row[4]) end
  end)
  return self
end

local function some(list)
  local rows = {}
  for limit, all in pairs(list) do
    for who, told in pairs(all) do
      rows[#rows + 1] = { limit, who, told.n, told.number }
      if #rows == A_TIME then return rows end
    end
  end
  return rows
end

local function subtract(s, rows)
  for _, row in ipairs(rows) do
    local all = s.list[row[1]]
    local told = all[row[2]]
    told.n = told.n - row[3]
    if told.n <= 0 then all[row[2]], s.n = nil, s.n - 1 end
  end
end

local function tell(self)
  local s = self.state()
  while s.n > 0 do
    local rows = some(s.list)
    local id, _, code = self.app:publish(self.channel, EVENT, sluice.json.array(rows))
    local may_be_told = id or code == "ETIMEOUT"
    if may_be_told then subtract(s, rows) end
    sluice.sleep(may_be_told and TELL_SECONDS or AGAIN_SECONDS)
  end
  self.telling = false
end

--- This node has let somebody through, in the window of this number.
function Shared:note(limit, who, number)
  if not self:is_shared() then return end
  local s = self.state()
  local all = s.list[limit] or {}
  s.list[limit] = all
  if not all[who] then
    if s.n >= TOLD_MAX then return end
    s.n = s.n + 1
  end
  local told = all[who] or { n = 0 }
  all[who], told.n, told.number = told, told.n + 1, number
  if self.telling then return end
  self.telling = true
  self.app:spawn(function() tell(self) end)
end

Shared.is_shared = keeper.is_shared

return shared_limits
