--- Peers that take their answers slowly or not at all, and what they send meanwhile: bounded
--- memory, no answer cut short, no request forgotten.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local live = require("spec.support.live")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")

local KIB, MIB = 1024, 1024 * 1024

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:static("/files", "files")
app:static("/guarded", "files")
app:guard("/guarded/**", function() return true end)
app:get("/", function() return 200, "hello" end)
app:get("/bytes/:n", function(req) return 200, ("b"):rep(math.tointeger(tonumber(req.params.n))) end)
app:get("/sleep/:seconds", function(req) sluice.sleep(tonumber(req.params.seconds)) return 200, "slept" end)
app:post("/", function(req) return 200, ("n=%d;"):format(#(req.body or "")) end)
app:channel("log", { history = 10 })
app:stream("/log", "log")
app:channel("filled", { history = 100, rewind = "all" })
app:stream("/filled", "filled")
app:on("start", function() for n = 1, 100 do app:publish("filled", "e", { n = n, pad = ("x"):rep(1000) }) end end)
app:stream("/planned/:seconds", function(req) sluice.sleep(tonumber(req.params.seconds)) return "log" end)
return app
]]

--- A file of that size in which every place is told from every other.
local function text_of(size)
  local lines = {}
  for i = 1, size // 16 do lines[i] = ("%015d\n"):format(i) end
  return table.concat(lines)
end

local LARGE, MIDDLE = text_of(MIB), text_of(40 * KIB)

local folders = {}

