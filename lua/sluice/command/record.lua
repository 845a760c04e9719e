--- `sluice record URL FILE`: writes down the events of a stream, a line each, until it ends or the
--- command is interrupted. In memory: one event, and what the client holds.
local client = require("sluice.client")
local core = require("sluice.core")
local follow = require("sluice.command.follow")
local headers = require("sluice.command.headers")
local help = require("sluice.command.help")
local recording = require("sluice.base.recording")
local terminal = require("sluice.command.terminal")
local trust = require("sluice.command.trust")
local work = require("sluice.command.work")

local record = { name = "record" }

local LINE_MAX = 8 << 20 -- of an event of 1 MiB, each byte of which JSON may write as six

--- Add the command to the parser.
-- @param parser of argparse
function record.add(parser)
  local command = parser:command("record", "Write the events of a stream into a file, until Ctrl-C "
    .. "or its end.")
  command:argument("url", "where it is"):argname("<url>")
  command:argument("file", "where to, - for standard output"):argname("<file>")
  command:flag("--force", "overwrite the file when it is there")
  headers.add(command)
  trust.add(command)
  help.add(command, { "sluice record http://127.0.0.1:5121/api/news news.jsonl" },
    { { 0, "the stream is over, or Ctrl-C" }, { 1, "something failed" } })
end

local function is_there(path)
  local handle, _, errno = io.open(path, "rb")
  if handle then handle:close() end
  return handle ~= nil or errno ~= 2 -- ENOENT
end

-- The file, and what closes it.
local function open(given, out)
  if given.file == "-" then return out, function() return true end end
  if not given.force and is_there(given.file) then
    return nil, given.file .. " has appeared meanwhile"
  end
  local handle, message = io.open(given.file, "wb")
  if not handle then return nil, message end
  return handle, function() return handle:close() end
end

-- What is written for an event; `state` has the id so far.
local function line_of(event, state, is_note)
  local seconds = core.now() - state.began
  if is_note then
    return recording.write({ t = seconds, note = event.event, data = event.text })
  end
  local id = event.id or ""
  local is_new = id ~= state.id
  state.id = id
  return recording.write({ t = seconds, event = event.event, data = event.text,
    id = is_new and id or nil })
end

-- Each line goes to the system at once, and in one write, which a kill does not divide.
local function write(handle, line)
  local ok, message = handle:write(line)
  if ok then ok, message = handle:flush() end
  if ok then return end
  error(("%s; the events before this one are in the file, its last line may be cut")
    :format(message), 0)
end

local function write_all(given, state, sleep, out, err)
  local stream, message = client.connect(given.url,
    { headers = given.headers, verify = not given.insecure })
  if not stream then
    local why = follow.why({ url = given.url, headers = given.headers, insecure = given.insecure,
      sleep = sleep })
    err:write("sluice: ", terminal.safe(trust.explain(why or message)), "\n")
    return 1
  end
  local _ <close> = stream
  -- only now: an address that is wrong costs no file
  local handle, finish = open(given, out)
  if not handle then
    err:write("sluice: ", finish, "\n")
    return 1
  end
  handle:setvbuf("full", LINE_MAX)
  state.handle, state.finish, state.began = handle, finish, core.now()
  for event in stream:events() do
    local is_note = stream.sluice and event.event == "reset"
    write(handle, line_of(event, state, is_note))
    local counted = is_note and "resets" or "events"
    state[counted] = state[counted] + 1
  end
  return 0
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function record.run(given, usage, out, err)
  local fields, problem = headers.read(given.header)
  if not fields then return usage(problem) end
  problem = trust.fault(given)
  if problem then return usage(problem) end
  given.headers = fields
  if given.file ~= "-" and not given.force and is_there(given.file) then
    err:write(("sluice: %s is there already: --force overwrites it\n"):format(given.file))
    return 1
  end
  local state = { id = "", events = 0, resets = 0 }
  local code = work.run("record", function(sleep)
    return write_all(given, state, sleep, out, err)
  end, err, "warn") -- cuts are told
  if not state.finish then return code or 0 end
  local ok, message = state.finish()
  if not ok and code ~= 1 then
    err:write(("sluice: %s: %s\n"):format(given.file, message))
    return 1
  end
  err:write(("%s: %d events%s\n"):format(given.file, state.events, state.resets > 0
    and (", %d resets: something was lost there"):format(state.resets) or ""))
  return code or 0
end

return record
