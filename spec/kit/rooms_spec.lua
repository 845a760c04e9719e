--- sluice.rooms in virtual time: who is a member and when it is told, what members show each other,
--- large rooms, and what goes wrong. (At random: rooms_random_spec. On real connections:
--- spec/e2e/rooms_spec.lua.)
local kit = require("spec.support.kit")
local shared = require("spec.support.shared")
local tree = require("spec.support.tree")

local HEAD = [[
local rooms = require("sluice.rooms").new(app, { name = "doc", field = "documentId"%s })
]]
local ROUTES = [[
rooms:stream("/room/:id")
app:post("/docs/:id/send/:event", function(req)
  return sluice.receipt(rooms:send(req.params.id, req.user, req.params.event, req:json()))
end)
app:post("/docs/:id/publish/:event", function(req)
  return sluice.receipt(rooms:publish(req.params.id, req.params.event, req:json()))
end)
app:post("/docs/:id/kick/:user", function(req)
  local ok, message, code = rooms:kick(req.params.id, req.params.user)
  if ok then return 204 end
  return nil, message, code
end)
app:get("/docs/:id", function(req)
  local id = req.params.id
  return { count = rooms:count(id), members = rooms:members(id), bob = rooms:has(id, "bob") }
end)
app:get("/docs", function() return rooms:list() end)
app:post("/burst/:event/:from/:to/:n", function(req) -- of members from u1 on
  for i = req.params.from, req.params.to do
    assert(rooms:send("tea", { id = ("u%d"):format(i) }, req.params.event, { n = tonumber(req.params.n), y = i }))
  end
end)
]]

local MANY = os.getenv("SLUICE_SPEC_FULL") and 200 or 60

local t

local function start(given, more, options)
  t = kit.start((more or "") .. HEAD:format(given and ", " .. given or "") .. ROUTES, options)
  return t
end

local function enter(user, id, options)
  options = options or {}
  options.user = user
  return t:connect("/room/" .. (id or "tea"), options)
end

local function send(user, event, json, id)
  return t:post(("/docs/%s/send/%s"):format(id or "tea", event), { user = user, json = json })
end

local function count(id) return t:get("/docs/" .. (id or "tea")).json.count end

-- The events of presence as "+alice 1", "-bob 1 gone".
local function told(c)
  local out = {}
  for _, e in ipairs(c:events()) do
    local sign = e.event == "user-joined" and "+" or e.event == "user-left" and "-"
    if sign then
      out[#out + 1] = ("%s%s %d%s"):format(sign, e.data.userId, e.data.activeUsers,
        e.data.reason and " " .. e.data.reason or "")
    end
  end
  return out
end

local function quiet() assert.same({}, t:log("warn")) end