local function start(args)
  local folder = process.temp_dir()
  assert(os.execute("mkdir -p " .. folder .. "/files"))
  process.write_file(folder .. "/files/large.txt", LARGE)
  process.write_file(folder .. "/files/middle.txt", MIDDLE)
  process.write_file(folder .. "/files/empty.txt", "")
  process.write_file(folder .. "/app.lua", APP)
  local s = server.start({ path = folder .. "/app.lua", args = args })
  s.app_folder = folder
  folders[#folders + 1] = folder
  return s
end

local function stop()
  server.stop_all()
  while #folders > 0 do process.remove_dir(table.remove(folders)) end
end

local function get(path, fields, version)
  return ("GET %s HTTP/%s\r\nHost: localhost\r\n%s\r\n"):format(path, version or "1.1", fields or "")
end

local LARGE_FILE, LARGE_ANSWER = "/files/large.txt", "/bytes/" .. MIB

--- Send `text` again and again until the server takes no more: how many bytes it took.
local function send_on(c, text, most)
  local sent = 0
  local left = deadline.after(20)
  c.wire.sock:settimeout(0)
  while sent < most and left() > 0 do
    local n, err, partial = c.wire.sock:send(text)
    sent = sent + (n or partial or 0)
    if err == "closed" then return sent, err end
    if err == "timeout" and #select(2, socket.select(nil, { c.wire.sock }, 0.3)) == 0 then return sent, err end
  end
  return sent
end

--- Read so many bytes a second on each until there are c.size, or the peer ends; they are in
--- its buffer then. With `say` each says that now and then. Returns the longest pause that it made.
local function read_slowly(list, rate, say)
  local from, said, pause = socket.gettime(), 0, 0
  local at = from
  local open = #list
  for _, c in ipairs(list) do c.wire.sock:settimeout(0) end
  while open > 0 do
    local now = socket.gettime()
    pause, at = math.max(pause, now - at), now
    local allowed = (now - from) * rate
    if say and allowed > said + rate / 2 then
      said = allowed
      for _, c in ipairs(list) do c.wire.sock:send(say) end
    end
    for _, c in ipairs(list) do
      local n = math.min(8 * KIB, math.floor(allowed - #c.wire.buffer))
      if not c.done and n > 0 then
        local data, err, partial = c.wire.sock:receive(n)
        c.wire.buffer = c.wire.buffer .. (data or partial)
        c.done = err == "closed" or c.size and #c.wire.buffer >= c.size
        if c.done then open = open - 1 end
      end
    end
    assert(allowed < 16 * MIB, "the reading does not end")
    socket.select(nil, nil, 0.01)
  end
  return pause
end

local function ask(port, text, size)
  local c = assert(http.connect(port, { rcvbuf = 8 * KIB }))
  assert(c:send(text))
  c.size = size
  return c
end

--- As assert.equal, of large texts.
local function is_all_of(expected, got, what)
  assert.is_true(got == expected, ("%s: %d bytes of %d"):format(what or "body", #got, #expected))
end

local function body_of(text) return text:sub(select(2, text:find("\r\n\r\n", 1, true)) + 1) end

describe("a peer that sends on and reads nothing", function()
  local s
  setup(function() s = start({ "--stall-timeout", "60" }) end)
  teardown(stop)

  local PHASES = {
    ["behind a file"] = get(LARGE_FILE),
    ["behind a file, on a connection that ends"] = get(LARGE_FILE, "Connection: close\r\n"),
    ["behind an answer"] = get(LARGE_ANSWER),
    ["behind a handler that runs"] = get("/sleep/30"),
    ["behind a stream whose plan is late"] = get("/planned/30"),
    ["behind a body that is too large"] = get(LARGE_FILE) .. "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
      .. 99 * MIB .. "\r\n\r\n",
    ["behind a body that is refused"] = get(LARGE_FILE) .. "POST /none HTTP/1.1\r\nHost: localhost\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n",
  }

  for name, text in pairs(PHASES) do
    it("is not read for ever " .. name, function()
      http.get(s.port, LARGE_FILE)
      http.get(s.port, LARGE_ANSWER)
      local before = s.rss()
      local c = assert(http.connect(s.port, { rcvbuf = 4 * KIB }))
      assert(c:send(text))
      local sent, how = send_on(c, get("/"):rep(1000), 64 * MIB)
      assert.truthy(how, sent .. " bytes were taken")
      local grown = s.rss() - before
      if not os.getenv("SLUICE_PRELOAD") then
        assert.is_true(grown < 3 * MIB, ("%.1f MiB more"):format(grown / MIB))
      end
      c:reset()
    end)
  end

  it("gets it all when it reads after all", function()
    local c = assert(http.connect(s.port, { rcvbuf = 64 * KIB }))
    assert(c:send(get(LARGE_FILE)))
    local text = get("/", "X-Junk: " .. ("j"):rep(4000) .. "\r\n") -- megabytes fit into the kernel
    local sent = send_on(c, text, 64 * MIB)
    is_all_of(LARGE, c:response(20).body)
    c:send(text:sub(sent % #text + 1))
    for i = 1, sent // #text do
      local response = c:response(20)
      assert.equal("hello", response and response.body, "answer " .. i)
    end
    c:close()
  end)
end)

describe("300 peers that send on and read nothing", function()
  local s
  before_each(function() s = start({ "--stall-timeout", "60" }) end)
  after_each(stop)

  for name, path in pairs { ["a file of 1 MiB"] = LARGE_FILE, ["one that a guard was asked for"] = "/guarded/large.txt",
    ["an answer of 32 KiB"] = "/bytes/32768" } do
    it("cost less than 96 KiB each behind " .. name, function()
      for _ = 1, 3 do http.get(s.port, path) end
      local before, list = s.dirty(), {}
      local junk = (get("/", "X-Junk: " .. ("j"):rep(900) .. "\r\n")):rep(300)
      for i = 1, 300 do
        list[i] = assert(http.connect(s.port, { rcvbuf = 4 * KIB }))
        list[i]:send(get(path))
        list[i].wire.sock:settimeout(0)
        list[i].wire.sock:send(junk)
      end
      -- the server has taken what it wanted of all when it answers what was asked last
      for _ = 1, 5 do assert.equal(200, http.get(s.port, "/").status) end
      local each = (s.dirty() - before) / 300 / KIB
      if not os.getenv("SLUICE_PRELOAD") then assert.is_true(each < 96, ("%.1f KiB each"):format(each)) end
      for _, c in ipairs(list) do c:reset() end
    end)
  end
end)

describe("a slow reader", function()
  local s, fds
  setup(function()
    s = start({ "--stall-timeout", deadline.scale, "--idle-timeout", "5" })
    fds = s.fds()
  end)
  teardown(stop)

  local function read_all()
    local list = {}
    for i, path in ipairs { LARGE_FILE, LARGE_ANSWER } do
      local head = http.request(s.port, "HEAD", path).head
      list[i] = ask(s.port, get(path), #head + MIB)
      list[i + 2] = ask(s.port, get(path, "Connection: close\r\n"))
      list[i + 4] = ask(s.port, get(path, nil, "1.0"))
      list[i + 6] = ask(s.port, get(path))
      list[i + 6]:finish()
    end
    local pause = read_slowly(list, 100 * KIB)
    if pause > deadline.scale / 4 then -- the server had a right to give up
      for _, c in ipairs(list) do c:close() end
      return false, pause .. " s in which the reader was not run"
    end
    for i, c in ipairs(list) do
      is_all_of(i % 2 == 1 and LARGE or ("b"):rep(MIB), body_of(c.wire.buffer), "connection " .. i)
    end
    for i = 1, 2 do -- and goes on
      list[i].wire.buffer = ""
      assert.equal("hello", list[i]:request("GET", "/").body)
    end
    for _, c in ipairs(list) do c:close() end
    return true
  end

  it("gets all of it, however long that takes", function()
    live.one_of(3, read_all) -- on a busy machine the reader itself may pause for too long
  end)

  it("is closed when it has taken nothing for --stall-timeout", function()
    deadline.eventually(function() return s.fds() == fds end, 5, "those before are gone")
    local from, list = socket.gettime(), {}
    for _, path in ipairs { LARGE_FILE, LARGE_ANSWER } do
      for _, text in ipairs { get(path), get(path, nil, "1.0"), get(path) .. get("/") .. "GET /" } do
        list[#list + 1] = ask(s.port, text)
      end
    end
    deadline.eventually(function() return s.fds() == fds + #list end, 2, "all are accepted")
    deadline.eventually(function() return s.fds() == fds end, 5, "they are closed")
    assert.is_true(socket.gettime() - from > 0.9 * deadline.scale)
    for _, c in ipairs(list) do c:close() end
  end)
end)

describe("a file that a reload changes while it is sent", function()
  local s
  setup(function() s = start({ "--stall-timeout", "60" }) end)
  teardown(stop)

  it("is sent to its end as it was; who asks again gets the new one", function()
    local list = {}
    for i = 1, 5 do list[i] = ask(s.port, get(LARGE_FILE)) end
    assert.equal("hello", http.get(s.port, "/").body)
    for i = 1, 3 do
      process.write_file(s.app_folder .. "/files/large.txt", ("%d"):format(i):rep(100000))
      s.signal("HUP")
      s.wait_log("reload #" .. i + 1, 10)
      assert.equal(100000, #http.get(s.port, LARGE_FILE).body)
    end
    list[1]:reset()
    for i = 2, 5 do
      list[i].wire.sock:setoption("recv-buffer-size", 65536)
      is_all_of(LARGE, list[i]:response(30).body)
      list[i]:send(get(LARGE_FILE))
      is_all_of(("3"):rep(100000), list[i]:response(30).body)
      list[i]:close()
    end
  end)
end)

describe("pipelined requests", function()
  local s
  setup(function() s = start({ "--request-timeout", "1" }) end)
  teardown(stop)

  it("for files are answered one behind the other", function()
    local c = assert(http.connect(s.port))
    assert(c:send(get("/files/middle.txt"):rep(3) .. get("/files/empty.txt") .. get(LARGE_FILE)
      .. "HEAD /files/large.txt HTTP/1.1\r\nHost: localhost\r\n\r\n" .. get("/files/middle.txt") .. get("/")))
    for i = 1, 3 do is_all_of(MIDDLE, c:response().body, "answer " .. i) end
    assert.equal("", c:response().body)
    local large = c:response()
    is_all_of(LARGE, large.body)
    assert.equal(tostring(MIB), c:response(5, { no_body = true }).headers["content-length"])
    is_all_of(MIDDLE, c:response().body)
    c:send(get(LARGE_FILE, "If-None-Match: " .. large.headers.etag .. "\r\n") .. get("/files/middle.txt"))
    assert.equal("hello", c:response().body)
    assert.equal(304, c:response().status)
    is_all_of(MIDDLE, c:response().body)
    c:close()
  end)

  for name, options in pairs { ["in time"] = {}, late = { rcvbuf = 16 * KIB } } do
    it("are all answered, small and large, for one who reads " .. name, function()
      for _, path in ipairs { "/", "/files/none", "/files/empty.txt", "/files/middle.txt", "/bytes/40000" } do
        local n = path:find("%d") and 50 or 900
        local c = assert(http.connect(s.port, options))
        assert(c:send(get(path):rep(n)))
        for _ = 1, 3 do assert.equal(200, http.get(s.port, "/").status) end
        for i = 1, n do
          local response = c:response()
          assert.truthy(response, path .. ", answer " .. i)
        end
        c:close()
      end
    end)
  end

  it("go on behind one that was given up", function()
    local c = assert(http.connect(s.port))
    c:send(get("/sleep/30") .. get("/") .. get("/files/middle.txt"))
    assert.equal(504, c:response(5).status)
    assert.equal("hello", c:response().body)
    is_all_of(MIDDLE, c:response().body)
    c:close()
  end)
end)

describe("a reader so slow that the kernel asks for more only every few seconds", function()
  local s
  setup(function() s = start({ "--stall-timeout", 3 * deadline.scale, "--heartbeat", "3600" }) end)
  teardown(stop)

  it("gets all of its answer or stream, also when it says something meanwhile", function()
    local list = {
      ask(s.port, get("/files/middle.txt", "Connection: close\r\n")),
      ask(s.port, get("/bytes/" .. #MIDDLE, nil, "1.0")),
      ask(s.port, get("/filled"), #MIDDLE),
    }
    read_slowly(list, 3 * KIB, "\r\n")
    is_all_of(MIDDLE, body_of(list[1].wire.buffer), "file")
    is_all_of(("b"):rep(#MIDDLE), body_of(list[2].wire.buffer), "answer")
    assert.is_true(#list[3].wire.buffer >= #MIDDLE, "stream")
    for _, c in ipairs(list) do c:close() end
  end)
end)

describe("a client that has closed its half", function()
  local s
  setup(function() s = start() end)
  teardown(stop)

  --- All that comes after `text` and a FIN.
  local function all_of(text, options)
    local c = assert(http.connect(s.port, options))
    assert(c:send(text))
    c:finish()
    local got, how = c:drain(10)
    assert.equal("closed", how)
    c:close()
    return got
  end

  it("gets all of its answer", function()
    for _, options in ipairs { {}, { rcvbuf = 32 * KIB } } do
      is_all_of(LARGE, body_of(all_of(get(LARGE_FILE), options)))
      assert.equal(MIB, #body_of(all_of(get(LARGE_ANSWER), options)))
      assert.equal("slept", body_of(all_of(get("/sleep/0.3"), options)))
      local post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
      assert.equal("n=3;", body_of(all_of(post, options)))
    end
  end)

  it("gets all of its answers, and none to what it has not finished", function()
    local unfinished = { "", "GET / HT", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc", "\r\n",
      get("/planned/30") }
    for _, rest in ipairs(unfinished) do
      local text = get(LARGE_FILE) .. get("/") .. get("/sleep/0.1") .. get(LARGE_ANSWER) .. rest
      local got = all_of(text, { rcvbuf = 32 * KIB })
      assert.equal(4, select(2, got:gsub("HTTP/1%.1 200 OK\r\n", "")), rest)
      is_all_of(("b"):rep(MIB), got:sub(-MIB), rest)
    end
  end)

  it("gets the opening of a stream at most", function()
    local got = all_of(get("/log"))
    assert.is_true(got == "" or got:find("^HTTP/1%.1 200 OK\r\n") ~= nil, got)
  end)
end)

describe("--request-timeout", function()
  local s
  after_each(stop)

  for _, seconds in ipairs { 1, 3 } do
    it(("of %d s is that long, for a handler and for a plan"):format(seconds), function()
      s = start({ "--request-timeout", tostring(seconds) })
      local from = deadline.now()
      local handler, plan = assert(http.connect(s.port)), assert(http.connect(s.port))
      handler:send(get("/sleep/30"))
      plan:send(get("/planned/30"))
      local function assert_now()
        local quiet, took = deadline.since(from)
        assert.is_true(took >= seconds - 0.05 and quiet < seconds + 0.6, ("%g s (%g s)"):format(quiet, took))
      end
      assert.equal(504, handler:response(seconds * 5).status)
      assert_now()
      local text = plan:drain(seconds * 5)
      assert_now()
      assert.truthy(text:find('event: bye\n.*data: {"reason":"error"'), text)
      handler:close()
      plan:close()
    end)
  end
end)
