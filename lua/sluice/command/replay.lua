--- `sluice replay FILE`: what `sluice record` wrote, again: as a stream on standard output, from a
--- server of its own, or posted to a publish endpoint. In memory: one event.
local core = require("sluice.core")
local forms = require("sluice.command.forms")
local headers = require("sluice.command.headers")
local help = require("sluice.command.help")
local http = require("sluice.http")
local recording = require("sluice.base.recording")
local trust = require("sluice.command.trust")
local viewers = require("sluice.command.viewers")
local work = require("sluice.command.work")

local replay = { name = "replay" }

local SPEED_LEAST, SPEED_MOST, PORT = 0.001, 1e6, 5122
local BURST = 100 -- events without a pause

--- Add the command to the parser.
-- @param parser of argparse
function replay.add(parser)
  local command = parser:command("replay", "Play a recording: on standard output, or where an "
    .. "option says.")
  command:argument("file", "what record wrote; -: it comes on standard input"):argname("<file>")
  command:option("--speed", "times as fast (default: 1)"):argname("<n>")
  command:flag("--serve", "serve it as a stream on this machine, to each reader from its start")
  command:option("--port", ("of --serve; 0 takes a free one (default: %d)"):format(PORT))
    :argname("<n>")
  command:option("--to", "post each event to this URL, as {\"eventType\":…,\"data\":…}")
    :argname("<url>")
  headers.add(command)
  trust.add(command)
  help.add(command, { "sluice replay news.jsonl --speed 10", "sluice replay news.jsonl --serve",
      "zcat news.jsonl.gz | sluice replay - --to http://127.0.0.1:5121/api/sse/broadcast" },
    { { 0, "all was played" }, { 1, "something failed or was left out" }, { 130, "interrupted" } })
end

-- Read it once: whether it can be read, and holds an event. What is wrong is told.
local function examine(given)
  local handle <close>, message = io.open(given.file, "rb")
  if not handle then return nil, message end
  local events = 0
  for record, why in recording.lines(handle, given.name) do
    if not record then given.on_fault(why) elseif not record.note then events = events + 1 end
  end
  given.on_fault = function() end -- they are told once
  if events == 0 then return nil, given.name .. " holds no event" end
  return true
end

-- Call `act` with each event, when it is due.
local function play(given, sleep, act)
  local handle <close> = given.file == "-" and io.stdin or assert(io.open(given.file, "rb"))
  local began, first, run = core.now(), nil, 0
  for record, why in recording.lines(handle, given.name) do
    if not record then
      given.on_fault(why)
    elseif not record.note then
      first = first or record.t
      local wait = began + (record.t - first) / given.speed - core.now()
      run = wait > 0 and 0 or run + 1
      if wait > 0 or run % BURST == 0 then sleep(math.max(0, wait)) end
      local code = act(record)
      if code then return code end
    end
  end
  return 0
end

local function to_stream(given, out, err)
  return work.run("replay", function(sleep)
    return play(given, sleep, function(record)
      local ok, message = out:write(recording.to_stream(record))
      if ok then ok, message = out:flush() end
      if not ok then error(message, 0) end
    end)
  end, err)
end

-- After these no other event would fare better.
local HOPELESS = { [401] = true, [403] = true, [404] = true, [405] = true, [415] = true }

local function post(given, fields, err)
  local sent, refused = 0, 0
  local code = work.run("replay", function(sleep)
    return play(given, sleep, function(record)
      local answer, message = http.post(given.to,
        { headers = fields, redirects = 0, verify = not given.insecure, -- a GET would post nothing
          body = forms.body({ as = "hub" }, record.event, record.data, fields) })
      if answer and answer.status // 100 == 2 then
        sent = sent + 1
        return nil
      end
      refused = refused + 1
      if answer then
        message = ("%s answered %d: %s"):format(given.to, answer.status, answer.body)
      end
      err:write(("sluice: %s:%d: %s\n"):format(given.name, record.line, trust.explain(message)))
      return (not answer or HOPELESS[answer.status]) and 1 or nil
    end)
  end, err)
  err:write(("%s: %d events sent%s\n"):format(given.name, sent,
    refused > 0 and (", %d not"):format(refused) or ""))
  return refused > 0 and 1 or code
end

local function check(given)
  given.speed = tonumber(given.speed or 1)
  if not (given.speed and given.speed >= SPEED_LEAST and given.speed <= SPEED_MOST) then
    return "--speed: a number from 0.001 to 1000000 is expected"
  elseif given.serve and given.to then
    return "--serve and --to exclude each other"
  elseif given.serve and given.file == "-" then
    return "--serve reads the recording for each reader: a file is expected, not -"
  end
  local port = math.tointeger(tonumber(given.port or PORT))
  if not (port and port >= 0 and port <= 65535) then
    return "--port: a whole number from 0 to 65535 is expected"
  end
  given.port = port
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function replay.run(given, usage, out, err)
  local problem = check(given) or trust.fault(given)
  local fields, why = headers.read(given.header)
  if problem or not fields then return usage(problem or why) end
  local faults = 0
  given.name = given.file == "-" and "standard input" or given.file
  function given.on_fault(text)
    faults = faults + 1
    err:write("sluice: ", text, "; left out\n")
  end
  if given.file ~= "-" then -- a pipe is played while it comes
    local ok, good, message = pcall(examine, given)
    if not ok or not good then
      err:write("sluice: ", tostring(not ok and good or message), "\n")
      return 1
    end
  end
  local code
  if given.serve then
    code = viewers.serve(given, err)
  elseif given.to then
    code = post(given, fields, err)
  else
    code = to_stream(given, out, err)
  end
  return code == 0 and faults > 0 and 1 or code or 130
end

return replay
