--- `sluice lab URL`: a faulty proxy on this machine before a server, and its control routes. The
--- proxy is in the core (csrc/lab); here is what a person gives and reads. In memory: its options.
local address = require("sluice.command.address")
local backend = require("sluice.command.lab.backend")
local config = require("sluice.live.config")
local control = require("sluice.command.lab.control")
local core = require("sluice.core")
local faults = require("sluice.command.lab.faults")
local generation = require("sluice.live.generation")
local help = require("sluice.command.help")
local json = require("sluice.json")
local serve = require("sluice.live.serve")

local command = { name = "lab" }

local PORT = 5131
local NO_TLS = "the lab speaks no TLS: give it the server itself (http://), and put what speaks "
  .. "TLS in front of the lab"
local ARGNAMES = { ms = "<ms>", seconds = "<s>", bytes = "<B/s>", word = "<how>" }

local PROFILES = {}
for i, row in ipairs(faults.PROFILES) do PROFILES[i] = ("  %-19s %s"):format(row[1], row[3]) end

local EXAMPLES = {
  "# a test runs against http://127.0.0.1:5131/api/news, through tunnels that seed 7 digs",
  "sluice lab http://127.0.0.1:5121/api/news --profile train --seed 7",
  "curl -X POST http://127.0.0.1:5132/lab/cut" }
local CODES = { { 0, "ended by SIGTERM or SIGINT" },
  { 1, "it cannot start, or <command> has ended" } }

--- Add the command to the parser.
-- @param parser of argparse
function command.add(parser)
  local c = parser:command("lab", "Stand before a server as a network that is as bad as you want.")
  c:argument("url", "of the server, http only; with a <command> its port may be 0"):argname("<url>")
  c:argument("words", "a server that the lab starts, may kill, and ends; it finds its port in PORT "
    .. "and SLUICE_PORT. Write -- before it"):argname("<command>"):args("*")
  c:option("--port", ("to connect to instead; 0 takes a free one (default: %d)"):format(PORT))
    :argname("<n>")
  c:option("--control", "port of the control routes (default: the next one)"):argname("<n>")
  c:option("--profile", "of a network, see below; the options change it"):argname("<name>")
  for _, row in ipairs(faults.OPTIONS) do
    local kind = row[2]
    if ARGNAMES[kind] then c:option("--" .. row[1], row[3]):argname(ARGNAMES[kind])
    else c:flag("--" .. row[1], row[3]) end
  end
  c:option("--seed", "the same faults at the same times again"):argname("<n>")
  c:flag("--json", "print what happens as JSON, an object a line")
  c:flag("--quiet", "print nothing of it")
  help.add(c, EXAMPLES, CODES, "Profiles:\n" .. table.concat(PROFILES, "\n"))
end

-- ---- Options -----------------------------------------------------------------------------

local function whole(given, name, least, most)
  local n = math.tointeger(tonumber(given[name]))
  if n and n >= least and n <= most then return n end
  error(("--%s: a whole number from %d to %d is expected, not '%s'"):format(name, least, most,
    tostring(given[name])), 0)
end

-- The faults that are wanted: those of the profile, and over them the options.
local function read_faults(given)
  local values, problem = {}, nil
  if given.profile then values, problem = faults.profile(given.profile) end
  if not values then error("--profile: " .. problem, 0) end
  for _, row in ipairs(faults.OPTIONS) do
    local name = row[1]
    local value = given[name:gsub("%-", "_")]
    if value ~= nil then
      values[name], problem = faults.check(name, value)
      if problem then error(("--%s: %s, not '%s'"):format(name, problem, tostring(value)), 0) end
    end
  end
  for _, name in ipairs({ "stall", "away" }) do
    if values[name .. "-every"] and not values[name] then
      error(("--%s-every: --%s says how long"):format(name, name), 0)
    end
  end
  return values
end

