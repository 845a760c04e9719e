--- `sluice bench URL`: many readers of one event stream, of any server, and what they get of it.
--- They are in the core (csrc/crowd), on the loop of a server without routes. In memory: them.
local address = require("sluice.command.address")
local core = require("sluice.core")
local follow = require("sluice.command.follow")
local forms = require("sluice.command.forms")
local headers = require("sluice.command.headers")
local help = require("sluice.command.help")
local http = require("sluice.http")
local moved = require("sluice.command.moved")
local report = require("sluice.command.bench.report")
local trust = require("sluice.command.trust")
local work = require("sluice.command.work")

local bench = { name = "bench" }

local INTERRUPTED = 130
local OPEN_SECONDS, GRACE_SECONDS, LOOK_SECONDS = 30, 1, 0.02
local POST_SECONDS = 10

-- Name, least, most, whole, default.
local NUMBERS = {
  { "connections", 1, 60000, true, 100 }, { "duration", 0.1, 3600, false, 10 },
  { "connect_rate", 1, 1e6, false }, { "rate", 0.01, 1e5, false, 10 },
  { "size", 0, 60000, true, 100 },
}

--- Add the command to the parser.
-- @param parser of argparse
function bench.add(parser)
  local command = parser:command("bench", "Measure an event stream with many readers at once. It "
    .. "stops by itself.")
  command:argument("url", "of any event stream, by HTTP/1.1"):argname("<url>")
  command:option("-c --connections", "readers (default: 100)"):argname("<n>")
  command:option("-d --duration", "seconds that are measured, once all readers are there "
    .. "(default: 10)"):argname("<s>")
  command:option("--connect-rate", "connections opened a second (default: as fast as they come)")
    :argname("<n>")
  command:option("--publish", "post events of its own to this URL, and measure how long they take")
    :argname("<url>")
  command:option("--rate", "of --publish: events a second (default: 10)"):argname("<n>")
  command:option("--size", "of --publish: bytes of data more (default: 100)"):argname("<n>")
  forms.add(command)
  command:option("--time", "a field of the data that says when the event was published, to measure "
    .. "how long it took"):argname("<field>")
  command:flag("--json", "print JSON")
  headers.add(command)
  trust.add(command)
  help.add(command, { "sluice bench http://127.0.0.1:5121/api/sse/connect -c 1000 --publish "
      .. "http://127.0.0.1:5121/api/sse/broadcast --header 'X-API-Key: k'",
      "sluice bench http://127.0.0.1:5121/api/news -c 10000 --time timestamp --json" },
    { { 0, "it was measured" }, { 1, "no reader was let in, or no publish was" },
      { INTERRUPTED, "interrupted" } })
end

-- ---- Options -----------------------------------------------------------------------------

local function number(given, row)
  local name, least, most, whole, default = table.unpack(row)
  if given[name] == nil then return default end
  local n = tonumber(given[name])
  if whole then n = math.tointeger(n) end
  if n and n >= least and n <= most then return n end
  error(("--%s: a %s from %g to %d is expected, not '%s'"):format(name:gsub("_", "-"),
    whole and "whole number" or "number", least, most, given[name]), 0)
end

