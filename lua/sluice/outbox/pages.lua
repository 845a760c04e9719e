--- The stream and the endpoints of sluice.outbox. Keeps nothing in memory.
local dead = require("sluice.outbox.dead")
local options = require("sluice.base.options")

local pages = {}

local LISTED_MAX = 1000

local function list(self)
  local letters, total = dead.list(self.book, LISTED_MAX)
  return 200, { total = total, letters = letters }
end

local function replay(self, req)
  local n, message, code = self:replay(req.params.id)
  if not n then return nil, message, code end
  return 202, { replayed = n }
end

local function drop(self, req)
  local ok, message, code = self:drop(req.params.id)
  if not ok then return nil, message, code end
  return 204
end

local function need_guard(self, method, n)
  if n > 0 then return end
  options.raise("%s:%s(path, guard…): a guard is missing: letters are for administrators",
    self.name, method)
end

--- Register GET <prefix> (figures), GET <prefix>/dead ({ total, letters }, the newest 1,000),
-- POST <prefix>/dead/replay (all), POST <prefix>/dead/:id/replay and DELETE <prefix>/dead/:id.
-- @function Outbox:routes
-- @tparam string prefix
-- @param ... guards, at least one
function pages.routes(self, prefix, ...)
  need_guard(self, "routes", select("#", ...))
  local guards = table.pack(...)
  local function add_route(method, path, fn)
    local all = table.move(guards, 1, guards.n, 1, {})
    all[guards.n + 1] = function(req) return fn(self, req) end
    self.app[method](self.app, prefix .. path, table.unpack(all, 1, guards.n + 1))
  end
  add_route("get", "", function() return 200, self:stats() end)
  add_route("get", "/dead", list)
  add_route("post", "/dead/replay", replay)
  add_route("post", "/dead/:id/replay", replay)
  add_route("delete", "/dead/:id", drop)
end

--- Register a stream of what has died: dead-letter { id, via, target, attempts, error, code,
-- timestamp }.
-- @function Outbox:stream
-- @tparam string path
-- @param ... guards, at least one
function pages.stream(self, path, ...)
  need_guard(self, "stream", select("#", ...))
  local all = table.pack(...)
  all[all.n + 1] = { channels = { self.name } }
  self.app:stream(path, table.unpack(all, 1, all.n + 1))
end

return pages
