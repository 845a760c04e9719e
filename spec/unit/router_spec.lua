--- Requests: guards, handlers, answers, bodies.
local rehearsal = require("spec.support.rehearsal")
local json = require("sluice.json")

after_each(rehearsal.stop)

local function load(routes)
  return rehearsal.load('local sluice = require("sluice")\nlocal app = sluice.app()\n' .. routes .. "\nreturn app")
end

local function error_of(answer) return json.decode(answer.body).error end

describe("a handler's answer", function()
  local cases = {
    { "nothing", "", 204, "" },
    { "a table", "return { a = 1 }", 200, '{"a":1}', "application/json" },
    { "a text", 'return "hi"', 200, "hi", "text/plain; charset=utf-8" },
    { "a status", "return 201", 201, "" },
    { "status and table", "return 202, { a = 1 }", 202, '{"a":1}', "application/json" },
    { "status, text and headers", 'return 200, "<p>", { ["Content-Type"] = "text/html" }', 200, "<p>", "text/html" },
    { "204 with a body", 'return 204, "x"', 204, "" },
    { "a redirect", 'return 303, nil, { location = "/x" }', 303, "" },
  }
  for _, case in ipairs(cases) do
    it("may be " .. case[1], function()
      local a = load(("app:get('/', function() %s end)"):format(case[2])):get("/")
      assert.equal(case[3], a.status)
      assert.equal(case[4], a.body)
      assert.equal(case[5], a.headers["content-type"])
    end)
  end

  it("is an error with the text as its message from 400 on", function()
    local a = load([[app:get("/", function() return 404, "no such match" end)]]):get("/")
    assert.same({ code = "ENOTFOUND", message = "no such match" }, error_of(a))
    assert.equal("application/json", a.headers["content-type"])
  end)

  it("has the status of the code in nil, message, code", function()
    local t = load([[
      app:get("/key", function() return nil, "no key", "EKEY" end)
      app:get("/busy", function() return nil, "later", "EBUSY" end)
      app:get("/none", function() return nil, "odd" end)]])
    assert.equal(422, t:get("/key").status)
    assert.same({ code = "EKEY", message = "no key" }, error_of(t:get("/key")))
    assert.equal(503, t:get("/busy").status)
    assert.equal(500, t:get("/none").status)
  end)

  it("repeats a header for a list of values", function()
    local t = load([[app:get("/", function() return 204, nil, { ["Set-Cookie"] = { "a=1", "b=2" } } end)]])
    assert.equal("a=1, b=2", t:get("/").headers["set-cookie"])
    local _, response = next(t.server.responses)
    assert.same({ { "Set-Cookie", "a=1" }, { "Set-Cookie", "b=2" } }, response.headers)
  end)

  it("is 500 and one log line when it makes no sense", function()
    local t = load([[
      app:get("/bool", function() return true end)
      app:get("/status", function() return 99 end)
      app:get("/fn", function() return 200, print end)
      app:get("/json", function() return { f = print } end)
      app:get("/header", function() return 200, "x", { a = "1\r\nb: 2" } end)
      app:get("/raise", function() local x = nil; return x.y end)
      app:get("/length", function() return 200, "x", { ["Content-Length"] = 5 } end)]])
    for _, path in ipairs({ "/bool", "/status", "/fn", "/json", "/header", "/raise", "/length" }) do
      local a = t:get(path)
      assert.equal(500, a.status)
      assert.same({ code = "EINTERNAL", message = "internal error" }, error_of(a))
    end
    local lines = rehearsal.logged("error")
    assert.equal(7, #lines)
    assert.matches("GET /length %(app.lua:9%): a header holds a control character, or one that the server", lines[7])
    assert.matches("GET /bool %(app.lua:3%) returned a boolean: return nothing, a status", lines[1])
    assert.matches("data.f", lines[4])
    assert.matches("app.lua:8: attempt to index a nil value", lines[6])
  end)
end)

describe("a guard", function()
  it("lets pass, refuses with a status, and fails closed on anything else", function()
    local t = load([[
      local function pass() return true end
      app:get("/ok", pass, pass, function() return "in" end)
      app:get("/no", pass, function() return 401, "sign in", { ["WWW-Authenticate"] = "x" } end,
        function() return "in" end)
      app:get("/forgot", function() end, function() return "in" end)
      app:guard("/one/**",
        function() end)
      app:get("/one", function() return "in" end)
      app:get("/method", function() return function() end end, function() return "in" end)]])
    assert.equal("in", t:get("/ok").body)
    local no = t:get("/no")
    assert.equal(401, no.status)
    assert.equal("sign in", error_of(no).message)
    assert.equal("x", no.headers["www-authenticate"])
    for _, path in ipairs({ "/forgot", "/one", "/method" }) do assert.equal(500, t:get(path).status) end
    local lines = rehearsal.logged("error")
    assert.matches("guard #1 of app.lua:7 returned nil: return true to go on, or a status", lines[1])
    assert.matches("guard #1 of app.lua:8 returned nil", lines[2])
    assert.matches("guard #1 of GET /method returned a function: write auth:user%(%), with the parentheses", lines[3])
  end)

  it("sees the answer when it asks for it, also of an error, last asked first told", function()
    local t = load([[
      local seen = app:state("seen", {})
      local function watch(name)
        local function told(status, body) table.insert(seen(), name .. status .. (body or "")) end
        return function() return true, told end
      end
      app:get("/ok", watch("a"), watch("b"), function() return 200, "x" end)
      app:get("/bad", watch("c"), function() error("x") end)
      app:get("/abort", watch("d"), function(req) req:abort(418, "tea") end)
      app:get("/seen", function() return seen() end)]])
    assert.equal(200, t:get("/ok").status)
    assert.equal(500, t:get("/bad").status)
    assert.equal(418, t:get("/abort").status)
    local seen = json.decode(t:get("/seen").body)
    assert.equal("b200x", seen[1])
    assert.equal("a200x", seen[2])
    assert.matches("^c500", seen[3])
    assert.matches("^d418.*tea", seen[4])
  end)

  it("of app:guard covers every route under its pattern, whenever it was registered", function()
    local t = load([[
      app:get("/api/early", function() return "in" end)
      app:guard("/api/**", function() return 401 end)
      app:get("/api/late/:id", function() return "in" end)
      app:get("/other", function() return "in" end)
      app:get("/:any/thing", function() return "in" end)]])
    assert.equal(401, t:get("/api/early").status)
    assert.equal(401, t:get("/api/late/1").status)
    assert.equal(200, t:get("/other").status)
    assert.equal(200, t:get("/free/thing").status)
    assert.equal(401, t:get("/api/thing").status)
  end)

  it("judges a path without doubled slashes: none reaches what opens files", function()
    local t = load([[
      app:guard("/files/secret/**", function(req) return 401 end)
      app:get("/files/**", function() return "in" end)]])
    for _, path in ipairs({ "/files/secret/x", "/files//secret/x", "/files/secret//x", "/files///secret" }) do
      assert.equal(401, t:get(path).status, path)
    end
    assert.equal(200, t:get("/files/open//x").status)
  end)

  it("puts the user into the request for what follows", function()
    local t = load([[
      app:guard("/**", function(req) req.user = { id = "alice" } return true end)
      app:get("/", function(req) return req.user end)]])
    assert.equal('{"id":"alice"}', t:get("/").body)
  end)
end)

describe("a request", function()
  local t

  before_each(function()
    t = load([[
      app:post("/json", function(req) return req:json { name = "string", n = "integer?", list = "array?",
        kind = { "a", "b", optional = true } } end)
      app:post("/cases", function(req)
        return req:json({ message = "string", startTime = "string?" }, { any_case = true })
      end)
      app:get("/list", function(req) return { list = req:list("x") or "absent" } end)
      app:get("/number", function(req) return { n = req:number("n", 1, 10) } end)
      app:get("/head", function(req) return { a = req.headers["X-API-Key"], b = req.cookies.sid,
        c = req.query.q } end)
      app:get("/deep", function(req)
        local function helper() req:abort(409, { error = { code = "EX" } }, { ["x-a"] = "b" }) end
        helper()
      end)]])
  end)

  it("reads a JSON body that fits its shape", function()
    assert.equal(200, t:post("/json", { json = '{"name":"a","n":1,"kind":"b","list":[]}' }).status)
    assert.equal(200, t:post("/json", { json = '{"name":"a","n":null,"more":{}}' }).status)
  end)

  it("ends itself with 415, 400 or 422 and names the field", function()
    assert.equal(415, t:post("/json", { body = '{"name":"a"}' }).status)
    assert.equal(415, t:post("/json", { body = "{}", headers = { ["content-type"] = "text/plain" } }).status)
    for _, text in ipairs({ "{", "" }) do
      local a = t:post("/json", { json = text })
      assert.same({ 400, "EJSON" }, { a.status, error_of(a).code })
    end
    for body, field in pairs({ ['{}'] = "name", ['{"name":1}'] = "name", ['{"name":"a","n":1.5}'] = "n",
      ['{"name":"a","kind":"c"}'] = "kind", ['{"name":"a","list":{"a":1}}'] = "list" }) do
      local a = t:post("/json", { json = body })
      assert.equal(422, a.status)
      assert.equal(field, error_of(a).field)
      assert.equal("EBADFIELD", error_of(a).code)
    end
    assert.equal(422, t:post("/json", { json = "[1]" }).status)
    assert.same({}, rehearsal.logged("error"))
  end)

  it("finds the fields of a shape in any case, when asked to", function()
    local function body_of(text) return json.decode(t:post("/cases", { json = text }).body) end
    assert.same({ message = "a", startTime = "b" }, body_of('{"Message":"a","STARTTIME":"b"}'))
    assert.same({ message = "a", Other = { Message = 1 } }, body_of('{"message":"a","Other":{"Message":1}}'))
    for text, field in pairs({ ['{"Message":"a","message":"a"}'] = "message", ['{"MESSAGE":1}'] = "message",
      ['{"Messages":"a"}'] = "message", ["[1]"] = "" }) do
      local a = t:post("/cases", { json = text })
      assert.same({ 422, field }, { a.status, error_of(a).field or "" }, text)
    end
    assert.equal(422, t:post("/json", { json = '{"Name":"a"}' }).status)
  end)

  it("reads lists: absent, empty, with commas, repeated", function()
    assert.equal('{"list":"absent"}', t:get("/list").body)
    assert.equal('{"list":[]}', t:get("/list?x=").body)
    assert.equal('{"list":["a","b c","d"]}', t:get("/list?x=a,b+c&x=d").body)
    assert.equal(400, t:get("/list?" .. ("x=1&"):rep(101)).status)
  end)

  it("reads numbers and refuses what is none", function()
    assert.equal('{"n":2.5}', t:get("/number?n=2.5").body)
    assert.equal("{}", t:get("/number").body)
    for _, text in ipairs({ "nan", "inf", "1e400", "-1", "11", "0x5", "", "1,2", ("1"):rep(40) }) do
      local a = t:get("/number?n=" .. text)
      assert.equal(422, a.status, text)
      assert.equal("n", error_of(a).field)
    end
  end)

  it("knows headers in any case, cookies and the query", function()
    local a = t:get("/head?q=a%2Bb", { headers = { ["x-api-key"] = "k", cookie = 'a=1; sid="s=2"' } })
    assert.same({ a = "k", b = "s=2", c = "a+b" }, json.decode(a.body))
  end)

  it("can be ended from a helper", function()
    local a = t:get("/deep")
    assert.equal(409, a.status)
    assert.equal("b", a.headers["x-a"])
    assert.equal('{"error":{"code":"EX"}}', a.body)
  end)

  it("is answered later when its handler waits, and its work is done when the client has gone", function()
    t = load([[
      local n = app:state("n", { 0 })
      app:post("/slow", function() sluice.sleep(2) n()[1] = n()[1] + 1 return n() end)]])
    local first, second = t:request("POST", "/slow"), t:request("POST", "/slow")
    t:hang_up(second)
    t:advance(1.9)
    assert.is_nil(t.server.answers[first])
    t:advance(0.2)
    assert.equal("[1]", t.server.answers[first].body)
    assert.equal(2, t.runtime.states.n.data[1])
  end)

  it("is answered with 404 when its route has gone meanwhile", function()
    t.server.fn("request", 77, 999, { method = "GET", path = "/x", headers = {}, params = {} })
    assert.equal(404, t.server.responses[77].status)
  end)
end)

describe("the routes for the core", function()
  it("are sorted, numbered by name, and static where Lua is not needed", function()
    local t = load([[
      app:channel("secret/:id", { read = function() return true end })
      app:get("/:any", function() end)
      app:stream("/api/metrics", "metrics")
      app:stream("/api/match/:id", { channels = { "match/:id" }, keys = { "a" }, query = { keys = "k" } })
      app:stream("/api/secret/:id", "secret/:id")
      app:stream("/api/plan", function() return "x" end)
      app:stream("/api/guarded", function() return true end, "x")
      app:guard("/admin/**", function() return true end)
      app:stream("/admin/s", "x")
      app:stream("/api/watched", "watched")
      app:every(1, { while_subscribed = "watched" }, function() end)]])
    local constant, order = {}, {}
    for _, route in ipairs(t.server.snapshot.routes) do
      order[#order + 1] = route.pattern
      if route.plan then constant[route.pattern] = route.plan end
    end
    assert.equal("/:any", order[#order])
    assert.same({ "metrics" }, constant["/api/metrics"].channels[1])
    assert.same({ "a" }, constant["/api/match/:id"].keys)
    assert.same({ keys = "k" }, constant["/api/match/:id"].query)
    for _, path in ipairs({ "/api/secret/:id", "/api/plan", "/api/guarded", "/admin/s", "/api/watched" }) do
      assert.is_nil(constant[path], path)
    end
  end)
end)
