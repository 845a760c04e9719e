--- app:on("heard"): every node hears each event of a channel, whoever published it, and when it may have missed some.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

local SOURCE = [[
  app:channel("here", { history = 1, key = "id", rewind = "latest", ttl = false })
  app:stream("/s", "here")
  local seen = app:state("seen", { list = {} })
  app:on("heard", "here", function(e)
    local list = seen().list
    list[#list + 1] = e.missed and "missed" or ("%s %s %s%s%s"):format(e.event, e.key, sluice.json.encode(e.data),
      e.removed and " removed" or "", e.own and " own" or "")
  end)
  app:post("/set/:id", function(req)
    assert(app:publish("here", "came", { id = req.params.id }, { lease = req.query.lease == "1" }))
    return 204
  end)
  app:post("/remove/:id", function(req) app:remove("here", req.params.id) return 204 end)
  app:get("/seen", function() local list = seen().list seen().list = {} return { list = sluice.json.array(list) } end)
]]

local t

local function seen(n) return (n and t:node(n) or t):get("/seen").json.list end

describe("what is heard", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("is what this process publishes, when it is alone", function()
    t = testing.start({ source = kit.source(SOURCE) })
    t:post("/set/a")
    t:post("/remove/a")
    assert.same({ 'came a {"id":"a"} own', 'removed a {"key":"a"} removed own' }, seen())
  end)

  it("is a channel's, not a pattern's", function()
    local ok, problem = pcall(testing.start, { source = kit.source [[app:on("heard", "here/*", print)]] })
    assert.is_false(ok)
    assert.matches("the name of one channel is expected, not the pattern 'here/%*'", tostring(problem))
  end)

  if not require("sluice.core").build().libraries.hiredis then return end

  local function start()
    t = testing.start({ source = kit.source(SOURCE) }, { nodes = 3 })
    t:advance(12)
    for n = 1, 3 do assert.same({ "missed" }, seen(n)) end -- it was loaded
  end

  it("comes to all nodes in order, also what goes with a node that dies", function()
    start()
    t:node(1):post("/set/a?lease=1")
    t:node(2):post("/set/b")
    t:node(3):post("/remove/b")
    assert.same({ 'came a {"id":"a"}', 'came b {"id":"b"} own', 'removed b {"key":"b"} removed' }, seen(2))
    seen(3)
    t:node(1):crash()
    t:advance(15)
    for n = 2, 3 do assert.equal('removed a {"key":"a"} removed', (seen(n)[1]:gsub(' own$', ''))) end
  end)

  it("is said to be missed after a reload, and when Redis has lost something", function()
    start()
    assert(t:node(1):reload())
    assert.same({ "missed" }, seen(1))
    t:node(2):post("/set/a")
    assert.same({ 'came a {"id":"a"}' }, seen(1))
    t:redis { restart = true, lose = 1, fsync = "everysec" }
    t:advance(10)
    for n = 1, 3 do
      local list = seen(n)
      assert.equal("missed", list[#list])
    end
  end)
end)
