--- A story of streams on a server that writes at once ("send"), on one that delays every write to the end
--- of a turn ("delayed"), or on one whose writes enter the kernel together ("ring"): readers that stall, that
--- leave, plans that come late, ends.
local core = require("sluice.core")
local testing = require("sluice.testing")

local APP = [[
  local app = require("sluice").app()
  app:channel("log", { history = 200 })
  app:channel("state", { history = "latest", key = "k" })
  app:channel("quick", { history = 5, batch = 0.1 })
  app:stream("/all", { channels = { "log", "state", "quick" } })
  app:stream("/log", "log")
  app:stream("/plan", function(req) require("sluice").sleep(0.2) return { channels = { "log" } } end)
  app:post("/burst/:n", function(req)
    for i = 1, tonumber(req.params.n) do
      app:publish("log", "line", { n = i, text = ("x"):rep(300) })
      if i % 3 == 0 then app:publish("state", "set", { k = "k" .. i % 5, v = i }) end
      if i % 7 == 0 then app:publish("quick", "q", { n = i }) end
    end
  end)
  app:post("/end", function() for client in app:clients() do client:close() end end)
  return app]]

local function start(way)
  local plain, server = core.server, nil
  core.server = function(options)
    options.delay_writes = way == "delayed"
    options.io_uring = way == "ring" and "on" or "off"
    server = plain(options)
    return server
  end
  local ok, t = pcall(testing.start, { source = APP }, { seed = 7 })
  core.server = plain
  assert(ok, t)
  return t, server
end

--- A client of raw bytes: 'room' is what its socket takes unread.
local function dial(server, path, version, room)
  local conn = assert(server:dial(room or 0))
  conn:write(("GET %s HTTP/1.%d\r\nHost: localhost\r\nCache-Control: no-cache\r\n\r\n"):format(path, version))
  return { conn = conn, got = {} }
end

local function read(client)
  repeat
    local piece = client.conn:read()
    if piece == nil then client.ended = true end
    client.got[#client.got + 1] = piece
  until not piece or piece == ""
end

local function play(way)
  local t <close>, server = start(way)
  local clients = { dial(server, "/all", 1), dial(server, "/log", 0), dial(server, "/log", 1, 4096),
    dial(server, "/plan", 1), dial(server, "/all", 0, 4096) }
  for round = 1, 6 do
    t:advance(0.5)
    t:post("/burst/" .. round * 25)
    for i, client in ipairs(clients) do
      if i ~= 3 and i ~= 5 or round % 3 == 0 then read(client) end
    end
  end
  clients[2].conn:close() -- in the middle
  t:post("/burst/90")
  for _ = 1, 30 do
    t:advance(1)
    for i, client in ipairs(clients) do if i ~= 2 then read(client) end end
  end
  t:post("/end")
  for _ = 1, 20 do
    t:advance(1)
    for i, client in ipairs(clients) do if i ~= 2 then read(client) end end
  end
  local bytes = {}
  for i, client in ipairs(clients) do bytes[i] = table.concat(client.got) end
  assert(server:stats().sends_by == (way == "ring" and "io_uring" or "send"))
  return bytes, clients
end

local story = {}

--- Play it in two ways and compare what each client got, byte by byte: nil, or what differs.
function story.difference(way, other)
  local expected = play(way)
  local got, clients = play(other)
  for i = 1, #expected do
    if #expected[i] < 2000 then return ("client %d has little"):format(i) end
    if expected[i] ~= got[i] then
      return ("client %d has %d bytes and not the same %d"):format(i, #got[i], #expected[i])
    end
    if i ~= 2 and not clients[i].ended then return ("client %d has not ended"):format(i) end
  end
end

return story
