--- Request bodies in pieces: app:post(path, { body = "stream", max = bytes }, fn) and req:chunks().
local kit = require("spec.support.kit")

local APP = [[
  local seen = app:state("seen", { log = {} })
  local function note(text) table.insert(seen().log, text) end

  local function count(req)
    local n, sizes = 0, sluice.json.array {}
    for piece in req:chunks() do n, sizes[#sizes + 1] = n + #piece, #piece end
    return { n = n, sizes = sizes }
  end
  app:post("/up", { body = "stream", max = 300000 }, count)
  app:put("/up", { body = "stream", max = 3 }, count)
  app:patch("/up", function() return true end, { body = "stream", max = 3.0 }, count)

  app:post("/watched", { body = "stream", max = 300000 }, function(req)
    local _ <close> = setmetatable({}, { __close = function() note("closed") end })
    note("begun")
    for piece in req:chunks() do note(piece) end
    note("whole")
  end)
  app:post("/tried", { body = "stream", max = 5 }, function(req)
    local ok, problem = pcall(function() for piece in req:chunks() do note(piece) end end)
    local again, same = pcall(req.chunks, req)
    note(ok and "whole" or problem.code)
    return { code = problem.code, message = tostring(problem), again = again, same = tostring(same) }
  end)
  app:post("/slow", { body = "stream", max = 10000000 }, function(req)
    local n = 0
    for piece in req:chunks() do
      n = n + #piece
      sluice.sleep(tonumber(req.query.seconds))
    end
    return { n = n }
  end)
  app:post("/early", { body = "stream", max = 10000000 }, function(req)
    if req.query.pieces then req:chunks()() end
    return 202, { early = true }
  end)
  app:post("/never", { body = "stream", max = 10000000 }, function() sluice.sleep(1000) end)
  app:post("/broken", { body = "stream", max = 10000000 }, function(req) req:chunks()() error("boom") end)
  app:post("/stuck", { body = "stream", max = 10000000 }, function(req) req:chunks()() while true do end end)
  app:post("/whole", function(req) return { n = #req.body } end)
  app:guard("/guarded/**", function(req)
    if req.query.look == "body" then return #req.body > 0 end
    if req.query.look == "json" then return req:json() and true end
    if req.query.look == "chunks" then return req:chunks() and true end
    return req.query.key == "k" or 403
  end)
  app:post("/guarded/up", { body = "stream", max = 300000 }, count)
  local wrong = {
    body = function(req) return #req.body end,
    json = function(req) return req:json() end,
    twice = function(req) req:chunks() req:chunks() end,
    coroutine = function(req) return coroutine.wrap(req:chunks())() end,
    gsub = function(req) return (("a"):gsub("a", req:chunks())) end,
  }
  app:post("/wrong/:what", { body = "stream", max = 100 }, function(req)
    return { got = tostring(wrong[req.params.what](req)) }
  end)
  app:post("/spawned", { body = "stream", max = 100 }, function(req)
    local next_piece, got, done = req:chunks(), {}, false
    app:spawn(function()
      for piece in next_piece do got[#got + 1] = piece end
      done = true
    end)
    while not done do sluice.sleep(0.1) end
    return { got = table.concat(got, " ") }
  end)
  app:post("/shared", { body = "stream", max = 100 }, function(req)
    local next_piece = req:chunks()
    app:spawn(function() note("spawned " .. next_piece()) end)
    sluice.sleep(0.1)
    local ok, message = pcall(next_piece)
    return { ok = ok, message = message }
  end)
  app:post("/outlived", { body = "stream", max = 100 }, function(req)
    local next_piece = req:chunks()
    app:spawn(function()
      note("got " .. next_piece())
      local ok, problem = pcall(next_piece)
      note(tostring(ok) .. " " .. problem.code .. " " .. problem.message)
    end)
    sluice.sleep(1)
  end)]]

--- A function that gives what stands in the list, one after the other.
local function body(...)
  local list, i = table.pack(...), 0
  return function()
    i = i + 1
    return list[i]
  end
end

describe("a body in pieces", function()
  local t

  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  local function log() return table.concat(t:state("seen").log, "|") end

  it("comes as it was sent", function()
    assert.same({ n = 6, sizes = { 3, 2, 1 } }, t:post("/up", { body = body("abc", "de", "", "f") }).json)
    assert.same({ n = 3, sizes = { 3 } }, t:post("/up", { body = "abc" }).json)
    local large = t:post("/up", { body = ("x"):rep(250000) }).json
    assert.equal(250000, large.n)
    assert.is_true(#large.sizes >= 4, "in how many: " .. #large.sizes)
    assert.same({ n = 3, sizes = { 1, 2 } }, t:put("/up", { body = body("a", "bc") }).json)
    assert.same({ n = 3, sizes = { 3 } }, t:patch("/up", { body = "abc" }).json)
  end)

  it("may be none", function()
    for _, given in ipairs { {}, { body = "" }, { body = body() } } do
      assert.same({ n = 0, sizes = {} }, t:post("/up", given).json)
    end
  end)

  it("is handed on while it comes", function()
    assert.equal(204, t:post("/watched", { body = body("a", 1, "b") }).status)
    assert.equal("begun|a|b|whole|closed", log())
    assert.equal(1, t:elapsed() // 1)
  end)

  it("is refused when it is larger than max", function()
    for _, sent in ipairs { "abcdef", body("abc", "def"), body("abcdef") } do
      local answer = t:post("/tried", { body = sent })
      if type(sent) == "string" then
        assert.same({ 413, "ETOOBIG" }, { answer.status, answer.json.error.code })
      else
        assert.equal("ETOOBIG", answer.json.code)
        assert.truthy(answer.json.message:find("app.lua:%d+: the body is larger than 5 bytes"), answer.json.message)
        assert.same({ false, true }, { answer.json.again, answer.json.same:find("was called already") ~= nil })
      end
      assert.equal("close", answer.headers.connection)
    end
    local answer = t:post("/watched", { body = body(("x"):rep(300000), "y") })
    assert.same({ 413, "ETOOBIG", "the body is larger than 300000 bytes" },
      { answer.status, answer.json.error.code, answer.json.error.message })
    assert.equal(200, t:post("/up", { body = ("x"):rep(300000) }).status)
    assert.is_nil(t:last_error())
  end)

  it("that breaks off is not taken for whole", function()
    for _, sent in ipairs { body("a", false), body("a", 1, "b", 1, false) } do
      assert.is_nil(t:post("/watched", { body = sent }).status)
      t:settle()
    end
    assert.equal("begun|a|closed|begun|a|b|closed", log())
    t:post("/tried", { body = body("a", 1, false) })
    assert.truthy(log():find("|a|ECLOSED$"), log())
    assert.is_nil(t:last_error())
  end)

  it("that was left before the handler asked is told when it asks", function()
    t:post("/slow?seconds=2", { body = body("a", "b", 1, false) })
    t:advance(10)
    assert.is_nil(t:last_error())
  end)

  it("ends the request when nothing comes for too long", function()
    local answer = t:post("/watched", { body = body("a", 9, "b", 11, "c") })
    assert.same({ 408, "ETIMEOUT" }, { answer.status, answer.json.error.code })
    assert.equal("begun|a|b|closed", log())
  end)

  it("ends the request when it comes too slowly in the long run", function()
    local function drops()
      local n = 0
      return function()
        n = n + 1
        return n % 2 == 0 and 4 or "x"
      end
    end
    local answer = t:post("/watched", { body = drops() })
    assert.equal(408, answer.status)
    assert.is_true(t:elapsed() > 9 and t:elapsed() < 14, "after " .. t:elapsed())
    local fast = t:post("/up", { body = body(("x"):rep(100000), 8, "y", 8, "z") })
    assert.equal(100002, fast.json.n)
  end)

  it("does not blame the client for the handler's time, nor the handler for the client's", function()
    assert.equal(3000, t:post("/slow?seconds=40", { body = body("a", ("b"):rep(2999)) }).json.n)
    local minutes = {}
    for i = 1, 40 do minutes[2 * i - 1], minutes[2 * i] = ("x"):rep(10000), 5 end
    assert.equal(400000, t:post("/slow?seconds=0", { body = body(table.unpack(minutes)) }).json.n)
    assert.is_true(t:elapsed() > 200)
  end)

  it("waits no longer than any handler's answer for one that does not take it", function()
    local answer = t:post("/never", { body = body("a", "b") })
    assert.same({ 504, 60 }, { answer.status, t:elapsed() // 1 })
    answer = t:post("/slow?seconds=61", { body = body("a", "b") })
    assert.equal(504, answer.status)
    t:advance(100)
    assert.is_nil(t:last_error())
  end)

  it("need not be read: the answer comes, then the connection closes", function()
    for _, path in ipairs { "/early", "/early?pieces=1" } do
      for _, sent in ipairs { ("x"):rep(1000000), "x", body("x", "y", 1, "z") } do
        local answer = t:post(path, { body = sent })
        assert.same({ 202, true }, { answer.status, answer.json.early })
        local read = path:find("pieces") and sent == "x"
        assert.equal(not read and "close" or nil, answer.headers.connection)
      end
    end
  end)

  it("ends with its handler", function()
    assert.equal(500, t:post("/broken", { body = body("a", "b") }).status)
    assert.truthy(t:last_error():find("boom", 1, true))
    assert.equal(500, t:post("/stuck", { body = body("a", "b") }).status)
    assert.equal(500, t:post("/stuck", { body = ("x"):rep(1000000) }).status)
    assert.equal(200, t:post("/up", { body = "abc" }).status)
  end)

  it("is not touched by a guard", function()
    assert.equal(403, t:post("/guarded/up", { body = ("x"):rep(200000) }).status)
    assert.equal(3, t:post("/guarded/up?key=k", { body = "abc" }).json.n)
    for look, message in pairs {
      body = "req.body: the body of POST /guarded/up comes in pieces: for piece in req:chunks() do … end; a guard",
      json = "req:json(): the body of POST /guarded/up comes in pieces",
      chunks = "req:chunks(): the body is for the handler of POST /guarded/up: a guard decides before it comes",
    } do
      assert.equal(500, t:post("/guarded/up?look=" .. look, { body = "abc" }).status)
      assert.truthy(t:last_error():find(message, 1, true), t:last_error())
      assert.truthy(t:last_error():find("app.lua:%d+: req"), t:last_error())
    end
  end)

  it("says what is wrong with its use", function()
    for what, message in pairs {
      body = "req.body: the body of POST /wrong/:what comes in pieces: for piece in req:chunks() do … end\n",
      json = "req:json(): the body of POST /wrong/:what comes in pieces",
      twice = "req:chunks() was called already, and the pieces go by once",
      coroutine = "req:chunks() inside a coroutine of your own",
      gsub = "req:chunks() inside string.gsub cannot wait",
    } do
      assert.equal(500, t:post("/wrong/" .. what, { body = "abc" }).status, what)
      assert.truthy(t:last_error():find(message, 1, true), t:last_error())
    end
    assert.equal(3, t:post("/whole", { body = "abc" }).json.n)
  end)

  it("may be read by a coroutine of the handler, by one at a time", function()
    assert.equal("a b", t:post("/spawned", { body = body("a", 1, "b") }).json.got)
    local shared = t:post("/shared", { body = body(1, "a") }).json
    assert.is_false(shared.ok)
    assert.truthy(shared.message:find("another coroutine waits for a piece of this body", 1, true), shared.message)
  end)

  it("ends for a coroutine that outlives the answer", function()
    assert.equal(204, t:post("/outlived", { body = body("a", 5, "b") }).status)
    t:settle()
    assert.truthy(log():find("got a|false ECLOSED .*the request has been answered"), log())
    assert.equal(0, #t:log("error"))
  end)
end)

describe("the option of a body in pieces", function()
  after_each(kit.stop_all)

  local function refused(line, message)
    local ok, problem = pcall(kit.start, line)
    assert.falsy(ok, line)
    assert.truthy(tostring(problem):find(message, 1, true), tostring(problem))
  end

  it("is checked when the app loads", function()
    refused('app:post("/a", { body = "stream" }, print)', 'app:post("/a"): max is the largest body that is let in')
    for _, max in ipairs { "0", "-1", "1.5", '"10m"', "math.huge", "1 << 54" } do
      refused('app:put("/a", { body = "stream", max = ' .. max .. " }, print)", 'app:put("/a"): max is the largest')
    end
    refused('app:post("/a", { body = "pieces", max = 1 }, print)', 'body is "stream"')
    refused('app:post("/a", { max = 1 }, print)', 'body is "stream"')
    refused('app:post("/a", { bdy = "stream", max = 1 }, print)', "did you mean 'body'?")
    refused('app:get("/a", { body = "stream", max = 1 }, print)', "options are for app:post, app:put and app:patch")
    refused('app:delete("/a", { body = "stream", max = 1 }, print)', "options are for app:post, app:put and app:patch")
    refused('app:post("/a", { body = "stream", max = 1 }, function() end, print)', "guard #1 of /a is a table")
    refused('app:post("/a", { body = "stream", max = 1 })', "the last argument is the handler")
  end)

  it("does not go with a guard that keeps answers", function()
    local auth = 'local auth = require("sluice.auth").new(app, { session = { secret = ("s"):rep(32) } })\n'
    local route = 'app:post("/a/b", %s{ body = "stream", max = 1 }, print)'
    local message = "auth:idempotent() looks at the whole body, and would guard POST /a/b (app.lua:"
    refused(auth .. route:format("auth:idempotent(), "), message)
    refused(auth .. route:format("") .. '\napp:guard("/a/**", auth:idempotent())', message)
  end)

  it("changes with a reload, and the next request finds it changed", function()
    local t = kit.start('app:post("/a", { body = "stream", max = 3 }, function(req) return req:chunks()() end)')
    assert.equal("abc", t:post("/a", { body = "abc" }).body)
    assert(t:reload(kit.source('app:post("/a", function(req) return "whole " .. req.body end)')))
    assert.equal("whole abcd", t:post("/a", { body = "abcd" }).body)
    assert(t:reload(kit.source('app:post("/a", { body = "stream", max = 4 }, function(r) return r:chunks()() end)')))
    assert.equal("abcd", t:post("/a", { body = "abcd" }).body)
    assert.equal(413, t:post("/a", { body = "abcde" }).status)
  end)

  it("may stand beside a whole body under another method", function()
    local t = kit.start([[
      app:post("/a", { body = "stream", max = 3 }, function(req) return "pieces " .. req:chunks()() end)
      app:put("/a", function(req) return "whole " .. req.body end)
      app:get("/a", function(req) return pcall(req.chunks, req) and 500 or 200 end)]])
    assert.same({ "pieces a", "whole a", 200 },
      { t:post("/a", { body = "a" }).body, t:put("/a", { body = "a" }).body, t:get("/a").status })
  end)
end)
