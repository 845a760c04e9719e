--- The test kit: an app under test, without a socket, a sleep or a browser.
--
--   local t <close> = require("sluice.testing").start("app.lua")
--   local c = t:connect("/news")
--   t:post("/news", { json = { text = "hi" } })
--   assert(c:wait_for("story").data.text == "hi")
--   t:advance(86400)                                         -- a day, in less than a second
--
-- The app runs on the server's real core; only the clock, the random numbers and the connections
-- are the test's. Keeps nothing in memory.
local caller = require("sluice.base.caller")
local need = require("sluice.base.need")
need("sluice.core")
local cluster = require("sluice.testing.cluster")
local inside = require("sluice.testing.inside")
local names = require("sluice.base.names")
local arguments = require("sluice.testing.arguments")
local options = require("sluice.base.options")
local outside = require("sluice.testing.outside")
local test = require("sluice.testing.test")

---@class sluice.testing
local testing = {}

local function a(kind)
  return { "a " .. kind, function(value) return type(value) == kind end }
end

local KNOWN = { env = a("table"), flags = a("table"), seed = a("number"), now = a("number"),
  sockets = a("boolean"), files = a("table"), http = a("table"),
  nodes = { "a whole number from 1 to 16", cluster.fits },
  waits = { "true or a number of seconds", function(value)
    return type(value) == "boolean" or type(value) == "number" and value >= 0 and value <= 1e6
  end } }

local function check_options(given)
  arguments.check("testing.start(app, options): the options", given, "table")
  options.check_names("testing.start", given, KNOWN, 3)
  for name, value in pairs(given) do
    local wanted, fits = table.unpack(KNOWN[name])
    if not fits(value) then caller.raise("testing.start: %s is %s", name, wanted) end
  end
end

local function check_target(target, given)
  if type(target) == "string" then return target end
  if type(target) ~= "table" then
    caller.raise("testing.start(app): a path, { source = text } or an app is expected")
  end
  if rawget(target, "_generation") then return target end
  if type(target.source) ~= "string" then
    caller.raise("testing.start{ source = text }: the source is a string")
  end
  return { source = target.source, files = target.files or given.files, path = target.path }
end

local function extend_luassert()
  if package.loaded.luassert then require("sluice.testing.luassert") end
end

--- Start an app.
-- @tparam string|table|sluice.App target a path, { source = text, files = { [path] = text } }, or
--   an app that the test made (which cannot be reloaded or restarted)
-- @tparam[opt] table given env (its environment variables), flags (settings, as of sluice run),
--   seed (1), now (seconds since 1970), files, http (answers for other servers by URL, as t:http),
--   waits (true: every publish lets others run, where it may; a number: for so many seconds),
--   nodes (so many of one cluster, with a simulated Redis), sockets (true: a server in a process of
--   its own)
-- @treturn sluice.testing.Test
function testing.start(target, given)
  given = given or {}
  check_options(given)
  target = check_target(target, given)
  extend_luassert()
  local kind = given.sockets and outside or given.nodes and cluster or inside
  local place = kind.new(target, given)
  local t
  local ok, problem = pcall(function()
    (place.cluster or place):boot()
    t = test.new(place)
    t:settle()
  end)
  if ok then return t end
  for _, node in ipairs(place.cluster and place.cluster.nodes or { place }) do
    pcall(node.shut, node, "kill")
  end
  place:leave()
  error(problem, 2)
end

--- Test a server that runs already, somewhere.
-- @tparam string url "http://127.0.0.1:5121"
-- @treturn sluice.testing.Test
function testing.remote(url)
  extend_luassert()
  return test.new(outside.remote(url))
end

return names.strict(testing, "testing", ".")
