--- `sluice doctor URL`: opens a stream through whatever stands between, as a browser does, says
--- what is wrong on the way, and what helps. Keeps nothing in memory.
local checks = require("sluice.command.doctor.checks")
local fixes = require("sluice.command.doctor.fixes")
local headers = require("sluice.command.headers")
local help = require("sluice.command.help")
local json = require("sluice.json")
local remote = require("sluice.command.remote")
local restart = require("sluice.command.doctor.restart")
local terminal = require("sluice.command.terminal")
local trust = require("sluice.command.trust")
local work = require("sluice.command.work")

local doctor = { name = "doctor" }

local INTERRUPTED, SECONDS, SECONDS_MOST = 130, 30, 600

-- In this order; behind a fault of the first two nothing else can be known.
local ORDER = {
  { "stream", checks.stream, ends = true }, { "buffering", checks.buffering, ends = true },
  { "idle", checks.idle }, { "compression", checks.compression }, { "resume", checks.resume },
  { "host", checks.host }, { "address", checks.address }, { "cors", checks.cors },
  { "version", checks.version }, { "restart", restart.check },
}

--- Add the command to the parser.
-- @param parser of argparse
function doctor.add(parser)
  local command = parser:command("doctor", "Look for what hurts event streams between a browser "
    .. "and the server, and say what helps. It takes as long as a heartbeat.")
  command:argument("url", "of an event stream, as a browser asks for it"):argname("<url>")
  command:argument("words", "a program that restarts the server, to see what a browser gets "
    .. "meanwhile. Write -- before it"):argname("<command>"):args("*")
  command:option("--origin", "a page that should be able to read it, as https://the.page")
    :argname("<origin>")
  command:option("--proxy", "what stands in between, for what helps: nginx, haproxy, caddy, "
    .. "varnish, apache, lighttpd, cloudflare, alb; all (default: as the answer says)")
    :argname("<name>")
  command:option("--seconds", ("how long silence is watched at most (default: %d)"):format(SECONDS))
    :argname("<s>")
  trust.add(command)
  command:flag("--json", "print JSON")
  headers.add(command)
  remote.add(command)
  help.add(command, { "sluice doctor https://app.example/api/news --origin https://www.example",
    "sluice doctor https://app.example/api/news --port 5121 -- systemctl restart sluice" },
    { { 0, "no fault was found" }, { 1, "one was, or there is no stream" },
      { INTERRUPTED, "interrupted" } })
end

-- ---- Options -----------------------------------------------------------------------------

local function is_proxy(name)
  if name == nil or name == "all" then return true end
  for _, row in ipairs(fixes.PROXIES) do
    if row[1] == name then return true end
  end
  return false
end

local function read(given)
  local fields, problem = headers.read(given.header)
  if not fields then return nil, problem end
  problem = trust.fault(given)
  if problem then return nil, problem end
  local lower = {}
  for name, value in pairs(fields) do lower[name:lower()] = value end
  local seconds = tonumber(given.seconds or SECONDS)
  if not (seconds and seconds >= 1 and seconds <= SECONDS_MOST) then
    return nil, "--seconds: a number from 1 to 600 is expected"
  elseif not given.url:find("^https?://[^/?#]") then
    return nil, ("'%s' is no address like https://app.example/api/news"):format(given.url)
  elseif given.origin and not given.origin:find("^https?://[^/?#%s]+$") then
    return nil, "--origin: an origin is like https://www.example, without a path"
  elseif not is_proxy(given.proxy) then
    return nil, ("--proxy: there is no '%s'"):format(given.proxy)
  end
  return { url = given.url, fields = lower, origin = given.origin, seconds = seconds,
    insecure = given.insecure, words = given.words, wanted = given.proxy,
    place = { port = given.port, socket = given.socket } }
end

-- ---- Looking -----------------------------------------------------------------------------

-- Who is in between, for texts and remedies.
local function add_proxy_text(ctx)
  function ctx.proxy_text(s)
    local said
    ctx.proxy, said = fixes.proxy_of(s.headers)
    return said and ("; %s is in between"):format(said) or ""
  end
end

local function look(ctx, tell)
  local found = {}
  for _, row in ipairs(ORDER) do
    local verdict, text, remedy = row[2](ctx)
    found[#found + 1] = { check = row[1], verdict = verdict, text = text, remedy = remedy }
    tell(found[#found])
    if row.ends and verdict == "fault" then break end
  end
  if ctx.stream then ctx.stream:close() end
  return found
end

local function count(found)
  local n = 0
  for _, row in ipairs(found) do
    if row.verdict == "fault" then n = n + 1 end
  end
  return n
end

-- ---- Telling -----------------------------------------------------------------------------

local STYLES = { ok = "green", fault = "red", note = "yellow", skip = "dim" }

local function teller(given, out)
  if given.json then return function() end end
  local paint = terminal.painter(out)
  return function(row)
    out:write(paint(STYLES[row.verdict], ("%-6s"):format(row.verdict)),
      ("%-12s "):format(row.check), terminal.safe(row.text), "\n")
    out:flush()
  end
end

local function remedies_of(ctx, row)
  local proxy = ctx.wanted or ctx.proxy
  return fixes.of(row.remedy, proxy ~= "all" and proxy or nil, ctx.origin)
end

local function print_remedies(ctx, found, out)
  local told = {}
  for _, row in ipairs(found) do
    if row.remedy and row.verdict == "fault" and not told[row.remedy] then
      told[row.remedy] = true
      out:write("\nAgainst ", row.remedy, ":\n")
      for _, one in ipairs(remedies_of(ctx, row)) do
        out:write("  ", one[1], "\n    ", table.concat(one[2], "\n    "), "\n")
      end
    end
  end
end

local function to_json(ctx, found)
  local list = json.array()
  for i, row in ipairs(found) do
    local remedies
    if row.remedy and row.verdict == "fault" then
      remedies = json.array()
      for n, one in ipairs(remedies_of(ctx, row)) do
        remedies[n] = { of = one[1], lines = json.array(one[2]) }
      end
    end
    list[i] = { check = row.check, verdict = row.verdict, text = row.text, remedies = remedies }
  end
  return json.encode({ url = ctx.url, ok = count(found) == 0, proxy = ctx.proxy, checks = list })
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function doctor.run(given, usage, out, err)
  local ctx, problem = read(given)
  if not ctx then return usage(problem) end
  add_proxy_text(ctx)
  return work.run("doctor", function(sleep, later)
    ctx.sleep, ctx.later = sleep, later
    local found = look(ctx, teller(given, out))
    if given.json then
      out:write(to_json(ctx, found), "\n")
    else
      print_remedies(ctx, found, out)
    end
    return count(found) == 0 and 0 or 1
  end, err) or INTERRUPTED
end

return doctor
