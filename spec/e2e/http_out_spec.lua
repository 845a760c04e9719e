--- sluice.http on a real server, against a source whose every byte is the spec's.
local crypto = require("sluice.crypto")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")

local KEPT = 16 -- idle connections that are kept for the next request

local ASK = [[
local http = require("sluice.http")
local function show(answer, message, code)
  if not answer then return { message = message, code = code } end
  return { status = answer.status, headers = answer.headers, body = answer.body,
    type = answer.headers["Content-Type"], value = answer.json() }
end
app:post("/ask", function(req) return show(http.request(req:json())) end)
app:post("/get", function(req) local o = req:json() return show(http.get(o.url, o.options)) end)
app:post("/post", function(req) local o = req:json() return show(http.post(o.url, o.options)) end)
app:post("/raise", function(req)
  local _, problem = pcall(http.request, req:json())
  return { problem = tostring(problem) }
end)
app:get("/quick", function() return "quick" end)
local taken = app:state("taken", { text = "", ended = false })
app:post("/stream", function(req)
  local o = req:json()
  local most = o.most
  o.most, taken().text, taken().ended = nil, "", false
  local answer <close>, message, code = http.stream(o)
  if not answer then return { message = message, code = code } end
  for piece in answer:chunks() do
    taken().text = taken().text .. piece
    if most and #taken().text >= most then break end
  end
  taken().ended = true
  return { status = answer.status, type = answer.headers["Content-Type"], text = taken().text,
    problem = answer.problem, code = answer.code }
end)
app:get("/taken", function() return { text = taken().text, ended = taken().ended } end)
]]

