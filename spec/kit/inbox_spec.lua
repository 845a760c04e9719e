--- sluice.inbox in virtual time: what stays until it is acknowledged, on which devices, over reloads, restarts and
--- a disk that fails; whose it is; what is dropped and told; steps of an escalation. (At random:
--- inbox_random_spec. On real connections: spec/e2e/inbox_spec.lua.)
local kit = require("spec.support.kit")

local HEAD = [[
local inbox = require("sluice.inbox").new(app, { %s })
]]
local ROUTES = [[
inbox:stream("/n")
inbox:routes("/n")
app:post("/send/:to", function(req)
  return sluice.receipt(inbox:send(req.params.to, req:json()))
end)
app:post("/send", function(req)
  local body = req:json()
  return sluice.receipt(inbox:send(body.to, body.message))
end)
app:post("/broadcast", function(req)
  local body = req:json()
  local n, failed = inbox:broadcast(body.to, body.message)
  return { n = n, failed = failed }
end)
app:get("/list/:user", function(req)
  local user = req.params.user
  return { list = inbox:list(user), n = inbox:unread(user), channel = inbox:channel(user) }
end)
]]

local t

local function source(given, more) return (more or "") .. HEAD:format(given or "") .. ROUTES end

local function start(given, more, options)
  t = kit.start(source(given, more), options)
  return t
end

local function reload(given, more) assert(t:reload(kit.source(source(given, more)))) end

local function send(to, message, more)
  local body = { message = message }
  for name, value in pairs(more or {}) do body[name] = value end
  local answer = t:post("/send/" .. to, { json = body })
  assert.equal(202, answer.status, answer.body)
  return answer.json.id
end

local function device(user, options)
  options = options or {}
  options.user = user or "bob"
  return t:connect("/n", options)
end

local function ack(user, ...)
  local answer = t:post("/n/ack", { user = user, json = { ids = { ... } } })
  assert.equal(200, answer.status, answer.body)
  return answer.json.acknowledged
end

local function unread(user) return t:get("/n/unread", { user = user or "bob" }).json end

