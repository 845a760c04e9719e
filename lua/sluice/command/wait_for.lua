--- `sluice wait-for URL EVENT`: ends when an event has come, or too much time has passed. It may
--- run a program once it listens, so that what the program causes is not missed; what came before
--- that is old, and does not count. In memory: the names of what came instead.
local core = require("sluice.core")
local follow = require("sluice.command.follow")
local headers = require("sluice.command.headers")
local help = require("sluice.command.help")
local json = require("sluice.json")
local recording = require("sluice.base.recording")
local terminal = require("sluice.command.terminal")
local trust = require("sluice.command.trust")
local work = require("sluice.command.work")

local wait_for = { name = "wait-for" }

local TIMEOUT, TIMEOUT_MOST, INTERRUPTED = 3, 86400, 130
local SETTLE_SECONDS = 0.5 -- for the opening of another server, which has no end that one can see
local LOOK_SECONDS = 0.05
local NAMED_MAX = 20

--- Add the command to the parser.
-- @param parser of argparse
function wait_for.add(parser)
  local command = parser:command("wait-for", "Wait until a stream brings an event, and print its "
    .. "data. A server that is not up yet is waited for, too.")
  command:argument("url", "of any event stream"):argname("<url>")
  command:argument("event", "the event's name"):argname("<event>")
  command:argument("words", "a program that is started once the stream is open, to cause the "
    .. "event: an older one, which a history or a state brings, does not count. Write -- before it")
    :argname("<command>"):args("*")
  command:option("--timeout", ("seconds until it is given up (default: %d)"):format(TIMEOUT))
    :argname("<s>")
  command:option("--match", "only when this field of the data is that; may be repeated. "
    .. "a.b is a field of a field"):argname("<key=value>"):count("*")
  command:option("--since", "begin behind the event of this id; what follows it counts, "
    .. "before <command> too"):argname("<id>")
  command:flag("--json", "print the event as record writes it")
  headers.add(command)
  trust.add(command)
  help.add(command, {
    "sluice wait-for http://127.0.0.1:5121/api/news goal --match team=home --timeout 10",
    "sluice wait-for http://127.0.0.1:5121/api/news goal -- curl -s -X POST "
      .. "http://127.0.0.1:5121/api/goal" },
    { { 0, "it came" },
      { 1, "it did not in time, the server refuses, or <command> has failed" },
      { INTERRUPTED, "interrupted" } })
end

-- ---- What matches --------------------------------------------------------------------------