-- The head that each reader sends.
local function request_of(self)
  local at = self.host:find(":", 1, true) and ("[%s]"):format(self.host) or self.host
  local lines = { ("GET %s HTTP/1.1"):format(self.path) }
  local fields = { host = ("%s:%d"):format(at, self.port), accept = "text/event-stream",
    ["cache-control"] = "no-cache" }
  for name, value in pairs(self.fields) do fields[name] = value end
  for name, value in pairs(fields) do lines[#lines + 1] = name .. ": " .. value end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function read(given)
  local self = { url = given.url, publish = given.publish, time = given.time, as = given.as,
    topic = given.topic, fields = {} }
  for _, row in ipairs(NUMBERS) do self[row[1]] = number(given, row) end
  self.host, self.port, self.path, self.secure = address.read(given.url, false)
  if not self.host then error(self.port, 0) end
  local fields, problem = headers.read(given.header)
  if not fields then error(problem, 0) end
  for name, value in pairs(fields) do self.fields[name:lower()] = value end
  problem = forms.fault(self)
  problem = problem or trust.fault(given)
  if problem then error(problem, 0) end
  self.insecure = given.insecure
  if not given.publish and (given.rate or given.size) then
    error("--rate and --size are for --publish", 0)
  end
  self.mark = ('"bench":"%s"'):format(core.id())
  return self
end

-- ---- Measuring ---------------------------------------------------------------------------

-- Of many only numbers are kept: one more is asked. Nil: it gets a stream.
local function why_none(self, counts, sleep)
  local asked = { headers = self.fields, redirects = 0, verify = not self.insecure }
  local answer = counts.status and counts.status // 100 == 3 and http.get(self.url, asked)
  if answer then return moved.text(self.url, answer) end
  local why = follow.why({ url = self.url, headers = self.fields, insecure = self.insecure,
    sleep = sleep })
  return why and trust.explain(why)
end

-- Wait until all readers have their answer: how long that took, or nil and why there are none.
local function open(self, sleep)
  local began = core.now()
  local most = OPEN_SECONDS + (self.connect_rate and self.connections / self.connect_rate or 0)
  local ok, message = self.server:crowd({ host = self.host, port = self.port,
    request = request_of(self), mark = self.publish and self.mark or nil, time = self.time,
    readers = self.connections, rate = self.connect_rate, tls = self.secure, ca = trust.file(),
    any = self.insecure })
  if not ok then return nil, ("%s: %s"):format(self.host, trust.explain(message)) end
  repeat sleep(LOOK_SECONDS)
  until self.server:crowd_counts().waiting == 0 or core.now() - began > most
  local counts = self.server:crowd_counts()
  if counts.open > 0 then return core.now() - began end
  return nil, ("no reader got a stream of %s: %s"):format(self.url,
    report.troubles(counts, why_none(self, counts, sleep)))
end

-- Our own event: its number, and when it was published, or should have been.
local function data_of(self, n, seconds)
  return ('{%s,"n":%d,"t":%d,"pad":"%s"}'):format(self.mark, n, math.floor(seconds * 1e6),
    ("x"):rep(self.size))
end

local function post(self, n, seconds)
  local fields = {}
  for name, value in pairs(self.fields) do fields[name] = value end
  local body = forms.body(self, "bench", data_of(self, n, seconds), fields)
  local answer, message = http.post(self.publish, { headers = fields, body = body, redirects = 0,
    timeout = POST_SECONDS, verify = not self.insecure,
    idempotent = true }) -- a connection is used again; what comes twice is counted
  if not answer then return nil, trust.explain(message) end
  if answer.status // 100 == 2 then return true end
  return nil, forms.refusal(self.publish, answer)
end

-- Publish at the rate for the time; how many were. One that is late because the server was slow
-- has the time at which it was due, so that a pause of the server counts for all that waited.
local function publish(self, sleep)
  local began, n = core.now(), 0
  while n < self.rate * self.duration and core.now() - began < self.duration do
    local due = began + n / self.rate
    local wait = due - core.now()
    if wait > 0 then sleep(wait) end
    local ok, message = post(self, n + 1, wait > 0 and core.now() or due)
    if not ok then return nil, message end
    n = n + 1
  end
  return n
end

-- The last events are on their way: wait for our own, and a moment for those of others.
local function settle(self, published, sleep)
  local ended = core.now()
  repeat
    sleep(LOOK_SECONDS)
    local readers = self.server:crowd_counts().open
    local all = published and self.server:crowd_reached(published) >= readers
  until all or core.now() - ended > GRACE_SECONDS
  self.server:crowd_settle(published or 0, ended)
end

local function measure(self, sleep, err)
  local opened, message = open(self, sleep)
  if not opened then return nil, message end
  err:write(("%d readers are there; measuring for %g s\n"):format(
    self.server:crowd_counts().open, self.duration))
  local found = { opened = opened }
  self.server:crowd_measure()
  local began, cpu = core.now(), os.clock()
  if self.publish then
    found.published, message = publish(self, sleep)
    if not found.published then return nil, message end
  end
  sleep(math.max(0, began + self.duration - core.now()))
  found.seconds, found.cpu = core.now() - began, os.clock() - cpu
  local before = self.server:crowd_counts()
  settle(self, found.published, sleep)
  found.counts = self.server:crowd_counts()
  if not found.published then
    for _, name in ipairs({ "events", "bytes", "latency" }) do found.counts[name] = before[name] end
  end
  return found
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function bench.run(given, usage, out, err)
  local ok, self = pcall(read, given)
  if not ok then return usage(self) end
  return work.run("bench", function(sleep, _, server)
    self.server = server
    local found, message = measure(self, sleep, err)
    if not found then
      err:write("sluice: ", message, "\n")
      return 1
    end
    report.print(self, found, given.json, out)
    return 0
  end, err) or INTERRUPTED
end

return bench
