--- Natural batching: what is published in one turn leaves in few calls, whole and in order.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local live = require("spec.support.live")
local process = require("spec.support.process")
local server = require("spec.support.server")

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
  local p = process.spawn({ "strace", "-f", "-e", "trace=sendto,sendmsg,write,writev,setsockopt", "-p", pid }, {})
  deadline.eventually(function() return p:log():find("attached", 1, true) end)
  fn()
  p:signal("INT")
  p:wait(5)
  return p:log()
end

local function count(text, what) return select(2, text:gsub(what, "")) end

describe("50 publishes of one handler", function()
  local s

  before_each(function() s = live.start(APP) end)
  after_each(server.stop_all)

  it("arrive in order, in few chunks of at most 16 KiB", function()
    local all = crowd.connect(s.port, "/log", 20)
    s.publish("log", { n = 50, pad = 1000 })
    all:wait_for('"n":50', 5)
    for _, m in ipairs(all) do
      local chunks = crowd.chunks(m)
      assert.is_true(#chunks >= 1 + 4 and #chunks <= 1 + 12, #chunks .. " chunks")
      for _, chunk in ipairs(chunks) do
        assert.is_true(#chunk <= 16384, #chunk .. " bytes")
        assert.equal("\n\n", chunk:sub(-2))
      end
      local numbers = crowd.numbers(m)
      assert.equal(50, #numbers)
      for n = 1, 50 do assert.equal(n, numbers[n]) end
    end
    all:close()
  end)

  it("of three channels are merged by number", function()
    local all = crowd.connect(s.port, "/three", 5)
    s.post("/mixed")
    all:wait_for('"n":150', 5)
    for _, m in ipairs(all) do
      local numbers, last = crowd.numbers(m), 0
      assert.equal(150, #numbers)
      for n = 1, 150 do assert.equal(n, numbers[n]) end
      for seq in crowd.text(m):gmatch("\nid: %w+%-(%d+)\n") do
        assert.is_true(tonumber(seq) >= last)
        last = tonumber(seq)
      end
      assert.is_true(#crowd.chunks(m) <= 8, #crowd.chunks(m) .. " chunks")
    end
    all:close()
  end)

  it("cost each stream few calls, and a connect costs one", function()
    if not strace() then pending("no strace") return end
    local trace = count_calls(s.pid, function()
      local one = crowd.connect(s.port, "/log", 1)
      one:close()
    end)
    assert.equal(1, count(trace, "sendmsg%("), trace)
    assert.equal(0, count(trace, "setsockopt%("), trace) -- what a socket needs, the listener gives it
    local all = crowd.connect(s.port, "/log", 20)
    trace = count_calls(s.pid, function()
      s.publish("log", { n = 50, pad = 20 })
      all:wait_for('"n":50', 5)
    end)
    local sends = count(trace, "sendto%(") + count(trace, "sendmsg%(")
    assert.is_true(sends >= 20 and sends <= 20 * 4 + 2, sends .. " calls for 20 streams")
    all:close()
  end)
end)