describe("a room", function()
  after_each(kit.stop_all)

  it("tells who joins and leaves, with what a page needs", function()
    start()
    local alice, bob = enter({ id = "alice", name = "Alice" }), enter("bob")
    assert.same({ documentId = "tea", id = "alice", userId = "alice", userName = "Alice", activeUsers = 1 },
      alice:wait_for("user-joined", 0).data)
    assert.same({ "+alice 1", "+bob 2" }, told(alice))
    assert.same({ "+alice 1", "+bob 2" }, told(bob)) -- who was there, then himself
    bob:drop()
    alice:expect_none("user-left", 4.9)
    assert.same({ documentId = "tea", id = "bob", userId = "bob", activeUsers = 1, reason = "gone" },
      alice:wait_for("user-left", 0.2).data)
    assert.near(5, t:elapsed(), 0.01)
    assert.same({ "+alice 1", "+carol 2" }, told(enter("carol"))) -- bob is not in what newcomers get
    quiet()
  end)

  it("counts several tabs of a user once, until the last one closes", function()
    start()
    local alice, one, two = enter("alice"), enter("bob"), enter("bob")
    assert.equal(2, alice:count("user-joined"))
    assert.same({ documentId = "tea", activeUsers = 2 }, two:wait_for("presence-count", 0).data)
    assert.equal(0, one:count("presence-count"))
    one:drop()
    alice:expect_none("user-left", 60)
    two:drop()
    alice:wait_for("user-left", 5.01)
    assert.equal(1, count())
  end)

  it("takes a page that is loaded again for the same visit, however often, also over reloads", function()
    start()
    local alice, bob = enter("alice"), enter("bob")
    for i = 1, 20 do
      bob:drop()
      if i % 3 == 0 then assert(t:reload()) end
      t:advance(4.9)
      bob = enter("bob")
      t:advance(i % 2)
    end
    t:advance(60)
    assert.same({ "+alice 1", "+bob 2" }, told(alice))
    bob:drop()
    t:advance(2)
    assert(t:reload())
    t:advance(2.9)
    assert.equal(0, alice:count("user-left"))
    t:advance(0.2)
    assert.equal("-bob 1 gone", told(alice)[3])
    assert.equal(1, #t:get("/docs").json)
  end)

  it("does not end a visit by the timer of an earlier leave", function()
    start()
    local alice, bob = enter("alice"), enter("bob")
    bob:drop()
    t:advance(4)
    bob = enter("bob")
    bob:drop()
    t:advance(4.5)
    assert.equal(0, alice:count("user-left"))
    t:advance(0.6)
    assert.equal(1, alice:count("user-left"))
  end)

  it("tells a member who was away what it missed, each thing once", function()
    start()
    local alice, bob = enter("alice"), enter("bob")
    bob:drop()
    t:advance(1)
    alice:drop()
    t:advance(4.5)
    local again = alice:reconnect()
    assert.same({ "-bob 1 gone" }, told(again))
    assert.same({ "+alice 1", "+bob 2" }, told(alice))
  end)

  it("can do without a grace", function()
    start("grace = 0")
    local alice, bob = enter("alice"), enter("bob")
    bob:close()
    assert.equal(1, alice:count("user-left"))
    assert.equal(0, t:elapsed())
  end)

  it("is one of many: nothing of it is seen in another", function()
    start()
    local tea, milk = enter("alice", "tea"), enter("bob", "milk")
    enter("alice", "milk")
    assert.same({ "+alice 1" }, told(tea))
    assert.same({ "+bob 1", "+alice 2" }, told(milk))
    send("alice", "cursor-move", { line = 1 }, "tea")
    milk:expect_none("cursor-move")
    assert.same({ { documentId = "milk", activeUsers = 2 }, { documentId = "tea", activeUsers = 1 } },
      t:get("/docs").json)
    tea:drop()
    t:advance(6)
    assert.same({ { documentId = "milk", activeUsers = 2 } }, t:get("/docs").json)
    assert.is_nil(t:state("doc").rooms.tea) -- nothing is left of an empty one
  end)

  it("lists its members in the order of joining", function()
    start()
    for _, name in ipairs { "zoe", "adam", "bob" } do enter(name) end
    local answer = t:get("/docs/tea").json
    assert.same({ 3, true, "zoe", "adam", "bob" }, { answer.count, answer.bob, answer.members[1].userId,
      answer.members[2].userId, answer.members[3].userId })
    assert.same({ documentId = "tea", id = "adam", userId = "adam", userName = "adam", activeUsers = 3 },
      answer.members[2])
    assert.same({ count = 0, bob = false, members = {} }, t:get("/docs/none").json)
    assert.matches('"members":%[%]', t:get("/docs/none").body)
  end)

  it("is for users: strangers get 401, and ids that are none 403", function()
    start()
    assert.equal(401, t:connect("/room/tea").status)
    for _, id in ipairs { ("x"):rep(257), "a\nb", "a\xff" } do
      assert.equal(403, enter({ id = id }).status, id)
    end
    assert.equal(0, count())
  end)

  it("knows users with numbers for ids", function()
    start(nil, [[app:guard("/**", function(req)
      req.user = { id = math.tointeger(req.headers["x-user"]) or req.headers["x-user"] }
      return true
    end)]])
    local as = { headers = { ["X-User"] = "7" } }
    local seven, tab = t:connect("/room/tea", as), t:connect("/room/tea", as)
    assert.equal(7, seven:wait_for("user-joined", 0).data.userId)
    assert.same({ 1, 1 }, { seven:count("user-joined"), tab:count("presence-count") })
    local answer = t:post("/docs/tea/send/cursor-move", { json = {}, headers = as.headers })
    assert.equal(202, answer.status)
    assert.equal(204, t:post("/docs/tea/kick/7").status)
    assert.equal(0, count())
  end)

  it("has its read rule at both channels, and ids of other rooms cannot be guessed", function()
    start("read = function(user, p) return user ~= nil and user.id == p.id end", [[
      app:stream("/pry/:id", { channels = { "doc/:id/live" } })
      app:stream("/spy/:id", { channels = { "doc/:id" } })
    ]])
    assert.equal(200, enter("tea").status)
    for _, path in ipairs { "/room/tea", "/pry/tea", "/spy/tea" } do
      assert.equal(403, t:connect(path, { user = "eve" }).status, path)
    end
    for _, id in ipairs { ":id", "*", "**", "tea%2Flive", "..", "tea%00", "tea/live", "%E2%82%AC" } do
      local status = enter("tea", id).status
      assert.is_true(status == 404 or status == 403 or status == 400, id .. " " .. status)
    end
    assert.same({ 1, 403 }, { count(), send("eve", "cursor-move", { line = 1 }).status })
    assert.equal(send("eve", "cursor-move", {}, "none").body, send("eve", "cursor-move", {}).body) -- no oracle
  end)

  it("puts a user out at once, with all its tabs, and no one else", function()
    start()
    local alice, one, two, other = enter("alice"), enter("bob"), enter("bob"), enter("bob", "milk")
    send("bob", "cursor-move", { line = 1 })
    t:advance(0.1)
    assert.equal(204, t:post("/docs/tea/kick/bob").status)
    for _, c in ipairs { one, two } do assert.equal("revoked", c:wait_for("bye", 0).data.reason) end
    assert.equal("-bob 1 kicked", told(alice)[3])
    assert.same({ 1, 403 }, { count(), send("bob", "cursor-move", {}).status })
    assert.equal(0, enter("carol"):count("cursor-move")) -- nor does its cursor stay
    t:advance(60)
    assert.equal(1, alice:count("user-left"))
    assert.equal(0, other:count("bye"))
    assert.equal(404, t:post("/docs/tea/kick/bob").status)
    one = enter("bob") -- nothing keeps him out, but a read rule
    assert.equal("+bob 3", told(one)[#told(one)])
  end)

  it("has no grace for a right that has ended, and sends nothing for it", function()
    start("read = function(user) return user ~= nil and not banned()[user.id] end", [[
      banned = app:state("banned", {})
      app:stream("/more/:id", { channels = { "doc/:id", "news" } })
      app:post("/ban/:user", function(req) banned()[req.params.user] = true return 204 end)
      app:post("/recheck", function() app:recheck() return 204 end)]])
    local alice, bob, carol = enter("alice"), enter("bob"), t:connect("/more/tea", { user = "carol" })
    enter("dave"):drop() -- is away for a moment, and loses the right then
    for _, name in ipairs { "bob", "carol", "dave" } do t:post("/ban/" .. name) end
    for _, name in ipairs { "bob", "carol", "dave" } do
      assert.equal(403, send(name, "cursor-move", { line = 1 }).status, name)
    end
    t:post("/recheck")
    assert.equal("revoked", bob:wait_for("bye", 0).data.reason)
    local list = told(alice)
    assert.equal(6, #list)
    assert.matches("^%-%l+ 3 gone %-%l+ 2 gone$", list[5] .. " " .. list[6])
    assert.equal(0, carol:count("bye")) -- it has another channel, and is in the room no longer
    t:advance(5)
    assert.equal("-dave 1 gone", told(alice)[7])
    assert.equal(0, alice:count("cursor-move"))
  end)

  it("lets members send under a read rule that asks for their stream", function()
    start("read = function(user, p, client) return client.path == '/room/' .. p.id end")
    local alice = enter("alice")
    assert.equal(202, send("alice", "cursor-move", { line = 1 }).status)
    alice:drop()
    assert.equal(403, send("alice", "cursor-move", { line = 1 }).status)
    assert.matches("rooms:send: the read rule failed, which means no: .*client", t:log("error")[1])
  end)

  it("cuts a name that is too long, and gives the id of who has none that is text", function()
    start()
    local alice = enter({ id = "alice", name = ("x"):rep(255) .. ("é"):rep(40000) })
    assert.equal(("x"):rep(255), alice:wait_for("user-joined", 0).data.userName)
    enter({ id = "bob", name = "b\xff" })
    assert.equal("bob", alice:events("user-joined")[2].data.userName)
    assert.same({ 2 }, { count() })
    quiet()
  end)

  it("puts nobody out of what is no room, and raises nothing", function()
    start()
    for _, id in ipairs { "a%20b", "*", ":id", "%E2%82%AC", ("x"):rep(65) } do
      local answer = t:post(("/docs/%s/kick/bob"):format(id))
      assert.equal(400, answer.status, id .. answer.body)
      assert.equal("ECHANNEL", answer.json.error.code)
    end
    quiet()
  end)

  it("puts a user out who is away for a moment", function()
    start()
    local alice, bob = enter("alice"), enter("bob")
    bob:drop()
    assert.equal(204, t:post("/docs/tea/kick/bob").status)
    assert.equal("-bob 1 kicked", told(alice)[3])
    t:advance(60)
    assert.equal(1, alice:count("user-left"))
  end)

  it("is asked for more fields of a member, which cannot pretend to be others'", function()
    start([[member = function(client)
      return { color = "red", userName = client.user.id:upper(), userId = "root", id = 0, documentId = "x",
        activeUsers = 99 }
    end]])
    local alice = enter("alice")
    assert.same({ documentId = "tea", id = "alice", userId = "alice", userName = "ALICE", activeUsers = 1,
      color = "red" }, alice:wait_for("user-joined", 0).data)
    assert.same(alice:events("user-joined")[1].data, t:get("/docs/tea").json.members[1])
  end)

  it("keeps the fields over a reload, whatever JSON they are", function()
    start("member = function() return { a = sluice.json.null, list = sluice.json.array(), b = { { c = 1 } } } end")
    enter("alice")
    local before = t:get("/docs/tea").body
    assert.matches('"list":%[%]', before)
    assert(t:reload())
    assert.same(before, t:get("/docs/tea").body)
    quiet()
  end)

  it("has members without fields when the function for them fails, and logs that", function()
    for code, message in pairs {
      ['error("no database")'] = "no database", ["return 7"] = "a table is expected, not a number", [""] = "not a nil",
      ["return { f = print }"] = "function", ["return { x = 0/0 }"] = "number", ["return { [{}] = 1 }"] = "table",
      ["local a = {} a.a = a return a"] = "holds itself",
      ['return { pad = ("x"):rep(33000) }'] = "bytes are more than 32768",
    } do
      start(("member = function(client) %s end"):format(code))
      local alice = enter("alice")
      assert.equal("alice", alice:wait_for("user-joined", 0).data.userName)
      assert.matches("member%(%) gave no fields, 'alice' joins without: .*" .. message, t:log("error")[1])
      assert.equal(1, count(), code)
      alice:drop()
      t:advance(6)
      assert.same({ 0, {} }, { count(), t:get("/docs").json }, code)
      kit.stop_all()
    end
  end)

  it("waits for the function, and knows who has left meanwhile", function()
    start("member = function(client) sluice.sleep(3) return { slow = true } end")
    local alice = enter("alice")
    assert.equal(0, count())
    t:advance(1)
    local bob = enter("bob")
    t:advance(2)
    assert.equal(1, count())
    bob:drop()
    t:advance(2)
    assert.same({ "+alice 1" }, told(alice))
    local one = enter("carol")
    t:advance(1)
    enter("carol")
    t:advance(1)
    one:drop()
    t:advance(10)
    assert.same({ "+alice 1", "+carol 2" }, told(alice))
    assert.is_true(alice:events("user-joined")[2].data.slow)
  end)

  it("takes in, without fields, whom a reload found waiting", function()
    start("member = function(client) sluice.sleep(3600) return { slow = true } end")
    local alice = enter("alice")
    assert(t:reload())
    t:advance(10)
    assert.same({ "+alice 1" }, told(alice))
    assert.is_nil(alice:events("user-joined")[1].data.slow)
    alice:drop()
    t:advance(10)
    assert.equal(0, count())
  end)

  it("keeps its numbers when hooks of the app are slow", function()
    start(nil, [[
      app:on("connect", function() sluice.sleep(math.random(0, 3)) end)
      app:on("subscribe", "doc/:id", function() sluice.sleep(math.random(0, 3)) end)
      app:on("unsubscribe", "doc/:id", function() sluice.sleep(math.random(0, 3)) end)
    ]])
    local list = {}
    for i = 1, 10 do list[i] = enter("u" .. i % 4) end
    t:advance(10)
    assert.equal(4, count())
    for _, c in ipairs(list) do c:drop() end
    t:advance(20)
    assert.same({}, t:get("/docs").json)
  end)

  it("says at load what is wrong with its options and routes", function()
    local NEW = 'local rooms = require("sluice.rooms").new(app%s)\n%s'
    for code, message in pairs {
      ['{ name = "a/b" }'] = "rooms.new: name 'a/b' may hold", ['{ field = "userId" }'] = "'userId' is a field of",
      ["{ grace = -1 }"] = "grace is a number of seconds from 0", ["{ grace = 0/0 }"] = "grace is a number",
      ["{ counts_above = 1.5 }"] = "counts_above is an integer from 1 to 9999",
      ["{ max_members = 0 }"] = "max_members is an integer from 1",
      ["{ max_member = 1 }"] = "did you mean 'max_members'",
      ["{ read = true }"] = "read is a function", ["{ max_rate = 0 }"] = "max_rate",
      ['{}) require("sluice.rooms").new(app'] = "state 'room' is declared twice",
      ['{}) app:task("room.left", print'] = "defined twice",
    } do
      local ok, problem = pcall(kit.start, NEW:format(", " .. code, ""))
      assert.is_false(ok, code)
      assert.truthy(problem:find(message, 1, true), problem)
    end
    for code, message in pairs {
      ['rooms:stream("/a/:room")'] = "there is no path parameter :id in /a/:room for channel 'room/:id'",
      ['rooms:stream("/a/:id", { chanels = {} })'] = "did you mean 'channels'",
      ['rooms:stream("/a/:id", 7)'] = "guard", ['rooms.stream("/a/:id")'] = "",
    } do
      local ok, problem = pcall(kit.start, NEW:format("", code))
      assert.is_false(ok, code)
      assert.truthy(problem:find(message, 1, true), problem)
    end
  end)

  it("stands beside another kind of room, and follows more channels", function()
    start(nil, [[
      local chats = require("sluice.rooms").new(app, { name = "chat", grace = 1 })
      app:channel("news/:id", { history = 10, rewind = "all" })
      local function polite(req) return req.headers.please and true or 400 end
      chats:stream("/chats/:id", polite, { channels = { { "news/:id", rewind = 1 }, "other" }, heartbeat = 7 })
      app:post("/news", function() app:publish("news/a", "news", {}) app:publish("news/a", "news", { n = 2 }) end)
    ]])
    t:post("/news")
    assert.equal(400, t:connect("/chats/a", { user = "alice" }).status)
    local c = t:connect("/chats/a", { user = "alice", headers = { Please = "yes" } })
    assert.same({ 7, 1, 4 }, { c.hello.heartbeat, c:count("news"), c.hello.channels })
    assert.same({ roomId = "a", id = "alice", userId = "alice", userName = "alice", activeUsers = 1 },
      c:wait_for("user-joined", 0).data)
    assert.equal(0, count("a"))
  end)

  it("is entered by any plan that has its channel", function()
    start(nil, [[app:stream("/mine", function(req) return { channels = { "doc/a", "doc/b" } } end)]])
    local c = t:connect("/mine", { user = "alice" })
    assert.same({ 1, 1 }, { count("a"), count("b") })
    t:connect("/mine") -- a stranger reads along, and is nobody
    assert.same({ 1, 1 }, { count("a"), count("b") })
    c:drop()
    t:advance(6)
    assert.same({}, t:get("/docs").json)
    quiet()
  end)

  it("works as a copy in the app's folder, also over a reload of the copy", function()
    local copy = tree.read("lua/sluice/rooms.lua")
    local source = HEAD:format("") .. ROUTES
    t = kit.start((source:gsub('require%("sluice.rooms"%)', 'require("my_rooms")')),
      { files = { ["my_rooms.lua"] = copy } })
    local alice, bob = enter("alice"), enter("bob")
    assert(t:reload())
    bob:drop()
    alice:wait_for("user-left", 5.1)
    quiet()
  end)
end)

describe("what members show each other", function()
  before_each(function() start() end)
  after_each(kit.stop_all)

  it("is the newest of each member and event name, with the names that the server gives", function()
    local alice = enter("alice")
    enter("bob")
    for i = 1, 50 do
      assert.equal(202, send("bob", "cursor-move", { position = { line = i, column = 1 }, userId = "alice", id = "x",
        documentId = "y" }).status)
    end
    t:advance(0.2)
    local list = alice:events("cursor-move")
    assert.same({ position = { line = 50, column = 1 }, userId = "bob", id = "bob", documentId = "tea" },
      list[#list].data)
    assert.is_true(#list <= 5, #list)
    assert.equal(1, enter("carol"):count("cursor-move"))
    t:advance(11)
    assert.equal(0, enter("dave"):count("cursor-move"))
  end)

  it("goes with the member that leaves", function()
    local bob = enter("bob")
    enter("alice")
    bob:drop()
    t:advance(4.9)
    send("bob", "cursor-move", { line = 1 }) -- a page that reconnects may still send
    t:advance(0.2)
    assert.equal(0, enter("carol"):count("cursor-move"))
    assert.equal(403, send("bob", "cursor-move", {}).status)
  end)

  it("is refused when it is no object, or the room's own, and from those who are not in it", function()
    local alice = enter("alice")
    for _, event in ipairs { "user-joined", "user-left", "presence-count", "removed", "hello" } do
      local answer = send("alice", event, {})
      assert.equal(422, answer.status, event .. answer.body)
      assert.equal(event:find("^[upr]") and "event" or nil, answer.json.error.field, event)
    end
    for _, json in ipairs { { 1, 2 }, "text", 7, true } do
      local answer = send("alice", "cursor-move", json)
      assert.same({ 422, "data" }, { answer.status, answer.json.error.field })
    end
    assert.equal(413, send("alice", "cursor-move", { pad = ("x"):rep(66000) }).status)
    assert.same({ 403, 403 }, { send("bob", "cursor-move", {}).status, send(nil, "cursor-move", {}).status })
    t:advance(1)
    assert.equal(0, alice:count("cursor-move"))
  end)

  -- Members u1 to u<n> send `each` seconds, a part of them at a time, for `seconds`; a page's batches and events.
  local function play(n, parts, each, seconds, event)
    local pages = {}
    for i = 1, n do pages[i] = enter("u" .. i) end
    t:advance(1)
    local began = t:elapsed()
    local last = 0
    for round = 1, seconds // each do
      for part = 0, parts - 1 do
        local path = ("/burst/%s/%d/%d/%d"):format(event, part * n // parts + 1, (part + 1) * n // parts, round)
        assert.equal(204, t:post(path).status)
        t:advance(each / parts)
      end
      last = round
    end
    t:advance(0.1)
    local took = t:elapsed() - began
    for _, c in ipairs { pages[1], pages[n] } do
      local seen, batches, newest = {}, 0, {}
      for _, e in ipairs(c:events(event)) do
        if not seen[e.at] then seen[e.at], batches = true, batches + 1 end
        newest[e.data.userId] = e.data.n
      end
      assert.is_true(batches > 10 * seconds and batches <= 20 * took + 1, batches .. " in " .. took)
      for i = 1, n do assert.equal(last, newest["u" .. i]) end
      assert.is_true(c:count(event) >= n * 15 * seconds, c:count(event))
    end
  end

  it("comes to each page in at most 20 batches a second: 20 players with 20 positions a second", function()
    play(20, 4, 0.05, 5, "position")
  end)

  it("does so when they send more, or are many", function()
    play(20, 2, 0.01, 0.5, "position")
    kit.stop_all()
    start()
    play(MANY, 4, 0.05, 1, "cursor-move")
  end)
end)

describe("an event for a room", function()
  before_each(function() start() end)
  after_each(kit.stop_all)

  local function publish(event, json, id)
    return t:post(("/docs/%s/publish/%s"):format(id or "tea", event), { json = json })
  end

  it("comes to everybody once, in order, to who was away too, and not to newcomers", function()
    local alice, bob = enter("alice"), enter("bob")
    bob:drop()
    assert.equal(202, publish("said", { text = "hi" }).status)
    publish("said", { text = "there", documentId = "x" })
    enter("carol")
    bob = bob:reconnect()
    for _, c in ipairs { alice, bob } do
      assert.same({ { documentId = "tea", text = "hi" }, { documentId = "tea", text = "there" } },
        { c:events("said")[1].data, c:events("said")[2].data })
      local names = {}
      for _, e in ipairs(c:events()) do names[#names + 1] = e.event end
      assert.matches("said said user%-joined", table.concat(names, " "))
    end
    assert.equal(0, enter("dave"):count("said"))
  end)

  it("is refused under the room's own names, and with what is no room's id", function()
    local c = enter("alice")
    assert.equal(422, publish("user-left", { userId = "alice" }).status)
    assert.equal(422, publish("said", { 1 }).status)
    for _, id in ipairs { "tea%2Flive", "*", ":id" } do
      local status = publish("said", {}, id).status
      assert.is_true(status == 400 or status == 404, id .. status)
    end
    assert.equal(1, c:count("user-joined"))
    assert.equal(0, c:count("said"))
  end)
end)

describe("a large room", function()
  after_each(kit.stop_all)

  it("names as many as it may, has the number of all, and tells it once a second", function()
    start("counts_above = 3")
    local list = {}
    for i = 1, 8 do list[i] = enter("u" .. i) end
    local first = list[1]
    assert.same({ "+u1 1", "+u2 2", "+u3 3" }, told(first))
    assert.same({ "+u1 1", "+u2 2", "+u3 3" }, told(list[8]))
    assert.equal(8, first:wait_for("presence-count", 1.1).data.activeUsers)
    assert.same({ 8, 8 }, { count(), #t:get("/docs/tea").json.members })
    for i = 9, 30 do
      list[i] = enter("u" .. i)
      t:advance(0.25)
    end
    assert.is_true(first:count("presence-count") <= 7, first:count("presence-count"))
    t:advance(1.1)
    local numbers = first:events("presence-count")
    assert.equal(30, numbers[#numbers].data.activeUsers)
    t:advance(60)
    assert.equal(30, enter("u31"):wait_for("presence-count", 0).data.activeUsers) -- also in a quiet hour
    assert.equal(202, send("u20", "cursor-move", {}).status) -- a member as the others
    assert.equal(3, first:count("user-joined"))
  end)

  it("names another when one of those leaves, and all when it is small again", function()
    start("counts_above = 3, grace = 0")
    local list = {}
    for i = 1, 6 do list[i] = enter("u" .. i) end
    local watcher, names = list[6], {}
    local function fold()
      names = {}
      local n
      for _, e in ipairs(watcher:events()) do
        if e.event == "user-joined" then
          assert.is_nil(names[e.data.userId])
          names[e.data.userId], n = true, e.data.activeUsers
        elseif e.event == "user-left" then
          assert.is_true(names[e.data.userId])
          names[e.data.userId], n = nil, e.data.activeUsers
        elseif e.event == "presence-count" then
          n = e.data.activeUsers
        end
      end
      local k = 0
      for _ in pairs(names) do k = k + 1 end
      return k, n
    end
    assert.same({ 3, 3 }, { fold() })
    for i, want in ipairs { { 3, 5 }, { 3, 4 }, { 3, 3 }, { 2, 2 }, { 1, 1 } } do
      list[i]:drop()
      t:advance(1.1)
      assert.same(want, { fold() }, i)
      assert.equal(want[2], count())
    end
    assert.is_true(names.u6)
    t:advance(30)
    local n = watcher:count("presence-count")
    t:advance(30)
    assert.equal(n, watcher:count("presence-count")) -- a small room is not counted aloud
  end)

  it("has its number in order with joins and leaves, also on a stream with a rate", function()
    start("counts_above = 2, grace = 0")
    local watcher = t:connect("/room/tea?max_rate=0.3", { user = "watcher" })
    local list = {}
    for i = 1, 5 do list[i] = enter("u" .. i) end
    t:advance(1.1)
    for i = 1, 3 do list[i]:drop() end
    t:advance(0.3)
    list[4]:drop()
    t:advance(0.3)
    list[5]:drop()
    t:advance(20)
    local n
    for _, e in ipairs(watcher:events()) do n = e.data.activeUsers or n end
    assert.equal(1, n)
    local names = {}
    for _, e in ipairs(enter("new"):events()) do names[#names + 1] = e.event end
    assert.not_matches("presence%-count", table.concat(names, " ")) -- a small room has none
  end)

  it("leaves no number behind when all have gone", function()
    start("counts_above = 2, grace = 0")
    local list = {}
    for i = 1, 5 do list[i] = enter("u" .. i) end
    t:advance(1.1)
    for i = 1, 5 do list[i]:drop() end
    t:advance(1.1)
    assert.is_nil(t:state("doc").rooms.tea)
    local c = enter("new")
    assert.same({ 0, 1 }, { c:count("presence-count"), c:count("user-joined") })
  end)

  it("is told its number of now after changes that cancel each other out", function()
    start("counts_above = 2, grace = 0")
    local watcher, list = enter("watcher"), {}
    for i = 1, 5 do list[i] = enter("u" .. i) end
    t:advance(1.1)
    list[1]:drop()
    enter("u6")
    t:advance(1.1)
    local n
    for _, e in ipairs(watcher:events()) do n = e.data.activeUsers or n end
    assert.equal(6, n)
  end)

  it("is full at its limit: others wait outside until somebody leaves", function()
    start("max_members = 2", [[app:stream("/mine", function(req) return { channels = { "doc/tea" } } end)]])
    local alice, bob = enter("alice"), enter("bob")
    local carol = enter("carol")
    assert.same({ 200, "overload" }, { carol.status, carol:wait_for("bye", 0).data.reason })
    assert.equal(200, enter("bob").status) -- another tab of a member
    assert.equal("overload", t:connect("/mine", { user = "carol" }):wait_for("bye", 0).data.reason)
    t:advance(10)
    assert.same({ "+alice 1", "+bob 2" }, told(alice))
    alice:drop()
    assert.equal("overload", enter("carol"):wait_for("bye", 0).data.reason) -- alice's place is kept
    alice = enter("alice")
    bob:drop()
    assert.equal(0, alice:count("bye"))
    alice:drop()
    t:advance(6)
    assert.equal(0, enter("carol"):count("bye"))
    assert.equal(2, count())
  end)

  it("takes hundreds who come and go together", function()
    start("counts_above = 50, max_members = 1000")
    local list = {}
    for i = 1, 200 do list[i] = enter("u" .. i) end
    assert.same({ 200, 50 }, { count(), list[200]:count("user-joined") })
    for i = 1, 199 do list[i]:drop() end
    t:advance(7)
    assert.equal(1, count())
    assert.equal(1, enter("new"):count("user-joined") - 1)
    assert.equal(0, #t:state("doc").rooms.tea.untold)
    quiet()
  end)
end)

describe("rooms", function()
  after_each(kit.stop_all)

  it("are empty after the process has died: who comes back is there, after a reset", function()
    start()
    local alice, bob = enter("alice"), enter("bob")
    local id = alice:last_id()
    for _, how in ipairs { "kill", "restart" } do
      t[how](t)
      assert.equal(0, count())
      local again = enter("alice", nil, { last_event_id = id })
      assert.equal(1, again:count("reset"), again:transcript())
      assert.same({ "+alice 1" }, told(again))
      t:advance(20)
      assert.same({ "+alice 1" }, told(again)) -- nobody is told of bob, whom no one knows any more
      id = again:last_id()
    end
    bob:drop()
  end)

  it("do not become durable by a pattern of the app's", function()
    start(nil, [[app:channel("**", { durable = true })]])
    enter("alice")
    t:kill()
    assert.same({ "+bob 1" }, told(enter("bob")))
  end)

  it("notice who came and left while the app was without them", function()
    local WITHOUT = kit.source [[
      local function plan(req) return { channels = { "doc/tea", "doc/tea/live" } } end
      app:channel("doc/:id", { history = 1000, key = "userId", rewind = "latest" })
      app:channel("doc/:id/live", { history = "latest", key = "userId" })
      app:stream("/room/:id", plan)]]
    local with = kit.source(HEAD:format("") .. ROUTES)
    for _, first in ipairs { with, WITHOUT } do
      t = kit.whole(first)
      local alice, bob = enter("alice"), enter("bob")
      if first == with then assert(t:reload(WITHOUT)) end
      bob:drop()
      local carol = enter("carol")
      t:advance(30)
      assert(t:reload(with))
      t:advance(6)
      assert.equal(2, count())
      local members = t:get("/docs/tea").json.members
      table.sort(members, function(a, b) return a.userId < b.userId end)
      assert.same({ "alice", "carol" }, { members[1].userId, members[2].userId })
      assert.equal(first == with and 1 or 0, alice:count("user-left"))
      carol:drop()
      alice:wait_for("user-left", 6, { userId = "carol" })
      kit.stop_all()
    end
  end)

  it("take in whom a plan of its own had brought, when a reload adds them", function()
    local PLAN = [[app:stream("/mine", function(req) return { channels = { "doc/tea", "doc/milk/live", "x" } } end)]]
    t = kit.whole(kit.source(PLAN))
    t:connect("/mine", { user = "alice" })
    assert(t:reload(kit.source(PLAN .. HEAD:format("") .. ROUTES)))
    assert.same({ { documentId = "tea", activeUsers = 1 } }, t:get("/docs").json)
  end)

  it("say later what could not be published, in the numbers of then", function()
    start("grace = 0", [[
      local stuck = app:state("stuck", {})
      app:transform("doc/:id", function(event)
        if stuck().code then return nil, "not now", stuck().code end
        return event.data
      end)
      app:post("/stuck/:code", function(req) stuck().code = req.params.code ~= "no" and req.params.code or nil end)]])
    local alice, bob = enter("alice"), enter("bob")
    t:post("/stuck/EBUSY")
    bob:drop()
    local carol, dave = enter("carol"), enter("dave")
    dave:drop()
    t:advance(10)
    assert.same({ 2, 2 }, { alice:count("user-joined"), count() })
    assert.matches("room 'tea': 'user%-left' of 'bob' was not published, and is tried again: not now",
      t:log("error")[1])
    assert.equal(1, #t:log("error"))
    t:post("/stuck/no")
    t:advance(1.1)
    assert.same({ "+alice 1", "+bob 2", "-bob 2 gone", "+carol 2" }, told(alice))
    assert.same({ "+alice 1", "+carol 2" }, told(enter("carol")))
    t:post("/stuck/EBUSY")
    carol:drop()
    enter("carol") -- back before anybody was told
    t:post("/stuck/no")
    t:advance(5)
    assert.same(4, #told(alice))
    t:post("/stuck/EDENIED")
    enter("erin") -- the app does not want it to be told: once, and not for ever
    t:advance(10)
    local n = #t:log("error")
    t:advance(10)
    assert.equal(n, #t:log("error"))
  end)

  it("let members go at once when no more timers can be had", function()
    start(nil, [[
      app:task("nothing", print)
      app:post("/fill", function() for _ = 1, 10000 do app:after(1e6, "nothing") end end)]])
    local alice, bob = enter("alice"), enter("bob")
    for _ = 1, 10 do assert.equal(204, t:post("/fill").status) end
    bob:drop()
    assert.equal("-bob 1 gone", told(alice)[3])
  end)

  it("run the editor that was proposed before there was one", function()
    local source = shared.read("api/proposed/editor.lua")
    if not source then return pending("no ../shared/api/proposed/editor.lua") end
    t = kit.whole(source, { env = { SESSION_SECRET = ("s"):rep(32) } })
    t:store("docs"):set("d", { members = { alice = true, bob = true }, lines = {} })
    local PATH = "/api/documents/d/"
    local alice = t:connect(PATH .. "collaboration", { user = "alice" })
    local bob = t:connect(PATH .. "collaboration", { user = "bob" })
    assert.same({ "+alice 1", "+bob 2" }, told(alice))
    for i = 1, 100 do
      assert.equal(202, t:post(PATH .. "cursor", { user = "bob", json = { line = i, column = 1 } }).status)
      t:advance(0.01)
    end
    t:advance(1)
    local moves = alice:events("cursor-move")
    assert.is_true(#moves <= 22, #moves)
    assert.equal(100, moves[#moves].data.position.line)
    assert.equal(404, t:connect(PATH .. "collaboration", { user = "eve" }).status)
    assert.equal(404, t:post(PATH .. "cursor", { user = "eve", json = { line = 1, column = 1 } }).status)
    assert.equal(422, t:post(PATH .. "cursor", { user = "bob", json = { line = 1.5, column = 1 } }).status)
    assert.equal(202, t:put(PATH .. "lines/12", { user = "bob", json = { text = "<b>hi" } }).status)
    assert.equal("<b>hi", alice:wait_for("line-change", 0).data.text)
    bob:drop()
    alice:wait_for("user-left", 6)
  end)
end)
