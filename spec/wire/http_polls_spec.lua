--- Long-polls as bytes on sockets: one connection for many of them, pipelined requests, polls that come over
-- other connections and so to other threads, clients that vanish while they wait, HEAD.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local server = require("spec.support.server")
local socket = require("socket")

local APP = [[
local app = require("sluice").app()
local said = app:state("said", { list = {} })
app:channel("news", { history = 100 })
app:stream("/news", "news")
app:stream("/asked", function() return "news" end)
app:on("subscribe", "news", function(client) table.insert(said().list, "+") end)
app:on("unsubscribe", "news", function(client) table.insert(said().list, "-") end)
app:get("/said", function() return 200, table.concat(said().list) end)
app:get("/hello", function() return 200, "hello" end)
app:post("/publish", function(req) return 200, tostring((app:publish("news", "story", req:json()))) end)
return app
]]

local s

local function publish(n)
  return http.post(s.port, "/publish", json.encode({ n = n }), { ["Content-Type"] = "application/json" }).body
end

local function said() return http.get(s.port, "/said").body end

local function query(path, answer)
  local list = { "mode=poll" }
  if answer and type(answer.poll) == "string" then list[#list + 1] = "poll=" .. answer.poll end
  if answer and type(answer.cursor) == "string" then list[#list + 1] = "lastEventId=" .. answer.cursor end
  return path .. "?" .. table.concat(list, "&")
end

local function head(target, method)
  return ("%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"):format(method or "GET", target)
end

--- Ask over this connection, without waiting.
local function ask(c, path, answer) c:send(head(query(path, answer))) end

local function read(c)
  local r = assert(c:response(10))
  assert.equal(200, r.status)
  assert.equal(#r.body, tonumber(r.headers["content-length"]))
  return json.decode(r.body)
end

local function numbers(answer)
  local list = {}
  for _, e in ipairs(answer.events) do list[#list + 1] = json.decode(e.data).n end
  return table.concat(list, " ")
end

for _, threads in ipairs { 1, 3 } do
  describe(("a poll, with %d I/O threads,"):format(threads), function()
    before_each(function() s = server.start({ app = APP, io_threads = threads }) end)
    after_each(server.stop_all)

    --- A client that waits over this connection and got the first event.
    local function begin(c, path)
      ask(c, path)
      deadline.eventually(function() return said() == "+" end, 5, "it is there")
      publish(1)
      local answer = read(c)
      assert.equal("1", numbers(answer))
      return answer
    end

    it("leaves its connection open for the next one", function()
      for _, path in ipairs { "/news", "/asked" } do
        local c = http.connect(s.port)
        local before, answer = #said()
        ask(c, path)
        deadline.eventually(function() return #said() == before + 1 end, 5, "it is there")
        publish(1)
        answer = read(c)
        for n = 2, 20 do
          ask(c, path, answer)
          publish(n)
          answer = read(c)
          assert.equal(tostring(n), numbers(answer))
        end
        assert.equal(before + 1, #said())
        c:send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert.equal("hello", c:response(5).body)
        c:close()
      end
    end)

    it("is one client over many connections", function()
      local c = http.connect(s.port)
      local answer = begin(c, "/asked")
      c:close()
      for n = 2, 20 do
        publish(n)
        c = http.connect(s.port)
        ask(c, "/asked", answer)
        answer = read(c)
        assert.equal(tostring(n), numbers(answer))
        c:close()
      end
      assert.equal("+", said())
    end)

    it("has an answer before the next request on its connection gets one", function()
      if server.over_h2 then return pending("HTTP/1.1 only") end
      local c = http.connect(s.port)
      local answer = begin(c, "/news")
      c:send(head(query("/news", answer)) .. head("/hello") .. head(query("/news", answer)) .. head("/hello"))
      c.wire:listen(0.1)
      publish(2)
      assert.equal("2", numbers(read(c)))
      assert.equal("hello", c:response(5).body)
      assert.equal("2", numbers(read(c))) -- the same token: as if the answer had been lost
      assert.equal("hello", c:response(5).body)
      c:close()
    end)

    it("outlives a connection that breaks while it waits", function()
      local c = http.connect(s.port)
      local answer = begin(c, "/asked")
      for n = 2, 12 do
        c = http.connect(s.port)
        ask(c, "/asked", answer)
        c:close()
        publish(n)
      end
      c = http.connect(s.port)
      local list = {}
      while list[#list] ~= "12" do -- the first may be an answer that a closed connection was given
        ask(c, "/asked", answer)
        answer = read(c)
        for n in numbers(answer):gmatch("%d+") do list[#list + 1] = n end
      end
      assert.equal("2 3 4 5 6 7 8 9 10 11 12", table.concat(list, " "))
      assert.equal("+", said())
      c:close()
    end)

    it("of a newcomer that vanishes leaves nobody", function()
      for _ = 1, 20 do
        local c = http.connect(s.port)
        ask(c, "/news")
        c:close()
      end
      deadline.eventually(function() local text = said(); return select(2, text:gsub("+", "")) == select(2,
        text:gsub("-", "")) end, 5, "all are gone")
    end)

    it("answers the one that waited when another of its client comes", function()
      if os.getenv("SLUICE_SPEC_TLS") then return pending("without TLS only") end -- it looks at bare sockets
      local a, b = http.connect(s.port), http.connect(s.port)
      local answer = begin(a, "/news")
      ask(a, "/news", answer)
      ask(b, "/news", answer)
      local first = socket.select({ a.wire.sock, b.wire.sock }, nil, 10)[1] -- they may come in any order
      local waits = first == a.wire.sock and b or a
      assert.equal("", numbers(read(waits == a and b or a)))
      publish(2)
      assert.equal("2", numbers(read(waits)))
      a:close()
      b:close()
    end)

    it("has a head for HEAD, and nobody is there", function()
      local c = http.connect(s.port)
      c:send(head("/news?mode=poll", "HEAD") .. head("/asked", "HEAD") .. head("/hello"))
      for _ = 1, 2 do
        local r = c:response(5, { no_body = true })
        assert.equal(200, r.status)
        assert.equal("application/json", r.headers["content-type"])
        assert.is_nil(r.headers["content-length"])
        assert.is_nil(r.headers["transfer-encoding"])
      end
      assert.equal("hello", c:response(5).body)
      assert.equal("", said())
      c:close()
    end)

    it("brings bye when the server stops", function()
      local c = http.connect(s.port)
      local answer = begin(c, "/news")
      ask(c, "/news", answer)
      c.wire:listen(0.1)
      s.signal("TERM")
      answer = read(c)
      assert.equal("drain", answer.bye.reason)
    end)
  end)
end
