--- Out of file descriptors: it refuses, it does not spin, it serves again.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local live = require("spec.support.live")
local process = require("spec.support.process")
local socket = require("socket")
local wire = require("spec.support.wire")

local LIMIT = 64

--- Seconds of processor time that a process has used.
local function cpu_seconds(pid)
  local fields = process.read_file("/proc/" .. pid .. "/stat"):match("%) (.*)")
  local user, system = fields:match("^%S+" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (tonumber(user) + tonumber(system)) / 100
end

describe("a server that may have " .. LIMIT .. " descriptors", function()
  local s

  before_each(function()
    s = live.start([[
      app:channel("log", { history = 10 })
      app:stream("/log", "log")
      app:every(0.1, function() app:publish("log", "tick", {}) end)]])
    assert.equal(0, (process.run({ "prlimit", "--pid", s.pid, "--nofile=" .. LIMIT .. ":" .. LIMIT })))
  end)
  after_each(live.stop_all)

  it("refuses what is too much, does not spin, and serves again when some come back", function()
    local stream, list = live.connect(s, "/log"), {}
    for i = 1, 100 do list[i] = assert(wire.connect(s.port)) end
    s.wait_log("out of file descriptors")

    -- the streams that are open go on, for a while, at little cost
    local from, used = socket.gettime(), cpu_seconds(s.pid)
    for _ = 1, 10 do assert(stream:wait_for("tick", 2)) end
    assert.is_true(socket.gettime() - from > 0.8)
    local share = (cpu_seconds(s.pid) - used) / (socket.gettime() - from)
    if not os.getenv("SLUICE_PRELOAD") then assert.is_true(share < 0.2, share .. " of a processor") end

    -- those that were let in are served, some of the others see the end, none sees an error
    local served, refused = 0, 0
    for _, w in ipairs(list) do
      w:send("GET /-/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    end
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
