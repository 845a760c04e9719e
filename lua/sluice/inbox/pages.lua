--- The stream and the endpoints of sluice.inbox. Keeps nothing in memory.
local caps = require("sluice.inbox.caps")
local items = require("sluice.inbox.items")

local pages = {}

local ACK_MAX, ID_MAX = 10000, 256

-- Guard: a user who can have an inbox.
local function has_inbox(req)
  if not req.user then return 401, "sign in first" end
  if items.segment_of(req.user) then return true end
  return 403, "this user can have no inbox: an id is UTF-8 of 1 to 256 bytes, or an integer"
end

local function with(guards, ...)
  local list = table.move(guards, 1, guards.n, 1, {})
  for i, fn in ipairs({ ... }) do list[guards.n + i] = fn end
  return table.unpack(list, 1, guards.n + select("#", ...))
end

--- Register a stream with the inbox of whoever opens it.
-- @function Inbox:stream
-- @tparam string path
-- @param ... guards, asked first
function pages.stream(self, path, ...)
  self.app:stream(path, with(table.pack(...), has_inbox, function(req)
    return { channels = { (self:channel(req.user.id)) } }
  end))
end

local function unread(self, req)
  local list, message, code = self:list(req.user.id)
  if not list then return nil, message, code end
  local channel = self:channel(req.user.id)
  return 200, { unread = #list, notifications = list,
    dropped = (self.app:latest(channel, caps.KEY, self.event .. "-dropped")) }
end

local function acknowledge(self, req)
  local ids = req:json({ ids = "array" }).ids
  if #ids > ACK_MAX then
    return nil, ("ids: at most %d are expected"):format(ACK_MAX), "EBADFIELD", "ids"
  end
  for i, id in ipairs(ids) do
    if type(id) ~= "string" or #id > ID_MAX then
      return nil, ("ids: [%d] is no id"):format(i), "EBADFIELD", "ids"
    end
  end
  local n, message, code, field = self:ack(req.user.id, ids)
  if not n then return nil, message, code, field end
  local left
  left, message, code = self:unread(req.user.id)
  if not left then return nil, message, code end
  return 200, { acknowledged = n, unread = left }
end

--- Register GET <prefix>/unread ({ unread, notifications }) and POST <prefix>/ack ({ ids }) for
-- whoever asks.
-- @function Inbox:routes
-- @tparam string prefix
-- @param ... guards, asked first
function pages.routes(self, prefix, ...)
  local guards = table.pack(...)
  self.app:get(prefix .. "/unread", with(guards, has_inbox,
    function(req) return unread(self, req) end))
  self.app:post(prefix .. "/ack", with(guards, has_inbox,
    function(req) return acknowledge(self, req) end))
end

return pages
