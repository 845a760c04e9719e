--- A stand-in for sluice.core: same functions, a virtual clock, no sockets, no threads. It
--- records what the Lua side asks of it, so that specs of lua/sluice need no server.
---
---   local fake = require("spec.support.fake_core").install()   before anything requires sluice
---   local t = fake.load([[ local app = require("sluice").app() ... return app ]])
---   t:get("/x") -> { status, headers, body }      t:connect("/s") -> client id | nil, answer
---   t:advance(5)      t.server.published          t.server.calls
local process = require("spec.support.process")
local real = require("sluice.core")

local fake = {}

local function split(text)
  local list = {}
  for segment in (text .. "/"):gmatch("(.-)/") do list[#list + 1] = segment end
  return list
end

local core = { version = "0.0.0", log_lines = {}, reasons = real.reasons, limits = real.limits }
local clock, ids = 1000, 0

function core.now() return clock end
function core.time() return 1.7e9 + clock end
function core.random() return 0.5 end
function core.encode_utf8(text) return text end
function core.log_setup() end
function core.real_path() return nil end

function core.id()
  ids = ids + 1
  return ("id%020d"):format(ids)
end

core.json, core.text_of = real.json, real.text_of

function core.match(pattern, name)
  local ps, ns, out = split(pattern), split(name), {}
  for i, p in ipairs(ps) do
    if p:find("^%*.") then
      out[p == "**" and "rest" or p:sub(2)] = table.concat(ns, "/", math.min(i, #ns + 1))
      return out
    end
    if ns[i] == nil or ns[i] == "" and p ~= "" then return nil end
    if p:find("^:.") then out[p:sub(2)] = ns[i] elseif p ~= "*" and p ~= ns[i] then return nil end
  end
  return #ps == #ns and out or nil
end

function core.check_pattern(pattern)
  if type(pattern) ~= "string" or pattern == "" then return nil, "a pattern may not be empty" end
  local list = split(pattern)
  for i, segment in ipairs(list) do
    if segment:find("^%*.") and i < #list then return nil, "'**' and '*name' take the rest: nothing may follow" end
  end
  return true
end

function core.check_channel(name)
  if #name == 0 or #name > 128 then return nil, "a channel name has 1 to 128 bytes", "ECHANNEL" end
  for _, segment in ipairs(split(name)) do
    if segment:find("^[:*]") then
      return nil, "no segment of a channel name starts with ':' or '*', only those of a pattern do", "ECHANNEL"
    end
    if not segment:find("^[%w_.@+=~-][%w_.@+=~:-]*$") then return nil, "bad segment", "ECHANNEL" end
  end
  return name
end

local RESERVED = { hello = true, reset = true, sync = true, bye = true, error = true, open = true }

function core.check_event(name)
  if type(name) ~= "string" or not name:find("^[%w._:-]+$") then
    return nil, ("event name '%s' may hold letters, digits and . _ : - only"):format(tostring(name)), "EBADFIELD"
  end
  if RESERVED[name] then return nil, ("event name '%s' is reserved"):format(name), "EBADFIELD" end
  return name
end

function core.log(level, message, fields)
  table.insert(core.log_lines, { level = level, message = message, fields = fields })
end

function core.media_type(text)
  local kind = text:lower():match("^[^;%s]*")
  return kind ~= "" and kind or nil
end

function core.list_files(folder)
  return fake.folders[folder]
end

-- ── the server ────────────────────────────────────────────────────────────────────────────
local Server = {}
Server.__index = Server

function core.server(options)
  local self = setmetatable({ options = options, answers = {}, heads = {}, published = {}, calls = {}, streams = {},
    newest = {}, logs = {}, seq = 0, serial = 0, full = {} }, Server)
  fake.server = self
  return self
end

function Server:on(fn) self.fn = fn end

-- The server's own routes are kept apart, so that specs see those of the app.
function Server:configure(snapshot)
  if fake.refuse_configure then return nil, fake.refuse_configure, "EINVAL" end
  self.snapshot, self.admin = {}, {}
  for k, v in pairs(snapshot) do self.snapshot[k] = v end
  self.snapshot.routes = {}
  for _, route in ipairs(snapshot.routes) do
    table.insert(route.pattern:find("^/%-/") and self.admin or self.snapshot.routes, route)
  end
  return true
end
function Server:start() return self.options.port == 0 and 40000 or self.options.port end
function Server:run() if fake.on_run then fake.on_run(self) end return true end
function Server:stop() table.insert(self.calls, { "stop" }) end

function Server:watch(paths) self.watched = paths return true end

function Server:drain() table.insert(self.calls, { "drain" }) end
function Server:wake(at) self.wake_at = at end

function Server:respond(id, status, headers, body)
  if self.answers[id] then return nil, "closed", "ECLOSED" end
  local map = {}
  for _, pair in ipairs(headers) do
    if pair[1]:lower() == "content-length" then
      return nil, "a header holds a control character, or one that the server writes itself", "EBADFIELD"
    end
  end
  for _, pair in ipairs(headers) do map[pair[1]:lower()] = pair[2] end
  self.answers[id] = { status = status, headers = map, list = headers, body = body }
  return true
end

function Server:respond_file(id)
  for _, route in ipairs(self.snapshot.routes) do
    local file = route.kind == "static" and route.id and route.files[self.paths[id]]
    if file then return self:respond(id, 200, { { "Content-Type", file.type } }, file.body) end
  end
  return nil, "not found", "ENOTFOUND"
end

function Server:accept(id, plan, user)
  if fake.refuse_accept then return nil, "too many streams", fake.refuse_accept end
  if self.heads[id] then
    self.answers[id] = self.answers[id] or { status = 200, headers = { ["content-type"] = "text/event-stream" } }
    return nil, "closed", "ECLOSED"
  end
  self.serial = self.serial + 1
  local client_id = "c" .. self.serial
  local names = {}
  for i, entry in ipairs(plan.channels) do names[i] = entry[1] end
  self.streams[client_id] = { request = id, plan = plan, user = user, channels = names, sent = {},
    path = self.paths and self.paths[id], ip = "127.0.0.1" }
  self.answers[id] = { status = 200, client = client_id }
  self.opened = self.opened or {}
  table.insert(self.opened, client_id)
  return client_id
end

function Server:is_open(id) return self.streams[id] ~= nil and not self.streams[id].closed end
Server.mind = Server.is_open

local function position(list, item)
  for i, v in ipairs(list) do
    if v == item then return i end
  end
end

function Server:subscribers(channel)
  local n = 0
  for _, stream in pairs(self.streams) do
    if not stream.closed and position(stream.channels, channel) then n = n + 1 end
  end
  return n
end

local function merged(policies, channel)
  local out = {}
  for _, p in ipairs(policies) do
    if core.match(p.pattern, channel) then
      for k, v in pairs(p) do out[k] = v end
    end
  end
  return out
end

--- The last pattern wins, not the most specific one.
function core.merge(policies, channel)
  local p = merged(policies, channel)
  return p.history == "latest" and "state" or "log", p.max_rate or 0
end

function Server:policy(channel) return merged(self.snapshot.policies, channel) end

function Server:publish(channel, event, text, key, remove, ttl)
  local good, message, code = core.check_event(event)
  if not good then return nil, message, code end
  self.seq = self.seq + 1
  local is_state = Server.policy(self, channel).history == "latest"
  local row = { channel = channel, event = event, text = text, key = key, remove = remove, ttl = ttl, at = clock,
    id = not is_state and "e-" .. self.seq or nil }
  table.insert(self.published, row)
  self.newest[channel] = row
  self.logs[channel] = self.logs[channel] or {}
  table.insert(self.logs[channel], { id = row.id, event = event, data = text, key = key })
  return row.id or true, self:subscribers(channel)
end

function Server:latest(channel)
  local row = self.newest[channel]
  if row then return row.text, row.id end
end

function Server:history(channel) return self.logs[channel] or {} end
function Server.stats(_, channel) return { channel = channel } end
function Server.channels() return { "a" } end

function Server:clients(channel)
  local list = {}
  for i = 1, self.serial do
    local stream = self.streams["c" .. i]
    if stream and not stream.closed and (not channel or position(stream.channels, channel)) then
      list[#list + 1] = "c" .. i
    end
  end
  return list
end

function Server:client(id)
  local s = self.streams[id]
  if not s then return nil end
  return { id = id, user = s.user, ip = s.ip, path = s.path, channels = { table.unpack(s.channels) } }
end

function Server:subscribe(id, entry)
  table.insert(self.calls, { "subscribe", id, entry })
  local name = type(entry) == "table" and entry[1] or entry
  local new = not position(self.streams[id].channels, name)
  if new then table.insert(self.streams[id].channels, name) end
  return true, new
end

function Server:unsubscribe(id, name, why)
  local at = position(self.streams[id].channels, name)
  if at then table.remove(self.streams[id].channels, at) end
  table.insert(self.calls, { "unsubscribe", id, name, why })
  return at ~= nil, at ~= nil
end

function Server:set(id, filters) table.insert(self.calls, { "set", id, filters }) return true end

function Server:send(id, event, text)
  local stream = self.streams[id]
  if stream.closed then return nil, "closed", "ECLOSED" end
  if self.full[id] then return nil, "full", "EFULL" end
  table.insert(stream.sent, { event = event, text = text, at = clock })
  return true
end

function Server:close(id, reason)
  local stream = self.streams[id]
  if stream.closed then return nil, "closed", "ECLOSED" end
  stream.closed, stream.reason = true, reason
  table.insert(self.calls, { "close", id, reason })
  self.closing = self.closing or {}
  table.insert(self.closing, id)
  return true
end

-- ── driving an app ────────────────────────────────────────────────────────────────────────
local Driver = {}
Driver.__index = Driver

-- What the core would tell from its loop: streams that opened or closed meanwhile.
local function settle(self)
  local server = self.server
  while server.opened and #server.opened > 0 or server.closing and #server.closing > 0 do
    local opened, closing = server.opened or {}, server.closing or {}
    server.opened, server.closing = {}, {}
    for _, id in ipairs(opened) do
      local names = table.move(server.streams[id].channels, 1, #server.streams[id].channels, 1, {})
      server.fn("open", id, server.streams[id].path, names, 0)
    end
    for _, id in ipairs(closing) do
      local stream = server.streams[id]
      local names = stream.channels
      stream.channels = {}
      server.fn("close", id, stream.reason or "gone", names, stream.path, stream.ip)
      server.streams[id] = nil
    end
  end
end

local function find_route(self, method, path)
  for _, route in ipairs(path:find("^/%-/") and self.server.admin or self.server.snapshot.routes) do
    local params = route.kind ~= "static" and route.method == method and core.match(route.pattern, path)
    if params then return route, params end
  end
end

--- Send a request; its answer may come later: t.server.answers[id].
function Driver:request(method, target, options)
  options = options or {}
  self.next_request = (self.next_request or 0) + 1
  local id = self.next_request
  local path, query = target:match("^([^?]*)%??(.*)$")
  local route, params = find_route(self, method == "HEAD" and "GET" or method, path)
  assert(route, "no route for " .. method .. " " .. path)
  self.server.paths = self.server.paths or {}
  self.server.paths[id] = path
  self.server.heads[id] = method == "HEAD" or nil
  local headers = { host = "127.0.0.1" }
  for k, v in pairs(options.headers or {}) do headers[k:lower()] = v end
  if options.json then headers["content-type"] = "application/json" end
  for k, v in pairs(options.params or {}) do params[k] = v end
  if route.plan then
    self.server.answers[id] = { status = 200, constant = route.plan }
    return id
  end
  self.server.fn(route.kind == "stream" and "stream" or "request", id, route.id, { method = method, path = path,
    query = query, headers = headers, body = options.json or options.body or "", ip = "127.0.0.1", params = params,
    host = "127.0.0.1" })
  settle(self)
  return id
end

for _, method in ipairs({ "get", "post", "put", "patch", "delete", "head" }) do
  Driver[method] = function(self, target, options)
    return self.server.answers[self:request(method:upper(), target, options)]
  end
end

--- Open a stream: the client's id, or nil and the answer.
function Driver:connect(target, options)
  local answer = self.server.answers[self:request("GET", target, options)]
  return answer and answer.client, answer
end

--- The client goes away.
function Driver:drop(id)
  self.server:close(id, "gone")
  settle(self)
end

function Driver:call(kind, ...)
  self.server.fn(kind, ...)
  settle(self)
end

--- Let virtual time pass, tick by tick.
function Driver:advance(seconds)
  local stop = clock + seconds
  for _ = 1, 100000 do
    local at = self.server.wake_at
    if not at or at > stop then break end
    clock = math.max(clock, at)
    self.server.wake_at = nil
    self:call("timer")
  end
  clock = stop
end

--- Run a function inside a handler-like coroutine; returns its results, raises its error.
function Driver:inside(fn, ...)
  local results
  self.runtime.scheduler:start(self.runtime.generation, "spawn", "spec", function(...) results = table.pack(...) end,
    fn, ...)
  self.runtime:turn()
  settle(self)
  assert(results, "the function waits")
  if not results[1] then error(tostring(results[2]), 0) end
  return table.unpack(results, 2, results.n)
end

function Driver:events(channel)
  local list = {}
  for _, row in ipairs(self.server.published) do
    if not channel or row.channel == channel then list[#list + 1] = row.event .. " " .. row.text end
  end
  return list
end

--- Log lines of a level, as texts.
function fake.logged(level)
  local list = {}
  for _, line in ipairs(core.log_lines) do
    if not level or line.level == level then list[#list + 1] = line.message end
  end
  return list
end

--- Load the text of an app and make it live. Raises what the load says.
function fake.load(text, options)
  core.log_lines = {}
  ids = 0
  fake.folders = options and options.folders or {}
  fake.refuse_accept = nil
  local generation = assert(require("sluice.live.generation").load(1, options and options.path or "app.lua", text))
  local server = core.server({ port = 0 })
  local runtime = require("sluice.live.runtime").new(server)
  local prepared, problem = runtime:prepare(generation)
  if not prepared then error(tostring(problem), 0) end
  assert(runtime:swap(prepared))
  runtime.reloader = require("sluice.live.reload").new(runtime, generation.path)
  runtime:go()
  local self = setmetatable({ server = server, runtime = runtime, generation = generation, app = generation.app,
    fake = fake }, Driver)
  settle(self)
  return self
end

--- Ask for a reload and let it happen: the outcome, or nil when it waits.
function Driver:reload(kind)
  local outcome
  assert(self.runtime.reloader:request(kind or "reload", function(given) outcome = given end))
  self.runtime:turn()
  self:advance(0)
  self.generation, self.app = self.runtime.generation, self.runtime.generation.app
  return outcome
end

--- The same with another text of the app's file, or other files: { ["rules.lua"] = text }.
function Driver:write(files)
  if type(files) == "string" then files = { ["app.lua"] = files } end
  for name, text in pairs(files) do process.write_file(self.folder .. "/" .. name, text) end
end

function Driver:change(files)
  self:write(files)
  return self:reload()
end

--- Serve an app from files in a folder of its own, which ends with t:remove().
function fake.serve(files)
  local folder = process.temp_dir()
  if type(files) == "string" then files = { ["app.lua"] = files } end
  for name, text in pairs(files) do process.write_file(folder .. "/" .. name, text) end
  local ok, self = pcall(fake.load, files["app.lua"], { path = folder .. "/app.lua" })
  if not ok then
    process.remove_dir(folder)
    error(self, 0)
  end
  -- what fake.load was given as text counts as read from the disk
  self.generation.sources[folder .. "/app.lua"] = files["app.lua"]
  self.folder = folder
  return self
end

function Driver:remove() process.remove_dir(self.folder) end

--- The message with which loading fails.
function fake.load_error(text, options)
  local ok, problem = pcall(fake.load, text, options)
  assert(not ok, "the app loaded")
  return tostring(problem)
end

--- Put the stand-in where require finds it.
function fake.install()
  fake.folders = {}
  package.loaded["sluice.core"] = core
  fake.core = core
  return fake
end

return fake
