--- The streams and the endpoints of sluice.runs. What a user may not see is a 404, as what there is
--- not. Keeps nothing in memory.
local options = require("sluice.base.options")
local owned = require("sluice.base.owned")
local sluice = require("sluice")

local pages = {}

local STREAM = { control = options.BOOLEAN, heartbeat = options.NUMBER, types = options.NONE }

-- What routes and streams share: how a run is found and shown.
local function shared(self)
  return { what = "run", admin = self.admin, get = function(id) return self:get(id) end,
    list = function(filter) return self:list(filter) end,
    show = function(run)
      return { id = run.id, kind = run.kind, owner = run.owner, status = run.status,
        result = run.result, error = run.error, code = run.code,
        created = sluice.timestamp(run.created),
        started = run.started and sluice.timestamp(run.started) or nil,
        ended = run.ended and sluice.timestamp(run.ended) or nil }
    end,
    stop = function(run)
      local stopped, message, code = self:stop(run.id)
      if stopped == nil then return nil, message, code end
      return 204
    end }
end

-- What a body says of a run: its kind, id, and the rest or `args` of it for the function.
local function read_body(self, req)
  local body = req:json()
  if type(body) ~= "table" or body[1] ~= nil then req:abort(422, "an object is expected") end
  local args = body.args
  if args == nil then
    args = {}
    for name, value in pairs(body) do
      if name ~= "kind" and name ~= "id" then args[name] = value end
    end
  end
  local kind = body.kind
  if kind == nil then kind = self.only end
  if kind == nil then req:abort(422, "kind: which kind of run is missing") end
  local id = req.params.id or body.id
  if id == nil then id = req.headers["idempotency-key"] end
  return kind, id, args
end

local function start(self, req, kind, id, args)
  local run, message, code, field = self:start(kind, { id = id, args = args, owner = req.user })
  return run, message, code, field
end

-- The stream of a run that a user may see, once its start is on the disk.
local function watch(self, req, id, given, how)
  local run = owned.find(req, id, how)
  local row, message, code = self.book.settle(self.book:get(id))
  if not row then return nil, message, code end
  return { channels = { { self.book:channel(row), rewind = "all" } }, control = given.control,
    heartbeat = given.heartbeat, types = given.types, meta = { [self.book.o.name] = run.id } }
end

local RESUMES = { "lastEventId", "last_event_id", "Last-Event-ID" }

-- Whether a stream comes back, although it may not know behind which event.
local function comes_back(req, client)
  if req.headers["last-event-id"] or client.resumed then return true end
  for _, name in ipairs(RESUMES) do
    if req.query[name] then return true end
  end
  return false
end

-- A stream by POST names its run: the same name joins it, and who comes back starts none.
local function open_by_post(self, req, client, given, how)
  local kind, id, args = read_body(self, req)
  if id == nil then
    return 422, "id: a stream by POST names its run, by id or the field Idempotency-Key"
  end
  if self:get(tostring(id)) or comes_back(req, client) then
    return watch(self, req, tostring(id), given, how)
  end
  local run, message, code, field = start(self, req, kind, id, args)
  if not run then return nil, message, code, field end
  return watch(self, req, run.id, given, how)
end

-- The guards, and options of the plan behind them.
local function read_rest(what, ...)
  local guards, given = table.pack(...), nil
  if guards.n > 0 and type(guards[guards.n]) == "table" then
    given, guards.n = guards[guards.n], guards.n - 1
  end
  return guards, options(what, given, STREAM)
end

--- Register the streams of runs: GET `path/:id` (all of it, from the first byte; one that comes
-- back goes on behind its id) and POST `path`, which starts a run and streams it. A path with
-- `:id` serves both.
-- @function Runs:stream
-- @tparam string path
-- @param ... guards; and last, a table of more options: `control` (false: a plain stream, for
--   clients that take every event for data), `types` (only these events), `heartbeat`
function pages.stream(self, path, ...)
  local guards, given = read_rest("runs:stream()", ...)
  local how = shared(self)
  local function add(where, plan, method)
    local list = table.move(guards, 1, guards.n, 1, {})
    list[guards.n + 1] = owned.admit
    list[guards.n + 2] = { method = method }
    list[guards.n + 3] = plan
    self.app:stream(where, table.unpack(list, 1, guards.n + 3))
  end
  local has_id = (path .. "/"):find("/:id/", 1, true)
  add(has_id and path or path .. "/:id", function(req)
    return watch(self, req, req.params.id, given, how)
  end, "GET")
  add(path, function(req, client) return open_by_post(self, req, client, given, how) end, "POST")
end

--- Register POST prefix (starts a run: { kind, id, args }, answered with 202 and the run), GET
-- prefix (the user's own), GET prefix/:id, and DELETE prefix/:id, which stops it.
-- @function Runs:routes
-- @tparam string prefix
-- @param ... guards
function pages.routes(self, prefix, ...)
  local guards = table.pack(...)
  local how = shared(self)
  owned.routes(self.app, prefix, guards, how)
  local list = table.move(guards, 1, guards.n, 1, {})
  list[guards.n + 1] = owned.admit
  list[guards.n + 2] = function(req)
    local run, message, code, field = start(self, req, read_body(self, req))
    if not run then return nil, message, code, field end
    return 202, how.show(run)
  end
  self.app:post(prefix, table.unpack(list, 1, guards.n + 2))
end

return pages
