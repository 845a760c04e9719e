--- `sluice lab` as a process between real sockets: the bytes of both sides, ends, 502, faults by hand, what it
--- refuses, the server that it starts; and a client through each profile.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lab = require("spec.support.lab")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")
local source = require("spec.support.source")
local tree = require("spec.support.tree")
local wire = require("spec.support.wire")

local PROFILES = { "mobile-3g", "train", "office-proxy", "flaky-wifi", "satellite", "restarting-backend" }
local FAULTS = os.getenv("SLUICE_SPEC_FULL") and { "cut", "stall", "away", "cut", "away", "cut" } or { "cut", "away" }
local GET = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local i = 0
app:channel("numbers", { history = %d })
app:stream("/numbers", "numbers")
app:every(0.05, { name = "count" }, function()
  i = i + 1
  app:publish("numbers", "number", { n = i })
end)
return app
]]

-- Bytes of a length, all kinds of them.
local function noise(n, seed)
  math.randomseed(seed)
  local out = {}
  for i = 1, n do out[i] = string.char(math.random(0, 255)) end
  return table.concat(out)
end

-- A lab, a connection through it, and its other end.
local function through(words)
  local s = source.listen()
  local l = lab.start(s.url .. "/a", words)
  local client = assert(wire.connect(l.port))
  assert(client:send(GET))
  local origin = s:accept()
  return l, client, origin, s
end

local function curl(words) return process.run("curl -sS --max-time 60 " .. words, { seconds = 90 }) end

local function run(...) return process.run({ lab.SLUICE, "lab", ... }, { seconds = 20 }) end

after_each(function()
  process.stop_all()
  source.close_all()
end)

