--- The stream and the endpoints of sluice.alerts. Keeps nothing in memory.
local sluice = require("sluice")

local pages = {}

local LISTED_MAX = 1000

-- Whether a user may read the alerts of a subject: as the rule of the channel says.
local function may_read(self, user, subject)
  if not self.read then return true end
  local ok, answer = pcall(self.read, user, { subject = subject })
  if not ok then sluice.log.error("alerts: read raised: " .. tostring(answer)) end
  return ok and answer == true
end

local function list_active(self, req)
  local list, total = sluice.json.array(), 0
  for _, alert in ipairs(self:active(req.query.subject)) do
    if may_read(self, req.user, alert[self.field]) then
      total = total + 1
      if total <= LISTED_MAX then list[total] = alert end
    end
  end
  return 200, { total = total, alerts = list }
end

local function acknowledge(self, req)
  local slot, subject = self:_find(req.params.id)
  if not slot or not may_read(self, req.user, subject) then
    return 404, "no alert with this id is active"
  end
  local ok, message, code, field = self:ack(req.params.id, req.user)
  if not ok then return nil, message, code, field end
  return 204
end

--- Register GET <prefix> (what is active: { total, alerts }, the newest 1,000) and
-- POST <prefix>/:id/ack. Whom `read` refuses a subject sees none of its alerts.
-- @function Alerts:routes
-- @tparam string prefix
-- @param ... guards, at least one
function pages.routes(self, prefix, ...)
  if select("#", ...) == 0 then
    error("alerts:routes(prefix, guard…): a guard is missing: without, anyone may acknowledge", 2)
  end
  local guards = table.pack(...)
  local function add_route(method, path, fn)
    local list = table.move(guards, 1, guards.n, 1, {})
    list[guards.n + 1] = function(req) return fn(self, req) end
    self.app[method](self.app, path, table.unpack(list, 1, guards.n + 1))
  end
  add_route("get", prefix, list_active)
  add_route("post", prefix .. "/:id/ack", acknowledge)
end

--- Register a stream of the alerts; of one subject when the channel has `:subject`, which the path
-- then has, too.
-- @function Alerts:stream
-- @tparam string path
-- @param ... guards
function pages.stream(self, path, ...)
  local list = table.pack(...)
  if self.is_pattern and not (path .. "/"):find("/:subject/", 1, true) then
    error(("alerts:stream(%q): the channel is '%s': the path has no :subject"):format(path,
      self.pattern), 2)
  end
  if self.read then
    list.n = list.n + 1
    list[list.n] = function(req)
      if req.user or may_read(self, nil, req.params.subject) then return true end
      return 401, "these alerts are for users who are signed in"
    end
  end
  list[list.n + 1] = { channels = { self.pattern } }
  self.app:stream(path, table.unpack(list, 1, list.n + 1))
end

return pages
