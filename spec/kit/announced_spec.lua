--- Which streams that come and go are reported to the app: all while it has hooks, else none. The app
--- sees the streams all the same.
local callbacks = require("sluice.live.callbacks")
local kit = require("spec.support.kit")
local process = require("sluice.base.process")

local PLAIN = [[
  app:channel("news", { history = 10 })
  app:stream("/news", "news")
  app:stream("/function", function() return "news" end)
  app:stream("/named", function() return { channels = { "news" }, meta = { n = 1 } } end)
  app:get("/seen", function()
    local n = 0
    for _ in app:clients({ channel = "news" }) do n = n + 1 end
    return { all = n, followers = app:stats("news").subscribers, clients = app:stats().clients }
  end)]]

local HOOKS = PLAIN .. [[

  app:channel("told", { history = 100 })
  app:on("connect", function(client) app:publish("told", "connect", client.path) end)
  app:on("disconnect", function(client, why) app:publish("told", why, client.path) end)
  app:get("/told", function()
    local list = {}
    for _, e in ipairs(app:history("told")) do list[#list + 1] = e.event .. " " .. e.data end
    return { list = list }
  end)]]

describe("streams that come and go", function()
  local real, calls = {}, {}

  before_each(function()
    for _, kind in ipairs { "open", "close" } do
      real[kind], calls[kind] = callbacks[kind], 0
      callbacks[kind] = function(...)
        calls[kind] = calls[kind] + 1
        return real[kind](...)
      end
    end
  end)
  after_each(function()
    kit.stop_all()
    for kind, fn in pairs(real) do callbacks[kind] = fn end
  end)

  local function seen(t)
    local body = t:get("/seen").json
    return { body.all, body.followers, body.clients }
  end

  it("cost the script nothing while no hook asks, and are seen when it looks", function()
    local t = kit.start(PLAIN)
    local one, two = t:connect("/news"), t:connect("/function")
    assert.same({ 2, 2, 2 }, seen(t))
    assert.equal(2, select(2, t:publish("news", "a", {})))
    one:close()
    assert.equal(1, select(2, t:publish("news", "a", {})))
    two:close()
    assert.same({ 0, 0, 0 }, seen(t))
    assert.same({ open = 0, close = 0 }, calls)
  end)

  it("are forgotten with what was remembered of them", function()
    local t = kit.start(PLAIN)
    local c = t:connect("/named")
    assert.same({ n = 1 }, process.runtime.clients[c.id].meta)
    c:close()
    t:advance(1)
    assert.is_nil(next(process.runtime.clients))
    assert.same({ open = 0, close = 1 }, calls)
  end)

  it("are told to the hooks of a reload from then on", function()
    local t = kit.start(PLAIN)
    local before, gone = t:connect("/news"), t:connect("/news")
    gone:close()
    assert.is_true(t:reload(kit.source(HOOKS)))
    local after = t:connect("/function")
    before:close()
    after:close()
    t:advance(1)
    assert.same({ "connect /function", "gone /news", "gone /function" }, t:get("/told").json.list)
    assert.is_true(t:reload(kit.source(PLAIN)))
    local open = calls.open
    t:connect("/news"):close()
    assert.same({ 0, 0, 0 }, seen(t))
    assert.equal(open, calls.open)
  end)
end)
