--- One test: an app somewhere (in this process, or over sockets), what was asked of it, and
-- how time passes. In memory: the connections that are open.
local arguments = require("sluice.testing.arguments")
local arrays = require("sluice.base.arrays")
local caller = require("sluice.base.caller")
local cluster = require("sluice.testing.cluster")
local exchange = require("sluice.testing.exchange")
local fault = require("sluice.testing.fault")
local lives = require("sluice.testing.lives")
local names = require("sluice.base.names")
local outgoing = require("sluice.testing.outgoing")
local polls = require("sluice.testing.polls")
local options = require("sluice.base.options")
local sources = require("sluice.testing.sources")
local store = require("sluice.testing.store")
local stream = require("sluice.testing.stream")

local test = {}

---@class sluice.testing.Test
local Test = {}
Test.__index = Test
Test.__name = "sluice.testing.Test"
test.methods = Test

local ANSWER_SECONDS = 90 -- more than a server lets a handler take
local RELOAD_SECONDS = 20 -- a reload waits until the generation before has ended
local STREAM_BUFFER = 8192 -- small, so that a stalled reader is noticed soon
local NONE = options.NONE
local REQUEST = { user = NONE, headers = NONE, json = NONE, body = NONE, last_event_id = NONE,
  buffer = NONE }
local OPENING = { method = NONE, compress = NONE, mode = NONE, token = NONE } -- and what each has
for name, kind in pairs(REQUEST) do OPENING[name] = kind end

-- Raise unless the app is up.
local function need_up(self, method)
  arguments.running(Test, self, method)
  if self.place.down then
    caller.raise("t:%s(): the app is down since %s; t:restart() starts it", method,
      self.place.down)
  end
end

local function need_inside(self, method)
  need_up(self, method)
  arguments.inside(self, method)
end

-- ---- Time --------------------------------------------------------------------------------

-- Move bytes; whether some came.
local function pump(self)
  local got, n, open, last = false, 0, self.open, #self.open
  for i = 1, last do
    local x = open[i]
    got = x:pump() or got
    if not x.ended then
      n = n + 1
      open[n] = x
    elseif x.on_end then
      got = x.on_end() or got -- the next poll is the last of them
    end
  end
  for i = n + 1, #open do open[i] = open[i + last - n] end
  return got
end

-- Move bytes until both ends have nothing left to do.
local function exhaust(self)
  while pump(self) do self.place:step() end
  if self.outgoing then self.outgoing:check() end
end

-- Make one of a place whose app is up, for testing.start and testing.remote; or a node of a whole.
function test.new(place, whole)
  return setmetatable({ place = place, began = whole and whole.began or place:time(),
    open = whole and whole.open or {}, stopped = false, whole = whole or false, pump = pump,
    outgoing = place.outgoing or false, sources = place.sources or false }, Test)
end

--- Do all that is due now, and read what came of it. No time passes.
function Test:settle()
  arguments.self(Test, self, "t", "settle")
  if self.stopped or self.whole and self.whole.stopped then return end
  self.place:step()
  exhaust(self)
end

--- Let time pass until a function returns something, at most some seconds.
-- @tparam number seconds
-- @tparam function done
-- @return what it returned last: nil or false when the time is up
function Test:wait(seconds, done)
  arguments.self(Test, self, "t", "wait")
  arguments.check("t:wait(seconds, fn)", seconds, "seconds")
  arguments.check("t:wait(seconds, fn)", done, "fn")
  self:settle()
  local till = self.place:now() + seconds
  while true do
    local result = done()
    if result then return result end
    local stop = till
    for _, x in ipairs(self.open) do stop = math.min(stop, x.paused_till or till) end
    if not self.place:move(stop) and self.place:now() >= till then return result end
    exhaust(self)
  end
end

--- Let time pass; everything runs that is due meanwhile, in order.
-- @tparam number seconds
function Test:advance(seconds)
  if self.place.cluster then -- other nodes go on
    arguments.running(Test, self, "advance")
  else
    need_inside(self, "advance")
  end
  arguments.check("t:advance(seconds)", seconds, "seconds")
  self:wait(seconds, function() return false end)
end

--- The seconds since the test began, on its clock.
function Test:elapsed()
  arguments.self(Test, self, "t", "elapsed")
  return self.place:time() - self.began
end

-- ---- Requests ----------------------------------------------------------------------------

