--- Out of file descriptors, or of memory for sockets: it refuses and says why, it does not spin,
--- it serves again.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local live = require("spec.support.live")
local process = require("spec.support.process")
local socket = require("socket")
local unix = require("socket.unix")
local wire = require("spec.support.wire")

local APP = [[
app:channel("log", { history = 10 })
app:stream("/log", "log")
app:every(0.1, function() app:publish("log", "tick", {}) end)]]

local HEALTH = "GET /-/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

local s, folder

local function start(options)
  folder = process.temp_dir()
  options.args = { "--socket", folder .. "/control" }
  s = live.start(APP, options)
end

local function stop()
  live.stop_all()
  process.remove_dir(folder)
end

--- Seconds of processor time that a process has used.
local function cpu_seconds(pid)
  local fields = process.read_file("/proc/" .. pid .. "/stat"):match("%) (.*)")
  local user, system = fields:match("^%S+" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (tonumber(user) + tonumber(system)) / 100
end

--- While a stream gets its ten ticks the process must do little else.
local function assert_calm(stream)
  repeat until not stream:next_event(0) -- those that are there already
  local from, used = socket.gettime(), cpu_seconds(s.pid)
  for _ = 1, 10 do assert(stream:wait_for("tick", 2)) end
  assert.is_true(socket.gettime() - from > 0.8)
  local share = (cpu_seconds(s.pid) - used) / (socket.gettime() - from)
  if not os.getenv("SLUICE_PRELOAD") then assert.is_true(share < 0.2, share .. " of a processor") end
end

local function ask_control()
  local c = assert(unix())
  c:settimeout(10 * deadline.scale)
  assert(c:connect(folder .. "/control"))
  c:send(HEALTH)
  return c
end

local function reload()
  return process.run({ "build/bin/sluice", "reload", "--socket", folder .. "/control" }, { seconds = 15 })
end

local function limit(n)
  assert.equal(0, (process.run({ "prlimit", "--pid", s.pid, ("--nofile=%d:4096"):format(n) })))
end

describe("a server that may have 64 descriptors", function()
  local LIMIT = 64
  before_each(function()
    start {}
    limit(LIMIT)
  end)
  after_each(stop)

  it("refuses what is too much, does not spin, and serves again when some come back", function()
    local stream, list = live.connect(s, "/log"), {}
    for i = 1, 100 do list[i] = assert(wire.connect(s.port)) end
    s.wait_log("out of file descriptors")

    -- the streams that are open go on, for a while, at little cost
    assert_calm(stream)

    -- those that were let in are served, some of the others see the end, none sees an error
    local served, refused = 0, 0
    for _, w in ipairs(list) do w:send(HEALTH) end
    for _, w in ipairs(list) do
      if w:fill(0.002) then
        assert.matches("^HTTP/1.1 200 OK\r\n", w.buffer)
        served = served + 1
      elseif w.ended then
        refused = refused + 1
      end
    end
    assert.is_true(served > 20 and served < LIMIT, served .. " served")
    assert.is_true(refused > 0, "none was refused")

    for _, w in ipairs(list) do w:close() end
    deadline.eventually(function() return http.get(s.port, "/-/healthz").status == 200 end, 5, "it serves again")
    local again = {}
    for i = 1, 20 do again[i] = live.connect(s, "/log") end
    for _, c in ipairs(again) do
      assert(c:wait_for("tick", 2))
      c:close()
    end
    assert(stream:wait_for("tick", 2))
    stream:close()
    assert.equal(0, s.stop())
  end)
end)

describe("a server that has no descriptor left", function()
  before_each(function() start {} end)
  after_each(stop)

  it("tells the command line so, and does not spin on who waits at the Unix socket", function()
    local stream = live.connect(s, "/log")
    limit(s.fds())
    local idle, waiting = {}, {}
    deadline.eventually(function() -- numbers below the limit may be free yet
      idle[#idle + 1] = assert(wire.connect(s.port))
      return s.log():find("out of file descriptors", 1, true)
    end)
    for i = 1, 10 do waiting[i] = ask_control() end
    assert_calm(stream)
    for _, c in ipairs(waiting) do
      local text = c:receive("*a")
      assert.truthy(text:find("^HTTP/1%.1 503 .*the server is out of file descriptors"), text)
      c:close()
    end
    local from = deadline.now()
    local code, text = reload()
    assert.is_true(deadline.since(from) < 5)
    assert.equal(1, code)
    assert.matches("^sluice: [^\n]*the server is out of file descriptors", text)
    assert.is_true(select(2, s.log():gsub("out of file descriptors", "")) <= 3, "a line for each socket")
    limit(1024)
    assert.equal(0, (reload()))
    for _, w in ipairs(idle) do w:close() end
    stream:close()
  end)
end)

describe("a reload that has no descriptor", function()
  before_each(function() start {} end)
  after_each(stop)

  it("says so of the file that it could not open", function()
    local c = ask_control()
    assert.matches("200 OK", c:receive("*l"))
    limit(1)
    c:send("POST /-/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    local text = c:receive("*a")
    assert.matches('"message":"[^"]*app.lua[^"]*[Tt]oo many open files', text)
    c:close()
    limit(1024)
    assert.equal(0, (reload()))
  end)
end)

describe("a file that is saved while no descriptor is left", function()
  before_each(function() start { watch = true } end)
  after_each(stop)

  it("is loaded when there is one again; until then the log says what is lacking", function()
    local path = s.folder .. "/app.lua"
    local text = process.read_file(path)
    limit(1)
    process.write_file(path, (text:gsub('"/log"', '"/renamed"')))
    s.wait_log("a changed file waits: [^\n]*Too many open files", 10)
    limit(1024)
    s.wait_log("reload #2 in", 10)
    live.connect(s, "/renamed"):close()
    assert.is_nil(s.log():find("no such file", 1, true))
  end)
end)

describe("a server whose system has no memory for connections", function()
  local library

  setup(function()
    library = os.tmpname()
    local code, text = process.run({ os.getenv("CC") or "cc", "-shared", "-fPIC", "-o", library,
      "spec/support/accept_fails.c" })
    assert(code == 0, text)
  end)
  teardown(function() os.remove(library) end)

  before_each(function()
    local others = os.getenv("SLUICE_PRELOAD")
    local flag = os.tmpname()
    start { env = { SLUICE_PRELOAD = (others and others .. ":" or "") .. library, ACCEPT_FAILS = flag,
      SLUICE_HANDLER_BUDGET = "0" } }
    s.flag = flag
  end)
  after_each(function()
    stop()
    os.remove(s.flag)
  end)

  local ERRORS = { [12] = "has no memory", [105] = "has no memory", [23] = "the system is out of file descriptors",
    [77] = "see the error" }

  for number, words in pairs(ERRORS) do
    it(("pauses, says why, and serves them later (error %d)"):format(number), function()
      local stream = live.connect(s, "/log")
      process.write_file(s.flag, tostring(number))
      local waiting, control = {}, ask_control()
      for i = 1, 5 do
        waiting[i] = assert(http.connect(s.port))
        waiting[i]:send(HEALTH)
      end
      s.wait_log(words)
      assert_calm(stream)
      process.write_file(s.flag, "")
      for _, c in ipairs(waiting) do
        assert.equal(200, c:response(5).status)
        c:close()
      end
      assert.matches("200 OK", control:receive("*l"))
      control:close()
      stream:close()
    end)
  end

  it("passes over connections that fail by themselves", function()
    for _, number in ipairs { 103, 1, 71, 113 } do -- ECONNABORTED, EPERM, EPROTO, EHOSTUNREACH
      process.write_file(s.flag, tostring(number))
      local c = assert(http.connect(s.port))
      c:send(HEALTH)
      process.write_file(s.flag, "")
      assert.equal(200, c:response(5).status)
      c:close()
    end
    assert.is_nil(s.log():find("can be accepted", 1, true))
  end)
end)