describe("sluice.http", function()
  local s, from

  setup(function() s = live.start(ASK) end)
  teardown(server.stop_all)
  before_each(function() from = source.listen() end)
  after_each(source.close_all)

  -- Ask and do not wait: a function that waits for what the app was told.
  local function ask(o, path)
    if type(o.url) == "string" and o.url:sub(1, 1) == "/" then o.url = from.url .. o.url end
    local c = live.post_later(s, path or "/ask", json.encode(o))
    return function(seconds)
      local answer = assert(c:response(seconds or 10))
      c:close()
      assert(answer.status == 200, answer.body)
      return json.decode(answer.body)
    end
  end

  it("sends a request to the byte", function()
    local told = ask { url = "/a?b=c", method = "PUT", body = "text", headers = { ["X-Key"] = "k", Empty = "" } }
    local c = from:accept()
    local lines = {}
    for line in c.head:gmatch("([^\r\n]+)\r\n") do lines[#lines + 1] = line end
    table.sort(lines)
    assert.same({ "Content-Length: 4", "Empty:", ("Host: 127.0.0.1:%d"):format(from.port), "PUT /a?b=c HTTP/1.1",
      "User-Agent: sluice/" .. require("sluice.core").version, "X-Key: k", "accept: */*",
      lines[#lines]:match("^traceparent: 00%-%x+%-%x+%-01$") }, lines)
    assert.equal("text", c.body)
    c:answer(200)
    assert.equal(200, told().status)
    c:close()
  end)

  it("gives back status, headers and body", function()
    local told = ask { url = "/" }
    local c = from:accept()
    assert.equal("GET", c.method)
    c:send("HTTP/1.1 103 Early\r\nX: 1\r\n\r\nHTTP/1.1 418 Teapot\r\nContent-Type: application/json\r\n"
      .. "Vary: a\r\nvary:\tb \r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3\r\n{\"a\r\n5\r\n\": 1}\r\n0\r\nTrailer: x\r\n\r\n")
    local answer = told()
    assert.same({ 418, '{"a": 1}', { a = 1 }, "application/json", "a, b" },
      { answer.status, answer.body, answer.value, answer.type, answer.headers.vary })
    assert.is_nil(answer.headers.x)
    assert.is_nil(answer.headers.trailer)
    c:close()
  end)

  it("posts JSON, and uses a connection again", function()
    local told = ask({ url = from.url .. "/hook", options = { json = { n = 7 } } }, "/post")
    local c = from:accept()
    assert.same({ "POST", '{"n":7}', "application/json" }, { c.method, c.body, c.headers["content-type"] })
    c:answer(202, "yes")
    assert.same({ 202, "yes" }, { told().status, "yes" })
    told = ask({ url = from.url .. "/next" }, "/get")
    c:again()
    assert.equal("/next", c.path)
    c:answer(204)
    assert.same({ 204, "" }, (function(a) return { a.status, a.body } end)(told()))
    c:close()
  end)

  it("sends what may not arrive twice once, also when a connection that was kept breaks off", function()
    -- how often it arrived on the connection that was kept, and on further ones
    local function arrivals(o, path)
      local told = ask { url = "/kept" }
      local c = from:accept()
      c:answer(200)
      assert.equal(200, told().status) -- so that the connection is free
      o.url = "/pay"
      told = ask(o, path)
      local kept, further = 0, 0
      deadline.eventually(function()
        local new = from:try_accept(0.05)
        if new then
          further = further + 1
          new:close()
        end
        if kept == 0 and c:try_again(0.05) then
          kept = kept + 1
          c:close()
        end
        return kept + further > 0
      end, 5)
      local more = from:try_accept(kept > 0 and 5 or 0.2)
      if more then
        further = further + 1
        more:close()
      end
      assert.equal("EUPSTREAM", told().code)
      c:close()
      return { kept, further }
    end
    for _, path in ipairs { "/ask", "/stream" } do
      for _, o in ipairs { { json = 1 }, { method = "PATCH", body = "x" }, { body = "x", idempotent = false } } do
        assert.same({ 0, 1 }, arrivals(o, path), path)
      end
      for _, o in ipairs { { json = 1, idempotent = true }, { json = 1, headers = { ["Idempotency-Key"] = "k" } } } do
        assert.same({ 1, 1 }, arrivals(o, path), path)
      end
    end
  end)

  it("reads no body where there is none", function()
    local told = ask { url = "/", method = "head" }
    local c = from:accept()
    assert.equal("HEAD", c.method)
    c:send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    assert.same({ 200, "" }, (function(a) return { a.status, a.body } end)(told()))
    c:close()
  end)

  it("waits alone: others are served meanwhile", function()
    local told = ask { url = "/" }
    local c = from:accept()
    assert.equal("quick", s.get("/quick").body)
    c:answer(200)
    assert.equal(200, told().status)
    c:close()
  end)

  it("is told what went wrong, by code", function()
    local function outcome(o, act)
      local told = ask(o)
      if act then act(from:accept()) end
      local answer = told()
      return answer.code, answer.message
    end
    local unused = source.listen()
    unused:close()
    assert.equal("ECONNECT", (outcome { url = unused.url }))
    assert.equal("EINVAL", (outcome { url = "file:///etc/passwd" }))
    assert.equal("EINVAL", (outcome { url = "not a url" }))
    assert.equal("EINVAL", (outcome { url = "/", method = "G T" }))
    assert.equal("EBADFIELD", (outcome { url = "/", headers = { A = "b\r\nC: d" } }))
    assert.equal("ETOOBIG", (outcome { url = "/" .. ("x"):rep(9000) }))
    assert.equal("EUPSTREAM", (outcome({ url = "/" }, function(c) c:close() end)))
    assert.equal("EUPSTREAM", (outcome({ url = "/" }, function(c)
      c:send("SSH-2.0-OpenSSH\r\n\r\n")
      c:close()
    end)))
    assert.equal("EUPSTREAM", (outcome({ url = "/" }, function(c)
      c:send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
      c:close()
    end)))
    local code, message = outcome({ url = "/", timeout = 0.2 }, function(c)
      c:send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
      assert.is_true(c:gone())
    end)
    assert.same({ "ETIMEOUT", "no answer within 0.2 s" }, { code, message })
  end)

  it("takes no more than it wants", function()
    local function outcome(max, bytes)
      local told = ask { url = "/", max_bytes = max }
      local c = from:accept()
      c:answer(200, ("x"):rep(bytes))
      local answer = told()
      c:close()
      return answer.code or #answer.body, answer.message
    end
    assert.equal(1000, (outcome(1000, 1000)))
    assert.same({ "ETOOBIG", "the answer has more than 1000 bytes" }, { outcome(1000, 1001) })
    assert.equal(1 << 20, (outcome(nil, 1 << 20)))
    assert.equal("ETOOBIG", (outcome(nil, (1 << 20) + 1)))
    local told = ask { url = "/" }
    local c = from:accept()
    c:send("HTTP/1.1 200 OK\r\n")
    for _ = 1, 100 do
      if not c:send("X: " .. ("y"):rep(1000) .. "\r\n") then break end
    end
    assert.equal("ETOOBIG", told().code)
    c:close()
  end)

  it("follows redirects, and tells strangers nothing", function()
    local other = source.listen()
    local told = ask { url = "/a/b", method = "POST", body = "x",
      headers = { Authorization = "secret", ["X-Key"] = "k" } }
    local c = from:accept()
    c:answer(302, "", { Location = "../c?d" })
    c:again()
    assert.same({ "GET", "/c?d", "secret", "" }, { c.method, c.path, c.headers.authorization, c.body })
    c:answer(307, "", { Location = other.url .. "/e" })
    local d = other:accept()
    assert.same({ "GET", "/e" }, { d.method, d.path })
    assert.is_nil(d.headers.authorization)
    assert.is_nil(d.headers["x-key"])
    d:answer(200, "there")
    assert.equal("there", told().body)
    c:close()
    d:close()
    told = ask { url = "/", redirects = 0 }
    c = from:accept()
    c:answer(301, "", { Location = "/elsewhere" })
    assert.equal(301, told().status)
    c:close()
  end)

  it("refuses a redirect that leads nowhere", function()
    for _, place in ipairs { "", "http://[", "http://exa mple/" } do
      local told = ask { url = "/", method = "POST", body = "x" }
      local c = from:accept()
      c:answer(302, "", { Location = place })
      local answer = told()
      assert.same({ "EUPSTREAM", true }, { answer.code, answer.message:find("is no place", 1, true) ~= nil }, place)
      c:close()
    end
  end)

  it("names the place where a redirect led when nothing is there", function()
    local told = ask { url = "/", redirects = 1 }
    local c = from:accept()
    c:answer(302, "", { Location = "http://127.0.0.1:1/there?secret=1" })
    local answer = told()
    assert.equal("ECONNECT", answer.code)
    assert.matches("^http://127%.0%.0%.1:1/there, where a redirect led: .*127%.0%.0%.1 port 1", answer.message)
    c:close()
  end)

  it("says so when an answer ends within its head, or is of another protocol", function()
    for _, head in ipairs { "HTTP/1.1 200 OK\r\nCont", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nfoo" } do
      for _, path in ipairs { "/ask", "/stream" } do
        local told = ask({ url = "/", timeout = 5 }, path)
        local c = from:accept()
        c:send(head)
        c:close()
        local answer = told()
        assert.equal("EUPSTREAM", answer.code, head)
        assert.is_string(answer.message)
      end
    end
  end)

  it("gives an answer while it comes", function()
    local told = ask({ url = "/" }, "/stream")
    local c = from:accept()
    c:send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\none,")
    deadline.eventually(function() return json.decode(s.get("/taken").body).text == "one," end, 5)
    c:send("two")
    deadline.eventually(function() return json.decode(s.get("/taken").body).text == "one,two" end, 5)
    assert.is_false(json.decode(s.get("/taken").body).ended)
    c:close()
    local answer = told()
    assert.same({ 200, "one,two", "EUPSTREAM" }, { answer.status, answer.text, answer.code })
  end)

  it("ends what is not read on, and waits for a head no longer than it was told", function()
    local told = ask({ url = "/", most = 3 }, "/stream")
    local c = from:accept()
    c:stream("long")
    assert.same({ "long" }, { told().text })
    assert.is_true(c:gone())
    told = ask({ url = "/", timeout = 0.2 }, "/stream")
    c = from:accept()
    assert.equal("ETIMEOUT", told().code)
    assert.is_true(c:gone())
    told = ask({ url = "/", idle = 0.2 }, "/stream")
    c = from:accept()
    c:stream("then nothing")
    assert.equal("ETIMEOUT", told().code)
    assert.is_true(c:gone())
  end)

  it("signs what it sends as Standard Webhooks has it", function()
    local key = ("k"):rep(32)
    local told = ask { url = "/", json = { n = 1 }, retries = 1,
      sign = { secret = "whsec_" .. crypto.base64url(key) .. "=", id = "msg_7" } }
    local c = from:accept()
    for _ = 1, 2 do
      local at = c.headers["webhook-timestamp"]
      assert.is_true(math.abs(os.time() - tonumber(at)) < 60)
      assert.equal("msg_7", c.headers["webhook-id"])
      local folder = process.temp_dir()
      process.write_file(folder .. "/body", ("msg_7.%s.%s"):format(at, c.body))
      local code, wanted = process.run(("openssl dgst -sha256 -hmac %s -binary %s/body | base64"):format(key, folder))
      process.remove_dir(folder)
      assert.equal(0, code)
      assert.equal("v1," .. wanted:gsub("%s+$", ""), c.headers["webhook-signature"])
      if _ == 1 then
        c:answer(503, "", { ["Retry-After"] = "0" })
        c:again()
      end
    end
    c:answer(200, "fine")
    assert.equal("fine", told().body)
    c:close()
  end)

  it("follows not for ever, and nowhere but to http", function()
    local told = ask { url = "/", redirects = 2 }
    local c = from:accept()
    for n = 1, 3 do
      c:answer(302, "", { Location = "/" .. n })
      if n < 3 then c:again() end
    end
    assert.same({ "EUPSTREAM", "more than 2 redirects" }, (function(a) return { a.code, a.message } end)(told()))
    c:close()
    told = ask { url = "/" }
    c = from:accept()
    c:answer(302, "", { Location = "file:///etc/passwd" })
    assert.equal("EINVAL", told().code)
    c:close()
  end)

  it("tries again what may pass, as often as it was told", function()
    local told = ask { url = "/", retries = 2 }
    local c = from:accept()
    c:answer(503, "", { ["Retry-After"] = "0" })
    c:again():close()
    c = from:accept()
    c:answer(200, "at last")
    assert.equal("at last", told().body)
    c:close()
    told = ask { url = "/", retries = 3 }
    c = from:accept()
    c:answer(404)
    assert.equal(404, told().status)
    c:close()
    told = ask { url = "/", retries = 1 }
    c = from:accept()
    c:answer(503, "", { ["Retry-After"] = "0" })
    c:again():answer(503, "still")
    assert.equal("still", told().body)
    c:close()
  end)

  it("says that a head is too big, however it is", function()
    for _, head in ipairs { "X: " .. ("x"):rep(110000), ("X: y\r\n"):rep(200) .. "Z: z",
      ("X: " .. ("x"):rep(30000) .. "\r\n"):rep(3) .. "Z: z", ("X: " .. ("x"):rep(99000) .. "\r\n"):rep(4) } do
      local told = ask { url = "/" }
      local c = from:accept()
      c:send("HTTP/1.1 200 OK\r\n" .. head .. "\r\nContent-Length: 0\r\n\r\n")
      local answer = told()
      assert.same({ "ETOOBIG", "the answer has more than 65536 bytes" }, { answer.code, answer.message }, #head)
      c:close()
    end
    local told = ask { url = "/" }
    local c = from:accept()
    c:send("HTTP/1.1 200 " .. ("x"):rep(110000) .. "\r\n\r\n")
    assert.equal("ETOOBIG", told().code)
    c:close()
  end)

  it("raises on mistakes", function()
    local function raised(o) return ask(o, "/raise")().problem end
    assert.truthy(raised({ ulr = "x" }):find("unknown option 'ulr', did you mean 'url'?", 1, true))
    assert.truthy(raised({ url = "/", sign = { secret = "s" } }):find("sign.secret is a text of at least 24", 1, true))
    assert.truthy(raised({ url = "/", sign = { secret = "whsec_c2hvcnQ=" } }):find("sign.secret", 1, true))
    assert.truthy(raised({ url = "/", sign = { key = "s" } }):find("sign: unknown option 'key'", 1, true))
    assert.truthy(raised({ url = "/", timeout = -1 }):find("timeout is a number from", 1, true))
    assert.truthy(raised({ url = "/", body = "a", json = 1 }):find("body or json, not both", 1, true))
    assert.truthy(raised({ url = 7 }):find("the url is a string", 1, true))
    assert.truthy(raised({ url = "/", headers = { "a" } }):find("not of a list", 1, true))
  end)

  it("is refused while an app loads", function()
    local app = 'require("sluice.http").get("http://127.0.0.1/")\nreturn require("sluice").app()'
    local code, log = server.run_to_end { app = app }
    assert.equal(1, code)
    assert.truthy(log:find("app.lua:1: http.get() has an effect and the app is still loading", 1, true), log)
  end)

  it("leaves nothing behind", function()
    local function round()
      local told = ask { url = "/", timeout = 0.1 }
      local c = from:accept()
      assert.equal("ETIMEOUT", told().code)
      c:close()
      told = ask { url = "/" }
      c = from:accept()
      c:answer(200, ("x"):rep(100000), { Connection = "close" })
      assert.equal(100000, #told().body)
      c:close()
    end
    for _ = 1, 3 do round() end -- what is made once is there
    local before, fds = s.alive(), s.fds()
    for _ = 1, 20 do round() end
    deadline.eventually(function()
      local now, open = s.alive(), s.fds()
      -- a block kept in every other round would be ten; a line of the log may be on its way
      assert(now.memory < before.memory + 10 and open <= fds + KEPT,
        ("%d of memory, not %d; %d descriptors, not %d"):format(now.memory, before.memory, open, fds))
      return true
    end, 5, "as much as before")
  end)
end)

describe("sluice.http over TLS", function()
  after_each(function() process.stop_all() end)

  it("believes no certificate that nobody vouches for, unless told to", function()
    local folder = process.temp_dir()
    assert.equal(0, (process.run(("openssl req -x509 -newkey rsa:2048 -nodes -keyout %s/key -out %s/cert "
      .. "-days 2 -subj /CN=localhost 2>&1"):format(folder, folder))))
    local unused = source.listen()
    unused:close()
    local p = process.spawn({ "openssl", "s_server", "-accept", "127.0.0.1:" .. unused.port, "-www", "-cert",
      folder .. "/cert", "-key", folder .. "/key" }, { kind = "tls", folders = { folder } })
    deadline.eventually(function() return p:log():find("ACCEPT") end, 5, "s_server accepts")
    local s = live.start(ASK)
    local function ask(verify)
      local url = ("https://127.0.0.1:%d/"):format(unused.port)
      return json.decode(s.post("/ask", json.encode { url = url, verify = verify }).body)
    end
    local refused = ask(true)
    assert.equal("ECONNECT", refused.code)
    assert.truthy(refused.message:find("certificate", 1, true), refused.message)
    assert.equal(200, ask(false).status)
    assert.equal(0, s.stop())
  end)
end)

describe("a server that ends", function()
  after_each(function() process.stop_all() source.close_all() end)

  it("cuts what it asked, and waits for none of it", function()
    local from = source.listen()
    local s = live.start(([[
      local http = require("sluice.http")
      app:service("asker", function() http.get(%q, { timeout = 1000 }) end)
      app:get("/many", function()
        local out = { ok = 0 }
        for _ = 1, 260 do
          app:spawn(function()
            local _, _, code = http.get(%q, { timeout = 2 })
            out[code or "ok"] = (out[code or "ok"] or 0) + 1
          end)
        end
        sluice.sleep(0.5)
        return out
      end)]]):format(from.url, from.url))
    local c = from:accept()
    assert.equal(5, json.decode(s.get("/many").body).EFULL) -- 256 in all
    assert.equal(0, s.stop())
    assert.is_true(c:gone())
  end)
end)
