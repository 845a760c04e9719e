--- Servers that share one log: real processes and a real redis-server, read with clients on the wire.
local cluster_metrics = require("sluice.requests.cluster_metrics")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 50 })
app:channel("scores", { history = "latest", key = "team" })
app:channel("stock/*", { history = 20, rewind = "latest", key = "item" })
app:channel("brief/*", { ttl = 1 })
app:stream("/news", { channels = { "news" } })
app:stream("/scores", { channels = { "scores" } })
app:stream("/any", function(req) return { channels = { req.query.channel } } end)
app:stream("/news-again", { channels = { "news" }, rewind = "all" })
app:post("/publish", function(req)
  local q = req.query
  local data = { n = tonumber(q.n), team = q.key, item = q.key }
  local opts = { idempotency = q.token, remove = q.remove == "1" or nil, ttl = tonumber(q.ttl) }
  if q.wait == "0" then opts.wait = false end
  local id, subscribers, again = app:publish(q.channel, "message", data, opts)
  if not id then return nil, subscribers, again end
  return { id = id, subscribers = subscribers, again = again }
end)
app:get("/read", function(req)
  local q = req.query
  return { latest = app:latest(q.channel, q.key), history = app:history(q.channel) }
end)
app:post("/update", function(req)
  local opts = { update = true, key = req.query.key }
  local id, message, code = app:publish(req.query.channel, "message", { item = req.query.key }, opts)
  if not id then return nil, message, code end
  return { id = id }
end)
app:post("/add", function(req)
  app:client(req.query.client):subscribe(req.query.channel)
  return {}
end)
return app
]]

local function publish(node, query)
  local r = http.post(node.port, "/publish?" .. query)
  return json.decode(r.body), r.status
end