local function read_match(text)
  local key, value = text:match("^([^=]+)=(.*)$")
  if not key then return nil, ("--match: key=value is expected, not '%s'"):format(text) end
  local path = {}
  for name in key:gmatch("[^.]+") do path[#path + 1] = name end
  return { path = path, value = value }
end

local function is_equal(found, value)
  if type(found) == "number" then return found == tonumber(value) end
  return found ~= nil and type(found) ~= "table" and tostring(found) == value
end

local function matches(rules, event)
  if not rules[1] then return true end
  local data = json.decode(event.data)
  for _, rule in ipairs(rules) do
    local found = data
    for _, name in ipairs(rule.path) do
      if type(found) ~= "table" then return false end
      found = found[name] == nil and found[math.tointeger(tonumber(name))] or found[name]
    end
    if found == json.null then found = "null" end
    if not is_equal(found, rule.value) then return false end
  end
  return true
end

-- ---- The program that causes it ------------------------------------------------------------

local function fail(self, text, ...)
  self.failure = text:format(self.words[1], ...)
  self.answer:close()
end

local function start(self)
  if self.started or not self.words[1] then return end
  self.started = true
  local message
  self.pid, message = core.spawn(self.words)
  if not self.pid then return fail(self, "%s cannot be started: %s", message) end
  local function look()
    local code = core.ended(self.pid)
    if not code then return self.later(LOOK_SECONDS, look) end
    self.pid = nil
    if code ~= 0 then fail(self, "%s has ended with code %d", code) end
  end
  look()
end

-- Let the program come to its end, as far as there is time.
local function await(self, sleep)
  while self.pid and core.now() < self.began + self.seconds do sleep(LOOK_SECONDS) end
end

-- ---- Waiting -------------------------------------------------------------------------------

-- Names of what came instead, and how often.
local function seen(self)
  local list = {}
  for name, n in pairs(self.seen) do list[#list + 1] = ("%s (%d)"):format(name, n) end
  if #list == 0 then return "; no other event came" end
  table.sort(list)
  local more = #list > NAMED_MAX and (" and %d names more"):format(#list - NAMED_MAX) or ""
  return "; this came: " .. table.concat(list, ", ", 1, math.min(#list, NAMED_MAX)) .. more
end

local function print_event(self, event)
  local line = terminal.safe(event.data) .. "\n"
  if self.json then
    line = recording.write({ t = core.now() - self.began, event = event.event, data = event.data,
      id = event.id })
  end
  self.out:write(line):flush()
end

-- A Sluice ends its opening with `sync`: what comes from then on is new. An id of one's own says
-- what is new, too.
local function take_control(self, event)
  self.is_sluice = true
  if event.event == (self.since and "hello" or "sync") then start(self) end
end

local function is_old(self) return self.words[1] and not (self.started or self.since) end

local function take(self, event)
  if event.control then take_control(self, event) end
  if self.failure then return true end
  local what = event.event
  if what == self.event and not matches(self.rules, event) then
    what = what .. " that does not match"
  elseif what == self.event and is_old(self) then
    what = what .. " of before " .. self.words[1]
  elseif what == self.event then
    self.found = true
    print_event(self, event)
    return true
  end
  self.seen[what] = (self.seen[what] or 0) + 1
  return false
end

local function conclude(self, verdict, message)
  if self.found and not self.failure then return 0 end
  local why = self.failure
    or verdict == "over" and "the stream is over" .. seen(self)
    or verdict == "late" and ("'%s' has not come within %g s%s%s"):format(
      terminal.safe(self.event), self.seconds, message and ": " .. message or "", seen(self))
    or message
  self.err:write("sluice: ", terminal.safe(trust.explain(why)), "\n")
  return 1
end

local function wait(self, sleep, later)
  self.later, self.began, self.seen = later, core.now(), {}
  local function opened(answer)
    self.answer = answer
    later(SETTLE_SECONDS, function()
      if not self.is_sluice then start(self) end
    end)
  end
  local verdict, message = follow.run({ url = self.url, headers = self.fields, since = self.since,
    insecure = self.insecure, sleep = sleep, later = later, seconds = self.seconds, patient = true,
    on = { event = function(event) return take(self, event) end, open = opened,
      lost = function() return self.failure ~= nil end } })
  await(self, sleep)
  return conclude(self, verdict, message)
end

local function read(given)
  local rules = {}
  for i, text in ipairs(given.match or {}) do
    local rule, problem = read_match(text)
    if not rule then return nil, problem end
    rules[i] = rule
  end
  local seconds = tonumber(given.timeout or TIMEOUT)
  if not (seconds and seconds >= 0.001 and seconds <= TIMEOUT_MOST) then
    return nil, "--timeout: a number of seconds from 0.001 to 86400 is expected"
  end
  local fields, problem = headers.read(given.header)
  if not fields then return nil, problem end
  if given.since and given.since:find("%c") then
    return nil, "--since: an id without control characters is expected"
  end
  problem = trust.fault(given)
  if problem then return nil, problem end
  return { url = given.url, event = given.event, words = given.words, since = given.since,
    json = given.json, rules = rules, seconds = seconds, fields = fields,
    insecure = given.insecure }
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function wait_for.run(given, usage, out, err)
  local self, problem = read(given)
  if not self then return usage(problem) end
  self.out, self.err = out, err
  return work.run("wait-for", function(sleep, later) return wait(self, sleep, later) end, err)
    or INTERRUPTED
end

return wait_for
