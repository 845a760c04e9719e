--- Histories of a cluster that are longer than what a node holds of a durable log in memory: newcomers, those who come
--- back, polls, pages and slow readers get all that Redis keeps, at once and without a reset.
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local sse = require("spec.support.sse")

local EVENTS, BIG, LAG = 6000, 100, 3000

local APP = [[
local app = require("sluice").app()
for _, kind in ipairs { "durable", "memory" } do
  app:channel(kind .. "/*", { history = 10000, rewind = "all", durable = kind == "durable" })
end
app:channel("big/*", { rewind = "all", durable = true })
app:channel("short/*", { history = 1500, rewind = "all", durable = true })
app:stream("/all", function(req) return { channels = { req.query.channel } } end)
app:stream("/newest", function(req) return { channels = { { req.query.channel, rewind = 3000 } } } end)
app:durable_stream("/pages", function(req) return { channel = req.query.channel } end)
app:post("/fill", function(req)
  local q = req.query
  local first, last, text = tonumber(q.first), tonumber(q.last), ("x"):rep(tonumber(q.bytes))
  for n = first, last - 1 do app:publish(q.channel, "e", { n = n, text = text }, { wait = false }) end
  return { id = assert(app:publish(q.channel, "e", { n = last, text = text })) }
end)
return app
]]

describe("a long history of a cluster", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  local cluster

  setup(function()
    cluster = nodes.start { app = APP, args = { "--cluster-durable", "aof" } }
    cluster:wait_live()
  end)
  teardown(function() cluster:stop() end)

  --- Publish these numbers on the first node; the id of the last.
  local function fill(channel, first, last, bytes)
    local id
    for from = first, last, 1000 do
      local r = http.post(cluster[1].port, ("/fill?channel=%s&first=%d&last=%d&bytes=%d"):format(channel, from,
        math.min(from + 999, last), bytes or 150))
      assert.equal(200, r.status, r.body)
      id = json.decode(r.body).id
    end
    return id
  end

  local function open(i, channel, options)
    local client = sse.connect(cluster[i].port, "/all?channel=" .. channel, options)
    return client, json.decode(assert(client:next_event(5)).data)
  end

  --- Exactly these numbers come next, and nothing else.
  local function gets(client, first, last)
    for n = first, last do
      local event = assert(client:next_event(5))
      while event.event == "sync" do event = assert(client:next_event(5)) end
      assert.equal("e", event.event, event.data)
      assert.equal(n, json.decode(event.data).n)
    end
  end

  local function is_list(first, last, list)
    assert.equal(last - first + 1, #list)
    for i, n in ipairs(list) do assert.equal(first + i - 1, n) end
  end

  local function is_whole(channel)
    local tenth = fill(channel, 1, 10)
    fill(channel, 11, EVENTS)
    for i = 1, 2 do -- the second node has to load it
      local newcomer = open(i, channel)
      gets(newcomer, 1, EVENTS)
      newcomer:close()
      local back, hello = open(i, channel, { last_event_id = tenth })
      assert.is_true(hello.resumed)
      gets(back, 11, EVENTS)
      back:close()
    end
  end

  -- How many pages the nodes have asked for.
  local function pages()
    return tonumber(cluster.redis:call("INFO", "commandstats"):match("cmdstat_llen:calls=(%d+)"))
  end

  it("is whole for newcomers and for who comes back", function()
    is_whole("durable/a")
    assert.is_true(pages() > 100) -- of 128 events each: no node holds all of it
  end)

  it("gives a newcomer the newest that it asks for, more than a node holds", function()
    local newcomer = sse.connect(cluster[2].port, "/newest?channel=durable/a")
    assert.equal("hello", newcomer:next_event(5).event)
    gets(newcomer, EVENTS - 2999, EVENTS)
    newcomer:close()
  end)

  if os.getenv("SLUICE_SPEC_FULL") then
    it("is so where it is not durable", function() is_whole("memory/a") end)
  end

  it("is whole in polls", function()
    local list, query = {}, ""
    repeat
      local r = http.get(cluster[2].port, "/all?channel=durable/a&mode=poll" .. query, { Accept = "application/json" })
      local answer = json.decode(r.body)
      for _, e in ipairs(answer.events) do
        assert.equal("e", e.event)
        list[#list + 1] = json.decode(e.data).n
      end
      query = ("&poll=%s&lastEventId=%s"):format(answer.poll, answer.cursor)
    until #answer.events == 0 or #list >= EVENTS
    is_list(1, EVENTS, list)
  end)

  it("is whole in pages", function()
    local offset, list = "-1", {}
    local r
    repeat
      r = http.get(cluster[2].port, "/pages?channel=durable/a&offset=" .. offset)
      assert.equal(200, r.status, r.body)
      for _, d in ipairs(json.decode(r.body)) do list[#list + 1] = d.n end
      offset = r.headers["stream-next-offset"]
    until r.headers["stream-up-to-date"]
    is_list(1, EVENTS, list)
  end)

  it("is whole where few events are large", function()
    fill("big/a", 1, BIG, 5000)
    for i = 1, 2 do
      local newcomer = open(i, "big/a")
      gets(newcomer, 1, BIG)
      newcomer:close()
    end
  end)

  it("comes to who reads slowly, however far it lags", function()
    local first = fill("durable/c", 1, 1)
    local slow, hello = open(2, "durable/c", { last_event_id = first, rcvbuf = 4096 })
    assert.is_true(hello.resumed)
    fill("durable/c", 2, 1 + LAG, 2000)
    gets(slow, 2, 1 + LAG)
    slow:close()
  end)

  it("tells who comes back to what it has not got any more, once", function()
    local first = fill("short/a", 1, 1)
    fill("short/a", 2, 2000)
    for i = 1, 2 do
      local back, hello = open(i, "short/a", { last_event_id = first })
      assert.is_false(hello.resumed)
      local reset = assert(back:next_event(5))
      assert.same({ "reset", "trimmed" }, { reset.event, json.decode(reset.data).reason })
      gets(back, 501, 2000)
      back:close()
    end
  end)
end)
