--- A test app on a real server and streams on it, for specs about delivery.
---
---   local s = live.start([[ app:stream("/s", "s") ]])     app, sluice and core are there
---   local c = live.connect(s, "/s"); c.hello.client       a stream on which hello has come
---   s.publish("s", { event = "e", n = 3, pad = 100 })     -> ids; the data are {"n":1,"pad":"xxx"} …
---   s.spin(1.5)                                           the script computes, and answers later
--- Every such app counts what is alive: s.alive() -> { memory, frames, blocks, clients }.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local live = {}

local BEFORE = [[
local sluice, core = require("sluice"), require("sluice.core")
local app = sluice.app()
local function spin(seconds)
  local till = core.now() + seconds
  while core.now() < till do end
end
local function publish(channel, o)
  local pad, ids = o.pad and ("x"):rep(o.pad), {}
  for n = o.first or 1, (o.first or 1) + (o.n or 1) - 1 do
    ids[#ids + 1] = assert(app:publish(channel, o.event or "e", { n = n, k = o.key, pad = pad }))
  end
  return ids
end
app:get("/-t/alive", function()
  local out = core.alive()
  out.clients = 0
  for _ in app:clients() do out.clients = out.clients + 1 end
  return out
end)
app:post("/-t/publish/*channel", function(req)
  local o = req:json()
  local ids = publish(req.params.channel, o)
  if o.spin then spin(o.spin) end
  return ids
end)
app:post("/-t/spin/:seconds", function(req)
  sluice.log.info("SPIN")
  spin(tonumber(req.params.seconds))
  return 204
end)
]]

local JSON = { ["Content-Type"] = "application/json" }

--- Send a POST and do not wait: a connection whose response() is the answer.
function live.post_later(s, path, body)
  local c = assert(http.connect(s.port))
  c:send(http.request_text("POST", path, JSON, body or "{}", c.host))
  return c
end

local function count_of(name, text)
  local n = 0
  for _ in text:gmatch(name) do n = n + 1 end
  return n
end

local function add_methods(s)
  function s.get(path, headers) return http.get(s.port, path, headers) end
  function s.post(path, body) return http.post(s.port, path, body or "{}", JSON) end
  function s.alive() return json.decode(s.get("/-t/alive").body) end

  function s.publish(channel, o)
    local response = s.post("/-t/publish/" .. channel, json.encode(o or {}))
    assert(response.status == 200, response.body)
    return json.decode(response.body)
  end

  --- The script computes for so long; returns when it has begun. finish() waits for its end.
  function s.spin(seconds)
    local before = count_of("SPIN", s.log())
    local c = live.post_later(s, "/-t/spin/" .. seconds)
    deadline.eventually(function() return count_of("SPIN", s.log()) > before end, 5, "the script spins")
    local function finish()
      assert(c:response(seconds + 5))
      c:close()
    end
    return finish
  end

  --- Publish and compute on, in one handler: returns at once.
  function s.publish_and_spin(channel, o)
    return live.post_later(s, "/-t/publish/" .. channel, json.encode(o))
  end

  function s.wait_clients(n, seconds)
    deadline.eventually(function() return s.alive().clients == n end, seconds or 5, n .. " clients")
  end
  return s
end

local started = {}

--- Stop all servers as an operator would; for after_each. One that says anything of a sanitizer's,
--- or does not end well, fails the test. A test that ends its server itself is not asked.
function live.stop_all()
  local list, problem = started, nil
  started = {}
  for _, s in ipairs(list) do
    local ended = s.code()
    local ok, result = pcall(s.stop)
    if not ok then problem = problem or result end
    if ok and not ended and result ~= 0 then problem = problem or ("exit code %d\n%s"):format(result, s.log()) end
  end
  server.stop_all()
  if problem then error(problem, 0) end
end

--- Start an app: `text` is what stands between its first and its last line.
function live.start(text, options)
  local mine = { env = { SLUICE_HANDLER_BUDGET = "0" } } -- scripts that compute may do so
  for name, value in pairs(options or {}) do mine[name] = value end
  mine.app = BEFORE .. text .. "\nreturn app\n"
  local s = add_methods(server.start(mine))
  started[#started + 1] = s
  return s
end

--- For times and numbers that a busy machine spoils: `fn` measures, and returns whether that is good
--- enough, and what it was. It may try n times; each that was not is printed. What `fn` asserts
--- beside it holds each time.
function live.one_of(n, fn)
  local good, what
  for try = 1, n do
    good, what = fn()
    if good then return end
    if try < n then deadline.print_retry(what) end
  end
  error(("not once in %d tries: %s"):format(n, what), 2)
end

function live.data(event) return json.decode(event.data) end

--- The number that an event of live's carries.
function live.n(event) return live.data(event).n end

--- A stream on which hello has come.
function live.connect(s, path, options)
  local c = sse.connect(s.port, path, options)
  assert(c.is_stream, ("%s: status %d %s"):format(path, c.status, tostring(c.body)))
  c.hello = live.data(assert(c:wait_for("hello")))
  c.comments = {} -- the preamble's
  return c
end

return live
