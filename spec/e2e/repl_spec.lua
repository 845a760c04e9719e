--- `sluice repl` and POST /-/repl: Lua in a running server, which only reads unless it is told otherwise, and
--- which nobody reaches but who may open the Unix socket.
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"

local APP = [[
local app = require("sluice").app()
local seen = app:state("seen", { n = 1, list = { "a" } })
local notes = app:store("notes")
app:channel("news", { history = 10 })
app:channel("score", { history = "latest" })
app:stream("/news", function(req) req.user = { id = "ann" } return { channels = { "news" }, meta = { room = 7 } } end)
app:post("/go", function() notes:set("k", { v = 1 }) app:publish("score", "score", { home = 2 }) return 204 end)
app:get("/seen", function() return { n = seen().n, list = seen().list } end)
return app]]

local s, socket

local function repl(...) return process.run { SLUICE, "repl", "--socket", socket, ... } end

local function piped(text, ...)
  local words = {}
  for i, word in ipairs { SLUICE, "repl", "--socket", socket, ... } do words[i] = process.quote(word) end
  return process.run(("printf %%s %s | %s"):format(process.quote(text), table.concat(words, " ")))
end

describe("sluice repl", function()
  setup(function()
    s = server.start { app = APP, args = { "--admin-key", ("k"):rep(40), "--handler-budget", "0.5" } }
    socket = ("%s/sluice/%d.sock"):format(s.folder, s.port)
    assert.equal(204, http.post(s.port, "/go", "").status)
  end)
  teardown(function() process.stop_all() end)

  it("prints what an expression is, line by line or at once", function()
    assert.same({ 0, "3\n" }, { repl("-e", "1 + 2") })
    assert.same({ 0, "1\nnil\n\"x\\ny\"\n" }, { repl("-e", 'return 1, nil, "x\\ny"') })
    assert.same({ 0, "" }, { repl("-e", "local x = 5") })
    assert.same({ 0, "a\tnil\n" }, { repl("-e", 'print("a", nil)') })
    assert.same({ 0, "6\n1\n2\n12\n" },
      { piped("x = 5\nx + 1\n\nfor i = 1, 2 do\n  print(i)\nend\n_ * 2") }) -- _ is what came last
    local code, text = repl("-e", "app:stats()")
    assert.equal(0, code)
    assert.matches("^{\n.*\n  streams = 0,\n.*\n}\n$", text)
  end)

  it("prints JSON when it is told to", function()
    local code, text = repl("--json", "-e", 'return 1, { a = { 1, 2 } }, print')
    assert.same({ 0, { ok = true, values = { 1, { a = { 1, 2 } }, json.null } } }, { code, json.decode(text) })
    code, text = repl("--json", "-e", "error('no')")
    assert.equal(1, code)
    assert.same({ ok = false, message = "repl:1: no" }, json.decode(text))
  end)

  it("reads what is there: clients, channels, states, stores", function()
    local c = sse.connect(s.port, "/news")
    local id = json.decode(assert(c:wait_for("hello")).data).client
    local function one(code) return select(2, repl("-e", code)) end
    assert.equal(('"%s"\n'):format(id), one("for c in app:clients() do return c.id end"))
    assert.equal('"ann"\n7\n"127.0.0.1"\n"/news"\n', one(("local c = app:client('%s') return c.user.id, c.meta.room, "
      .. "c.ip, c.path"):format(id)))
    assert.matches("events = 0", one(("app:client('%s'):stats()"):format(id)))
    assert.equal('{ home = 2 }\n', one("(app:latest('score'))"))
    assert.equal('{ list = { "a" }, n = 1 }\n', one("state.seen"))
    assert.equal("{ v = 1 }\n", one("store('notes'):get('k')"))
    assert.equal('"k"\n', one("for key in store('notes'):each() do return key end"))
    c:close()
  end)

  it("changes nothing, however one asks", function()
    local before = http.get(s.port, "/seen").body
    for _, code in ipairs { "app:publish('news', 'x', {})", "app:remove('score', 'score')", "app:after(1, 'x')",
      "store('notes'):set('k', 1)", "store('notes'):delete('k')", "app:recheck()", "app.publish(app, 'news', 'x', {})",
      "for c in app:clients() do c:stop() end return app:no_such_thing()", "os.execute('true')", "io.open('/x', 'w')",
      "require('os')", "load('return 1')()", "debug.getregistry()", "getmetatable('').__index", "setmetatable({}, {})",
      "rawset(app, 'x', 1)", "collectgarbage()", "_G.app", "package.loaded" } do
      local exit, text = repl("-e", code)
      assert.equal(1, exit, code .. ": " .. text)
      assert.matches("^sluice: repl:1: ", text, code)
    end
    assert.equal(0, (repl("-e", "state.seen.n = 99 table.insert(state.seen.list, 'b') app:stats().streams = 5")))
    assert.equal(0, (repl("-e", "string.format = nil table.concat = nil math.huge = 1 json.encode = nil")))
    assert.same({ 0, '"1,2"\n' }, { repl("-e", "table.concat({ 1, 2 }, ',')") })
    assert.equal(before, http.get(s.port, "/seen").body)
    assert.matches("app:publish%(%) changes something, and this only reads: sluice repl %-%-write",
      select(2, repl("-e", "app:publish('news', 'x', {})")))
    assert.same({ 0, "{ home = 2 }\n" }, { repl("-e", "(app:latest('score'))") })
  end)

  it("does what a handler may do with --write, and the log has it", function()
    local c = sse.connect(s.port, "/news")
    assert(c:wait_for("hello"))
    local code, text = repl("--write", "-e", "app:publish('news', 'hi', { n = 1 })")
    assert.equal(0, code, text)
    assert.equal("hi", c:next_event().event)
    s.wait_log("app:publish%('news', 'hi', { n = 1 }%)")
    assert.equal(0, (repl("--write", "-e", "for c in app:clients() do c:stop() end")))
    assert(c:wait_for("bye"))
    c:close()
    assert.same({ 0, "true\n" }, { repl("--write", "-e", "require('sluice').sleep(0.01) return true") })
    assert.same({ 0, "5\n" }, { piped("y = 5\ny", "--write") })
    assert.same({ 0, "nil\n" }, { repl("--write", "-e", "y") }) -- a session's own
  end)

  it("is stopped where it loops, and says what is wrong", function()
    local code, text = repl("-e", "while true do end")
    assert.equal(1, code)
    assert.matches("computed for 0.5 s without a pause", text)
    assert.equal(1, (repl("-e", "pcall(function() while true do end end) while true do end")))
    assert.matches("^sluice: repl:1: unexpected symbol near", select(2, repl("-e", "x = = 1")))
    assert.matches("^sluice: repl:.*<eof>", select(2, repl("-e", "for i = 1, 2 do")))
    assert.same({ 1, "sluice: repl:1: boom\n2\n" }, { piped("error('boom')\n1 + 1") })
    assert.same({ 1, "1\nsluice: repl:3: boom\nsluice: repl:6: late\n" },
      { piped("1\n\nerror('boom')\nfor i = 1, 2 do\n  local x = i\n  error('late')\nend") })
    assert.equal(200, http.get(s.port, "/seen").status)
  end)

  it("is not there for whoever has the admin key alone, nor where no server is", function()
    local answer = http.post(s.port, "/-/repl", "1", { Authorization = "Bearer " .. ("k"):rep(40) })
    assert.same({ 403, true }, { answer.status, answer.body:find("only over the Unix socket", 1, true) ~= nil })
    assert.equal(401, http.post(s.port, "/-/repl", "1").status)
    -- what a proxy may say of its client does not make it the socket
    local forged = http.post(s.port, "/-/repl", "1", { Authorization = "Bearer " .. ("k"):rep(40),
      ["X-Forwarded-For"] = "unix" })
    assert.equal(403, forged.status)
    local code, text = process.run { SLUICE, "repl", "--socket", socket .. ".none", "-e", "1" }
    assert.equal(1, code)
    assert.matches("^sluice: no server answers at ", text)
  end)

  it("sees the code of now after a reload, and keeps its own names", function()
    local function run(session, code)
      local c = process.run { "curl", "-s", "--unix-socket", socket, "-d", code,
        "http://localhost/-/repl?write=1&session=" .. session }
      return c
    end
    assert.equal(0, run("one", "kept = 7"))
    process.write_file(s.folder .. "/app.lua", (APP:gsub('"/seen"', '"/other"')))
    s.signal("HUP")
    s.wait_log("reload #2")
    local _, text = process.run { "curl", "-s", "--unix-socket", socket, "-d", "return kept, app:stats().generation",
      "http://localhost/-/repl?write=1&session=one" }
    assert.equal("7\n2", json.decode(text).text)
    for n = 1, 20 do run("s" .. n, "x = 1") end -- older ones are let go
    _, text = process.run { "curl", "-s", "--unix-socket", socket, "-d", "return kept",
      "http://localhost/-/repl?write=1&session=one" }
    assert.equal("nil", json.decode(text).text)
  end)
end)
