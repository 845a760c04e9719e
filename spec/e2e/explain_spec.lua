--- `sluice explain` asks a real server, with two I/O threads, about clients on sockets.
local crypto = require("sluice.crypto")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")

local KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEF"

local APP = [[
app:channel("log", { history = 5 })
app:stream("/log", "log")
app:stream("/any/*rest", function() return "log" end)
app:stream("/no/*rest", function() return 403 end)]]

describe("sluice explain", function()
  local s

  before_each(function()
    s = live.start(APP, { io_threads = 2, args = { "--drain", "0", "--admin-key", KEY } })
  end)
  after_each(live.stop_all)

  local function explain(...)
    return process.run({ "env", "XDG_RUNTIME_DIR=" .. s.folder, "build/bin/sluice", "explain", "--port", s.port, ... })
  end

  local function cause_of(kind, id)
    local answer = s.get(("/-/explain?%s=%s"):format(kind, id), { Authorization = "Bearer " .. KEY })
    return json.decode(answer.body).because[1].cause
  end

  local function ended(id, cause, seconds)
    deadline.eventually(function() return cause_of("client", id) == cause end, seconds or 5, "cause " .. cause)
  end

  it("finds a client on any thread, open and gone, and says how it left", function()
    for how, leave in pairs({ left = function(c) c:close() end, network = function(c) c:reset() end }) do
      for _ = 1, 3 do -- on either thread
        local c = live.connect(s, "/log")
        local id = c.hello.client
        assert.equal("publish", cause_of("client", id))
        leave(c)
        ended(id, how)
      end
    end
  end)

  it("says that the server was full to an address whose connection was closed for that", function()
    local full = live.start(APP, { io_threads = 1, args = { "--drain", "0", "--max-connections", "2" } })
    for _ = 1, 2 do live.connect(full, "/log") end
    local one = assert(http.connect(full.port))
    one:send("GET /log HTTP/1.1\r\nHost: localhost\r\n\r\n")
    full.wait_log("as many connections as %-%-max%-connections", 5)
    local _, out = process.run({ "env", "XDG_RUNTIME_DIR=" .. full.folder, "build/bin/sluice", "explain", "--port",
      full.port, "client", "127.0.0.1", "--json" })
    local found
    for _, row in ipairs(json.decode(out).timeline) do found = found or row.cause == "connections" and row.text end
    assert.matches("^refused: It came from 127.0.0.1 when the server had 2 connections, as many as "
      .. "%-%-max%-connections allows", (found or out):gsub("\n", " "))
  end)

  it("tells of a reset also when it is asked by address, of a client that is open or gone", function()
    local c = live.connect(s, "/log", { last_event_id = "zzz-5" })
    local function timeline()
      local answer = s.get("/-/explain?client=127.0.0.1", { Authorization = "Bearer " .. KEY })
      local list = {}
      for i, row in ipairs(json.decode(answer.body).timeline) do list[i] = row.what end
      return table.concat(list, " ")
    end
    assert.equal("opened reset", timeline())
    c:close()
    ended(c.hello.client, "left")
    assert.equal("opened reset ended", timeline())
  end)

  it("tells a full socket", function()
    local c = live.connect(s, "/log", { rcvbuf = 4096 })
    local id = c.hello.client
    for _ = 1, 5 do s.publish("log", { n = 10, pad = 60000 }) end
    ended(id, "socket")
    local _, text = explain("client", id)
    assert.truthy(text:find("^client " .. id .. ": open for %d+ s, GET /log %(/%S+/app.lua:%d+%), 127.0.0.1\n"), text)
    assert.truthy(text:find("Its socket is full", 1, true), text)
  end)

  it("writes nothing of a client's to a terminal as it came, and ends with 1 when it knows nothing", function()
    local c = live.connect(s, "/any/%c2%9b31mred%e2%80%ae")
    local id = c.hello.client
    local code, text = explain("client", id)
    assert.equal(0, code)
    assert.is_nil(text:find("[%z\1-\9\11-\31\127]"))
    assert.is_nil(text:find("\xc2\x9b", 1, true))
    assert.is_nil(text:find("\xe2\x80\xae", 1, true))
    assert.truthy(text:find("red", 1, true))
    code, text = explain("client", "nobody")
    assert.equal(1, code)
    assert.truthy(text:find("Nothing is known of 'nobody'", 1, true))
    code, text = explain("channel", "a b")
    assert.equal(1, code)
    assert.truthy(text:find("segment 'a b'", 1, true) or text:find("'a b'", 1, true), text)
  end)

  it("answers over TCP with the admin key alone", function()
    assert.equal(401, s.get("/-/explain?client=x").status)
    assert.equal(401, s.get("/-/explain?client=x", { Authorization = "Bearer " .. KEY:reverse() }).status)
    assert.equal("unknown", cause_of("client", "x"))
    local code, text = explain("client", "x", "--json")
    assert.same({ 1, "unknown" }, { code, json.decode(text).because[1].cause })
    assert.is_nil(s.log():find(KEY, 1, true))
  end)

  it("knows a request that the server refused by itself, by its trace and its path", function()
    local one = live.start([[
app:post("/api/tickets", function() return 204 end)
app:limits({ max_requests_per_address = 3 })]], { io_threads = 2, args = { "--drain", "0", "--admin-key", KEY,
      "--allow-host", "a.example" } })
    local function ask(id)
      return json.decode(one.get("/-/explain?client=" .. id, { Authorization = "Bearer " .. KEY }).body)
    end
    local function trace_of(n) return ("%032x"):format(n) end
    local function send(n, method, path, host)
      local c = assert(http.connect(one.port))
      c:send(("%s %s HTTP/1.1\r\nHost: %s\r\ntraceparent: 00-%s-00f067aa0ba902b7-01\r\nContent-Length: 0\r\n\r\n")
        :format(method, path, host, trace_of(n)))
      local status = assert(c:response(5)).status
      c:close()
      return status
    end
    assert.equal(421, send(1, "POST", "/api/tickets", "evil.example"))
    local answer = ask(trace_of(1))
    assert.same({ "refused", "status" }, { answer.found, answer.because[1].cause })
    assert.matches("POST /api/tickets with 421 %(Host: evil.example%): this name is not in %-%-allow%-host",
      answer.because[1].text)
    local n = 1
    repeat n = n + 1 until send(n, "POST", "/api/tickets", "localhost") == 429 or n == 9
    answer = ask(trace_of(n))
    assert.equal("limit", answer.because[1].cause)
    assert.matches("3 requests a minute that max_requests_per_address", answer.because[1].text)
    answer = ask("/api/tickets")
    assert.same({ "limit", "handler" }, { answer.because[1].cause, answer.because[2].cause })
    assert.matches("POST /api/tickets %(%S+app.lua:31%)", answer.because[2].text)
  end)

  --- How a user is revoked, the app's line or module that it is to name.
  local function revoked_by(how, durable)
    local keys = os.tmpname()
    local function write(...)
      local rows = {}
      for i, id in ipairs({ ... }) do
        rows[i] = ('{"id":"%s","hash":"%s"}'):format(id, crypto.hex(crypto.sha256("key-of-" .. id)))
      end
      local file = assert(io.open(keys, "w"))
      file:write("[", table.concat(rows, ","), "]")
      file:close()
    end
    write("ann", "bob")
    local one = live.start(([[
local auth = require("sluice.auth").new(app, { keys = %q, durable = %s })
app:stream("/mine", auth:user(), function() return "log" end)
app:post("/revoke", function() auth:revoke({ user = "ann" }) end)]]):format(keys, durable), { io_threads = 2,
      args = { "--drain", "0", "--admin-key", KEY } })
    local list = {}
    for i, id in ipairs({ "ann", "ann", "ann", "bob" }) do
      list[i] = live.connect(one, "/mine", { headers = { Authorization = "Bearer key-of-" .. id } })
    end
    if how == "file" then write("bob") else one.post("/revoke") end
    for i = 1, 3 do
      list[i]:wait_for("bye", 5)
      list[i]:close()
    end
    local answer
    deadline.eventually(function()
      answer = json.decode(one.get("/-/explain?client=ann", { Authorization = "Bearer " .. KEY }).body)
      local n = 0
      for _, row in ipairs(answer.timeline) do n = n + (row.what == "ended" and 1 or 0) end
      return n == 3 and answer.found == "ended"
    end, 5, "three ends")
    os.remove(keys)
    return answer
  end

  it("names what revoked each stream of a user: the app's line, or the module that read the keys", function()
    for _, case in ipairs({ { "line", false, "at %S+app.lua:33%.$" }, { "line", true, "at %S+app.lua:33%.$" },
      { "file", false, "by the timer auth:keys %(%S+app.lua:31%)%.$" } }) do
      local answer = revoked_by(case[1], case[2])
      assert.matches("^What it was opened with was revoked " .. case[3], answer.because[1].text)
      for _, row in ipairs(answer.timeline) do
        if row.what ~= "opened" then assert.matches(case[3], row.text) end
      end
    end
  end)
end)
