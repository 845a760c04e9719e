--- Notifications, alerts, data updates and heartbeats for pages, published from Lua or over HTTP.
---
---   local hub = require("sluice.hub").new(app)
---   hub:routes("/api/sse", { publish = may_publish, admin = may_announce })
---   hub:notification { message = "Deployed", severity = "info" }
---
--- Channels: `hub` (every page that is connected), `hub/user/<id>` (a user's pages) and
--- `hub/client/<id>` (one connection). In memory: what they keep, and reminders, at most 20.
local sluice = require("sluice")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local segment = require("sluice.base.segment")

---@class sluice.HubModule
local hub = {}

---@class sluice.Hub
local Hub = {}
Hub.__index = Hub
Hub.__name = "sluice.Hub"

local KNOWN = { name = "hub", history = options.NONE, rewind = options.NONE, durable = false,
  read = options.FUNCTION }
local GUARDS = { publish = options.NONE, admin = options.NONE, connect = options.NONE }
local SEVERITY = { "info", "warning", "high", "critical", optional = true }
local REMINDERS_MAX, SECONDS_MAX = 20, 366 * 86400

local TYPES = {
  notification = { example = { message = "Your report is ready", severity = "info" },
    description = "Something that a user should see; sent when a person or the application acts",
    fields = { message = "string", severity = SEVERITY, title = "string?" } },
  alert = { example = { message = "The disk is almost full", severity = "high", category = "disk" },
    description = "Something that needs attention; sent when a limit is passed, or by an operator",
    fields = { message = "string", severity = SEVERITY, category = "string?" } },
  dataUpdate = { example = { id = "42", type = "order", changes = { status = "paid" } },
    automatic = true, description = "A record has changed; sent by what stores it",
    fields = { id = "any", type = "string", changes = "object?" } },
  heartbeat = { example = { status = "ok" }, fields = { status = "string?" },
    automatic = true, description = "The application is alive; sent by a timer" },
}

-- Apps (one per loaded version) whose event types are declared: once for all hubs of an app.
local described = setmetatable({}, { __mode = "k" })

local function bad(field, message) return nil, field .. ": " .. message, "EBADFIELD", field end

-- The channel that a body is for; or nil, message, code, field. A client follows its own from when
-- it is first addressed: a plan that named it would open the stream before it can be resumed.
local function channel_of(self, body)
  if body.client ~= nil and body.user ~= nil then return bad("user", "a client is named, too") end
  if body.user ~= nil then
    local id = segment.of(body.user)
    if id then return ("%s/user/%s"):format(self.name, id) end
    return bad("user", "an id of at most 64 letters, digits and _ . @ + = ~ : - is expected")
  end
  if body.client == nil then return self.name end
  local client = type(body.client) == "string" and self.app:client(body.client)
  if client and client.meta.hub == self.name then
    local channel = ("%s/client/%s"):format(self.name, client.id)
    local ok, message, code = client:subscribe(channel)
    if ok then return channel end
    if code ~= "ECLOSED" then return nil, message, code end
  end
  return nil, "client: none with this id is connected", "ENOTFOUND", "client"
end

local function publish(self, body, event, data, prefix)
  local channel, message, code, field = channel_of(self, body)
  if not channel then return nil, message, code, field end
  local id, subscribers, third, wrong = self.app:publish(channel, event, data,
    { idempotency = body.idempotency })
  return id, subscribers, third, wrong and (prefix or "") .. wrong
end

--- Publish a `notification`. All methods here take what their endpoint takes as JSON, and return
-- the same; `user` or `client` (an id) says for whom, default everyone; `idempotency` is a key.
-- @tparam table body { message, severity = "info", title }
-- @treturn string|nil id, subscribers, whether it is a duplicate; or nil, message, code, field
function Hub:notification(body)
  return publish(self, body, "notification", { message = body.message, title = body.title,
    severity = body.severity or "info", timestamp = sluice.timestamp() })
end

--- Publish an `alert`.
-- @tparam table body { message, severity = "warning", category }
function Hub:alert(body)
  return publish(self, body, "alert", { message = body.message, category = body.category,
    severity = body.severity or "warning", timestamp = sluice.timestamp() })
end

--- Publish a `dataUpdate`: a record has changed.
-- @tparam table body { id, type, changes = {} }
function Hub:data_update(body)
  if type(body.id) ~= "string" and type(body.id) ~= "number" then
    return bad("id", "a string or a number is expected")
  end
  return publish(self, body, "dataUpdate", { id = body.id, type = body.type,
    changes = body.changes or {}, timestamp = sluice.timestamp() })
end

--- Publish a `heartbeat`, for pages that show one: connections are kept open by comments.
-- @tparam[opt] table body { status = "ok" }
function Hub:heartbeat(body)
  local status = body and body.status or "ok"
  return publish(self, body or {}, "heartbeat", { status = status, timestamp = sluice.timestamp() })
end

--- Publish any event. One that the app has described (app:event_type) must fit its description.
-- @tparam table body { eventType, data = {} }
-- @treturn string|nil as notification; the field may be one of the data: `data.message`
function Hub:send(body)
  local event, data = body.eventType, body.data
  if type(event) ~= "string" or event == "" then return bad("eventType", "a name is expected") end
  local known = data ~= nil and type(data) ~= "table" and self.app:event_types()[event]
  if known and known.fields then return bad("data", "an object is expected") end
  local id, subscribers, third, field = publish(self, body, event, data, "data.")
  return id, subscribers, third, third == "EBADFIELD" and (field or "eventType") or field
end

-- The reminders of a maintenance that are still to come; or nil, message, code, field.
local function read_countdown(body)
  local due, start = {}, sluice.time(body.startTime)
  for _, before in ipairs(body.countdown or due) do
    if type(before) ~= "number" or not (before >= 0 and before <= SECONDS_MAX) then
      return bad("countdown", "seconds before startTime are expected")
    end
    if not start then return bad("startTime", "a time like 2026-12-01T03:00:00Z is expected") end
    local at = start - before
    if at > sluice.time() then due[#due + 1] = { at = at, startsIn = before } end
  end
  if #due > REMINDERS_MAX then return bad("countdown", "at most 20 reminders") end
  return due
end

-- In place of all earlier reminders: their maintenance was moved. Message and code on failure.
local function schedule(self, body, alert, due)
  for i = 1, REMINDERS_MAX do
    local id, row = self.task .. i, due[i]
    local done, message, code
    if row then
      alert.startsIn = row.startsIn
      done, message, code = self.app:at(row.at, self.task, { client = body.client, user = body.user,
        alert = alert, idempotency = self.task .. row.at }, { id = id, durable = self.durable })
    else
      done, message, code = self.app:cancel(id)
    end
    if done == nil then return "the alert was sent, but not its countdown: " .. message, code end
  end
end

local function remind(self, reminder)
  reminder.alert.timestamp = sluice.timestamp()
  local id, message = publish(self, reminder, "alert", reminder.alert)
  if not id then sluice.log.error("the reminder of a maintenance was not sent: " .. message) end
end

--- Announce a maintenance: an `alert` (critical, system), and again `countdown` seconds before it
-- starts. A new announcement replaces the pending reminders of the one before.
-- @tparam table body { startTime, message = "Scheduled maintenance: <startTime>", countdown = {},
--   preview = false }; with preview nothing is sent
-- @return as notification; with preview { preview, subscribers, alert, countdown = { times } }
function Hub:maintenance(body)
  if type(body.startTime) ~= "string" then return bad("startTime", "a string is expected") end
  local due, message, code, field = read_countdown(body)
  if not due then return nil, message, code, field end
  local alert = { message = body.message or "Scheduled maintenance: " .. body.startTime,
    severity = "critical", category = "system", timestamp = sluice.timestamp() }
  if body.preview then
    local channel, why, what, wrong = channel_of(self, body)
    if not channel then return nil, why, what, wrong end
    local times = sluice.json.array()
    for i, row in ipairs(due) do times[i] = sluice.timestamp(row.at) end
    return { preview = true, alert = alert, countdown = times,
      subscribers = self.app:stats(channel).subscribers }
  end
  local id, subscribers, duplicate, wrong = publish(self, body, "alert", alert)
  if not id or duplicate then return id, subscribers, duplicate, wrong end
  local why, what = schedule(self, body, alert, due)
  if why then return nil, why, what end
  return id, subscribers, duplicate
end

-- Event types as JSON: a list of values that may be missing ends with null.
local function shown_types(app)
  local types = app:event_types()
  for _, info in pairs(types) do
    for name, kind in pairs(info.fields or {}) do
      if type(kind) == "table" then
        local list = table.move(kind, 1, #kind, 1, sluice.json.array())
        if kind.optional then list[#list + 1] = sluice.json.null end
        info.fields[name] = list
      end
    end
  end
  return 200, types
end

local function handler(self, act, fields)
  local wanted = { client = "string?", user = "string?" }
  for name, kind in pairs(fields) do wanted[name] = kind end
  return function(req)
    local once, none = req.headers["idempotency-key"], act == Hub.heartbeat and req.body == ""
    local given, body = none and {} or req:json(wanted, { any_case = true }), {}
    for name in pairs(wanted) do body[name] = given[name] end
    local by = req.user and req.user.id or "" -- a key is its sender's
    body.idempotency = (once or "") ~= "" and table.concat({ by, req.path, once }, " ") or nil
    req.maintenance, body.client = body.startTime, req.params.client or body.client
    local id, subscribers, duplicate, field = act(self, body)
    if type(id) == "table" then return 200, id end
    return sluice.receipt(id, subscribers, duplicate, field)
  end
end

-- A guard: logs who announced a maintenance, or tried to.
local function audit(req)
  return true, function(status)
    sluice.log[status < 400 and "info" or "warn"]("maintenance announced", { status = status,
      user = req.user and tostring(req.user.id), ip = req.ip, startTime = req.maintenance })
  end
end

local function read_guards(given, name)
  local list = type(given) == "table" and given or { given }
  for i = 1, math.max(#list, 1) do
    if type(list[i]) ~= "function" then
      options.raise("hub:routes: %s is a guard, or a list of them: without, all pages are open to "
        .. "anyone", name)
    end
  end
  return list
end

--- Register the endpoints below a path.
-- @tparam string prefix "/api/sse"
-- @tparam table given guards, each a function or a list: `publish`; `admin`, for
--   broadcast-maintenance; `connect` (default none), for connect and event-types
function Hub:routes(prefix, given)
  local o = options("hub:routes", given, GUARDS)
  local publishers = read_guards(o.publish, "publish")
  local admins = { audit, table.unpack(read_guards(o.admin, "admin")) }
  local readers = o.connect ~= nil and read_guards(o.connect, "connect") or {}
  local function add(method, path, guards, fn)
    local list = table.move(guards, 1, #guards, 1, {})
    list[#list + 1] = fn
    self.app[method](self.app, prefix .. "/" .. path, table.unpack(list))
  end
  local function post(path, who, act, fields) add("post", path, who, handler(self, act, fields)) end
  add("stream", "connect", readers, function(req)
    local id = req.user ~= nil and segment.of(req.user.id)
    if req.user ~= nil and not id then return 403, "this user's id can be in no channel's name" end
    local mine = id and ("%s/user/%s"):format(self.name, id) or nil
    return { channels = { self.name, mine }, meta = { hub = self.name } }
  end)
  add("get", "event-types", readers, function() return shown_types(self.app) end)
  post("notification", publishers, Hub.notification, TYPES.notification.fields)
  post("alert", publishers, Hub.alert, TYPES.alert.fields)
  post("data-update", publishers, Hub.data_update, TYPES.dataUpdate.fields)
  post("heartbeat", publishers, Hub.heartbeat, TYPES.heartbeat.fields)
  post("broadcast", publishers, Hub.send, { eventType = "string", data = "any?" })
  post("send/:client", publishers, Hub.send, { eventType = "string", data = "any?" })
  post("send-announcement", publishers, Hub.notification, { message = "string" })
  post("broadcast-maintenance", admins, Hub.maintenance, { startTime = "string",
    message = "string?", preview = "boolean?", countdown = "array?" })
end

--- Make a hub. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `name` ("hub": its channels' names begin with it), `history` (1000) and
--   `rewind` (0) of its channels, `durable` (false), `read` (who may read what is for everyone)
-- @treturn sluice.Hub
function hub.new(app, given)
  local o = options("hub.new", given, KNOWN)
  local name = o.name
  if not name:find("^[%w_][%w_.-]*$") then
    error(("hub.new: name '%s' may hold letters, digits and _ . - only"):format(name), 2)
  end
  o.name, o.history, o.rewind = nil, o.history or 1000, o.rewind or 0
  app:channel(name, o)
  o.read = function(user, params) return user ~= nil and segment.of(user.id) == params.user end
  app:channel(name .. "/user/:user", o)
  app:channel(name .. "/client/:client", { history = 0,
    read = function(_, params, client) return client.id == params.client end })
  for event, info in pairs(described[app] and {} or TYPES) do
    app:event_type(event, { automatic = info.automatic, description = info.description,
      example = info.example, fields = info.fields, channel = name })
  end
  described[app] = true
  local self = setmetatable({ app = app, name = name, task = name .. ".maintenance",
    durable = o.durable }, Hub)
  app:task(self.task, function(reminder) remind(self, reminder) end)
  return self
end

names.lenient(Hub, "hub", Hub, {})
return names.strict(hub, "sluice.hub", ".")
