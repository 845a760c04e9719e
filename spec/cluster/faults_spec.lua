--- A cluster whose Redis dies, comes back, loses all, or does not answer: what open streams and publishers see.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local process = require("spec.support.process")
local sse = require("spec.support.sse")

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 50 })
local stood = {}
app:on("cluster", function(now) stood[#stood + 1] = now.state .. " " .. now.epoch end)
app:get("/stood", function() return { list = stood } end)
app:stream("/news", { channels = { "news" } })
app:channel("cold", { history = 50 })
app:stream("/cold", "cold")
app:post("/publish", function(req)
  local id, message, code = app:publish("news", "message", { n = tonumber(req.query.n) })
  if not id then return nil, message, code end
  return { id = id }
end)
return app
]]

local FULL = os.getenv("SLUICE_SPEC_FULL")

describe("a cluster", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  local cluster

  local function start(options)
    options = options or {}
    options.app = APP
    cluster = nodes.start(options)
  end
  after_each(function() cluster:stop() end)

  local function publish(i, n)
    local r = http.post(cluster[i].port, "/publish?n=" .. n)
    return json.decode(r.body), r.status
  end

  --- A stream on each node, behind its first event.
  local function follow_all()
    local clients = {}
    for i = 1, #cluster do
      clients[i] = sse.connect(cluster[i].port, "/news")
      assert.equal("hello", clients[i]:next_event(5).event)
    end
    local first = publish(1, 0)
    for _, client in ipairs(clients) do
      local event
      repeat event = assert(client:next_event(5)) until event.event == "message"
      assert.equal(first.id, event.id)
    end
    return clients, first.id:match("^%w+")
  end

  local function next_of(client, seconds)
    local event
    repeat event = assert(client:next_event(seconds or 10)) until event.event ~= "sync"
    return event
  end

  local function reload(i, text)
    process.write_file(cluster[i].folder .. "/app.lua", text)
    return http.post(cluster[i].port, "/-/reload", "", { ["X-Admin-Key"] = nodes.KEY })
  end

  --- The first event behind one reset.
  local function told(client, reason)
    local event = next_of(client)
    assert.equal("reset", event.event)
    assert.equal(reason, json.decode(event.data).reason)
    return next_of(client)
  end

  it("goes on as if nothing was when Redis has kept all", function()
    start()
    local clients, epoch = follow_all()
    cluster.redis:kill()
    cluster.redis:again()
    local second = publish(2, 1)
    assert.equal(epoch, second.id:match("^%w+"))
    deadline.eventually(function()
      local list = json.decode(http.get(cluster[1].port, "/stood").body).list
      return table.concat(list, " ") == ("live %s away %s live %s"):format(epoch, epoch, epoch)
    end, 10, "the app has heard of it")
    for _, client in ipairs(clients) do assert.equal(second.id, next_of(client).id) end
    for _, client in ipairs(clients) do client:close() end
  end)

  it("tells its readers, and begins another epoch, when Redis has lost all", function()
    start { config = {} }
    local clients = follow_all()
    local before = publish(1, 1)
    for _, client in ipairs(clients) do assert.equal(before.id, next_of(client).id) end
    cluster.redis:kill()
    cluster.redis:again()
    local after = publish(2, 2)
    assert.not_equal(before.id:match("^%w+"), after.id:match("^%w+"))
    for _, client in ipairs(clients) do assert.equal(after.id, told(client, "failover").id) end
    local back = sse.connect(cluster[1].port, "/news", { last_event_id = before.id })
    assert.equal("hello", back:next_event(5).event)
    assert.equal(after.id, told(back, "failover").id)
    local by = after.id:match("^%w+") .. " began, as node (n%d) found: what Redis had above number %d+ is lost"
    for i = 1, 2 do cluster[i].wait_log("epoch " .. by) end
    assert.equal(cluster[1].log():match(by), cluster[2].log():match(by))
    for _, client in ipairs(clients) do client:close() end
    back:close()
  end)

  it("refuses to start where a newer Sluice has written, or an older one, until the keys are deleted", function()
    start { n = 1 }
    publish(1, 1)
    cluster[1].stop()
    for fmt, remedy in pairs { [3] = "a newer version of Sluice: upgrade this node",
      [1] = "an older version of Sluice, which wrote them otherwise: stop its nodes and delete the keys" } do
      cluster.redis:call("HSET", "sluice:{test}:m", "fmt", fmt)
      local ok, why = pcall(cluster.more, cluster)
      assert.falsy(ok)
      assert.truthy(why:find(remedy, 1, true), why)
    end
    local page = assert(process.read_file("doc/cluster.md"))
    local script, keys = page:match('redis%-cli EVAL "([^"]+)" 0 \'([^\']+)\'')
    cluster.redis:call("EVAL", script, "0", (keys:gsub("shop", "test")))
    assert.same({}, cluster.redis:call("KEYS", "*"))
    cluster:more()
    assert.truthy(publish(2, 2).id)
  end)

  it("takes an id of a node that is ahead, and one that nobody gave for what it is", function()
    start()
    local clients = follow_all()
    local last = publish(1, 1)
    local epoch, seq = last.id:match("^(%w+)%-(%d+)$")
    local future = sse.connect(cluster[2].port, "/news", { last_event_id = epoch .. "-" .. seq + 1000 })
    assert.equal("hello", future:next_event(5).event)
    assert.equal("future", json.decode(next_of(future).data).reason)
    local other = sse.connect(cluster[2].port, "/news", { last_event_id = "aaaaaaaaaaaaa-1" })
    assert.equal("hello", other:next_event(5).event)
    assert.equal("epoch", json.decode(next_of(other).data).reason)
    for _, client in ipairs { future, other, clients[1], clients[2] } do client:close() end
  end)

  it("refuses to start where Redis cannot be used", function()
    start { n = 0, config = { maxmemory = "100mb", ["maxmemory-policy"] = "allkeys-lru" } }
    local ok, why = pcall(cluster.more, cluster)
    assert.falsy(ok)
    assert.truthy(why:find("noeviction", 1, true), why)
  end)

  it("tells readers of a log when another node has made it a state", function()
    start()
    local client = sse.connect(cluster[1].port, "/news")
    assert.equal("hello", client:next_event(5).event)
    assert.equal(publish(1, 1).id, next_of(client).id)
    assert.equal(200, reload(2, (APP:gsub("{ history = 50 }", '{ history = "latest", key = "n" }'))).status)
    for n = 2, 4 do assert.equal(true, publish(2, n).id) end
    local last, reset = publish(1, 5), next_of(client)
    assert.same({ "reset", "trimmed" }, { reset.event, json.decode(reset.data).reason })
    assert.equal(last.id, next_of(client).id)
    client:close()
  end)

  it("needs no more rights of its user than the page says", function()
    start { n = 0 }
    local page = assert(process.read_file("doc/cluster.md"))
    local rights = {}
    for word in assert(page:match("user sluice on >PASSWORD ([^\n]+)")):gmatch("%S+") do rights[#rights + 1] = word end
    cluster.redis:call("ACL", "SETUSER", "sluice", "on", ">pw", table.unpack(rights))
    cluster:more { user = "sluice:pw@" }
    assert.truthy(publish(1, 1).id)
    cluster.redis:call("ACL", "SETUSER", "sluice", "-zadd")
    cluster.redis:call("CLIENT", "KILL", "USER", "sluice")
    cluster[1].wait_log("may not", 10)
  end)

  it("takes reloads, also those that make a log a keyed one, and refuses what it cannot keep", function()
    start()
    local client = sse.connect(cluster[2].port, "/news")
    assert.equal("hello", client:next_event(5).event)
    local first = publish(1, 1)
    assert.equal(first.id, next_of(client).id)
    local keyed = APP:gsub("{ history = 50 }", '{ history = 50, rewind = "latest", key = "n" }')
    assert.equal(200, reload(2, keyed).status)
    local between = publish(1, 10) -- of a log, as it is there
    assert.equal(200, reload(1, keyed).status)
    local second, third = publish(2, 2), publish(1, 3)
    for _, answer in ipairs { between, second, third } do
      local event = next_of(client)
      assert.same({ "message", answer.id }, { event.event, event.id })
    end
    local newcomer = sse.connect(cluster[1].port, "/news")
    assert.equal("hello", newcomer:next_event(5).event)
    assert.equal(2, json.decode(next_of(newcomer).data).n)
    local answer = reload(1, (APP:gsub("{ history = 50 }", "{ durable = true }")))
    assert.truthy(answer.status >= 400 and answer.body:find("in a cluster", 1, true), answer.body)
    assert.truthy(publish(1, 4).id)
    client:close()
    newcomer:close()
  end)

  if not FULL then return end

  it("is not ready, and refuses what is published, when Redis is away for long", function()
    start { n = 1 }
    local clients = follow_all()
    cluster.redis.process:signal("STOP")
    deadline.eventually(function() return http.get(cluster[1].port, "/-/readyz").status == 503 end, 20, "not ready")
    local stranger = sse.connect(cluster[1].port, "/news", { last_event_id = "aaaaaaaaaaaaa-1", timeout = 10 })
    local bye
    repeat bye = assert(stranger:next_event(20)) until bye.event
    assert.same({ "bye", "moved" }, { bye.event, json.decode(bye.data).reason })
    stranger = sse.connect(cluster[1].port, "/cold", { timeout = 10 })
    repeat bye = assert(stranger:next_event(20)) until bye.event
    assert.same({ "bye", "moved" }, { bye.event, json.decode(bye.data).reason })
    local known = sse.connect(cluster[1].port, "/news", { last_event_id = clients[1].last_id })
    assert.equal("hello", known:next_event(5).event)
    known:close()
    local answer, status = publish(1, 1)
    assert.same({ 503, "EBUSY" }, { status, answer.error.code })
    assert.truthy(answer.error.message:find("Redis is away", 1, true))
    assert.truthy(http.get(cluster[1].port, "/-/readyz").body:find("Redis is away", 1, true))
    deadline.eventually(function()
      local _, look = cluster:state(1)
      return look.refused == 1 and look.refused_busy == 1
    end, 10, "it is counted by its code")
    cluster.redis.process:signal("CONT")
    deadline.eventually(function() return http.get(cluster[1].port, "/-/readyz").status == 200 end, 20, "ready")
    local good = publish(1, 2)
    assert.equal(good.id, next_of(clients[1]).id)
    clients[1]:close()
  end)
end)
