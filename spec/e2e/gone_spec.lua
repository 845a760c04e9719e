--- Clients that leave, in every way: noticed at once, told once, and nothing stays behind.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local planted = require("spec.support.planted")
local socket = require("socket")
local sse = require("spec.support.sse")

local APP = [[
local told = app:state("told", {})
app:channel("m/:id", { history = 20 })
app:stream("/static/:id", { channels = { "m/1", "m/2" } })
app:stream("/plan/:id", function(req) return { channels = { "m/1", "m/" .. req.params.id } } end)
app:stream("/late/:id", function(req) sluice.sleep(2.2) return "m/1" end)
app:stream("/never/:id", function(req) sluice.sleep(3600) end)
app:stream("/writer/:id", function(req, client)
  while true do
    client:send("tick", {})
    sluice.sleep(0.01)
  end
end)
local function tell(kind, client, channel)
  local row = told()[client.id] or { path = client.path }
  told()[client.id] = row
  row[#row + 1] = channel and kind .. " " .. channel or kind
end
local order = {}
for _, kind in ipairs { "connect", "disconnect" } do
  app:on(kind, function(client)
    tell(kind, client)
    order[#order + 1] = kind .. " " .. client.path
    if kind == "disconnect" then app:publish("left", "left", {}) end
  end)
end
app:stream("/left", { channels = { "left" } })
app:get("/order", function() return { order = order } end)
app:stream("/alone/:id", function()
  if app:stats().streams > 0 then return 503 end
  return "m/1"
end)
app:get("/streams", function() return { n = app:stats().streams } end)
for _, kind in ipairs { "subscribe", "unsubscribe" } do
  app:on(kind, "**", function(client, channel) tell(kind, client, channel) end)
end
app:get("/told", function() return { told = told() } end)
app:post("/forget", function() for id in pairs(told()) do told()[id] = nil end end)
app:post("/stop", function() for c in app:clients() do c:stop() end end)]]

local LEAVE = {
  closes = function(c) c:close() end,
  resets = function(c) c:reset() end,
  ["closes its half"] = function(c) c.wire:finish() end,
}

local s

--- What the hooks were told of the client of that path, sorted.
local function told_of(path)
  for _, row in pairs(json.decode(s.get("/told").body).told) do
    if row.path == path then
      row.path = nil
      local list = {}
      for _, text in pairs(row) do list[#list + 1] = text end
      table.sort(list)
      return list
    end
  end
end

--- Everything that a server holds, when it is quiet.
local function holds()
  local alive = s.alive()
  return { memory = alive.memory, frames = alive.frames, blocks = alive.blocks, clients = alive.clients, fds = s.fds() }
end

describe("a client", function()
  setup(function() s = live.start(APP) end)
  teardown(live.stop_all)
  before_each(function() s.post("/forget") end)

  for how, leave in pairs(LEAVE) do
    it("that " .. how .. " is gone at once, and the hooks run exactly once", function()
      for i, kind in ipairs { "static", "plan", "writer" } do
        local path = ("/%s/%d"):format(kind, i)
        local c = live.connect(s, path)
        s.wait_clients(1)
        leave(c)
        s.wait_clients(0, 1)
        local channels = ({ static = { "m/1", "m/2" }, plan = { "m/1", "m/2" }, writer = {} })[kind]
        local want = { "connect", "disconnect" }
        for _, name in ipairs(channels) do
          want[#want + 1], want[#want + 2] = "subscribe " .. name, "unsubscribe " .. name
        end
        table.sort(want)
        deadline.eventually(function() return #told_of(path) >= #want end, 2, "all hooks of " .. path)
        assert.same(want, told_of(path))
        c:close()
      end
    end)
  end

  it("that leaves before its stream began leaves no trace in the hooks, or a whole one", function()
    for i = 1, 20 do
      local c = sse.connect(s.port, "/plan/" .. 100 + i, { wait = false })
      if i % 2 == 0 then c:reset() else c:close() end
      c = sse.connect(s.port, "/static/" .. 100 + i, { wait = false })
      if i % 2 == 0 then c:reset() else c:close() end
    end
    s.wait_clients(0)
    for i = 101, 120 do
      for _, kind in ipairs { "/plan/", "/static/" } do
        local list = told_of(kind .. i)
        if list then
          assert.equal("connect,disconnect", table.concat(list, ",", 1, 2), kind .. i)
          assert.equal(0, #list % 2)
        end
      end
    end
  end)

  it("that leaves after bye is not told twice", function()
    local c = live.connect(s, "/static/9")
    s.post("/stop")
    assert.equal("end", c:wait_end(3))
    c:reset()
    s.wait_clients(0)
    assert.same({ "connect", "disconnect", "subscribe m/1", "subscribe m/2", "unsubscribe m/1", "unsubscribe m/2" },
      told_of("/static/9"))
  end)
end)

describe("of clients that left", function()
  before_each(function() s = live.start(APP) end)
  after_each(live.stop_all)

  --- 40 clients of a kind come and leave, by FIN and by RST, while events are published.
  local function visit(path, options)
    local list = {}
    for i = 1, 40 do
      list[i] = sse.connect(s.port, path .. 2, { wait = false, rcvbuf = options.rcvbuf })
      if options.hello then assert(list[i]:read_head()) end
    end
    if options.head then
      for _, c in ipairs(list) do assert(c:read_head(4)) end
    end
    s.publish("m/1", { n = options.n or 5, pad = options.pad })
    for i, c in ipairs(list) do
      if i % 2 == 0 then c:reset() else c:close() end
    end
  end

  local function all_kinds()
    visit("/static/", { hello = true })
    visit("/plan/", { hello = true })
    visit("/plan/", {})
    visit("/writer/", { hello = true })
    visit("/never/", {})
    visit("/late/", { head = true })
    visit("/static/", { hello = true, rcvbuf = 4096, n = 30, pad = 60000 }) -- they stall: blocks are pinned
    s.publish("m/1", { n = 20 }) -- the history is of small events again
    s.publish("m/2", { n = 20 })
    s.post("/forget")
    s.wait_clients(0)
  end

  it("no descriptor, frame, block or memory is left", function()
    for i = 1, 2 do s.publish("m/" .. i) end -- a channel's list of followers stays with it
    all_kinds()
    local before, since
    deadline.eventually(function()
      local now = holds()
      if not before or now.memory < before.memory or now.fds < before.fds then
        before, since = now, socket.gettime()
      end
      return socket.gettime() - since > 0.6 -- figures wait for 250 ms until they are told
    end, 5, "quiet")
    all_kinds()
    local last
    local ok = pcall(deadline.eventually, function()
      last = holds()
      return last.memory == before.memory and last.frames == before.frames
        and last.fds <= before.fds + 1 -- the last request's own socket may linger
        and last.blocks == before.blocks
    end, 5)
    assert.is_true(ok, "before: " .. json.encode(before) .. ", after: " .. json.encode(last))
    assert.same({ 0, 0 }, { last.clients, last.blocks })
  end)
end)

-- ---- While others follow them -------------------------------------------------------------

--- Nobody asks for anything meanwhile, or those that have left would be taken before that is answered.
local function wait_left(watcher, n, seconds)
  local left = deadline.after(seconds or 5)
  for _ = 1, n do assert(watcher:wait_for("left", left())) end
end

--- Streams of which one is closed and another opened, again and again, until all are closed: are all noticed?
local function come_and_go(server, seconds)
  local watcher, open = live.connect(server, "/left"), {}
  for i = 1, 240 do
    local kind = i % 3 == 0 and "/never/" or i % 3 == 1 and "/static/" or "/plan/"
    open[#open + 1] = sse.connect(server.port, kind .. i, { wait = false })
    if kind ~= "/never/" then assert.equal("hello", open[#open]:next_event(5).event) end
    if i > 40 then table.remove(open, 1):close() end
  end
  for _, c in ipairs(open) do c:close() end
  wait_left(watcher, 160, seconds)
  local one = live.connect(server, "/static/one")
  one:close()
  wait_left(watcher, 1, seconds)
  watcher:close()
  server.wait_clients(0, seconds)
end

--- More than are taken at a time leave together.
local function leave_together(server, seconds)
  local watcher = live.connect(server, "/left")
  local all = crowd.connect(server.port, "/static/1", 700)
  all:close()
  wait_left(watcher, 700, seconds)
  watcher:close()
end

--- One comes as soon as another has left, and opens a stream for which there is one place.
local function take_turns(server, stream)
  for i = 1, 60 do
    local c = stream(server, i)
    assert.equal("hello", c:next_event(5).event, "turn " .. i)
    c:close()
  end
end

local function static_or_plan(server, i)
  return sse.connect(server.port, i % 2 == 0 and "/plan/1" or "/static/1",
    { wait = false, headers = { ["X-Forwarded-For"] = "192.0.2.1" } })
end

local function alone(server, i) return sse.connect(server.port, "/alone/" .. i, { wait = false }) end

--- The app hears of each that it has left before it hears of the next.
local function keep_order(server)
  local want = {}
  for i = 1, 60 do
    local path = (i % 2 == 0 and "/plan/" or "/static/") .. i
    local c = sse.connect(server.port, path, { wait = false })
    assert.equal("hello", c:next_event(5).event)
    c:close()
    want[#want + 1], want[#want + 2] = "connect " .. path, "disconnect " .. path
  end
  server.wait_clients(0)
  assert.same(want, json.decode(server.get("/order").body).order)
end

--- Nor does a connection that is open already find who has left before it asks.
local function ask_after(server)
  local asks = assert(http.connect(server.port))
  for i = 1, 60 do
    local c = sse.connect(server.port, "/static/" .. i, { wait = false })
    assert.equal("hello", c:next_event(5).event)
    c:close()
    asks:send(http.request_text("GET", "/streams", {}, nil, asks.host))
    assert.same({ n = 0 }, json.decode(asks:response(5).body), "turn " .. i)
  end
  asks:close()
end

local ONE_THREAD = { io_threads = 1 }
local ONE_EACH = { io_threads = 1, args = { "--trust-proxy", "yes", "--max-streams-per-address", 1 } }
local ONE_CONNECTION = { io_threads = 1, args = { "--max-connections", 1 } }

-- Behind PLANTED(800 + n) (csrc/base/planted.h).
local BUGS = {
  { "those that follow the first are never taken", come_and_go },
  { "who has left is still there for who comes", keep_order, ONE_THREAD },
  { "of more than are taken at a time the others stay", leave_together },
}

describe("clients that leave one after the other", function()
  after_each(live.stop_all)

  it("are all noticed", function()
    s = live.start(APP)
    come_and_go(s)
  end)

  it("and all together are all noticed", function()
    s = live.start(APP)
    leave_together(s)
  end)

  it("make room at once where streams are limited", function()
    take_turns(live.start(APP, ONE_EACH), static_or_plan)
  end)

  it("make room at once where connections are", function()
    take_turns(live.start(APP, ONE_CONNECTION), static_or_plan)
  end)

  it("make room at once where the app limits them", function()
    take_turns(live.start(APP, ONE_THREAD), alone)
  end)

  it("are gone before the app hears of who comes", function()
    s = live.start(APP, ONE_THREAD)
    keep_order(s)
    ask_after(s)
  end)

  it("do not keep back what is asked behind a request that waits", function()
    s = live.start(APP)
    local c = assert(http.connect(s.port))
    c:send(http.request_text("GET", "/told", {}, nil, c.host):rep(3))
    for _ = 1, 3 do assert.equal(200, c:response(5).status) end
    c:close()
  end)

  -- Once, with one thread that uses send().
  local hunts = os.getenv("SLUICE_SPEC_FULL") and not os.getenv("SLUICE_PRELOAD")
    and os.getenv("SLUICE_IO_THREADS") == "1" and os.getenv("SLUICE_IO_URING") == "off"
  for bug, one in ipairs(hunts and BUGS or {}) do
    it("find this bug: " .. one[1], function()
      planted.build("core")
      local options = { env = { SLUICE_BUILD = planted.folder, SLUICE_PLANT = 800 + bug } }
      for k, v in pairs(one[3] or {}) do options[k] = v end
      local other = live.start(APP, options)
      assert.is_false((pcall(one[2], other, 2)))
    end)
  end
end)
