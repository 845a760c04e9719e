--- An app on the rehearsal server, for specs of lua/sluice: the real core, a clock that stands still, and
--- notes of what the Lua side asked of the server.
---
---   local rehearsal = require("spec.support.rehearsal")
---   after_each(rehearsal.stop)
---   local t = rehearsal.load([[ local app = require("sluice").app() ... return app ]])
---   t:get("/x") -> { status, headers, body }      t:connect("/s") -> client id | nil, answer
---   t:advance(5)      t.server.published          t.server.calls
--- One app at a time. What a user's test needs is in sluice.testing, which this stands on; here are
--- the server, the runtime and the generation behind it.
local core = require("sluice.core")
local exchange = require("sluice.testing.exchange")
local inside = require("sluice.testing.inside")
local process = require("spec.support.process")
local recorder = require("spec.support.recorder")
local test = require("sluice.testing.test")

local rehearsal = { core = core }

local ANSWER_SECONDS = 5

local Driver = {}
Driver.__index = Driver

local current, captured, stubs = nil, nil, {}

--- Put a function in place of one of the core's until the test ends.
function rehearsal.stub(name, fn)
  if not stubs[name] then stubs[name] = { core[name] } end
  core[name] = fn
end

local function end_app()
  local t = current
  current = nil
  if not t then return end
  t.server.refused = {}
  pcall(t.place.shut, t.place, "kill") -- as kill -9 does: what its end says is in no spec
  for _, x in ipairs(t.kit.open) do x:close() end
  t.kit.stopped = true
  t.place:leave()
  if t.folder then process.remove_dir(t.folder) end
end

--- End the app, and give the core its functions back; for after_each.
function rehearsal.stop()
  for name, row in pairs(stubs) do core[name] = row[1] end
  captured, stubs = nil, {}
  end_app()
end

local function boot(place, prepare)
  local make, server = core.server, nil
  core.server = function(options)
    server = recorder.new(assert(make(options)))
    if prepare then prepare(server) end
    return server
  end
  local ok, problem = pcall(place.boot, place)
  core.server = make
  if not ok then
    place:leave()
    error(problem, 0)
  end
  return server
end

local function begin(target, folder, prepare)
  end_app()
  local place = inside.new(target, {})
  local self = setmetatable({ place = place, folder = folder }, Driver)
  self.server = boot(place, prepare)
  current = self
  self.kit, self.runtime = test.new(place), place.runtime
  self.server.answers = setmetatable({}, { __index = function(_, id) return self:answer(id) end })
  self.exchanges, self.streams = {}, {}
  self:look()
  self.kit:settle()
  return self
end

function Driver:look()
  self.generation, self.app = self.runtime.generation, self.runtime.generation.app
end

--- Load the text of an app and make it live. Raises what the load says. options: path, and prepare(server),
--- called before anything asks the server.
function rehearsal.load(text, options)
  options = options or {}
  return begin({ source = text, path = options.path or "app.lua" }, nil, options.prepare)
end

--- Serve an app from files in a folder of its own, which ends with the app.
function rehearsal.serve(files)
  local folder = process.temp_dir()
  if type(files) == "string" then files = { ["app.lua"] = files } end
  Driver.write({ folder = folder }, files)
  local ok, self = pcall(begin, folder .. "/app.lua", folder)
  if ok then return self end
  process.remove_dir(folder)
  error(self, 0)
end

--- The message with which loading fails.
function rehearsal.load_error(text, options)
  local path = options and options.path or "app.lua"
  local generation, failure = require("sluice.live.generation").load(1, path, text)
  if not generation then return failure.message end
  local ok, problem = pcall(rehearsal.load, text, options)
  assert(not ok, "the app loaded")
  return (tostring(problem):gsub("\n.*", ""))
end

--- Keep the log where no app runs.
function rehearsal.keep_log()
  captured = {}
  rehearsal.stub("log", function(level, message, fields)
    table.insert(captured, { level = level, message = message, fields = fields or {} })
  end)
end

--- Forget what was logged.
function rehearsal.clear_log()
  if current then current.place.world.log = {} else captured = {} end
end

--- Log entries: { level, message, fields }.
function rehearsal.lines() return current and current.place.world.log or captured end