local function read(given)
  local words = given.words
  local host, port, path = address.read(given.url, #words > 0, NO_TLS)
  if not host then error(port, 0) end
  local lab = { host = host, to_port = port, path = path, words = words,
    values = read_faults(given), profile = given.profile, json = given.json,
    quiet = given.quiet }
  lab.port = given.port and whole(given, "port", 0, 65535) or PORT
  local next_port = lab.port > 0 and lab.port < 65535 and lab.port + 1 or 0
  lab.control = given.control and whole(given, "control", 0, 65535) or next_port
  lab.seed = given.seed and whole(given, "seed", 0, math.maxinteger)
    or math.floor(core.random() * 2 ^ 31)
  return lab
end

-- ---- What is told ------------------------------------------------------------------------

local Lab = {}
Lab.__index = Lab

local function seconds(ms) return ("%g s"):format(ms / 1000) end

-- A line and the fields of what happened, by the name that the core gives it.
local NEWS = {
  cut = function(n) return ("connections cut: %d"):format(n), { connections = n } end,
  stall = function(ms) return "nothing moves for " .. seconds(ms), { seconds = ms / 1000 } end,
  flow = function() return "it moves again", {} end,
  away = function(ms, n)
    return ("the server is away for %s; connections cut: %d"):format(seconds(ms), n),
      { seconds = ms / 1000, connections = n }
  end,
  back = function() return "the server is back", {} end,
  slow = function(n, ms)
    return ("%d bytes a second for %s"):format(n, seconds(ms)),
      { bytesPerSecond = n, seconds = ms / 1000 }
  end,
  fast = function() return "as fast as before", {} end,
  idle = function(ms)
    return "a connection cut that was silent for " .. seconds(ms), { seconds = ms / 1000 }
  end,
  refused = function(_, _, why)
    return "502: " .. (why and "the server does not answer: " .. why or "the server is away"),
      { reason = why }
  end,
  profile = function(t) return "the network is now " .. t.name, t end,
  restart = function() return "the server was killed and starts again", {} end,
  ended = function(t) return ("the server has ended with code %d"):format(t.code), t end,
}

function Lab:say(kind, ...)
  if self.quiet then return end
  local line, fields = NEWS[kind](...)
  local now = core.time()
  if self.json then
    fields.fault, fields.time = kind, now
    line = json.encode(fields)
  else
    line = os.date("%H:%M:%S", math.floor(now)) .. ("%.3f  "):format(now % 1):sub(2) .. line
  end
  self.out:write(line, "\n")
  self.out:flush()
end

function Lab:introduce()
  local base = ("http://127.0.0.1:%d"):format(self.port)
  self.url = base .. self.path
  self.to = ("http://%s:%d%s"):format(self.host, self.to_port, self.path)
  if self.quiet then return end
  local control_url = ("http://127.0.0.1:%d/lab"):format(self.control)
  if self.json then
    self.out:write(json.encode({ ready = true, url = self.url, server = self.to,
      control = control_url, profile = self.profile, seed = self.seed,
      faults = faults.for_json(self.values) }), "\n")
  else
    local network = self.profile or next(self.values) and "as its options say" or "without faults"
    self.out:write(("%s leads to %s\ncontrol: %s\nnetwork: %s, seed %d\n"):format(self.url,
      self.to, control_url, network, self.seed))
  end
  self.out:flush()
end

-- ---- Running -----------------------------------------------------------------------------

local function no_variable() return nil end

-- The lab ends when its server does, unless it was killed for a restart.
local function watch(self)
  local function sleep(s) self.live.scheduler:sleep(s, "lab") end
  self.backend:watch(sleep, function(code)
    self:say("ended", { code = code })
    self.code = 1
    self.server:stop()
  end)
end

-- The server of the control routes, on whose loop the proxy runs.
local function make(self)
  local settings = assert(config.resolve({ port = self.control, io_threads = 1, drain = 0,
    log_level = "warn", log_format = "text", handler_budget = 0 }, { signals = true }, no_variable))
  serve.set_up(settings)
  local loaded = generation.new(1, "lab")
  control.add(loaded.app, self)
  if self.backend then
    loaded.app:on("start", function() loaded.app:spawn(function() watch(self) end) end)
  end
  local live, message = serve.make_live(loaded, config.for_core(settings))
  if not live then return nil, message end
  self.live, self.server = live, live.server
  return true
end

local function explain(self, message, code)
  if code == "EADDRESS" then return ("%s: %s"):format(self.host, message) end
  return ("cannot listen on 127.0.0.1:%d: %s; --port takes another, 0 a free one"):format(
    self.port, message)
end

local function listen(self)
  local port, message, code = self.server:lab({ port = self.port, host = self.host,
    to = self.to_port, seed = self.seed, on = function(...) self:say(...) end })
  if not port then return nil, explain(self, message, code) end
  self.port = port
  self.server:lab_set(faults.for_core(self.values))
  port, message = self.server:start()
  if not port then return nil, message .. "; --control takes another port, 0 a free one" end
  self.control = port
  return true
end

-- A port that is free now.
local function free_port()
  local listener, port = core.listener(0)
  if not listener then return nil, port end
  listener:shut()
  return port
end

local function start(self)
  if #self.words > 0 then
    local message
    if self.to_port == 0 then self.to_port, message = free_port() end
    if self.to_port then self.backend, message = backend.start(self.words, self.to_port) end
    if not self.backend then return nil, message end
  end
  local ok, message = make(self)
  if ok then ok, message = listen(self) end
  return ok, message
end

local function run(self, err)
  local ok, message = start(self)
  if ok then
    self:introduce()
    self.live:go()
    self.server:run()
  end
  if self.live then self.live:close() end
  if self.backend then self.backend:stop() end
  if ok then return self.code or 0 end
  err:write("sluice: ", message, "\n")
  return 1
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function command.run(given, usage, out, err)
  local ok, lab = pcall(read, given)
  if not ok then return usage(lab) end
  lab.out = out
  return run(setmetatable(lab, Lab), err)
end

return command
