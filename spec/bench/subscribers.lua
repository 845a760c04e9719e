--- The readers of a benchmark: a load generator (load.c) that obeys by lines.
local program = require("spec.bench.program")

local subscribers = {}

local Subscribers = {}
Subscribers.__index = Subscribers

-- What a report says about correctness; summed for the whole run.
local FAULTS = { lost = { "lost", "crc_short" }, repeated = { "repeated", "crc_long" },
  disordered = { "disordered", "crc_differ", "malformed" } }

--- Start readers and wait until all have their hello.
-- @tparam table bench
-- @tparam table target
-- @tparam table o path, streams and options of load by name (mode, parse, rounds, head, …);
--   idle = true: do not wait, no stream gets ready (until)
function subscribers.start(bench, target, o)
  local port = target.tls_port or target.port
  local words = { "build/bench/load", "--port", port, "--path", o.path, "--streams", o.streams }
  for _, name in ipairs { "mode", "slow", "rcvbuf", "parse", "rate", "head", "until", "gap", "source", "processes",
    "last-event-id" } do
    if o[name] then table.move({ "--" .. name, o[name] }, 1, 2, #words + 1, words) end
  end
  if target.tls_port then words[#words + 1] = target.h2 and "--h2" or "--tls" end
  for _, name in ipairs { "rounds", "hold" } do
    if o[name] then words[#words + 1] = "--" .. name end
  end
  local self = setmetatable({ bench = bench, target = target, streams = o.streams }, Subscribers)
  self.program = program.start({ name = "load", words = words, cpu = 1 }, target.dir)
  if not o.idle then
    local report = self.program:ask("ready 60", 70)
    if not report.complete then
      error(("%s: %d of %d streams opened, %d failed"):format(target.kind, report.open, o.streams, report.failed), 0)
    end
  end
  return self
end

local function keep_faults(self, report)
  local sum = self.bench.faults[self.target.kind]
  for kind, names in pairs(FAULTS) do
    for _, name in ipairs(names) do sum[kind] = sum[kind] + report[name] end
  end
  sum.closed = sum.closed + report.closed
  sum.resets = sum.resets + report.resets
  sum.deliveries = sum.deliveries + report.events
end

local function ask(self, text, seconds)
  local report = self.program:ask(text, seconds)
  keep_faults(self, report)
  return report
end

--- Wait until every stream has had so many more events, or for so long: the report, which is `complete` or not.
function Subscribers:try(events, seconds)
  return ask(self, ("wait %d %g"):format(events, seconds), seconds + 15)
end

--- Wait until every stream has had so many more events: the report. Raises when they do not come.
function Subscribers:wait(events, seconds)
  local report = self:try(events, seconds)
  self.target:settle()
  if not report.complete then
    error(("%s: %d of %d events came in %g s (closed %d, resets %d, lost %d)"):format(self.target.kind,
      report.ref_events, events, seconds, report.closed, report.resets, report.lost), 0)
  end
  return report
end

--- Wait until every stream has had what it wanted (until).
function Subscribers:wait_until(seconds)
  local report = ask(self, ("until %g"):format(seconds), seconds + 10)
  if not report.complete then
    error(("%s: %d of %d streams got what they wanted in %g s, %d failed, %d closed"):format(self.target.kind,
      report.done, self.streams, seconds, report.failed, report.closed), 0)
  end
  return report
end

--- What was counted since the last report; its clocks start anew.
function Subscribers:report() return ask(self, "report", 15) end

--- All streams break off and come back with the id they had.
function Subscribers:storm() return ask(self, "storm", 15) end

function Subscribers:ready(seconds) return ask(self, ("ready %g"):format(seconds), seconds + 10) end

function Subscribers:stop() self.program:stop(5, "quit") end

return subscribers
