--- POST /-/repl: Lua that an operator sends to the running server, over the Unix socket alone. It
--- runs as a handler does: on the app's thread, within its budget, in a coroutine that may wait. In
--- memory: the globals of the newest sessions, for a while.
local core = require("sluice.core")
local failure = require("sluice.base.failure")
local json = require("sluice.json")
local read_only = require("sluice.requests.read_only")
local show = require("sluice.base.show")

local repl = {}

local SESSIONS_MAX, SESSION_SECONDS = 8, 600
local LINES_MAX, LINE_MAX = 200, 100
local LINE_MOST = 65536 -- beyond it, numbers of lines stay

-- ---- Sessions ----------------------------------------------------------------------------

local function drop_old(runtime)
  local oldest, count = nil, 0
  for id, session in pairs(runtime.repl_sessions) do
    if core.now() - session.used > SESSION_SECONDS then runtime.repl_sessions[id] = nil
    else
      count = count + 1
      if not oldest or session.used < runtime.repl_sessions[oldest].used then oldest = id end
    end
  end
  if count > SESSIONS_MAX then runtime.repl_sessions[oldest] = nil end
end

-- The globals of a session, over those that the generation of now has.
local function session_of(runtime, id, writes)
  runtime.repl_sessions = runtime.repl_sessions or {}
  local session = runtime.repl_sessions[id] or { globals = {} }
  runtime.repl_sessions[id], session.used = session, core.now()
  drop_old(runtime)
  runtime.scheduler:at(core.now() + SESSION_SECONDS + 1, function() drop_old(runtime) end)
  local generation = runtime.generation
  local below
  if writes then
    below = setmetatable({ app = generation.app }, { __index = function(_, name)
      return rawget(generation.environment, name) -- what is not there is nil, and no mistake
    end })
  else
    below = read_only.environment(runtime)
  end
  return setmetatable(session.globals, { __index = below })
end

-- ---- What is said ------------------------------------------------------------------------

-- A value in one line; a table that does not fit in one has a line for each of its fields.
local function lines_of(value, add)
  local text = show(value)
  if type(value) == "string" and #value > 0 then text = ("%q"):format(value):gsub("\\\n", "\\n") end
  if type(value) ~= "table" or #text <= LINE_MAX and not text:find("...", 1, true) then
    return add(text)
  end
  local keys = {}
  for key in next, value do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) ~= type(b) then return type(a) < type(b) end
    if type(a) == "number" or type(a) == "string" then return a < b end
    return tostring(a) < tostring(b)
  end)
  add("{")
  for _, key in ipairs(keys) do
    local is_name = type(key) == "string" and key:find("^[%a_][%w_]*$")
    local name = is_name and key or "[" .. show(key) .. "]"
    add(("  %s = %s,"):format(name, show(value[key])))
  end
  add("}")
end

local function shown(results)
  local lines, left_out = {}, 0
  for i = 1, results.n do
    lines_of(results[i], function(line)
      if #lines < LINES_MAX then lines[#lines + 1] = line else left_out = left_out + 1 end
    end)
  end
  if left_out > 0 then lines[#lines + 1] = ("… %d lines more"):format(left_out) end
  return table.concat(lines, "\n")
end

-- What can be JSON is, else it is nil.
local function values_of(results)
  local list = json.array()
  for i = 1, results.n do
    local text = json.encode(results[i])
    list[i] = text and results[i] or json.null
  end
  return list
end

-- ---- Running -----------------------------------------------------------------------------

-- Errors name the line of what the text stands in, from `first` on.
local function compile(text, first, env)
  local above = ("\n"):rep(math.min(math.max(first, 1), LINE_MOST) - 1)
  local chunk = load(above .. "return " .. text, "=repl", "t", env)
  if chunk then return chunk end
  local message
  chunk, message = load(above .. text, "=repl", "t", env)
  return chunk, message
end

local function run(runtime, asked, respond)
  local printed = {}
  local env = session_of(runtime, asked.session, asked.writes)
  env.print = function(...)
    local list = table.pack(...)
    for i = 1, list.n do list[i] = tostring(list[i]) end
    if #printed < LINES_MAX then printed[#printed + 1] = table.concat(list, "\t") end
  end
  local chunk, message = compile(asked.code, asked.line, env)
  if not chunk then
    return respond({ ok = false, incomplete = message:find("<eof>$") ~= nil, message = message })
  end
  local ok, results = failure.try(function() return table.pack(chunk()) end)
  local out = { ok = ok, printed = table.concat(printed, "\n") }
  if ok then
    out.text, out.values = shown(results), asked.as_json and values_of(results) or nil
    if results.n > 0 then env._ = results[1] end
  else
    out.message, out.traceback = tostring(results), results.traceback
  end
  respond(out)
end

--- Run what was asked.
-- @tparam sluice.Runtime runtime
-- @tparam table asked `code`, `line` (the number of its first one), `session`, `writes`, `as_json`
-- @tparam function respond called once with a table for JSON
function repl.run(runtime, asked, respond)
  local answered = false
  local function once(out)
    if answered then return end
    answered = true
    respond(out)
  end
  if asked.writes then core.log("info", "repl", { code = asked.code }) end
  runtime.scheduler:start(runtime.generation, "request", "repl", function(ok, problem)
    local why = problem and tostring(problem) or ok == nil and "it was ended" or "it failed"
    once({ ok = false, message = why })
  end, run, runtime, asked, once)
end

return repl
