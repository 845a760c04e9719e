--- The stream behind the console's page: what it tells, that it costs nothing while nobody looks, and that it is no
--- client of the app.
local json = require("sluice.json")
local kit = require("spec.support.kit")
local tree = require("spec.support.tree")

local KEY = ("k"):rep(40)
local WITH_KEY = { Authorization = "Bearer " .. KEY }

local APP = [[
local seen = app:state("seen", { arrived = 0, left = 0, published = 0 })
app:channel("c/:n", { history = 10 })
app:channel("kept/:n", { history = "latest", key = "id" })
app:channel("log", { durable = true })
app:event_type("story", { fields = { text = "string", tone = { "low", "high", optional = true } } })
app:stream("/c/:n", { channels = { "c/:n" } })
app:stream("/all", { channels = { "log" } })
app:on("connect", function() seen().arrived = seen().arrived + 1 end)
app:on("disconnect", function() seen().left = seen().left + 1 end)
app:on("published", "c/:n", function() seen().published = seen().published + 1 end)
app:get("/broken", function() error("no such luck") end)
app:get("/broken/:n", function(req) error(("no such luck "):rep(100) .. req.params.n) end)
app:get("/clients/:id", function(req)
  local n = 0
  for _ in app:clients() do n = n + 1 end
  return 200, { n = n, stats = app:stats(), found = app:client(req.params.id) ~= nil }
end)
]]

