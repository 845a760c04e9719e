--- `sluice tail URL`: prints the events of a stream as they come, and what happens to the
--- connection. In memory: one event.
local controls = require("sluice.command.controls")
local core = require("sluice.core")
local follow = require("sluice.command.follow")
local headers = require("sluice.command.headers")
local help = require("sluice.command.help")
local recording = require("sluice.base.recording")
local terminal = require("sluice.command.terminal")
local trust = require("sluice.command.trust")
local work = require("sluice.command.work")

local tail = { name = "tail" }

local INTERRUPTED, EPIPE = 130, 32

--- Add the command to the parser.
-- @param parser of argparse
function tail.add(parser)
  local command = parser:command("tail", "Print the events of a stream as they come. It comes back "
    .. "after cuts as a browser does.")
  command:argument("url", "of any event stream; -: its text is on standard input"):argname("<url>")
  command:option("--types", "only events of these names, as a,b"):argname("<names>")
  command:option("--since", "begin behind the event of this id"):argname("<id>")
  command:option("--count", "end after so many events"):argname("<n>")
  command:flag("--json", "print an object a line, as record writes them")
  headers.add(command)
  trust.add(command)
  help.add(command, { "sluice tail http://127.0.0.1:5121/api/news",
      "sluice tail http://127.0.0.1:5121/api/news --types goal --count 1 --json" },
    { { 0, "--count was reached, or the stream is over" },
      { 1, "it cannot be reached, refuses, or is no event stream" },
      { INTERRUPTED, "interrupted" } })
end

-- ---- Printing ----------------------------------------------------------------------------

local Printer = {}
Printer.__index = Printer

local function printer(given, out, err)
  return setmetatable({ out = out, err = err, json = given.json, began = core.now(),
    paint = terminal.painter(out), note_paint = terminal.painter(err) }, Printer)
end

-- False when nobody reads any more; other failures are raised.
local function write(file, ...)
  local ok, message, code = file:write(...)
  if ok then ok, message, code = file:flush() end
  if not ok and code ~= EPIPE then error(message, 0) end
  return ok ~= nil
end

--- Something that is no event: a line on stderr, or an object with `note`.
function Printer:note(name, text, style, data)
  if self.json then
    return write(self.out, recording.write({ t = core.now() - self.began, note = name,
      data = data or text }))
  end
  local line = ("-- %s: %s"):format(name, terminal.safe(text))
  return write(self.err, terminal.time(core.time()), "  ", self.note_paint(style or "dim", line),
    "\n")
end

function Printer:event(event)
  if self.json then
    return write(self.out, recording.write({ t = core.now() - self.began, event = event.event,
      data = event.data, id = event.id }))
  end
  local data = terminal.safe(event.data):gsub("\n", "\n" .. (" "):rep(14))
  return write(self.out, self.paint("dim", terminal.time(core.time())), "  ",
    self.paint("bold", terminal.safe(event.event)), "  ",
    self.paint("dim", terminal.safe(event.id or "-")), "  ", data, "\n")
end

local STYLES = { hello = "cyan", sync = "dim", bye = "yellow", reset = "red" }

function Printer:control(event)
  return self:note(event.event, controls.text(event), STYLES[event.event], event.data)
end

-- ---- Following ---------------------------------------------------------------------------

local function read_types(text)
  if not text then return nil end
  local types = {}
  for name in text:gmatch("[^,]+") do types[name] = true end
  return next(types) and types or nil
end

-- What is done with an event: true ends it.
local function taker(given, print)
  local seen = 0
  return function(event)
    if event.control then return not print:control(event) end
    if given.types and not given.types[event.event] then return false end
    if not print:event(event) then return true end
    seen = seen + 1
    return given.count ~= nil and seen >= given.count
  end
end

local function tell_of(print)
  return function(answer, id)
    local behind = id ~= "" and ", behind the id " .. id or ""
    return not print:note("open", answer.status .. behind)
  end, function(problem, seconds)
    return not print:note("cut", (seconds < 10 and "%s; again in %.2g s" or "%s; again in %.0f s")
      :format(problem or "the connection has ended", seconds), "yellow")
  end
end

local function conclude(verdict, message, print, err)
  if not verdict then
    err:write("sluice: ", terminal.safe(trust.explain(message)), "\n")
    return 1
  end
  if verdict == "over" then print:note("over", "the stream has ended for good") end
  return 0
end

local function follow_url(given, fields, print, err)
  local opened, lost = tell_of(print)
  return work.run("tail", function(sleep)
    local verdict, message = follow.run({ url = given.url, headers = fields, since = given.since,
      insecure = given.insecure, sleep = sleep,
      on = { event = taker(given, print), open = opened, lost = lost } })
    return conclude(verdict, message, print, err)
  end, err) or INTERRUPTED
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function tail.run(given, usage, out, err)
  local fields, problem = headers.read(given.header)
  problem = problem or trust.fault(given)
  if problem then return usage(problem) end
  if given.count then
    given.count = math.tointeger(tonumber(given.count))
    if not given.count or given.count < 1 then
      return usage("--count: a whole number from 1 is expected")
    end
  end
  if given.since and given.since:find("%c") then
    return usage("--since: an id without control characters is expected")
  end
  if given.url:find("^[%w.-]+:%d+/?") then
    return usage(("'%s': write http://%s"):format(given.url, given.url))
  end
  given.types = read_types(given.types)
  local print = printer(given, out, err)
  if given.url ~= "-" then return follow_url(given, fields, print, err) end
  local verdict, message = follow.file(io.stdin, taker(given, print))
  return conclude(verdict, message, print, err)
end

return tail
