--- Heartbeats: after silence only, `:` and LF in a chunk of their own; sync in their place.
local crowd = require("spec.support.crowd")
local deadline = require("spec.support.deadline")
local live = require("spec.support.live")
local socket = require("socket")

local s, filtered, whole, first_id, connected_at

--- The chunks of the next `seconds`.
local function chunks_of(c, seconds)
  local list, ends = {}, socket.gettime() + seconds
  while socket.gettime() < ends do
    local piece, err = c:next_chunk(function() return math.max(0, ends - socket.gettime()) end)
    if not piece then
      assert.equal("timeout", err)
      break
    end
    list[#list + 1] = piece
  end
  return list
end

describe("a heartbeat", function()
  -- Two streams are quiet from the start; the last test looks at them.
  setup(function()
    s = live.start([[
      app:channel("log", { history = 100 })
      app:channel("busy", { history = 100 })
      app:channel("short", { history = 2 })
      app:stream("/log", "log")
      app:stream("/short", "short")
      app:stream("/busy", "busy")
      app:stream("/never", { channels = { "log" }, heartbeat = 3 })
      app:stream("/route", { heartbeat = 2 }, "log")
      app:stream("/filtered", { channels = { "short" }, types = { "wanted" } })
      app:every(0.3, function() app:publish("busy", "tick", {}) end)]], { args = { "--heartbeat", "1" } })
    filtered, whole = live.connect(s, "/filtered"), live.connect(s, "/short")
    first_id = filtered.last_id
    s.publish("short", { event = "other", n = 4 })
    connected_at = socket.gettime()
  end)
  teardown(live.stop_all)

  it("is `:` and LF, in a chunk of its own", function()
    local c = live.connect(s, "/log")
    assert.equal(1, c.hello.heartbeat)
    local seconds = 3.5
    local list = chunks_of(c, seconds)
    assert.is_true(#list >= 2 and #list <= 4, #list .. " in 3.5 s")
    for _, chunk in ipairs(list) do assert.equal(":\n", chunk) end
    c:close()
  end)

  it("is not written where something else was", function()
    local all = crowd.connect(s.port, "/busy", 5)
    all:wait_for("event: tick", 10, 8)
    for _, m in ipairs(all) do assert.is_nil(crowd.text(m):find("\n:\n", 1, true)) end
    all:close()
  end)

  it("has the time that a plan or a route says", function()
    for path, seconds in pairs { ["/never"] = 3, ["/route"] = 2 } do
      local c = live.connect(s, path)
      assert.equal(seconds, c.hello.heartbeat)
      local from = deadline.now()
      assert.equal("", c:next_comment(seconds + 1))
      local quiet, took = deadline.since(from)
      assert.is_true(took > seconds * 0.9 - 0.15 and quiet < seconds + 0.5, path .. " after " .. took)
      c:close()
    end
  end)

  it("keeps a hundred streams within 1.2 s, and not all beat together", function()
    live.one_of(3, function()
      local all, at, moments = crowd.connect(s.port, "/log", 100), {}, 0
      all:read(3)
      all:close()
      local gap = 0
      for _, m in ipairs(all) do
        gap = math.max(gap, m.gap)
        at[math.floor(m.at * 10)] = true
      end
      for _ in pairs(at) do moments = moments + 1 end
      return gap < 1.2 and moments > 1, ("%s s of silence, %d moments"):format(gap, moments)
    end)
  end)

  it("makes room for a sync when the last id of a filtered stream is 15 s old", function()
    local left = connected_at + 17 - socket.gettime()
    local sync = assert(filtered:wait_for("sync", math.max(1.5, left)))
    assert.is_true(socket.gettime() - connected_at > 14.5)
    assert.equal("{}", sync.data)
    for _ = 1, 4 do assert(whole:wait_for("other")) end
    local function seq(id) return tonumber(id:match("%d+$")) end
    assert.is_true(seq(sync.id) >= seq(whole.last_id))
    filtered:close()
    whole:close()
    -- which spares the next connect a reset, though the history moved on meanwhile
    local c = live.connect(s, "/filtered", { last_event_id = first_id })
    assert.equal("trimmed", live.data(c:wait_for("reset")).reason)
    c:close()
    c = live.connect(s, "/filtered", { last_event_id = sync.id })
    assert.is_true(c.hello.resumed)
    c:close()
  end)
end)
