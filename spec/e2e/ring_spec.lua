--- Sends that enter the kernel together, on TCP: which way is in use and who says so; readers that stall
--- and connections that are reset in the middle of a batch.
local core = require("sluice.core")
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = [[
app:channel("log", { history = 2000 })
app:stream("/log", "log")
app:get("/stats", function() return app:stats() end)]]

local has_ring = core.io_uring() ~= nil
local EPERM, ENOSYS = 1, 38

local function figures(s) return json.decode(s.get("/stats").body) end
local function sends_by(s) return figures(s).sends_by end

describe("a server", function()
  after_each(live.stop_all)

  it("uses a ring where there is one, and send() when it is told so", function()
    assert.equal(has_ring and "io_uring" or "send", sends_by(live.start(APP, { io_uring = "auto" })))
    assert.equal("send", sends_by(live.start(APP, { io_uring = "off" })))
    if has_ring then
      assert.equal("io_uring", sends_by(live.start(APP, { io_uring = "on" })))
    else
      local code, log = server.run_to_end { io_uring = "on", app = "return require('sluice').app()" }
      local _, why = core.io_uring()
      assert.equal(1, code, log)
      assert.truthy(log:find("--io-uring on: " .. why, 1, true), log)
    end
  end)

  if has_ring then
    describe("that may not have one", function()
      local library

      lazy_setup(function()
        library = os.tmpname()
        local code, text = process.run({ os.getenv("CC") or "cc", "-shared", "-fPIC", "-o", library,
          "spec/support/no_uring.c" })
        assert(code == 0, text)
      end)
      lazy_teardown(function() os.remove(library) end)

      local function without(error, more)
        local others = os.getenv("SLUICE_PRELOAD")
        local options = { env = { SLUICE_PRELOAD = (others and others .. ":" or "") .. library, NO_URING = error } }
        for k, v in pairs(more) do options[k] = v end
        return options
      end

      it("says why, once, and sends as ever", function()
        local s = live.start(APP, without(EPERM, { io_uring = "auto", io_threads = 3 }))
        local stream = live.connect(s, "/log")
        s.publish("log", { n = 3 })
        stream:wait_for("e", 3)
        assert.equal("send", sends_by(s))
        local _, lines = s.log():gsub("io_uring is not used: it is forbidden here", "")
        assert.equal(1, lines)
      end)

      it("does not start where it must have one, and says the way out", function()
        local app = "return require('sluice').app()"
        local code, log = server.run_to_end(without(ENOSYS, { io_uring = "on", app = app }))
        assert.equal(1, code, log)
        assert.truthy(log:find("--io-uring on: this kernel has none; with auto Sluice runs without it", 1, true), log)
      end)
    end)
  end
end)

describe("streams of one batch", function()
  after_each(live.stop_all)

  -- 20 read, 20 stall and read later, 20 are reset at a moment that the server cannot know of.
  it("each get all, whatever becomes of those beside them", function()
    local s = live.start(APP, { io_uring = "auto", args = { "--stall-timeout", 60 } })
    local good = crowd.connect(s.port, "/log", 20, { shrink = true })
    local late = crowd.connect(s.port, "/log", 20, { shrink = true, rcvbuf = 8192 })
    local gone = crowd.connect(s.port, "/log", 20)
    local n = 0
    local function publish(count)
      s.publish("log", { n = count, first = n + 1, pad = 3000 })
      n = n + count
    end
    publish(60)
    for i, m in ipairs(gone) do
      m.sock:setoption("linger", { on = true, timeout = 0 })
      m.sock:close() -- a reset, since it has unread bytes
      if i % 5 == 0 then publish(5) end
    end
    publish(120)
    for _, list in ipairs { good, late } do
      list:wait_for(('"n":%d'):format(n), 30)
      for _, m in ipairs(list) do
        local numbers = crowd.numbers(m)
        assert.equal(n, #numbers)
        for i = 1, n do assert.equal(i, numbers[i]) end
      end
    end
    deadline.eventually(function() return figures(s).streams == 40 end, 5)
    good:close()
    late:close()
  end)
end)
