--- Whole programs on a real server: routes, guards, streams, files, the command. What their
--- rules do by the clock is in spec/kit/rules_spec.lua.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local JSON = { ["Content-Type"] = "application/json" }

local function start(text, options)
  options = options or {}
  options.app = 'local sluice = require("sluice")\nlocal app = sluice.app()\n' .. text .. "\nreturn app\n"
  return server.start(options)
end

local function get(s, path, headers) return http.get(s.port, path, headers) end
local function post(s, path, body, headers) return http.post(s.port, path, body, headers or JSON) end
local function data_of(event) return json.decode(event.data) end

-- A stream on which hello has come.
local function connect(s, path, options)
  local c = sse.connect(s.port, path, options)
  assert(c.is_stream, ("%s: status %d %s"):format(path, c.status, tostring(c.body)))
  c.hello = data_of(assert(c:wait_for("hello")))
  return c
end

describe("an app's routes", function()
  local s

  setup(function()
    s = start([[
      local count = app:state("count", { n = 0 })
      app:guard("/api/**", function(req)
        local user = req.headers["X-User"]
        if not user then return 401, "sign in" end
        req.user = { id = user }
        return true
      end)
      app:get("/hello", function() return "hi" end)
      app:get("/json/:id", function(req) return { id = req.params.id, q = req.query.q, list = req:list("l") } end)
      app:get("/headers", function(req)
        sluice.sleep(0.01) -- the core's own buffer may be gone
        return { list = req.headers["X-List"], agent = req.headers["user-agent"], none = req.headers["X-None"] }
      end)
      app:get("/nothing", function() end)
      app:get("/api/me", function(req) return req.user end)
      app:post("/api/count", function(req)
        local body = req:json { by = "integer" }
        count().n = count().n + body.by
        return 201, count(), { ["X-Count"] = count().n }
      end)
      app:put("/thing/:a/*rest", function(req) return { a = req.params.a, rest = req.params.rest, body = req.body } end)
      app:delete("/thing", function() return 204 end)
      app:get("/slow", function() sluice.sleep(0.3) return "slow" end)
      app:get("/error", function() error("on purpose") end)
      app:get("/busy", function() return nil, "later", "EBUSY" end)]])
  end)
  teardown(server.stop_all)

  it("answer texts, tables and nothing", function()
    local r = get(s, "/hello")
    assert.same({ 200, "hi", "text/plain; charset=utf-8" }, { r.status, r.body, r.headers["content-type"] })
    r = get(s, "/json/a%20b?q=x%26y&l=1,2&l=3")
    assert.same({ id = "a b", q = "x&y", list = { "1", "2", "3" } }, json.decode(r.body))
    assert.equal("application/json", r.headers["content-type"])
    r = get(s, "/nothing")
    assert.same({ 204, "" }, { r.status, r.body })
  end)

  it("read headers in any case, whenever they want to", function()
    local c = assert(http.connect(s.port))
    c:send("GET /headers HTTP/1.1\r\nHost: localhost\r\nX-LIST: a\r\nUser-Agent: spec \r\nx-list: b, c\r\n\r\n")
    assert.same({ list = "a, b, c", agent = "spec" }, json.decode(c:response().body))
    c:close()
  end)

  it("read bodies, set headers and have guards", function()
    local headers = { ["Content-Type"] = "application/json", ["x-user"] = "alice" }
    local r = post(s, "/api/count", '{"by":2}', headers)
    assert.same({ 201, '{"n":2}', "2" }, { r.status, r.body, r.headers["x-count"] })
    assert.equal(422, post(s, "/api/count", '{"by":"2"}', headers).status)
    assert.equal(400, post(s, "/api/count", "{", headers).status)
    assert.equal(415, post(s, "/api/count", "{}", { ["X-User"] = "alice" }).status)
    assert.equal(401, post(s, "/api/count", '{"by":2}').status)
    assert.equal("alice", json.decode(get(s, "/api/me", { ["X-User"] = "alice" }).body).id)
    assert.equal("EAUTH", json.decode(get(s, "/api/me").body).error.code)
  end)

  it("know other methods, patterns and what is not there", function()
    local r = http.request(s.port, "PUT", "/thing/1/b/c", {}, "text")
    assert.same({ a = "1", rest = "b/c", body = "text" }, json.decode(r.body))
    assert.equal(204, http.request(s.port, "DELETE", "/thing").status)
    assert.equal(404, get(s, "/nowhere").status)
    assert.equal(405, post(s, "/hello", "{}").status)
    assert.equal(404, get(s, "/json/a%2Fb").status)
    r = http.request(s.port, "HEAD", "/hello")
    assert.same({ 200, "" }, { r.status, r.body })
  end)

  it("hold nobody up while they wait", function()
    local slow = http.connect(s.port)
    slow:send(http.request_text("GET", "/slow", {}, nil, "127.0.0.1"))
    assert.equal("hi", get(s, "/hello").body)
    assert.equal("slow", slow:response().body)
    slow:close()
  end)

  it("turn errors into answers and one log line with file, line and traceback", function()
    local r = get(s, "/error")
    assert.same({ 500, { error = { code = "EINTERNAL", message = "internal error" } } },
      { r.status, json.decode(r.body) })
    assert.truthy(s.wait_log("app%.lua:%d+: on purpose"))
    assert.equal(503, get(s, "/busy").status)
  end)

  it("are logged as JSON and UTF-8, whatever a client puts into a path", function()
    local paths = { "/json/%ff", "/json/\255\254", "/json/%c2%9b31m", "/json/%e2%80%ae", "/\"x\\" }
    for _, path in ipairs(paths) do
      local c = http.connect(s.port)
      c:send("GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
      c:response(5)
      c:close()
    end
    http.get(s.port, "/json/last-one")
    s.wait_log("last%-one")
    for line in s.log():gmatch("([^\n]*)\n") do
      assert.equal("table", type(json.decode(line)), line)
      assert.truthy(utf8.len(line))
      assert.is_nil(line:find("\u{9b}", 1, true) or line:find("\u{202e}", 1, true))
    end
  end)

  it("keep a connection for many requests", function()
    local c = http.connect(s.port)
    for _ = 1, 50 do assert.equal("hi", c:request("GET", "/hello").body) end
    c:close()
  end)
end)

describe("an app's streams", function()
  local s

  setup(function()
    s = start([[
      app:stream("/match/:id", "match/:id")
      app:stream("/broken", function() error("a bug") end)
      app:stream("/clock", function(req, client)
        for n = 1, 3 do
          client:send("tick", { n = n })
          sluice.sleep(0.01)
        end
        client:stop()
      end)
      app:post("/publish/*channel", function(req)
        local body = req:json()
        return sluice.receipt(app:publish(req.params.channel, body.event, body.data, body.options))
      end)
      app:post("/client/:id/:what", function(req)
        local client = app:client(req.params.id)
        if not client then return 404, "no such client" end
        if req.params.what == "send" then return { client:send("private", { to = client.id }) } end
        if req.params.what == "subscribe" then return { client:subscribe("extra") } end
        if req.params.what == "unsubscribe" then return { client:unsubscribe("extra") } end
        client[req.params.what](client)
      end)]])
  end)
  teardown(server.stop_all)

  local function publish(channel, event, data, options)
    local r = post(s, "/publish/" .. channel, json.encode({ event = event, data = data, options = options }))
    return json.decode(r.body), r.status
  end

  it("deliver what is published, with ids, to all who follow", function()
    local a, b = connect(s, "/match/7"), connect(s, "/match/7")
    local other = connect(s, "/match/8")
    local receipt, status = publish("match/7", "goal", { team = "home" })
    assert.equal(202, status)
    assert.equal(2, receipt.subscribers)
    for _, c in ipairs({ a, b }) do
      local e = assert(c:wait_for("goal"))
      assert.same({ receipt.id, { team = "home" } }, { e.id, data_of(e) })
      c:close()
    end
    publish("match/8", "goal", { team = "away" })
    assert.same({ team = "away" }, data_of(assert(other:next_event())))
    other:close()
  end)

  it("resume with what was missed, once", function()
    local c = connect(s, "/match/9")
    publish("match/9", "e", { n = 1 })
    assert(c:wait_for("e"))
    local id = c.last_id
    c:close()
    publish("match/9", "e", { n = 2 })
    c = connect(s, "/match/9", { last_event_id = id })
    assert.is_true(c.hello.resumed)
    assert.equal(2, data_of(assert(c:wait_for("e"))).n)
    publish("match/9", "e", { n = 3 })
    assert.equal(3, data_of(assert(c:wait_for("e"))).n)
    c:close()
  end)

  it("never answer 5xx: a broken plan says bye and the browser comes back", function()
    local c = sse.connect(s.port, "/broken")
    assert.equal(200, c.status)
    local bye = assert(c:wait_for("bye"))
    assert.equal("error", data_of(bye).reason)
    assert.is_true(bye.retry >= 500)
    assert.truthy(s.wait_log("app%.lua:%d+: a bug"))
    c:close()
  end)

  it("can be written by their plan function, which stops them for good", function()
    local c = connect(s, "/clock")
    for n = 1, 3 do assert.equal(n, data_of(assert(c:wait_for("tick"))).n) end
    local bye = assert(c:wait_for("bye"))
    assert.same({ "stop", "stop" }, { bye.id, data_of(bye).reason })
    c:close()
    assert.equal(204, sse.connect(s.port, "/clock", { last_event_id = "stop" }).status)
  end)

  it("are reached by client id: send, subscribe, unsubscribe, stop", function()
    local c = connect(s, "/match/1")
    local id = c.hello.client
    assert.same({ true }, json.decode(post(s, "/client/" .. id .. "/send", "{}").body))
    assert.equal(id, data_of(assert(c:wait_for("private"))).to)
    assert.same({ true }, json.decode(post(s, "/client/" .. id .. "/subscribe", "{}").body))
    publish("extra", "e", { n = 1 })
    assert.equal(1, data_of(assert(c:wait_for("e"))).n)
    assert.same({ true }, json.decode(post(s, "/client/" .. id .. "/unsubscribe", "{}").body))
    publish("extra", "e", { n = 2 })
    publish("match/1", "f", { n = 3 })
    assert.equal("f", assert(c:next_event()).event)
    assert.equal(204, post(s, "/client/" .. id .. "/stop", "{}").status)
    assert.equal("stop", assert(c:wait_for("bye")).id)
    deadline.eventually(function() return post(s, "/client/" .. id .. "/send", "{}").status == 404 end)
    c:close()
  end)
end)

describe("files and other origins", function()
  local folder

  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    server.stop_all()
    process.remove_dir(folder)
  end)

  it("are served from memory, routes first, and CORS is answered", function()
    lfs.mkdir(folder .. "/public")
    lfs.mkdir(folder .. "/public/admin")
    process.write_file(folder .. "/public/admin/index.html", "<p>admin</p>")
    process.write_file(folder .. "/public/index.html", "<p>index</p>")
    process.write_file(folder .. "/public/app.js", "1")
    process.write_file(folder .. "/public/.secret", "x")
    process.write_file(folder .. "/rules.lua", 'return { text = "from a module" }')
    process.write_file(folder .. "/app.lua", [[
      local app = require("sluice").app()
      local rules = require("rules")
      app:static("/", "public")
      app:get("/rule", function() return rules.text end)
      app:stream("/s", "s")
      app:cors("/s", { origins = { "https://a.example" } })
      app:guard("/admin/**", function(req) return req.headers["X-Key"] == "k" or 401 end)
      return app]])
    local s = server.start({ path = folder .. "/app.lua" })
    local r = get(s, "/")
    assert.same({ 200, "<p>index</p>", "text/html; charset=utf-8" }, { r.status, r.body, r.headers["content-type"] })
    assert.equal("text/javascript; charset=utf-8", get(s, "/app.js").headers["content-type"])
    assert.equal(404, get(s, "/.secret").status)
    assert.equal(400, get(s, "/../rules.lua").status)
    for _, path in ipairs({ "/admin/", "/admin/index.html", "/%61dmin/index.html", "/x/../admin/index.html" }) do
      assert.equal(401, get(s, path).status, path)
    end
    assert.equal("<p>admin</p>", get(s, "/admin/", { ["X-Key"] = "k" }).body)
    for _, path in ipairs({ "/app.js", "/admin/" }) do -- with or without a guard
      r = get(s, path, { ["X-Key"] = "k" })
      assert.same({ "no-cache", "nosniff" }, { r.headers["cache-control"], r.headers["x-content-type-options"] })
      local tag = assert(r.headers.etag, path)
      r = get(s, path, { ["X-Key"] = "k", ["If-None-Match"] = '"a", W/' .. tag })
      assert.same({ 304, "", tag }, { r.status, r.body, r.headers.etag })
      assert.equal(200, get(s, path, { ["X-Key"] = "k", ["If-Match"] = '"a", ' .. tag }).status)
      assert.equal(412, get(s, path, { ["X-Key"] = "k", ["If-Match"] = '"a", W/' .. tag }).status)
    end
    assert.equal(404, get(s, "/admin/none.js", { ["X-Key"] = "k" }).status)
    assert.equal(401, get(s, "/admin/none.js").status)
    assert.equal("from a module", get(s, "/rule").body)
    local c = sse.connect(s.port, "/s", { headers = { Origin = "https://a.example" } })
    assert.equal("https://a.example", c.headers["access-control-allow-origin"])
    c:close()
    c = sse.connect(s.port, "/s", { headers = { Origin = "https://b.example" } })
    assert.is_nil(c.headers["access-control-allow-origin"])
    c:close()
  end)
end)