describe("the console's stream", function()
  local t

  local function start(text, options)
    options = options or {}
    options.flags = options.flags or {}
    options.flags.admin_key = KEY
    t = kit.start(text or APP, options)
    return t
  end

  after_each(kit.stop_all)

  local function look(more)
    local options = { headers = WITH_KEY }
    for name, value in pairs(more or {}) do options[name] = value end
    return t:connect("/-/console/stream", options)
  end

  local function newest(c, event)
    local list = c:events(event)
    return list[#list] and list[#list].data
  end

  local function publish(body)
    return t:post("/-/console/publish", { headers = WITH_KEY, json = body })
  end

  it("needs the key; the page itself does not", function()
    start()
    assert.equal(401, t:connect("/-/console/stream").status)
    assert.equal(401, t:get("/-/console/stream").status)
    assert.equal(401, t:post("/-/console/publish", { json = { channel = "c/1" } }).status)
    assert.equal(401, t:get("/-/console/other.js").status)
    local page = t:get("/-/console")
    assert.equal(200, page.status)
    local files, policy = 0, page.body:match('Content%-Security%-Policy" content="([^"]+)"')
    for name in page.body:gmatch('="(console/[^"]+)"') do
      assert.equal(200, t:get("/-/" .. name).status, name)
      files = files + 1
    end
    assert.equal(4, files)
    assert.matches("^default%-src 'none'; script%-src 'self';", policy)
    assert.matches('href="console.css"', t:get("/-/console/").body)
    assert.is_nil(page.body:find("https?://"))
  end)

  it("has the colours of the examples, and loads nothing from elsewhere", function()
    local function colours(path)
      local found = {}
      for block in tree.read(path):gmatch(":root (%b{})") do
        local list = {}
        for name, value in block:gmatch("(%-%-[%w-]+): ([^;]+);") do list[name] = value end
        found[#found + 1] = list
      end
      return found
    end
    local ours = colours("lua/sluice/console/page/console.css")
    assert.equal(2, #ours) -- light and dark
    assert.same(colours("examples/look/look.css"), ours)
    for _, path in ipairs(tree.files("^lua/sluice/console/page/")) do
      assert.is_nil(tree.read(path):gsub("http://www.w3.org/2000/svg", ""):find("//%w+%.%w"), path)
    end
  end)

  it("tells figures once a second, of the app's clients alone", function()
    start()
    local c = look()
    t:connect("/c/1")
    t:advance(1)
    local before = newest(c, "pulse")
    for i = 1, 30 do t:publish("c/1", "x", { n = i }) end
    t:advance(2)
    local now = newest(c, "pulse")
    assert.equal(1, now.streams)
    assert.equal(30, now.delivered - before.delivered)
    assert.equal(30, now.published - before.published)
    assert.equal(2, now.at - before.at)
    assert.is_true(now.delivered_bytes - before.delivered_bytes < 30 * 80) -- not what the console is sent
    assert.equal(0, now.behind)
    assert.same({}, now.slowest)
  end)

  it("is no client of the app: no hook, no count, no list, no limit", function()
    start('app:limits { max_streams_per_address = 1 }\n' .. APP)
    local c, d = look(), look()
    t:connect("/c/1")
    t:advance(3)
    local answer = t:get("/clients/" .. c.id).json
    assert.same({ 1, 1, false }, { answer.n, answer.stats.clients, answer.found })
    c:close()
    d:close()
    t:advance(3)
    local seen = t:state("seen")
    assert.same({ 1, 0 }, { seen.arrived, seen.left })
    assert.same({}, t:log("warn"))
  end)

  it("does nothing while nobody looks", function()
    start()
    local function steps() -- of the server in a minute
      local till, n = t.place:now() + 60, 0
      while t.place:move(till) do
        n = n + 1
        t:settle()
      end
      return n
    end
    t:advance(60)
    local idle = steps()
    local c, d = look(), look()
    assert.is_true(steps() >= idle + 60)
    c:close()
    assert.is_true(steps() >= idle + 60)
    d:close()
    t:settle()
    assert.equal(idle, steps())
    d = look()
    t:advance(2)
    assert.is_true(#d:events("pulse") >= 2)
  end)

  it("tells whom and what was sent most within a minute", function()
    start()
    local console, readers, sent = look(), {}, {}
    for n = 1, 15 do
      readers[n] = t:connect("/c/" .. n)
      sent[n] = {}
    end
    t:advance(3)
    local random = 12345
    local function draw(most)
      random = (random * 1103515245 + 12345) & 0x7fffffff
      return random // 65536 % most + 1
    end
    for second = 1, 90 do
      for n = 1, 15 do
        if draw(15) <= n then
          local text = ("x"):rep(draw(200))
          t:publish("c/" .. n, "x", text)
          table.insert(sent[n], { at = second, text = text })
        end
      end
      t:advance(1)
    end
    t:advance(6)
    local ids = {} -- the judge: what came, byte by byte, in the seconds that are covered
    local round = newest(console, "round")
    for n, c in ipairs(readers) do ids[c.id] = n end
    assert.is_true(round.seconds >= 55 and round.seconds <= 65, round.seconds)
    assert.equal(10, #round.clients)
    assert.equal(10, #round.channels)
    local function bytes_of(n, seconds)
      local sum, list = 0, readers[n]:events("x")
      for i, e in ipairs(list) do
        local block = ("id: %s\nevent: x\ndata: %s\n\n"):format(e.id, sent[n][i].text)
        if t.place:time() - e.at <= seconds then sum = sum + #block end
      end
      return sum
    end
    local last = math.huge
    for i, row in ipairs(round.channels) do
      local n = tonumber(row.name:match("%d+"))
      local least, most = bytes_of(n, round.seconds - 2), bytes_of(n, round.seconds + 12)
      local fits = row.bytes >= least and row.bytes <= most
      assert.is_true(fits, ("%s: %d of %d to %d"):format(row.name, row.bytes, least, most))
      assert.is_true(row.bytes <= last)
      last = row.bytes
      assert.is_true(round.clients[i].bytes <= (round.clients[i - 1] or { bytes = math.huge }).bytes)
      assert.matches("^/c/%d+$", round.clients[i].path)
      assert.equal(round.clients[i].path, "/c/" .. ids[round.clients[i].client])
    end
    readers[15]:close()
    t:advance(6)
    for _, row in ipairs(newest(console, "round").clients) do assert.not_equal("/c/15", row.path) end
  end)

  it("counts streams by route and channels by pattern", function()
    start()
    local c = look()
    for n = 1, 3 do t:connect("/c/" .. n) end
    t:connect("/all")
    t:publish("c/1", "x", { n = 1 })
    t:advance(12)
    local open = {}
    for _, row in ipairs(newest(c, "round").streams) do open[row.route] = row.open end
    assert.same({ ["GET /c/:n"] = 3, ["GET /all"] = 1 }, open)
    local rows = {}
    for _, row in ipairs(newest(c, "patterns").list) do rows[row.pattern] = row end
    assert.equal(3, rows["c/:n"].subscribers)
    assert.equal(1, rows["c/:n"].published)
    assert.equal(1, rows["c/:n"].delivered)
  end)

  it("tells errors with their traceback, and how often each came", function()
    start()
    local early = look()
    t:get("/broken")
    t:advance(1)
    t:get("/broken")
    t:advance(1)
    local late = look()
    t:advance(1)
    for _, c in ipairs { early, late } do
      local error = newest(c, "problem")
      assert.equal("app.lua:13: no such luck", error.text)
      assert.equal(2, error.times)
      assert.matches("app.lua:13: in handler", error.traceback)
      assert.equal("GET /broken (app.lua:13)", error.where)
    end
  end)

  it("tells reloads with what they changed, and what the code is", function()
    start()
    local c = look()
    local code = newest(c, "code")
    assert.same({ 1, 1, false }, { code.generation, code.revisions, code.can_reload and code.rolled_back })
    assert.same({ "text: string", "tone: low|high?" }, code.types[1].fields)
    assert.same({ "c/:n", "kept/:n", "log" }, code.channels)
    assert(t:reload(kit.source((APP:gsub("history = 10", "history = 20")))))
    t:advance(1)
    assert.matches("^~channel:c/:n history 10→20$", newest(c, "reload").difference)
    assert.same({ 2, 2 }, { newest(c, "code").generation, newest(c, "code").revisions })
    t:reload("this is no Lua")
    t:advance(1)
    local failed = newest(c, "reload")
    assert.same({ false, "load" }, { failed.ok, failed.phase })
    assert.matches("^app.lua:1: ", failed.text)
    local other = look()
    assert.equal(2, #other:events("reload"))
    t:post("/-/reload?rollback=1", { headers = WITH_KEY })
    t:advance(1)
    assert.is_true(newest(other, "code").rolled_back)
  end)

  it("publishes as the app would", function()
    start()
    local reader = t:connect("/c/1")
    local answer = publish { channel = "c/1", event = "story", data = { text = "by hand" } }
    assert.equal(200, answer.status)
    assert.same({ 1, false }, { answer.json.subscribers, answer.json.duplicate })
    assert.equal("by hand", reader:wait_for("story").data.text)
    assert.equal(answer.json.id, reader:last_id())
    assert.equal(1, t:state("seen").published)
    assert.equal(200, publish({ channel = "c/1", data = "plain" }).status)
    assert.equal("plain", reader:wait_for("message").data)
    assert.is_true((t:log("info")[#t:log("info")]):find("console: published 'message' on 'c/1'", 1, true) ~= nil)
    assert.equal(200, publish({ channel = "log", event = "x", data = { 1 } }).status) -- on the disk
    assert.equal(200, publish({ channel = "kept/1", data = { id = "a" } }).status)
    local wrong = { { { channel = "c/1", event = "story", data = {} }, 422, "story: text is missing" },
      { { channel = "kept/1", data = { n = 1 } }, 422, "the data has no field 'id'" },
      { { channel = "c d" }, 400, "may hold letters" }, { { event = "x" }, 422, "channel is missing" },
      { { channel = "c/1", event = "a\nb" }, 422, "" }, { { channel = 7 }, 422, "a string is expected" } }
    for _, case in ipairs(wrong) do
      local got = publish(case[1])
      assert.equal(case[2], got.status, json.encode(case[1]))
      assert.truthy(got.json.error.message:find(case[3], 1, true), got.body)
    end
    assert.equal(400, t:post("/-/console/publish", { headers = WITH_KEY, body = "{" }).status)
  end)

  it("lets sixteen look, and takes nobody's memory who does not read", function()
    start()
    local list = {}
    for i = 1, 16 do list[i] = look() end
    assert.equal("overload", look():events("bye")[1].data.reason)
    list[1]:close()
    t:advance(1)
    list[1] = look()
    list[2]:stall()
    for i = 3, 16 do list[i]:close() end
    local most = 0
    for _ = 1, 25 do
      for n = 1, 20 do t:get("/broken/" .. n) end
      t:advance(1)
      for _, viewer in pairs(t.place.runtime.console.viewers.list) do most = math.max(most, #viewer.queue) end
    end
    assert.equal(200, most)
    assert.equal(25, newest(list[1], "problem").times)
  end)
end)