-- The messages of a device's notifications, acknowledgements as "-", drops as "!", escalations as "^step".
local function told(c)
  local out, by_id = {}, {}
  for _, e in ipairs(c:events()) do
    local d = e.data
    if e.event == "notification" then
      by_id[d.id] = d.message
      out[#out + 1] = d.message
    elseif e.event == "notification-ack" then
      out[#out + 1] = "-" .. (by_id[d.id] or "?")
    elseif e.event == "notification-dropped" then
      out[#out + 1] = "!" .. (by_id[d.id] or "?")
    elseif e.event == "escalation" then
      out[#out + 1] = ("^%d%s"):format(d.step, d.ok and "" or " " .. d.error)
    end
  end
  return table.concat(out, " ")
end

local function listed(user)
  local out = {}
  for i, item in ipairs(unread(user).notifications) do out[i] = item.message end
  return table.concat(out, " ")
end

describe("an inbox", function()
  after_each(kit.stop_all)

  it("keeps 120 over a day for two devices, in order, each once, over restarts and kill -9", function()
    start()
    local phone, seen = device(), {}
    local function comes_back()
      for _, e in ipairs(phone:events("notification")) do seen[#seen + 1] = e.data.message end
      assert.equal(0, phone:count("reset"))
      phone = phone:reconnect()
    end
    for i = 1, 120 do
      if i == 35 or i == 75 then comes_back() end
      send("bob", "m" .. i)
      t:advance(720)
      if i % 40 == 10 then t:kill() end
      if i % 40 == 20 then t:restart() end
      if i % 40 == 30 then assert(t:reload()) end
    end
    comes_back()
    comes_back()
    local laptop = device()
    assert.same({ 120, 120 }, { #seen, laptop:count("notification") })
    for i, e in ipairs(laptop:events("notification")) do
      assert.same({ "m" .. i, "m" .. i }, { seen[i], e.data.message })
    end
    local ids = {}
    for i, e in ipairs(laptop:events("notification")) do ids[i] = i <= 60 and e.data.id or nil end
    assert.equal(60, ack("bob", table.unpack(ids)))
    assert.same({ 60, 60 }, { phone:count("notification-ack"), laptop:count("notification-ack") })
    t:kill()
    local third = device()
    assert.same({ 60, "m61" }, { third:count("notification"), third:events("notification")[1].data.message })
    assert.equal(60, unread("bob").unread)
    assert.equal(0, device("eve"):count("notification"))
  end)

  it("sends the fields of a message, with an id and a priority", function()
    start()
    local c = device()
    t:post("/send/bob", { json = { message = "m", type = "mail", title = "T", severity = "high", from = 7, url = "/x",
      fields = { folder = "in", n = 1.5 } } })
    local d = c:wait_for("notification").data
    assert.same({ id = d.id, timestamp = d.timestamp, to = "bob", message = "m", type = "mail", title = "T",
      severity = "high", priority = 2, from = "7", url = "/x", folder = "in", n = 1.5 }, d)
    assert.truthy(d.id:find("^[%w_-]+$") and #d.id == 22)
    send("bob", "n")
    d = c:events("notification")[2].data
    assert.same({ "message", "info", 0 }, { d.type, d.severity, d.priority })
    for severity, priority in pairs { info = 0, warning = 1, high = 2, critical = 3 } do
      send("ann", "x", { severity = severity })
      assert.equal(priority, device("ann"):events("notification")[1].data.priority)
      ack("ann", device("ann"):events("notification")[1].data.id)
    end
  end)

  it("takes out what was acknowledged on all devices, also on those that were away, once", function()
    start()
    local a, b = device(), device()
    local ids = { send("bob", "1"), send("bob", "2"), send("bob", "3") }
    b:drop()
    assert.equal(2, ack("bob", ids[1], ids[2], ids[1], "unknown"))
    assert.equal(0, ack("bob", ids[1], ids[2]))
    send("bob", "4")
    assert.equal("1 2 3 -1 -2 4", told(a))
    assert.equal("1 2 3", told(b))
    assert.equal("-? -? 4", told(b:reconnect()))
    assert.equal("3 4", told(device()))
    assert.same({ 2, "3 4" }, { unread().unread, listed() })
    assert.equal(2, t:post("/n/ack", { user = "bob", json = { ids = { ids[1] } } }).json.unread)
  end)

  it("sends the same idempotency once, and never again what was acknowledged", function()
    start()
    local function post() return t:post("/send/bob", { json = { message = "m", idempotency = "k" } }).json end
    local first, again = post(), post()
    assert.same({ first.id, false, true, 0 }, { again.id, first.duplicate, again.duplicate, again.subscribers })
    t:kill()
    assert.same({ first.id, true }, { post().id, post().duplicate })
    t:advance(25 * 3600)
    assert.same({ first.id, true }, { post().id, post().duplicate })
    assert.equal("m", told(device()))
    assert.equal(1, ack("bob", first.id))
    local other = t:post("/send/ann", { json = { message = "m", idempotency = "k" } }).json
    assert.same({ false, true }, { other.duplicate, other.id ~= first.id })
    local third = t:post("/send/bob", { json = { message = "m", idempotency = "k2" } }).json
    ack("bob", third.id)
    t:kill()
    assert.is_true(t:post("/send/bob", { json = { message = "m", idempotency = "k2" } }).json.duplicate)
    assert.same({ 0, "" }, { unread().unread, told(device()) })
  end)

  it("sends to many, each once, and says who has not got it", function()
    start("max = 2")
    local a, b = device("ann"), device("bob")
    send("full", "x", { severity = "critical" })
    send("full", "y", { severity = "critical" })
    local users = { "ann", "bob", "ann", 7, "7", "", "full" }
    for i = 1, 200 do users[#users + 1] = "u" .. i end
    local json = t:post("/broadcast", { json = { to = users, message = { message = "all" } } }).json
    assert.equal(203, json.n)
    table.sort(json.failed, function(x, y) return x.user < y.user end)
    assert.same({ { "", "EBADFIELD" }, { "full", "EFULL" } },
      { { json.failed[1].user, json.failed[1].code }, { json.failed[2].user, json.failed[2].code } })
    assert.same({ "all", "all", 1, 1 }, { told(a), told(b), unread("u200").unread, unread("7").unread })
    json = t:post("/broadcast", { json = { to = {}, message = { message = "all" } } }).json
    assert.same({ 0, nil }, { json.n, json.failed })
    assert.truthy(t:post("/broadcast", { json = { to = "ann", message = { message = "x" } } }).error
      :find("user_ids is a list of users' ids, not a string", 1, true))
  end)

  it("knows users by any id, and keeps them apart", function()
    start()
    local ids = { "bob", "Bob", "a b", "ü/ß", "~bob", "~Ym9i", "::", "x:y", "*", "a\nb", "ann@example.org",
      ("x"):rep(64), ("x"):rep(65), ("é"):rep(128), "", ("x"):rep(257), "~~" .. ("a"):rep(43), "user/bob", "%2f" }
    local channels, refused = {}, {}
    for i, id in ipairs(ids) do
      local answer = t:post("/send", { json = { to = id, message = { message = "m" .. i } } })
      if answer.status == 202 then
        local c = t:connect("/n", { user = { id = id } })
        assert.equal("m" .. i, told(c), id)
        assert.equal(tostring(id), c:events("notification")[1].data.to)
        local list = t:get("/n/unread", { user = { id = id } }).json.notifications
        assert.same({ 1, "m" .. i }, { #list, list[1].message })
        assert.equal(1, ack({ id = id }, list[1].id))
        assert.equal(0, t:get("/n/unread", { user = { id = id } }).json.unread)
        channels[#channels + 1] = i
      else
        assert.same({ 422, "user" }, { answer.status, answer.json.error.field })
        refused[#refused + 1] = i
      end
    end
    assert.same({ 15, 16 }, { refused[1], refused[2] })
    assert.same({ 2, #ids - 2 }, { #refused, #channels })
    t:post("/send", { json = { to = 42, message = { message = "m" } } })
    assert.equal("m", told(device("42")))
    local json = t:get("/list/42").json
    assert.same({ "user/42", 1, "m" }, { json.channel, json.n, json.list[1].message })
    assert.equal("user/~YSBi", t:get("/list/a%20b").json.channel)
    for _, id in ipairs { "", ("x"):rep(257), "\xff" } do
      assert.equal(403, t:connect("/n", { user = { id = id } }).status)
      assert.equal(403, t:get("/n/unread", { user = { id = id } }).status)
    end
  end)

  it("is nobody else's: by ids, by resuming, by a plan of the app's, without a user", function()
    start(nil, nil)
    reload(nil, [[
      app:stream("/any/:name", function(req) return "user/" .. req.params.name end)
    ]])
    local id = send("bob", "secret")
    local bob = device()
    assert.same({ 401, 401, 401 }, { t:connect("/n").status, t:get("/n/unread").status,
      t:post("/n/ack", { json = { ids = { id } } }).status })
    assert.equal(0, ack("eve", id))
    assert.equal("secret", listed())
    assert.equal("", told(device("eve", { last_event_id = bob:last_id() })))
    assert.equal("", told(device("eve")))
    assert.equal(403, t:connect("/any/bob", { user = "eve" }).status)
    assert.equal(403, t:connect("/any/bob").status)
    assert.equal("secret", told(t:connect("/any/bob", { user = "bob" })))
    assert.equal(0, unread("eve").unread)
    assert.equal(404, t:get("/n/unread/bob", { user = "eve" }).status)
  end)

  it("says what is wrong with a message, and sends none of it", function()
    start()
    local c = device()
    local function refused(field, body)
      local answer = t:post("/send/bob", { json = body })
      assert.same({ 422, field }, { answer.status, answer.json and answer.json.error.field }, answer.body)
    end
    refused("message", {})
    refused("message", { message = "" })
    refused("message", { message = 7 })
    refused("message", { message = ("x"):rep(32769) })
    refused("severity", { message = "m", severity = "urgent" })
    refused("severity", { message = "m", severity = 2 })
    refused("title", { message = "m", title = {} })
    refused("type", { message = "m", type = ("x"):rep(65) })
    refused("from", { message = "m", from = { id = "a" } })
    refused("idempotency", { message = "m", idempotency = "" })
    local urls = { "javascript:alert(1)", "JaVaScript:x", "data:text/html,x", "java\tscript:x", " javascript:x", "" }
    for _, url in ipairs(urls) do refused("url", { message = "m", url = url }) end
    refused("fields", { message = "m", fields = { id = "mine" } })
    refused("fields", { message = "m", fields = { 1, 2 } })
    refused("fields", { message = "m", fields = "x" })
    local answer = t:post("/send/bob", { json = { message = "m", fields = { big = ("x"):rep(70000) } } })
    assert.equal("ETOOBIG", answer.json.error.code)
    assert.truthy(t:post("/send/bob", { json = { message = "m", mesage = "n" } }).error
      :find("inbox:send(): unknown option 'mesage', did you mean 'message'?", 1, true))
    assert.equal("", told(c))
    for _, url in ipairs { "/a?b=c:d", "https://x.org/#y", "a/b", "mailto:a@b.c" } do
      send("bob", "m", { url = url })
    end
    for _, ids in ipairs { "x", { 1 }, { {} } } do
      answer = t:post("/n/ack", { user = "bob", json = { ids = ids } })
      assert.same({ 422, "ids" }, { answer.status, answer.json.error.field })
    end
    assert.equal(422, t:post("/n/ack", { user = "bob", json = {} }).status)
  end)

  it("refuses options that make no sense, by name", function()
    local function refused(given, text)
      local ok, message = pcall(start, given)
      assert.is_false(ok)
      assert.truthy(tostring(message):find(text, 1, true), given .. ": " .. tostring(message))
    end
    refused("mx = 1", "inbox.new: unknown option 'mx', did you mean 'max'?")
    refused("max = 0", "max is an integer from 1 to 10000")
    refused("max_bytes = 5", "max_bytes is an integer from 131072")
    refused("keep = 0", "keep is a number of seconds from 1, or false")
    refused("name = 'a/b'", "name 'a/b': 1 to 48 letters")
    refused("escalate = { urgent = {} }", "'urgent' is no severity")
    refused("escalate = { high = { after = 1 } }", "escalate.high is a list of steps")
    refused("escalate = { high = { { after = 1 } } }", 'escalate.high[1]: via is "webhook"')
    refused("escalate = { high = { { after = 1, via = 'webhook' } } }", "url is an address")
    refused("escalate = { high = { { via = print } } }", "after is a number of seconds")
    refused("escalate = { high = { { after = 1, via = print, url = '' } } }", "unknown option 'url'")
    refused("escalate = { high = { { after = 2, via = print }, { after = 1, via = print } } }", "high[2]: after counts")
    refused("escalate = { high = { { after = 2, via = 'webhook', url = 'http://x', sign = { secret = 's' } } } }",
      "24 bytes")
    refused("}) require('sluice.inbox').new(app, {", "declared")
  end)
end)

describe("an inbox that is full", function()
  after_each(kit.stop_all)

  it("drops the oldest of the lowest severity, and tells it on every device", function()
    start("max = 3")
    local c = device()
    for i, severity in ipairs { "high", "info", "warning", "info", "critical" } do
      send("bob", tostring(i), { severity = severity })
    end
    assert.equal("1 2 3 4 !2 -2 5 !4 -4", told(c))
    assert.equal("1 3 5", listed())
  end)

  it("refuses what is less severe than all that is there", function()
    start("max = 2")
    send("bob", "1", { severity = "high" })
    send("bob", "2", { severity = "critical" })
    local answer = t:post("/send/bob", { json = { message = "3", severity = "warning" } })
    assert.same({ 503, "EFULL" }, { answer.status, answer.json.error.code })
    send("bob", "4", { severity = "high" })
    assert.equal("2 4", listed())
  end)

  it("tells each drop, also of an id that was there before, and whatever a sender's keys say", function()
    start("max = 2")
    local c = device()
    local first = send("bob", "important")
    send("bob", "x", { idempotency = "dropped " .. first })
    send("bob", "y")
    assert.equal(1, c:count("notification-dropped"))
    start("max = 2")
    c = device()
    for _, message in ipairs { "a", "b", "c" } do -- the first of them, sent again a day later, is another
      send("bob", message, message == "a" and { idempotency = "backup" } or nil)
    end
    t:advance(23.9 * 3600 + 600)
    for _, message in ipairs { "a", "b", "c" } do
      send("bob", message, message == "a" and { idempotency = "backup" } or nil)
    end
    assert.equal(4, c:count("notification-dropped"))
  end)

  it("knows no id that is none", function()
    start()
    local id = send("bob", "one")
    assert.equal(0, ack("bob", ""))
    assert.equal(1, ack("bob", "", id))
  end)

  it("tells new devices and GET how many were dropped, until that is acknowledged", function()
    start("max = 2")
    for i = 1, 5 do send("bob", "m" .. i) end
    local c = device()
    assert.equal("m4 m5 !?", told(c))
    local notice = c:events("notification-dropped")[1].data
    assert.same({ "max", 3, "info" }, { notice.reason, notice.total, notice.severity })
    assert.same({ notice, "m4 m5" }, { unread().dropped, listed() })
    t:kill()
    assert.equal(3, unread().dropped.total)
    ack("bob", "dropped")
    assert.is_nil(unread().dropped)
    assert.equal("m4 m5", told(device()))
    send("bob", "m6")
    assert.equal(1, unread().dropped.total)
  end)

  it("refuses at once what would be dropped at once, also by bytes", function()
    start("max_bytes = 131072")
    for _ = 1, 4 do send("bob", ("x"):rep(30000), { severity = "critical" }) end
    send("bob", ("y"):rep(5000)) -- there is room for that
    local answer = t:post("/send/bob", { json = { message = ("z"):rep(20000), severity = "warning" } })
    assert.same({ 503, "EFULL" }, { answer.status, answer.json.error.code })
    assert.equal(5, unread().unread)
    send("bob", ("z"):rep(20000), { severity = "critical" })
    local list = unread().notifications
    assert.same({ 4, "critical", 20000 }, { #list, list[4].severity, #list[4].message })
  end)

  it("is full by bytes, too", function()
    start("max_bytes = 131072")
    local c = device()
    for i = 1, 6 do send("bob", ("%d"):format(i):rep(30000)) end
    assert.equal(4, unread().unread)
    local drops = c:events("notification-dropped")
    assert.same({ 2, "max_bytes" }, { #drops, drops[1].data.reason })
  end)

  it("keeps nothing for longer than it says, and tells that", function()
    start("keep = 3600")
    send("bob", "old")
    t:advance(3000)
    local c = device()
    send("bob", "new")
    t:advance(599)
    assert.equal("old new", told(c))
    t:advance(62)
    assert.equal("old new !old -old", told(c))
    assert.equal("keep", c:events("notification-ack")[1].data.reason)
    t:kill()
    t:advance(3700)
    assert.same({ 0, 2 }, { unread().unread, unread().dropped.total })
    reload("keep = false")
    send("bob", "stays")
    t:advance(86400)
    assert.equal("stays", listed())
  end)

  it("shrinks when a reload lowers its caps", function()
    start()
    for i = 1, 9 do send("bob", "m" .. i) end
    reload("max = 3")
    t:advance(61)
    assert.equal("m7 m8 m9", listed())
    assert.equal(6, unread().dropped.total)
  end)
end)

describe("escalation", function()
  after_each(kit.stop_all)

  local STEPS = [[max = 5, escalate = { critical = {
    { after = 30, via = "webhook", url = "http://pager/x", retries = 0 },
    { after = 300, via = function(user, data)
      calls()[#calls() + 1] = user .. " " .. data.message
      if data.message == "raise" then error("by hand") end
      if data.message == "fail" then return nil, "no number" end
      if data.message == "slow" then sluice.sleep(20) end
    end } } }]]
  local CALLS = 'local calls = app:state("calls", {})\napp:get("/calls", function() return calls() end)\n'

  local function begin(options)
    start(STEPS, CALLS, options)
    t:http("http://pager/x", { status = 200 })
  end
  local function critical(message, to) return send(to or "bob", message, { severity = "critical" }) end

  it("does each step at its time, records it, and tells it", function()
    begin()
    local c = device()
    local id = critical("fire")
    send("bob", "calm")
    t:advance(29)
    assert.equal(0, #t:requests())
    t:advance(1.1)
    assert.equal(1, #t:requests())
    local request = t:requests()[1]
    local item = c:events("notification")[1].data
    assert.same({ user = "bob", step = 1, notification = item }, request.json)
    assert.matches("^" .. id:gsub("%-", "%%-") .. "%-%d+%-1$", request.headers["Idempotency-Key"])
    t:advance(269)
    assert.equal("fire calm ^1", told(c))
    t:advance(1)
    assert.equal("fire calm ^1 ^2", told(c))
    local e = c:events("escalation")
    assert.same({ id = id, step = 1, via = "webhook", ok = true, timestamp = e[1].data.timestamp }, e[1].data)
    assert.same({ id = id, step = 2, via = "function", ok = true, timestamp = e[2].data.timestamp }, e[2].data)
    assert.same({ "bob fire" }, t:get("/calls").json)
    t:advance(10000)
    assert.equal("fire calm ^1 ^2", told(c))
    assert.equal("fire calm ^2", told(device()))
    assert.same({}, t:log("error"))
  end)

  it("ends when the item is acknowledged, before a step and within one, and brings nothing back", function()
    begin()
    local c = device()
    ack("bob", critical("a"))
    t:advance(400)
    assert.equal("a -a", told(c))
    local id = critical("b")
    t:advance(31)
    ack("bob", id)
    t:advance(400)
    assert.equal("a -a b ^1 -b", told(c))
    id = critical("slow")
    t:advance(305)
    ack("bob", id)
    t:advance(100)
    assert.equal("a -a b ^1 -b slow ^1 -slow", told(c))
    assert.equal("", told(device()))
    assert.same({ "bob slow" }, t:get("/calls").json)
    assert.same({}, t:log("error"))
  end)

  it("goes on after a kill: late rather than never, and recorded steps not again", function()
    begin()
    critical("fire")
    t:advance(10)
    t:kill()
    t:advance(19)
    assert.equal(0, #t:requests())
    t:advance(2)
    assert.equal(1, #t:requests())
    t:kill()
    t:advance(200)
    assert.equal(1, #t:requests())
    critical("second")
    t:advance(70)
    assert.same({ "bob fire" }, t:get("/calls").json)
    t:kill()
    t:advance(1000)
    assert.equal("fire second ^2 ^2", told(device()))
    assert.same({ "bob second" }, t:get("/calls").json)
  end)

  it("is done once over reloads, and by the rules of the newest version", function()
    begin()
    local c = device()
    critical("fire")
    for _ = 1, 7 do
      t:advance(3)
      reload(STEPS, CALLS)
    end
    t:advance(10)
    assert.equal("fire ^1", told(c))
    reload('escalate = { critical = { { after = 1, via = print }, { after = 60, via = function() end } } }', CALLS)
    t:advance(28)
    assert.equal("fire ^1", told(c))
    t:advance(2)
    assert.equal("fire ^1 ^2", told(c))
    reload(nil, CALLS)
    critical("calm")
    t:advance(1000)
    reload(STEPS, CALLS)
    t:advance(1)
    assert.equal("fire ^1 ^2 calm ^1 ^2", told(c))
  end)

  it("begins a step anew that a reload cut", function()
    begin()
    local c = device()
    critical("slow")
    t:advance(305)
    reload(STEPS, CALLS)
    t:advance(40)
    assert.equal("slow ^1 ^2", told(c))
    assert.same({ "bob slow", "bob slow" }, t:get("/calls").json)
  end)

  it("records what failed in a word that names no address, and goes on", function()
    begin()
    t:http("http://pager/x", { status = 500 })
    local c = device()
    critical("raise")
    critical("fail")
    t:advance(31)
    t:http("http://pager/x", function() return nil, "no route to http://pager/x", "ECONNECT" end)
    critical("third")
    t:advance(350)
    local list = {}
    for _, e in ipairs(c:events("escalation")) do list[#list + 1] = e.data.error or "ok" end
    table.sort(list)
    assert.same({ "ECONNECT", "answered 500", "answered 500", "failed", "failed", "ok" }, list)
    assert.is_nil(t:connect("/n", { user = "bob" }).body:find("pager", 1, true))
    local log = table.concat(t:log("error"), "\n")
    for _, text in ipairs { "by hand", "no number", "answered 500" } do assert.truthy(log:find(text, 1, true), text) end
  end)

  it("sends a mail, to an address or to what a function says, and records what became of it", function()
    local given = [[escalate = { critical = { { after = 5, via = "email", to = "ops@example.org", retries = 0 },
      { after = 9, via = "email", to = function(user) return user == "bob" and "bob@example.org" or nil end,
        subject = "Look", from = "other@example.org" } } }]]
    local env = { SMTP_URL = "smtp://mail.example.org:587", SMTP_FROM = "Shop <shop@example.org>" }
    start(given, nil, { env = env })
    local c, ann = device(), device("ann")
    local id = send("bob", "The\nhouse is on fire", { severity = "critical", from = "Smoke" })
    t:advance(10)
    assert.equal("The\nhouse is on fire ^1 ^2", told(c))
    local mails = t:mails()
    assert.equal(2, #mails)
    assert.same({ { "ops@example.org" }, "[critical] The house is on fire" }, { mails[1].to, mails[1].subject })
    assert.matches("^" .. id:gsub("%-", "%%-") .. "%-%d+%-1$", mails[1].id)
    for _, text in ipairs { "The\nhouse is on fire", "To: bob", "From: Smoke", "Severity: critical" } do
      assert.truthy(mails[1].text:find(text, 1, true), text)
    end
    local second = mails[2]
    assert.same({ { "bob@example.org" }, "Look", "other@example.org" }, { second.to, second.subject, second.from })
    t:mail { status = 550, message = "no such user" }
    send("ann", "x", { severity = "critical" })
    t:advance(10)
    assert.equal("x ^1 EREFUSED ^2 no address", told(ann))
    local ok, message = pcall(start, given)
    assert.is_false(ok)
    local text = "escalate.critical[1]: mail.check(): url is missing, or the variable SMTP_URL"
    assert.truthy(tostring(message):find(text, 1, true), message)
    for word, to in pairs { ["to is missing"] = "nil", ["to"] = '"nobody"' } do
      ok, message = pcall(start, ("escalate = { high = { { after = 5, via = 'email', to = %s } } }"):format(to), nil,
        { env = env })
      assert.is_false(ok)
      assert.truthy(tostring(message):find("high[1]: ", 1, true) and tostring(message):find(word, 1, true), message)
    end
  end)

  it("is over for what a cap dropped", function()
    begin()
    for i = 1, 7 do critical("m" .. i) end
    t:advance(31)
    assert.equal(5, #t:requests())
  end)

  it("records a step when the disk takes it again, and does it once", function()
    begin()
    critical("fire")
    t:advance(25)
    t:disk { full = true }
    t:advance(60)
    t:disk { full = false }
    t:advance(10)
    assert.equal(1, #t:requests())
    assert.equal("fire ^1", told(device()))
  end)

  it("is armed for what is stored long after its sender got a timeout", function()
    begin()
    t:disk { hung = true }
    local answer = t:post("/send/bob", { json = { message = "late", severity = "critical" } })
    assert.equal(504, answer.status)
    t:advance(10)
    t:disk { hung = false }
    t:advance(40)
    assert.equal("late ^1", told(device()))
  end)
end)

describe("an inbox in memory", function()
  after_each(kit.stop_all)

  it("is there after a reload, with its escalation, and gone after a restart", function()
    start('durable = false, max = 3, escalate = { critical = { { after = 30, via = function() end } } }')
    local c = device()
    send("bob", "fire", { severity = "critical" })
    t:advance(10)
    reload('durable = false, max = 3, escalate = { critical = { { after = 30, via = function() end } } }')
    t:advance(21)
    assert.equal("fire ^1", told(c))
    for i = 1, 4 do send("bob", "m" .. i) end
    assert.equal("fire m3 m4", listed())
    assert.equal(2, unread().dropped.total)
    t:restart()
    assert.equal("", listed())
    assert.equal("", told(device()))
  end)
end)

describe("an inbox whose disk fails", function()
  after_each(kit.stop_all)

  it("says so, to who sends and to who acknowledges, and goes on", function()
    start()
    local id = send("bob", "1")
    t:disk { full = true }
    assert.equal("ESTORE", t:post("/send/bob", { json = { message = "2" } }).json.error.code)
    local answer = t:post("/n/ack", { user = "bob", json = { ids = { id } } })
    assert.same({ 503, "ESTORE" }, { answer.status, answer.json.error.code })
    assert.equal("1", listed())
    t:disk { full = false }
    assert.equal(1, ack("bob", id))
    t:kill()
    assert.equal("", listed())
  end)
end)