describe("the bytes through a lab", function()
  it("are the same on both sides, in both directions, whatever delays them", function()
    local text = noise(20000, 1)
    for _, words in ipairs({ {}, { "--latency", "30", "--jitter", "60" }, { "--byte-at-a-time" }, { "--hold", "100" },
      { "--bandwidth", "100000", "--jitter", "5" }, { "--profile", "satellite", "--byte-at-a-time" } }) do
      local l, client, origin = through(words)
      assert.equal(GET, origin.head)
      assert(client:send("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n" .. text))
      local asked = origin:again(20)
      assert.same({ "POST", "/b", true }, { asked.method, asked.path, asked.body == text })
      assert(origin:send(text))
      assert.is_true(client:read(#text, deadline.after(20)) == text, table.concat(words, " "))
      local state = l.state()
      assert.equal(20000, state.bytes.down)
      if words[#words] == "--byte-at-a-time" then assert.is_true(state.writes >= 20000, state.writes) end
      origin:close()
      client:close()
      l.process:stop()
    end
  end)

  it("go through requests on one connection, and the answers of each", function()
    local l, client, origin = through({ "--latency", "5" })
    for i = 1, 5 do
      if i > 1 then
        assert(client:send(GET))
        origin:again()
      end
      origin:answer(200, "answer " .. i)
      local text = client:read_until("answer " .. i, deadline.after(5))
      assert.truthy(text and text:find("Content-Length: 8", 1, true))
    end
    assert.equal(1, l.state().connections.all)
  end)

  it("come later by the latency, each way", function()
    local s = server.start { app = APP:format(10) }
    local l = lab.start(s.url .. "/nothing", { "--latency", "150" })
    local code, seconds = curl(("-o /dev/null -w '%%{time_starttransfer}' %s"):format(l.url))
    assert.equal(0, code)
    assert.is_true(tonumber(seconds) >= 0.299, seconds) -- curl's clock, and ours
  end)

  it("come no quicker than the bandwidth, and a server sees that its client is slow", function()
    local l, client, origin = through({ "--bandwidth", "50000" })
    local began = os.time()
    origin.sock:settimeout(0)
    local text = noise(1 << 16, 2):rep(128)
    local all = origin.sock:send(text) -- what the kernel and the lab take at once
    assert.is_nil(all, "it took 8 MiB at once")
    local state = l.state()
    assert.is_true(state.bytes.down <= 50000 * (os.time() - began + 2), json.encode(state))
    assert.is_true(client:read(20000, deadline.after(20)) == text:sub(1, 20000))
  end)
end)

describe("the bytes of a reader that pauses", function()
  it("wait, at the server when there are too many, and none is lost", function()
    local _, client, origin = through()
    local text, sent, got, idle = noise(1 << 16, 4):rep(256), 0, {}, 0
    local size, left = 0, deadline.after(60)
    while size < #text and left() > 0 do
      local last, _, part = origin.sock:send(text, sent + 1)
      local at = last or part or sent
      idle, sent = at > sent and 0 or idle + 1, math.max(at, sent)
      if idle > 3 or sent == #text then -- only now it reads, and not all
        client:fill(0.05)
        got[#got + 1] = client:take(#client.buffer)
        size = size + #got[#got]
        idle = math.random(3)
      else
        socket.select(nil, { origin.sock }, 0.02) -- until it takes more
      end
    end
    assert.is_true(table.concat(got) == text, ("%d of %d bytes"):format(size, #text))
  end)
end)

describe("the ends of a connection", function()
  it("come behind the bytes before them; a half that is closed leaves the other open", function()
    local _, client, origin = through({ "--latency", "50" })
    assert(client:send("the end"))
    client:finish()
    deadline.eventually(function() return origin:gone(0.1) end, 10)
    assert.equal("the end", origin.buffer)
    assert(origin:send("still here"))
    origin:close()
    assert.same({ "still here", "closed" }, { client:drain(10) })
  end)

  it("reach the other side when one side resets", function()
    local _, client, origin = through()
    client:reset()
    assert.is_true(origin:gone(10))
    _, client, origin = through()
    origin:send("last words")
    origin:reset()
    local text, why = client:drain(10)
    assert.equal("closed", why)
    assert.truthy(("last words"):find(text, 1, true)) -- a reset may overtake them
  end)

  it("are passed on as what they are: RST as RST, FIN as FIN", function()
    for how, code in pairs({ reset = 56, close = 18 }) do
      local s = source.listen()
      local p = process.spawn({ "curl", "-sN", lab.start(s.url .. "/").url }, {})
      local origin = s:accept()
      origin:send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbefore")
      deadline.eventually(function() return p:log():find("before") end, 10)
      origin[how](origin)
      assert.equal(code, p:wait(10), how)
    end
  end)

  it("are RST when a lab cuts, and FIN when it is told to, with what was sent before", function()
    for kind, codes in pairs({ reset = { [56] = true }, ["end"] = { [18] = true } }) do
      local s = source.listen()
      local l = lab.start(s.url .. "/", { "--cut-by", kind })
      local p = process.spawn({ "curl", "-sN", l.url }, {})
      local origin = s:accept()
      origin:send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbefore")
      deadline.eventually(function() return p:log():find("before") end, 10)
      assert.same({ connections = 1 }, l.post("cut"))
      assert.is_true(codes[p:wait(10)], kind .. ": curl ends with " .. tostring(p:code()))
      assert.equal("before", p:log())
      assert.is_true(origin:gone(10))
      assert.equal(1, l.wait_said("cut").connections)
      assert.equal(0, l.state().connections.open)
    end
  end)

  it("come to a connection that is silent for too long, and to no other", function()
    local l, client, origin, s = through({ "--idle", "1", "--cut-by", "end" })
    local busy = assert(wire.connect(l.port))
    assert(busy:send(GET))
    local other = s:accept()
    local text = ""
    deadline.eventually(function()
      other:send(".")
      busy:fill(0.1)
      return client:fill(0) == nil and client.ended
    end, 10, "the silent one ends")
    assert.is_true(origin:gone(5))
    assert.equal(1, l.wait_said("idle").seconds)
    other:send("on")
    text = text .. busy:read_until("on", deadline.after(5))
    assert.truthy(text:find("on"))
  end)
end)

describe("a server that is away", function()
  it("cuts what is open, answers 502 to what comes, also to a connection that stays, and is back", function()
    local s = source.listen()
    local l = lab.start(s.url .. "/")
    local client = assert(wire.connect(l.port))
    assert(client:send(GET))
    s:accept():answer(200, "ok")
    client:read_until("ok", deadline.after(5))
    l.post("away", { seconds = 60 })
    assert.same({ "", "closed" }, { client:drain(10) })
    for _, body in ipairs({ "", noise(30000, 3) }) do
      local answer = http.post(l.port, "/x", body)
      assert.same({ 502, "close" }, { answer.status, answer.headers.connection })
    end
    assert.is_nil(s:try_accept(0.1))
    assert.same({ true, 2 }, { l.state().away, l.state().happened.refused })
    assert.is_nil(l.wait_said("refused").reason) -- not that the server did not answer
    l.post("calm")
    assert(l.wait_said("back"))
    client = assert(wire.connect(l.port))
    assert(client:send(GET))
    s:accept():answer(200, "again")
    assert.truthy(client:read_until("again", deadline.after(5)))
  end)

  it("is one where nothing listens, and the lab says why", function()
    local s = source.listen()
    s:close()
    local l = lab.start(s.url .. "/")
    assert.equal(502, http.get(l.port, "/").status)
    assert.truthy(l.wait_said("refused").reason:find("refused"))
  end)

  it("goes away by itself as its profile says, and comes back", function()
    local s = server.start { app = APP:format(10) }
    local l = lab.start(s.url .. "/", { "--away", "0.3", "--away-every", "0.5", "--seed", "1" })
    http.get(l.port, "/")
    deadline.eventually(function() return http.get(l.port, "/").status == 502 end, 20)
    assert.equal(0.3, l.wait_said("away").seconds)
    assert(l.wait_said("back"))
  end)
end)

describe("a fault by hand", function()
  it("holds all bytes for as long as a stall lasts, and loses none", function()
    local l, client, origin = through()
    l.post("stall", { seconds = 60 })
    origin:send("held")
    assert(client:send("held too"))
    assert.same({ nil, "timeout" }, { client:read(1, deadline.after(0.3)) })
    assert.is_true(l.state().stalled)
    l.post("calm")
    assert.equal("held", client:read(4, deadline.after(5)))
    deadline.eventually(function()
      origin:gone(0.05)
      return origin.buffer == "held too"
    end, 5)
    assert.same({ 60, 1 }, { l.wait_said("stall").seconds, l.state().happened.flow })
  end)

  it("slows the network for a while", function()
    local l, client, origin = through()
    l.post("slow", { bytesPerSecond = 1000, seconds = 60 })
    origin:send(("x"):rep(20000))
    client:read(500, deadline.after(10))
    assert.is_true(l.state().slow)
    local down = l.state().bytes.down
    assert.is_true(down < 20000, down)
    l.post("calm")
    assert.truthy(client:read(19500, deadline.after(10)))
    assert.same({ 1000, 60 }, { l.wait_said("slow").bytesPerSecond, l.wait_said("slow").seconds })
  end)

  it("is another profile from now on", function()
    local l = lab.start("http://127.0.0.1:9/", { "--profile", "train" })
    assert.same({ "train", 60 }, { l.state().profile, l.state().faults.latency })
    assert.equal(300, l.post("profile", { name = "satellite" }).faults.latency)
    assert.same({ "satellite", 300 }, { l.state().profile, l.state().faults.latency })
    local answer = http.post(l.control, "/lab/profile", '{"name":"x"}', { ["Content-Type"] = "application/json" })
    assert.equal(422, answer.status)
    assert.truthy(answer.body:find("restarting-backend", 1, true))
  end)

  it("is refused when it makes no sense, and to a page of another origin", function()
    local l = lab.start("http://127.0.0.1:9/")
    for path, body in pairs({ stall = '{"seconds":0}', away = '{"seconds":1e9}', slow = '{"bytesPerSecond":0}' }) do
      local answer = http.post(l.control, "/lab/" .. path, body, { ["Content-Type"] = "application/json" })
      assert.equal(422, answer.status, path)
    end
    local page = { Origin = "http://evil.example", ["Sec-Fetch-Site"] = "cross-site" }
    assert.equal(403, http.post(l.control, "/lab/cut", "", page).status)
    assert.equal(421, http.get(l.control, "/lab", { Host = "evil.example" }).status)
    assert.equal(404, http.post(l.control, "/lab/restart", "").status)
    assert.equal(0, l.state().happened.cut)
  end)
end)

describe("sluice lab", function()
  it("refuses what it cannot do, and says what to write instead", function()
    for _, case in ipairs({
      { { "https://127.0.0.1/" }, "no TLS" }, { { "127.0.0.1:80" }, "no address like" },
      { { "http://127.0.0.1:0/" }, "1 to 65535" }, { { "http://127.0.0.1:70000/" }, "1 to 65535" },
      { { "http://a/", "--profile", "x" }, "there are mobile%-3g, train" },
      { { "http://a/", "--latency", "0.5" }, "%-%-latency: a whole number of milliseconds from 1 to 60000" },
      { { "http://a/", "--cut", "0" }, "%-%-cut: a number of seconds from 0.001 to 86400" },
      { { "http://a/", "--cut-by", "x" }, "reset or end" }, { { "http://a/", "--seed", "x" }, "%-%-seed: a whole" },
      { { "http://a/", "--bandwidth", "1.5" }, "bytes a second" },
      { { "http://a/", "--stall-every", "3" }, "%-%-stall says how long" },
      { { "http://a/", "--port", "x" }, "%-%-port" },
    }) do
      local code, text = run(table.unpack(case[1]))
      assert.equal(2, code, text)
      assert.truthy(text:find(case[2]), text)
    end
  end)

  it("ends with 1 when it cannot start", function()
    local s = source.listen()
    local code, text = run("http://127.0.0.1:9/", "--port", tostring(s.port))
    assert.same({ 1, true }, { code, text:find("already in use; --port takes another", 1, true) ~= nil }, text)
    code, text = run("http://127.0.0.1:9/", "--port", "0", "--control", tostring(s.port))
    assert.same({ 1, true }, { code, text:find("--control takes another", 1, true) ~= nil }, text)
    code, text = run("http://no.such.host.invalid/", "--port", "0")
    assert.same({ 1, true }, { code, text:find("no.such.host.invalid: no address", 1, true) ~= nil }, text)
    code, text = run("http://127.0.0.1:0/", "--port", "0", "--", "/no/such/program")
    assert.same({ 1, true }, { code, text:find("/no/such/program cannot be started", 1, true) ~= nil }, text)
    code, text = run("http://127.0.0.1:0/", "--port", "0", "--", "sh", "-c", "echo broken; exit 7")
    assert.same({ 1, true, true }, { code, text:find("ended with code 7", 1, true) ~= nil,
      text:find("broken", 1, true) ~= nil }, text)
  end)

  it("says where it is and each fault in a line, and ends with 0", function()
    local s = source.listen()
    local p = process.spawn({ lab.SLUICE, "lab", s.url .. "/a?b", "--port", "0", "--profile", "flaky-wifi",
      "--seed", "12" }, {})
    deadline.eventually(function() return p:log():find("seed 12\n") end, 5)
    local port, control = p:log():match("^http://127.0.0.1:(%d+)/a%?b leads to " .. s.url:gsub("%p", "%%%0")
      .. "/a%?b\ncontrol: http://127.0.0.1:(%d+)/lab\nnetwork: flaky%-wifi, seed 12\n$")
    assert.truthy(port, p:log())
    http.post(tonumber(control) // 1 | 0, "/lab/cut", "")
    deadline.eventually(function() return p:log():find("\n%d%d:%d%d:%d%d%.%d%d%d  connections cut: 0\n") end, 5)
    assert.equal(0, p:stop())
  end)

  it("starts a server, kills it and starts it again without its memory, and ends with it", function()
    local folder = process.temp_dir()
    process.write_file(folder .. "/app.lua", APP:format(1000))
    local l = lab.start("http://127.0.0.1:0/numbers", { "--", lab.SLUICE, "run", folder .. "/app.lua", "--no-watch",
      "--drain", "0" })
    local function epoch()
      local answer = http.connect(l.port)
      answer:send("GET /numbers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
      local text = answer.wire:read_until("\n\n", deadline.after(2))
      answer:close()
      return text and text:match('"epoch":"(%w+)"')
    end
    local first = deadline.eventually(epoch, 20)
    l.post("restart")
    local second
    deadline.eventually(function()
      second = epoch()
      return second
    end, 20)
    assert.is_true(first ~= second)
    local pids = {}
    for word in (process.read_file(("/proc/%d/task/%d/children"):format(l.process.pid, l.process.pid))):gmatch("%d+") do
      pids[#pids + 1] = word
    end
    assert.equal(1, #pids)
    l.process:kill() -- not even then is a server left behind
    deadline.eventually(function() return not process.read_file("/proc/" .. pids[1] .. "/status") end, 10)
    process.remove_dir(folder)
  end)
end)

--- What each reader saw of the numbers: nothing twice, nothing out of order, what is missing was reported.
local function judge(lines, name)
  local last, reset, n = nil, false, 0
  for _, event in ipairs(lines) do
    if event.note == "reset" then reset = true end
    if event.event == "number" then
      local number = json.decode(event.data).n
      if last and not reset then assert.equal(last + 1, number, name) end
      if last then assert.is_true(number > last, name) end
      last, reset, n = number, false, n + 1
    end
  end
  return last or 0, n
end

local function read_lines(path)
  local list = {}
  for line in ((process.read_file(path) or ""):match("^.*\n") or ""):gmatch("([^\n]*)\n") do
    list[#list + 1] = assert(json.decode(line))
  end
  return list
end

describe("each profile", function()
  for what, history in pairs({ ["with all that was missed"] = 100000, ["with a short history"] = 5 }) do
    it("leaves a client that comes back with each number once, or with a reset: " .. what, function()
      local folder = process.temp_dir()
      local s = server.start { app = APP:format(history) }
      local labs, readers = {}, {}
      for i, name in ipairs(PROFILES) do
        labs[i] = lab.start(s.url .. "/numbers", { "--profile", name, "--seed", tostring(i) })
        readers[i] = process.spawn({ lab.SLUICE, "record", labs[i].url, folder .. "/" .. name }, {})
      end
      local function place(i) return (judge(read_lines(folder .. "/" .. PROFILES[i]), PROFILES[i])) end
      for _, fault in ipairs(FAULTS) do
        local before = {}
        for i = 1, #PROFILES do
          deadline.eventually(function() return place(i) > 0 end, 30, PROFILES[i] .. " reads")
          labs[i].post(fault, fault ~= "cut" and { seconds = 0.5 } or nil)
          before[i] = place(i)
        end
        for i = 1, #PROFILES do
          deadline.eventually(function() return place(i) > before[i] + 2 end, 40, PROFILES[i] .. " after " .. fault)
        end
      end
      local resets = 0
      for i, name in ipairs(PROFILES) do
        readers[i]:signal("INT")
        readers[i]:wait(10)
        local lines = read_lines(folder .. "/" .. name)
        local last, n = judge(lines, name)
        for _, event in ipairs(lines) do resets = resets + (event.note == "reset" and 1 or 0) end
        if history > 1000 then
          local first = json.decode(lines[1].data).n
          assert.equal(last - first + 1, n, name)
        end
      end
      assert.equal(history > 1000, resets == 0)
      process.remove_dir(folder)
    end)
  end

  it("is in the document", function()
    local text = tree.read("doc/lab.md")
    for _, name in ipairs(PROFILES) do assert.truthy(text:find("| `" .. name .. "` |", 1, true), name) end
  end)
end)
