--- Who has the console open, and what each still has to be sent: what happened in its order, and of
-- figures the newest alone. Sends go to one client each, since no channel of the app shall hold
-- what only an operator may see.
-- In memory: of each viewer up to QUEUE_MOST texts.
local viewers = {}

---@class sluice.Viewers
local Viewers = {}
Viewers.__index = Viewers

local QUEUE_MOST = 200

--- Make an empty list.
-- @param server of the core
-- @treturn sluice.Viewers
function viewers.new(server)
  return setmetatable({ server = server, list = {}, n = 0 }, Viewers)
end

--- Somebody opened it.
-- @tparam string id
function Viewers:add(id)
  if self.list[id] then return end
  self.list[id] = { queue = {}, newest = {} }
  self.n = self.n + 1
end

--- Somebody left.
-- @tparam string id
-- @treturn boolean false when it is none of them
function Viewers:remove(id)
  if not self.list[id] then return false end
  self.list[id] = nil
  self.n = self.n - 1
  return true
end

-- True: it is sent. A socket that is full takes it later; one that has gone is reported as such.
local function send(self, id, event, text)
  local ok, _, code = self.server:send(id, event, text)
  return ok or code ~= "EFULL"
end

local function flush(self, id, viewer)
  local queue = viewer.queue
  while queue[1] do
    if not send(self, id, queue[1][1], queue[1][2]) then return end
    table.remove(queue, 1)
  end
  for event, text in pairs(viewer.newest) do
    if not send(self, id, event, text) then return end
    viewer.newest[event] = nil
  end
end

--- Send what waits.
function Viewers:flush()
  for id, viewer in pairs(self.list) do flush(self, id, viewer) end
end

local function each(self, id, fn)
  if id then return self.list[id] and fn(self.list[id]) end
  for _, viewer in pairs(self.list) do fn(viewer) end
end

--- Something happened: it is sent in its place. Of a viewer that lags too far the oldest goes.
-- @tparam string|nil id one viewer; nil: all
-- @tparam string event
-- @tparam string text
function Viewers:tell(id, event, text)
  each(self, id, function(viewer)
    if #viewer.queue >= QUEUE_MOST then table.remove(viewer.queue, 1) end
    table.insert(viewer.queue, { event, text })
  end)
end

--- A figure is another now.
function Viewers:show(id, event, text)
  each(self, id, function(viewer) viewer.newest[event] = text end)
end

return viewers
