--- When sluice.client comes back, on the clock of a test: what takes minutes takes none.
local kit = require("spec.support.kit")

local URL = "http://source/feed"

local FOLLOW = ([[
  local client = require("sluice.client")
  local got = app:state("got", { texts = {} })
  app:post("/follow", function()
    app:spawn(function()
      for event in client.events(%q) do table.insert(got().texts, event.text) end
      got().over = true
    end)
  end)]]):format(URL)

local function stream(body) return { headers = { ["content-type"] = "text/event-stream" }, body = body } end

-- Follow a source that answers so, for so many seconds: the pauses between its requests.
local function pauses(answer, seconds)
  local t = kit.start(FOLLOW, { http = { [URL] = answer } })
  t:post("/follow")
  t:advance(seconds)
  local list, sent = {}, t:requests()
  for i = 2, #sent do list[i - 1] = sent[i].at - sent[i - 1].at end
  return list, t
end

local function assert_near(expected, list)
  for i, pause in ipairs(expected) do
    assert.is_true(list[i] and list[i] >= 0.74 * pause and list[i] <= 1.26 * pause,
      ("pause %d is %s, not about %g"):format(i, list[i], pause))
  end
end

describe("sluice.client", function()
  after_each(kit.stop_all)

  it("waits longer after each failure, up to half a minute", function()
    local list, t = pauses(function() return nil, "refused", "ECONNECT" end, 300)
    assert_near({ 3, 6, 12, 24, 24, 24, 24 }, list)
    local _, warnings = table.concat(t:log("warn"), "\n"):gsub("again in", "")
    assert.equal(1, warnings)
  end)

  it("comes back when the source wants it to", function()
    assert_near({ 10, 10, 10, 10 }, (pauses(stream("retry: 10000\n\n"), 60)))
    assert_near({ 3, 3, 3 }, (pauses(stream("data: 1\n\n"), 20)))
    assert_near({ 120, 120 }, (pauses(stream("retry: 120000\ndata: 1\n\n"), 320)))
  end)

  it("runs no hot loop, whatever the source wants", function()
    local list = pauses(stream("retry: 0\ndata: 1\n\n"), 2)
    assert.is_true(#list <= 27, #list .. " requests")
    list = pauses(stream(""), 100)
    assert_near({ 3, 6, 12, 24 }, list)
  end)

  it("never comes back at the same time as others", function()
    local list = pauses(stream("retry: 1000\n\n"), 30)
    local seen = {}
    for _, pause in ipairs(list) do seen[("%.3f"):format(pause)] = true end
    local different = 0
    for _ in pairs(seen) do different = different + 1 end
    assert.is_true(different > 20)
  end)

  it("is told stop by a Sluice, and keeps its control events to itself", function()
    local hello = 'event: hello\nid: e-0\ndata: {"client":"c","epoch":"e"}\n\n'
    local list, t = pauses(stream(hello .. "event: sync\nid: e-1\ndata: {}\n\n"
      .. 'event: reset\nid: e-1\ndata: {"channel":"a"}\n\n'
      .. 'id: e-2\ndata: x\n\nevent: bye\nid: stop\ndata: {"reason":"stop"}\n\n'), 60)
    assert.same({}, list)
    assert.same({ texts = { '{"channel":"a"}', "x" }, over = true }, t:state("got"))
  end)

  it("goes on exactly after reloads, with its last id in a state", function()
    local events = {}
    local t = kit.start(([[
      local client = require("sluice.client")
      local got, at = app:state("got", { texts = {} }), app:state("at", {})
      app:service("feed", function()
        for event in client.events(%q, { last_event_id = at().id }) do
          table.insert(got().texts, event.text)
          at().id = event.id
          sluice.sleep(0.3)
        end
      end)]]):format(URL), { http = { [URL] = { events = events } } })
    for n = 1, 60 do
      events[n] = { data = tostring(n) }
      t:advance(0.5)
      if n % 7 == 0 then assert(t:reload()) end
    end
    t:advance(60)
    local texts = t:state("got").texts
    for n = 1, 60 do assert.equal(tostring(n), texts[n]) end
    assert.equal(60, #texts)
  end)

  it("hands on what is called hello elsewhere", function()
    local _, t = pauses(stream("event: hello\ndata: world\n\nevent: bye\ndata: moon\n\n"), 1)
    assert.same({ "world", "moon" }, t:state("got").texts)
  end)

  it("says that it is refused, once", function()
    local _, t = pauses(stream('event: bye\nretry: 1000\ndata: {"reason":"denied"}\n\n'), 10)
    local text = table.concat(t:log("warn"), "\n")
    assert.truthy(text:find("bye: denied", 1, true), text)
    assert.same({ texts = {} }, t:state("got"))
  end)
end)