--- Log lines of a level, as texts.
function rehearsal.logged(level)
  local list = {}
  for _, line in ipairs(rehearsal.lines()) do
    if not level or line.level == level then list[#list + 1] = line.message end
  end
  return list
end

--- A server that does nothing, for specs of what comes before one: `run` is called with it
-- instead of its loop.
function rehearsal.stub_server(run)
  rehearsal.stub("server", function(options)
    local s = { options = options, responses = {} }
    function s.on(_, fn) s.fn = fn end
    function s.configure() return true end
    function s.limit() end
    function s.start() return options.port == 0 and 40000 or options.port end
    function s.wake() end
    function s.run()
      run(s)
      return true
    end
    function s.respond(_, request, status, headers, body)
      s.responses[request] = { status = status, headers = headers, body = body }
      return true
    end
    return s
  end)
end

-- ── Requests ──────────────────────────────────────────────────────────────────────────────

--- Send a request; its answer may come later: t.server.answers[id]. options: headers, body, json (a text).
function Driver:request(method, target, options)
  local given = { headers = {}, body = options and (options.json or options.body) }
  for name, value in pairs(options and options.headers or {}) do given.headers[name] = value end
  if options and options.json then given.headers["content-type"] = "application/json" end
  local x = exchange.new(self.place, method, target, given)
  table.insert(self.kit.open, x)
  table.insert(self.exchanges, x)
  self.kit:settle()
  return #self.exchanges
end

-- The client's id, of a stream that has begun.
local function client_of(x)
  return table.concat(x.pieces):match('event: hello\ndata: [^\n]-"client":"([^"]+)"')
end

--- The answer to a request that was sent, or nil while there is none.
function Driver:answer(id)
  local x = self.exchanges[id]
  if not (x.ended or x.answer:is_stream()) then return nil end
  local answer = x:response()
  answer.client = client_of(x)
  if answer.client then self.streams[answer.client] = x end
  return answer
end

--- The client of a request goes away before it is answered.
function Driver:hang_up(id)
  self.exchanges[id]:close()
  self.kit:settle()
end

for _, method in ipairs({ "get", "post", "put", "patch", "delete", "head" }) do
  Driver[method] = function(self, target, options)
    local id = self:request(method:upper(), target, options)
    return self.server.answers[id]
  end
end

--- Open a stream: the client's id, or nil and the answer.
function Driver:connect(target, options)
  local id = self:request("GET", target, options)
  local x = self.exchanges[id]
  self.kit:wait(ANSWER_SECONDS, function() return x.ended or client_of(x) end)
  local answer = self:answer(id)
  return answer.client, answer
end

--- The client goes away.
function Driver:drop(id)
  self.streams[id]:close()
  self.streams[id] = nil
  self.kit:settle()
end

--- Let go of all that was noted, for specs that look at memory.
function Driver:forget()
  local s = self.server
  s.published, s.calls, s.responses = {}, {}, {}
  for _, stream in pairs(s.streams) do stream.sent = {} end
  self.exchanges = {}
  for _, x in pairs(self.streams) do x.pieces = {} end
  self.place.world.log = {}
end

-- ── Time and the app ──────────────────────────────────────────────────────────────────────

--- What the core would call.
function Driver:call(kind, ...)
  self.runtime:dispatch(kind, ...)
  self.kit:settle()
end

--- Let virtual time pass.
function Driver:advance(seconds)
  self.kit:advance(seconds)
end

--- Run a function inside a handler-like coroutine; returns its results, raises its error.
function Driver:inside(fn, ...)
  local results = self.place:run("spec", fn, ...)()
  self.kit:settle()
  assert(results, "the function waits")
  if not results[1] then error(tostring(results[2]), 0) end
  return table.unpack(results, 2, results.n)
end

--- What was published: "event data" each.
function Driver:events(channel)
  local list = {}
  for _, row in ipairs(self.server.published) do
    if not channel or row.channel == channel then list[#list + 1] = row.event .. " " .. row.text end
  end
  return list
end

--- Ask for a reload and let it happen: the outcome, or nil when it waits.
function Driver:reload(kind)
  local outcome
  assert(self.runtime.reloader:request(kind or "reload", function(given) outcome = given end))
  self.runtime:turn()
  self.kit:settle()
  self:look()
  return outcome
end

--- The same with another text of the app's file, or other files: { ["rules.lua"] = text }.
function Driver:write(files)
  if type(files) == "string" then files = { ["app.lua"] = files } end
  for name, text in pairs(files) do
    local folder = name:match("^(.*)/")
    if folder then os.execute(("mkdir -p %s/%s"):format(self.folder, folder)) end
    process.write_file(self.folder .. "/" .. name, text)
  end
end

function Driver:change(files)
  self:write(files)
  return self:reload()
end

--- A file that keeps what is written to it: text() says it.
function rehearsal.sink()
  local parts = {}
  return { write = function(self, ...)
    for _, part in ipairs({ ... }) do parts[#parts + 1] = part end
    return self
  end, flush = function(self) return self end, text = function() return table.concat(parts) end }
end

return rehearsal
