--- Rooms on real connections: how soon it is told that a client has gone, however it went. (All else in
--- virtual time: spec/kit/rooms_spec.lua.)
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local sse = require("spec.support.sse")

local GRACE, NOTICED, HEARTBEAT = 0.4, 0.1, 2
local APP = [[
app:guard("/docs/**", function(req)
  req.user = { id = req.headers["x-user"] }
  return true
end)
local rooms = require("sluice.rooms").new(app, { name = "doc", grace = %g })
rooms:stream("/docs/:id")
local busy = app:state("busy", {})
app:post("/busy", function() busy().on = true return 204 end)
app:every(0.3, function() if busy().on then rooms:publish("tea", "tick", {}) end end)
app:get("/n/:id", function(req) return { n = rooms:count(req.params.id) } end)]]

local s, watcher

local function as(user) return { headers = { ["X-User"] = user } } end

local function start(args)
  s = live.start(APP:format(GRACE), { args = args })
  watcher = sse.connect(s.port, "/docs/tea", as("alice"))
  watcher:wait_for("hello", 5)
end

local function joined(user)
  local e = watcher:wait_for("user-joined", 5)
  while json.decode(e.data).userId ~= user do e = watcher:wait_for("user-joined", 5) end
end

-- Seconds, of a quiet machine and by the clock, from an end to its user-left.
local function time_to_leave(user, last)
  local from = deadline.now()
  last()
  local e = watcher:wait_for("user-left", 60)
  local quiet, took = deadline.since(from)
  local data = json.decode(e.data)
  assert.same({ user, 1, "gone" }, { data.userId, data.activeUsers, data.reason })
  return quiet, took
end

-- A client in a process, and perhaps in another network.
local function spawn_client(user, url, before)
  local words = before or {}
  for _, word in ipairs { "curl", "-sN", "-H", "X-User: " .. user, url } do words[#words + 1] = word end
  local p = process.spawn(words, { kind = "curl" })
  joined(user)
  return p
end

local WAYS = {
  ["closes its page"] = function()
    local c = sse.connect(s.port, "/docs/tea", as("bob"))
    joined("bob")
    return function() c:close() end
  end,
  ["is killed"] = function()
    local p = spawn_client("bob", s.url .. "/docs/tea")
    return function() p:signal("KILL") end
  end,
}

describe("a member that", function()
  after_each(function()
    process.stop_all("curl")
    if watcher then watcher:close() end -- a drain would wait for it
    live.stop_all()
  end)

  for how, come in pairs(WAYS) do
    it(how .. " has left after the grace, no later, also after a reload", function()
      start()
      for round = 1, 2 do
        local last = come()
        if round == 2 then
          s.signal("HUP")
          s.wait_log("reload #2", 10)
        end
        local quiet, took = time_to_leave("bob", last)
        assert.is_true(took >= GRACE * 0.9, how .. ": told after " .. took)
        assert.is_true(quiet < GRACE + 5 * NOTICED, how .. ": told after " .. quiet)
      end
    end)
  end

  it("is sent away by a stop has not left: nobody is told so", function()
    s = live.start(APP:format(GRACE), { args = { "--drain", "3" } })
    watcher = sse.connect(s.port, "/docs/tea", as("alice"))
    local list = {}
    for i = 1, 12 do list[i] = sse.connect(s.port, "/docs/tea", as("u" .. i)) end
    for i = 1, 12 do list[i]:wait_for("hello", 5) end
    joined("u12")
    s.signal("TERM")
    for i = 1, 6 do list[i]:close() end
    for i = 7, 12 do
      local e
      repeat
        e = list[i]:next_event(10)
        assert.not_equal("user-left", e and e.event)
      until not e or e.event == "bye"
      assert.equal("bye", e and e.event)
      list[i]:close()
    end
    watcher:close()
    deadline.eventually(s.code, 10, "it has stopped") -- a second signal would cut that short
  end)

  it("is cut off by its network has left after two heartbeats and the grace, also after a reload, or three", function()
    local pid = tonumber(process.read_file("/proc/self/stat"):match("^%d+"))
    local name, block = "slroom" .. pid % 10000, "10.231." .. pid % 250
    local function ip(line)
      local code, output = process.run("ip " .. line:gsub("NET", name):gsub("BLOCK", block))
      return code == 0, output
    end
    if not ip("netns add NET") then return pending("no network namespaces here") end
    finally(function() ip("netns del NET") end)
    for _, line in ipairs { "link add NET type veth peer name eth0 netns NET", "addr add BLOCK.1/30 dev NET",
      "link set NET up", "-n NET addr add BLOCK.2/30 dev eth0", "-n NET link set eth0 up" } do
      local ok, output = ip(line)
      if not ok then return pending("no pair of network devices here: " .. output) end
    end
    s = live.start(APP:format(GRACE), { args = { "--host", "0.0.0.0", "--heartbeat", HEARTBEAT,
      "--allow-host", block .. ".1" } })
    watcher = sse.connect(s.port, "/docs/tea", as("alice"))
    for round = 1, 3 do
      spawn_client("bob", ("http://%s.1:%d/docs/tea"):format(block, s.port), { "ip", "netns", "exec", name })
      if round == 2 then
        s.signal("HUP")
        s.wait_log("reload #2", 10)
      end
      if round == 3 then
        assert(process.run("curl -sfX POST " .. s.url .. "/busy") == 0)
        watcher:wait_for("tick", 5)
      end
      local quiet = time_to_leave("bob", function() assert(ip("-n NET link set eth0 down")) end)
      assert.is_true(quiet < (round == 3 and 3 or 2) * HEARTBEAT + GRACE + 5 * NOTICED, "told after " .. quiet)
      process.stop_all("curl")
      assert(ip("-n NET link set eth0 up"))
    end
  end)
end)