describe("a server in a cluster", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  local cluster

  setup(function() cluster = nodes.start { app = APP } end)
  teardown(function() cluster:stop() end)

  local function follow(i, path, last)
    local client = sse.connect(cluster[i].port, path, { last_event_id = last })
    assert.equal("hello", client:next_event(5).event)
    return client
  end

  --- The next event that is no sync.
  local function next_of(client)
    local event
    repeat event = assert(client:next_event(5)) until event.event ~= "sync"
    return event
  end

  it("publishes on one node what clients of another get, with the same id", function()
    local here, there = follow(1, "/news"), follow(2, "/news")
    local answer = publish(cluster[1], "channel=news&n=1")
    assert.equal(1, answer.subscribers)
    for _, client in ipairs { here, there } do
      local event = next_of(client)
      assert.same({ answer.id, 1 }, { event.id, json.decode(event.data).n })
    end
    local second = publish(cluster[2], "channel=news&n=2")
    for _, client in ipairs { here, there } do assert.equal(second.id, next_of(client).id) end
    here:close()
    there:close()
  end)

  it("gives a client that comes to another node what it missed", function()
    local client = follow(1, "/any?channel=away")
    local first = publish(cluster[1], "channel=away&n=1")
    assert.equal(first.id, next_of(client).id)
    client:close()
    local ids = {}
    for n = 2, 6 do ids[n] = publish(cluster[1 + n % 2], "channel=away&n=" .. n).id end
    local again = sse.connect(cluster[2].port, "/any?channel=away", { last_event_id = first.id })
    local hello = again:next_event(5)
    assert.truthy(json.decode(hello.data).resumed)
    for n = 2, 6 do assert.equal(ids[n], next_of(again).id) end
    again:close()
  end)

  it("loads a channel for its first follower: history, states, keyed logs", function()
    for n = 1, 3 do publish(cluster[1], "channel=stock/a&key=k" .. n % 2 .. "&n=" .. n) end
    publish(cluster[1], "channel=scores&key=red&n=1")
    publish(cluster[1], "channel=scores&key=blue&n=2")
    publish(cluster[1], "channel=scores&key=red&n=3")
    publish(cluster[1], "channel=scores&key=blue&remove=1")
    local scores = follow(2, "/scores")
    assert.same({ team = "red", n = 3 }, (function(d) return { team = d.team, n = d.n } end)(
      json.decode(next_of(scores).data)))
    publish(cluster[1], "channel=scores&key=green&n=4")
    assert.equal("green", json.decode(next_of(scores).data).team)
    scores:close()
    local stock = follow(2, "/any?channel=stock/a")
    assert.equal(2, json.decode(next_of(stock).data).n)
    assert.equal(3, json.decode(next_of(stock).data).n)
    stock:close()
    publish(cluster[2], "channel=news&n=10")
    local all = follow(1, "/news-again")
    deadline.eventually(function() return json.decode(next_of(all).data).n == 10 end, 10, "it has all")
    all:close()
  end)

  it("stores once what has one idempotency key, on whatever node", function()
    local first = publish(cluster[1], "channel=news&n=20&token=a")
    local second = publish(cluster[2], "channel=news&n=20&token=a")
    assert.same({ first.id, false, true }, { second.id, first.again, second.again })
    local client = follow(1, "/any?channel=news")
    local third = publish(cluster[2], "channel=news&n=21&token=b&wait=0")
    assert.equal(true, third.id)
    assert.equal(21, json.decode(next_of(client).data).n)
    client:close()
  end)

  it("loads a channel that its app reads and nobody follows", function()
    for n = 1, 3 do publish(cluster[1], "channel=read&n=" .. n) end
    publish(cluster[1], "channel=stock/read&key=a&n=7")
    local function read(query) return json.decode(http.get(cluster[2].port, "/read?" .. query).body) end
    local told = read("channel=read")
    assert.same({ 3, 3 }, { told.latest.n, #told.history })
    assert.equal(7, read("channel=stock/read&key=a").latest.n)
    local answer = publish(cluster[2], "channel=read&n=4")
    assert.equal(answer.id, read("channel=read").history[4].id)
    assert.equal(404, http.post(cluster[2].port, "/update?channel=stock/new&key=a").status)
    assert.equal(200, http.post(cluster[1].port, "/update?channel=stock/read&key=a").status)
  end)

  it("lets go of a channel that nobody follows any more, and loads it again", function()
    local client = follow(2, "/any?channel=brief/a")
    local first = publish(cluster[1], "channel=brief/a&n=1")
    assert.equal(first.id, next_of(client).id)
    client:close()
    local most = 0 -- its figures are up to a second old
    deadline.eventually(function()
      local warm = select(2, cluster:state(2)).warm
      most = math.max(most, warm)
      return warm < most
    end, 15, "it has let go")
    local second = publish(cluster[1], "channel=brief/a&n=2")
    client = sse.connect(cluster[2].port, "/any?channel=brief/a", { last_event_id = first.id })
    local hello = client:next_event(5)
    assert.is_true(json.decode(hello.data).resumed, hello.data)
    assert.equal(second.id, next_of(client).id)
    client:close()
  end)

  it("keeps nothing for channels that many have looked at in vain", function()
    if not os.getenv("SLUICE_SPEC_FULL") then return pending("waits for seconds: full size only") end
    for n = 1, 30 do follow(1, "/any?channel=vain/" .. n):close() end
    local most = 0
    deadline.eventually(function()
      local warm = select(2, cluster:state(1)).warm
      most = math.max(most, warm)
      return warm <= most - 30
    end, 20, "it has let go of them")
  end)

  it("withdraws an event when its time is over, on every node", function()
    local client = follow(1, "/any?channel=short")
    publish(cluster[1], "channel=short&n=1&ttl=600")
    publish(cluster[1], "channel=short&n=2&ttl=1.5")
    assert.equal(1, json.decode(next_of(client).data).n)
    assert.equal(2, json.decode(next_of(client).data).n)
    for i = 2, 1, -1 do
      deadline.eventually(function()
        local history = json.decode(http.get(cluster[i].port, "/read?channel=short").body).history
        return #history == 1 and history[1].data.n == 1
      end, 10, "it is withdrawn on node " .. i)
    end
    client:close()
  end)

  it("says how it stands", function()
    cluster:wait_live()
    local _, look = cluster:state(1)
    assert.same({ "n1", 0 }, { look.node, look.away_seconds })
    local function metrics() return http.get(cluster[1].port, "/-/metrics", { ["X-Admin-Key"] = nodes.KEY }).body end
    assert.truthy(metrics():find('sluice_cluster_state{node="n1",state="live"} 1', 1, true))
    publish(cluster[1], "channel=news&n=30")
    deadline.eventually(function()
      return tonumber(metrics():match('sluice_cluster_published_events_total{node="n1"} ([%d.]+)')) > 0
    end, 10, "its figures have the publish")
    deadline.eventually(function() return select(2, cluster:state(1)).nodes == 2 end, 10, "it knows both")
    local text = metrics()
    for _, row in ipairs(cluster_metrics) do
      local name = row[1] .. (row[2] == "counter" and "_total" or "")
      assert.truthy(text:find(name .. '{[^}]*node="n1"[^}]*} %d'), name)
    end
    assert.is_true(tonumber(text:match('round_trip_seconds{node="n1"} (%S+)')) > 0)
    assert.is_true(tonumber(text:match('read_lag_seconds{node="n1"} (%S+)')) >= 0)
    for _, code in ipairs { "EBUSY", "EFULL", "ESTORE", "other" } do
      assert.truthy(text:find(('refused_publishes_total{code="%s",node="n1"} 0'):format(code), 1, true), code)
    end
  end)

  it("lets the app subscribe an open stream to a channel that is not here yet", function()
    publish(cluster[1], "channel=late&n=1")
    local client = sse.connect(cluster[2].port, "/any?channel=news")
    local id = json.decode(client:next_event(5).data).client
    http.post(cluster[2].port, "/add?channel=late&client=" .. id)
    local answer
    deadline.eventually(function()
      answer = publish(cluster[1], "channel=late&n=2")
      local event = client:next_event(1)
      return event and event.event == "message" and json.decode(event.data).n == 2
    end, 10, "it follows the channel")
    assert.truthy(answer.id)
    client:close()
  end)

  it("says that its port is taken, and ends", function()
    local args = { "--cluster", "redis://127.0.0.1:" .. cluster.redis.port, "--cluster-name", "taken" }
    local code, log = server.run_to_end { app = APP, port = cluster[1].port, args = args }
    assert.same({ 1, "EADDRINUSE" }, { code, log:match("EADDRINUSE") })
    assert.is_nil(log:find("ssertion", 1, true), log)
  end)
end)
