--- What belongs to a user and comes to an end, as a job or a run does: who may see it, endpoints
-- that show it to these and are a 404 for all others, the end of its streams, and when it is
-- forgotten. For sluice.jobs and sluice.runs. Keeps nothing in memory.
local json = require("sluice.json")
local segment = require("sluice.base.segment")

local owned = {}

local LISTED_MAX = 1000

--- The id of an owner, or of what it owns, as a segment of a channel's name.
-- @param id a text, or an integer
-- @treturn string|nil nil when it can be none
owned.key = segment.of

--- Whether a user has a role: `roles` is a set, or a list.
function owned.has_role(user, role)
  local roles = user and role and user.roles
  if type(roles) ~= "table" then return false end
  if roles[role] == true then return true end
  for _, name in ipairs(roles) do
    if name == role then return true end
  end
  return false
end

--- Whether a user may see what an owner has: it is theirs, or they have the role of those who see
-- everything. What has no owner is for the latter only.
-- @tparam table|nil user
-- @tparam string|nil owner as owned.key gives it
-- @tparam string|false admin the role
function owned.may_see(user, owner, admin)
  if user == nil then return false end
  return owner ~= nil and owned.key(user.id) == owner or owned.has_role(user, admin)
end

--- Guard: somebody who can own something.
function owned.admit(req)
  if not req.user then return 401, "sign in first" end
  if not owned.key(req.user.id) then
    return 403, "this user's id can be in no channel's name: 1 to 64 letters, digits and "
      .. "_ . @ + = ~ : -"
  end
  return true
end

--- What a request asks for. It ends the request with a 404 when there is none with this id, and
-- when it is somebody else's: an id that is guessed tells nothing.
-- @tparam sluice.Request req
-- @param id
-- @tparam table o `what` ("job"), `admin` (role), `get` (fn(id) -> thing | nil; it has `owner`)
-- @return the thing
function owned.find(req, id, o)
  local thing = type(id) == "string" and o.get(id)
  if not (thing and owned.may_see(req.user, thing.owner, o.admin)) then
    req:abort(404, ("no such %s"):format(o.what))
  end
  return thing
end

-- The owner whose things a list shows: nil is all.
local function owner_of(req, o)
  local asked = req.query.owner
  local mine = owned.key(req.user.id)
  if asked == nil or asked == mine then return mine end
  if not owned.has_role(req.user, o.admin) then
    req:abort(403, "others' are for those with a role only")
  end
  if asked == "*" then return nil end
  return asked
end

local function list(req, o)
  local owner = owner_of(req, o)
  local out, total = json.array(), 0
  for _, thing in ipairs(o.list({ owner = owner })) do
    total = total + 1
    if total <= LISTED_MAX then out[total] = o.show(thing) end
  end
  return 200, { total = total, [o.what .. "s"] = out }
end

--- Register GET prefix (what the user has; `?owner=` of somebody else, or `*`, with the role),
-- GET prefix/:id and DELETE prefix/:id.
-- @tparam sluice.App app
-- @tparam string prefix
-- @tparam table guards as table.pack gives them
-- @tparam table o as owned.find, and `list` (fn{ owner } -> things, newest first), `show`
--   (fn(thing) -> the body of an answer), `stop` (fn(thing, req) -> the answer of DELETE)
function owned.routes(app, prefix, guards, o)
  local function add(method, path, fn)
    local handlers = table.move(guards, 1, guards.n, 1, {})
    handlers[guards.n + 1] = owned.admit
    handlers[guards.n + 2] = fn
    app[method](app, path, table.unpack(handlers, 1, guards.n + 2))
  end
  add("get", prefix, function(req) return list(req, o) end)
  add("get", prefix .. "/:id", function(req)
    return 200, o.show(owned.find(req, req.params.id, o))
  end)
  add("delete", prefix .. "/:id", function(req)
    return o.stop(owned.find(req, req.params.id, o), req)
  end)
end

--- End the streams of one thing that is over: they get what is pending, then `bye` (`stop`), and a
-- browser that comes back gets 204. Streams of a plan with `meta = { [field] = id }`.
-- @tparam sluice.App app
-- @tparam string channel
-- @tparam string field
-- @tparam string id
function owned.stop_streams(app, channel, field, id)
  for client in app:clients({ channel = channel }) do
    if client.meta[field] == id then client:stop() end
  end
end

--- Forget what ended long ago.
-- @tparam table queue { first, last, [n] = { id =, ended = } } in the order of their ends
-- @tparam number before of the wall clock: what ended earlier
-- @tparam integer most so many are kept, whenever they ended
-- @tparam function forget fn(id)
function owned.forget(queue, before, most, forget)
  while queue.first <= queue.last do
    local row = queue[queue.first]
    if row.ended > before and queue.last - queue.first + 1 <= most then return end
    queue[queue.first] = nil
    queue.first = queue.first + 1
    forget(row.id)
  end
end

return owned
