--- Clients that leave, in every way: noticed at once, told once, and nothing stays behind.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local planted = require("spec.support.planted")
local process = require("spec.support.process")
local socket = require("socket")
local sse = require("spec.support.sse")

local KEY = ("k"):rep(40)
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
for _, kind in ipairs { "connect", "disconnect" } do
  app:on(kind, function(client) tell(kind, client) end)
end
for _, kind in ipairs { "subscribe", "unsubscribe" } do
  app:on(kind, "**", function(client, channel) tell(kind, client, channel) end)
end
app:get("/told", function() return { told = told() } end)
app:post("/forget", function() for id in pairs(told()) do told()[id] = nil end end)
if io.open("limited") then app:limits({ max_streams_per_address = 1 }) end -- for the next load
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

--- Streams of which one is closed and another opened, again and again, until all are closed: are all noticed?
local function come_and_go(server, seconds)
  local open = {}
  for i = 1, 240 do
    local kind = i % 3 == 0 and "/plan/" or i % 3 == 1 and "/static/" or "/never/"
    open[#open + 1] = sse.connect(server.port, kind .. i, { wait = false })
    if i > 40 then table.remove(open, 1):close() end
  end
  for _, c in ipairs(open) do c:close() end
  server.wait_clients(0, seconds)
  local alone = live.connect(server, "/static/alone")
  server.wait_clients(1, seconds)
  alone:close()
  server.wait_clients(0, seconds)
end

--- More than are taken at a time leave together.
local function leave_together(server, seconds)
  local all = crowd.connect(server.port, "/static/1", 700)
  all:close()
  server.wait_clients(0, seconds)
end

local function stream_of(server, address, path)
  return sse.connect(server.port, path, { wait = false, headers = { ["X-Forwarded-For"] = address } })
end

-- One address may have one stream, and asks for it as soon as it has closed the one before.
local function take_turns(server)
  local other
  for i = 1, 60 do
    if other then other:close() end
    local c = stream_of(server, "192.0.2.1", i % 2 == 0 and "/plan/1" or "/static/1")
    assert.equal("hello", c:next_event(5).event, "turn " .. i)
    other = stream_of(server, "192.0.3." .. i, "/static/2")
    c:close()
  end
end

-- The same of streams that were open before a reload brought the limit.
local function take_turns_after_reload(server)
  local all = {}
  for i = 1, 30 do
    all[i] = stream_of(server, "192.0.2." .. i, "/static/1")
    assert.equal("hello", all[i]:next_event(5).event)
  end
  process.write_file(server.folder .. "/limited", "")
  assert.equal(200, http.post(server.port, "/-/reload", "", { ["X-Admin-Key"] = KEY }).status)
  assert.equal("bye", stream_of(server, "192.0.2.1", "/static/1"):next_event(5).event)
  for i, c in ipairs(all) do
    c:close()
    assert.equal("hello", stream_of(server, "192.0.2." .. i, "/static/1"):next_event(5).event, "address " .. i)
  end
end

local PROXIED = { io_threads = 1, args = { "--trust-proxy", "yes", "--admin-key", KEY } }
local ONE_EACH = { io_threads = 1, args = { "--trust-proxy", "yes", "--max-streams-per-address", 1 } }

-- Behind PLANTED(800 + n) (csrc/base/planted.h).
local BUGS = {
  { "those that follow the first are never taken", come_and_go },
  { "who has left keeps the place for a moment", take_turns_after_reload, PROXIED },
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

  it("make room at once where places are limited", function()
    s = live.start(APP, ONE_EACH)
    take_turns(s)
  end)

  it("make room at once when a reload has limited them", function()
    s = live.start(APP, PROXIED)
    take_turns_after_reload(s)
  end)

  it("make room at once where connections are", function()
    s = live.start(APP, { io_threads = 1, args = { "--max-connections", 1 } })
    for i = 1, 60 do
      local c = sse.connect(s.port, i % 2 == 0 and "/plan/1" or "/static/1", { wait = false })
      assert.equal("hello", assert(c:next_event(5)).event, "turn " .. i)
      c:close()
    end
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
