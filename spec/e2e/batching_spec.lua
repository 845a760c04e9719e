--- Natural batching: what is published in one turn leaves in few calls, whole and in order.
local core = require("sluice.core")
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local live = require("spec.support.live")
local process = require("spec.support.process")

local APP = [[
app:channel("log", { history = 2000 })
app:stream("/log", "log")
for _, name in ipairs { "a", "b", "c" } do app:channel(name, { history = 500 }) end
app:stream("/three", { channels = { "a", "b", "c" } })
app:post("/mixed", function()
  for n = 1, 150 do app:publish(({ "a", "b", "c" })[n % 3 + 1], "e", { n = n }) end
end)]]

--- Where strace is and may be used; under a sanitizer it would count others' calls.
local function strace()
  return not os.getenv("SLUICE_PRELOAD") and os.execute("strace -o /dev/null true 2>/dev/null") == true
end

--- The calls of a kind that process `pid` makes while fn runs.
local function count_calls(pid, fn)
  local calls = "trace=sendto,sendmsg,write,writev,setsockopt,io_uring_enter"
  local p = process.spawn({ "strace", "-f", "-e", calls, "-p", pid }, {})
  deadline.eventually(function() return p:log():find("attached", 1, true) end)
  fn()
  p:signal("INT")
  p:wait(5)
  return p:log()
end

local function count(text, what) return select(2, text:gsub(what, "")) end

describe("50 publishes of one handler", function()
  local s

  before_each(function() s = live.start(APP) end) -- with or without a ring, as the run says
  after_each(live.stop_all)

  --- Every number once and in order; the chunks of each stream, hello's not counted.
  local function chunks_of(all, n)
    local most = 0
    for _, m in ipairs(all) do
      local numbers, chunks = crowd.numbers(m), crowd.chunks(m)
      assert.equal(n, #numbers)
      for i = 1, n do assert.equal(i, numbers[i]) end
      for _, chunk in ipairs(chunks) do
        assert.is_true(#chunk <= 16384, #chunk .. " bytes")
        assert.equal("\n\n", chunk:sub(-2))
      end
      most = math.max(most, #chunks - 1)
    end
    all:close()
    return most
  end

  -- An I/O thread that runs beside the handler may well take the events one by one: what
  -- matters is that it takes together what is there together.
  it("arrive in order, in few chunks of at most 16 KiB", function()
    live.one_of(5, function()
      local all = crowd.connect(s.port, "/log", 20)
      s.publish("log", { n = 50, pad = 1000 })
      all:wait_for('"n":50', 5)
      local n = chunks_of(all, 50)
      return n >= 4 and n <= 12, n .. " chunks"
    end)
  end)

  it("of three channels are merged by number", function()
    live.one_of(5, function()
      local all = crowd.connect(s.port, "/three", 5)
      s.post("/mixed")
      all:wait_for('"n":150', 5)
      for _, m in ipairs(all) do
        local last = 0
        for seq in crowd.text(m):gmatch("\nid: %w+%-(%d+)\n") do
          assert.is_true(tonumber(seq) >= last)
          last = tonumber(seq)
        end
      end
      local n = chunks_of(all, 150)
      return n <= 15, n .. " chunks"
    end)
  end)

  it("cost each stream few calls, and a connect costs one", function()
    if not strace() then pending("no strace") return end
    s = live.start(APP, { io_uring = "off" })
    local trace = count_calls(s.pid, function()
      local one = crowd.connect(s.port, "/log", 1)
      one:close()
    end)
    assert.equal(1, count(trace, "sendmsg%("), trace)
    assert.equal(0, count(trace, "setsockopt%("), trace) -- what a socket needs, the listener gives it
    live.one_of(5, function()
      local all = crowd.connect(s.port, "/log", 20)
      trace = count_calls(s.pid, function()
        s.publish("log", { n = 50, pad = 20 })
        all:wait_for('"n":50', 5)
      end)
      all:close()
      local sends = count(trace, "sendto%(") + count(trace, "sendmsg%(")
      assert.is_true(sends >= 20, sends .. " calls for 20 streams")
      return sends <= 20 * 4 + 2, sends .. " calls for 20 streams"
    end)
  end)

  it("cost all streams few calls through a ring, which one alone does not take", function()
    if not strace() or not core.io_uring() then pending("no strace or no ring") return end
    s = live.start(APP, { io_uring = "on", io_threads = 1 })
    local trace = count_calls(s.pid, function()
      local one = crowd.connect(s.port, "/log", 1)
      one:close()
    end)
    assert.same({ 0, 1 }, { count(trace, "io_uring_enter%("), count(trace, "send%l+%(") }, trace)
    live.one_of(5, function()
      local all = crowd.connect(s.port, "/log", 100)
      trace = count_calls(s.pid, function()
        s.publish("log", { n = 50, pad = 20 })
        all:wait_for('"n":50', 5)
      end)
      all:close()
      local enters, sends = count(trace, "io_uring_enter%("), count(trace, "send%l+%(")
      assert.is_true(enters >= 1, trace)
      return enters + sends <= 30, enters + sends .. " calls for 100 streams"
    end)
  end)
end)