local function send(self, method, path, given, buffer)
  given = options(("%s %s"):format(method, path), given, buffer and OPENING or REQUEST, 3)
  given.buffer = given.buffer or buffer
  local x = exchange.new(self.place, method, path, given)
  self.open[#self.open + 1] = x
  return x
end

--- The last error that the app logged, with its traceback.
-- @tparam[opt=0] integer after only what was logged after so many lines
-- @treturn string|nil
function Test:last_error(after)
  arguments.self(Test, self, "t", "last_error")
  arguments.check("t:last_error(after)", after, "number", true)
  local w = self.place.world
  return w and w:error_after(after or 0)
end

local function log_length(self)
  return self.place.world and #self.place.world.log or 0
end

local function request(self, method, path, given)
  need_up(self, method:lower())
  local before = log_length(self)
  local x = send(self, method, path, given)
  repeat -- a body may take its time to be sent
    local answered = self:wait(ANSWER_SECONDS, function()
      return x.ended or x.answer:is_stream()
    end)
  until answered or not x.paused_till
  local response = x:response()
  x:close()
  if not response.status and not x.is_cut then
    error(("%s %s has not answered within %g seconds"):format(method, path, ANSWER_SECONDS), 2)
  end
  self:settle()
  local raised = response.status == 500 and self:last_error(before) or nil
  response.error = fault.join(raised, fault.of_user(x, response.status, path))
  return response
end

--- Ask the app.
-- @function Test:get
-- @also post put patch delete
-- @tparam string path
-- @tparam[opt] table given user, headers, json, body: a text, or a function that returns pieces: a
--   text, a number (so many seconds pass), false (the connection is cut), nil (it is whole)
-- @treturn table status, headers, body, json, error: what the log says of a 500, or which guard put
--   another user in place of this one
for _, method in ipairs({ "get", "post", "put", "patch", "delete" }) do
  Test[method] = function(self, path, given) return request(self, method:upper(), path, given) end
end

--- Open a stream; returns when `hello` has come, a plain stream has begun, or the refusal is there.
-- @tparam string path
-- @tparam[opt] table given user, headers, last_event_id, buffer (bytes that it takes unread),
--   compress (what it accepts: "gzip", "zstd" or "auto", both), and of a stream by POST: method =
--   "POST", json or body
-- @treturn sluice.testing.Stream with status, headers, json, hello and id
function Test:connect(path, given)
  need_up(self, "connect")
  local before = log_length(self)
  local method = type(given) == "table" and given.method or "GET"
  if method ~= "GET" and method ~= "POST" then
    caller.raise('t:connect(): method is "GET" or "POST"')
  end
  given = given or {}
  local by_polls = polls.wanted(given)
  local function ask(to, with) return send(self, method, to, with, STREAM_BUFFER) end
  local x = ask(by_polls and polls.first_path(path, given.token) or path, given)
  local c = stream.new(self, path, given, x)
  if by_polls then polls.begin(c, ask) end
  self:wait(ANSWER_SECONDS, function() return x.ended or stream.is_open(c) end)
  local response = x:response()
  c.status, c.headers, c.json, c.body = response.status, response.headers, response.json,
    response.body
  if by_polls and not x.ended then c.status = 200 end -- it waits
  if not c.status then error(path .. " has not answered", 2) end
  c.mark = c.hello and 1 or 0
  c.error = fault.of_user(x, c.status, path)
  fault.of_stream(c, self:last_error(before))
  fault.of_unclaimed(x, c)
  return c
end

-- ---- The app -----------------------------------------------------------------------------

--- app:publish, as a handler would.
function Test:publish(...)
  need_inside(self, "publish")
  local app = self.place.runtime.generation.app
  local results = self:wait(ANSWER_SECONDS, self.place:run("t:publish()", app.publish, app, ...))
  if not results[1] then error(results[2] and results[2].message or "t:publish() was ended", 2) end
  return table.unpack(results, 2, results.n)
end

--- Reload the app: another source, or what its file holds now.
-- @treturn boolean|nil true, or nil, message, outcome
function Test:reload(source)
  need_up(self, "reload")
  arguments.check("t:reload(source)", source, "text", true)
  local outcome = self:wait(RELOAD_SECONDS, self.place:reload(source))
  if not outcome then return nil, "the generation before does not end" end
  self:settle()
  if outcome.ok then return true end
  return nil, outcome.message, outcome
end

lives.extend(Test)
cluster.extend(Test, stream.methods, test.new)

Test.__close = function(self, problem)
  if problem == nil then return self:stop() end
  pcall(self.stop, self) -- the first error is the one to show
end

--- Equal numbers give equal ids, jitter and math.random from here on.
function Test:seed(n)
  need_inside(self, "seed")
  arguments.check("t:seed(n)", n, "number")
  self.place:enter()
  self.place.world:roll(n)
end

--- The table of an app:state, to look at or to prepare.
function Test:state(name)
  need_inside(self, "state")
  arguments.check("t:state(name)", name, "text")
  return self.place:state(name)
end

--- An app:store, to look at or to prepare, also after t:kill() and t:restart(): its methods wait
-- as they do in a handler.
-- @treturn sluice.Store
function Test:store(name)
  need_inside(self, "store")
  arguments.check("t:store(name)", name, "text")
  return store.new(self, name)
end

outgoing.extend(Test, need_inside)
sources.extend(Test, need_inside)

--- The messages that the app and Sluice have logged, oldest first.
-- @tparam[opt] string level "debug", "info", "warn" or "error"
-- @treturn {string,...}
function Test:log(level)
  arguments.self(Test, self, "t", "log")
  arguments.one_of("t:log(level)", level, { "debug", "info", "warn", "error" }, true)
  return arrays.mark(self.place:log(level))
end

names.strict(Test, "t", ":")
return test