describe("the command", function()
  after_each(server.stop_all)

  it("ends with 1 for a broken script, with file and line", function()
    local code, log = server.run_to_end({ app = "local x = \nerror('broken')" })
    assert.equal(1, code)
    assert.matches("app.lua:2", log)
  end)

  it("logs what check would say, and names in the environment that are no settings", function()
    local s = server.start { app = [[
      local app = require("sluice").app()
      app:stream("/s", "pricse")
      app:post("/p", function() app:publish("prices", "e", {}) end)
      return app]], env = { SLUICE_PROT = "8080" } }
    s.wait_log("app.lua:2: .-pricse.- is subscribed here and published nowhere .-, did you mean 'prices'%?")
    s.wait_log([[app.lua:3: .-prices.- is published here and no stream follows it]])
    s.wait_log("SLUICE_PROT in the environment is no setting, and has no effect: did you mean SLUICE_PORT%?")
  end)

  it("ends with 2 for a wrong flag", function()
    local code, log = server.run_to_end({ app = "", args = { "--prot", "1" } })
    assert.equal(2, code)
    assert.matches("Did you mean '%-%-port'", log)
  end)

  it("names every address that it can be reached at", function()
    local all = assert(require("sluice.core").addresses())
    assert.truthy(table.concat(all, " "):find("127.0.0.1", 1, true))
    for _, host in ipairs { "0.0.0.0", "::" } do
      local s = start('app:get("/", function() return "here" end)', { args = { "--host", host } })
      local named = 0
      for url in s.log():match("serving (.-)\n"):gmatch("http://[^%s,\"]+") do
        named = named + 1
        assert.same({ 0, "here" }, { process.run { "curl", "-sg", url .. "/" } }, url)
      end
      local wanted = 0
      for _, address in ipairs(all) do
        if host == "::" or not address:find(":", 1, true) then wanted = wanted + 1 end
      end
      assert.equal(wanted, named)
    end
  end)

  it("ends with 1 when the port is taken", function()
    local s = start("")
    local code, log = server.run_to_end({ app = 'return require("sluice").app()', port = s.port })
    assert.equal(1, code)
    assert.matches("cannot listen on 127.0.0.1 port " .. s.port, log)
  end)

  it("drains at SIGTERM: streams get bye, the process ends with 0", function()
    local s = start('app:stream("/s", "s")', { args = { "--drain", "0.2" } })
    local c = connect(s, "/s")
    s.signal("TERM")
    assert.equal("drain", data_of(assert(c:wait_for("bye", 5))).reason)
    assert.equal(0, deadline.eventually(s.code, 10))
    c:close()
  end)

  it("lets stop hooks publish, and handlers finish, before it ends", function()
    local s = start([[
      app:stream("/s", "s")
      app:get("/slow", function() sluice.log.info("IN") sluice.sleep(0.3) return "done" end)
      app:on("stop", function() app:publish("s", "closing", {}) end)]],
      { args = { "--drain", "0.2" } })
    local c, slow = connect(s, "/s"), http.connect(s.port)
    slow:send(http.request_text("GET", "/slow", {}, nil, "127.0.0.1"))
    s.wait_log("IN")
    s.signal("TERM")
    assert(c:wait_for("closing"))
    assert(c:wait_for("bye"))
    assert.equal("done", slow:response().body)
    assert.equal(0, deadline.eventually(s.code, 10))
    c:close()
    slow:close()
  end)

  it("ends by os.exit as by SIGTERM, with its code, and the log says who asked", function()
    local s = start([[
      app:stream("/s", "s")
      app:get("/exit", function() os.exit(3) end)
      app:on("stop", function() app:publish("s", "closing", {}) end)]], { args = { "--drain", "0.2" } })
    local c = connect(s, "/s")
    assert.equal(503, get(s, "/exit").status)
    assert(c:wait_for("closing"))
    assert.equal("drain", data_of(assert(c:wait_for("bye"))).reason)
    assert.equal(3, deadline.eventually(s.code, 10))
    assert.matches("os.exit%(3%) at [^ ]*app.lua:4 in GET /exit %([^ ]*app.lua:4%): the server stops", s.log())
    c:close()
  end)
end)
