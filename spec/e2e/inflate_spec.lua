--- Answers that are compressed, as sluice.client and sluice.http read them: whole, in pieces, cut, wrong, and far
--- smaller than what they become.
local core = require("sluice.core")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local server = require("spec.support.server")
local source = require("spec.support.source")
local testing = require("sluice.core.testing")

local APP = [[
local http, client = require("sluice.http"), require("sluice.client")
local seen = app:state("seen", { texts = {} })
app:post("/stream", function(req)
  local answer <close>, message, code = http.stream(req:json())
  if not answer then return { message = message, code = code } end
  local bytes, most, all = 0, 0, {}
  for piece in answer:chunks() do
    bytes, most = bytes + #piece, math.max(most, #piece)
    if bytes < 1e6 then all[#all + 1] = piece end
  end
  return { text = bytes < 1e6 and table.concat(all) or nil, bytes = bytes, most = most, problem = answer.problem,
    code = answer.code, coding = answer.headers["Content-Encoding"] }
end)
app:post("/follow", function(req)
  local o = req:json()
  seen().texts = {}
  app:spawn(function()
    for event in client.events(o.url, o.options) do table.insert(seen().texts, event.text) end
    seen().over = true
  end)
end)
app:get("/seen", function() return sluice.json.array(seen().texts) end)
app:channel("log", { history = 20000, rewind = "all" })
app:stream("/log", { compress = "auto" }, "log")
app:post("/go", function(req)
  for n = 1, 500 do app:publish("log", "e", { n = n, word = ("w"):rep(n % 90) }) end
end)
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
app:get("/stats", function() return app:stats() end)
app:get("/quick", function() return "quick" end)]]

local PACKED = "Content-Encoding: gzip\r\n"
local BEGIN = "\x1f\x8b\x08\0\0\0\0\0\0\xff"

-- A body in one member, with its trailer.
local function gzip(text)
  local path = os.tmpname()
  local to <close> = assert(io.popen("gzip -9c >" .. path, "w"))
  to:write(text)
  to:close()
  local from <close> = assert(io.open(path, "rb"))
  os.remove(path)
  return from:read("a")
end

-- A block as Sluice sends it.
local function block(text) return testing.wire("gzip", text):match("^%x+\r\n(.*)\r\n$") end

local function noise(n)
  local list = {}
  for i = 1, n do list[i] = string.char(math.random(32, 126)) end
  return table.concat(list)
end

describe("what is compressed", function()
  local s, from

  setup(function() s = live.start(APP) end)
  teardown(server.stop_all)
  before_each(function() from = source.listen() end)
  after_each(source.close_all)

  -- http.stream from our source: its request; then what the app saw.
  local function ask(options)
    options = options or {}
    options.url = from.url
    local asked = live.post_later(s, "/stream", json.encode(options))
    return from:accept(), function()
      local answer = assert(asked:response(30))
      asked:close()
      assert(answer.status == 200, answer.body)
      return json.decode(answer.body)
    end
  end

  local function follow(options)
    assert.equal(204, s.post("/follow", json.encode { url = from.url, options = options }).status)
    return from:accept()
  end

  local function texts(n)
    local list
    deadline.eventually(function()
      list = json.decode(s.get("/seen").body)
      return #list >= n
    end, 10, n .. " events")
    assert.equal(n, #list)
    return list
  end

  it("is asked for unless the app says otherwise, and then comes as it is sent", function()
    local packed = gzip("text")
    for _, row in ipairs {
      { nil, "gzip", "text" }, { { compress = false }, nil, packed },
      { { headers = { ["Accept-Encoding"] = "gzip;q=0.5" } }, "gzip;q=0.5", packed },
      { { headers = { Range = "bytes=0-" } }, nil, packed },
    } do
      local c, told = ask(row[1] and { compress = row[1].compress, headers = row[1].headers })
      assert.equal(row[2], c.headers["accept-encoding"])
      c:send(("HTTP/1.1 200 OK\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s"):format(PACKED, #packed, packed))
      c:close()
      local got = told()
      assert.same({ #row[3], "gzip" }, { got.bytes, got.coding })
    end
    local c = follow()
    assert.equal("gzip", c.headers["accept-encoding"])
    c:finish(204)
    c = follow({ compress = false })
    assert.is_nil(c.headers["accept-encoding"])
    c:finish(204)
  end)

  it("is read byte by byte, from several members, with a trailer and without", function()
    local texts_in = { "a", noise(70000), "", ("long "):rep(30000), "z\n" }
    local members = {}
    for i, text in ipairs(texts_in) do members[i] = gzip(text) end
    local all = table.concat(texts_in)
    for _, body in ipairs { table.concat(members), gzip(all), BEGIN .. block(all) } do
      local c, told = ask()
      assert(c:send("HTTP/1.1 200 OK\r\nConnection: close\r\n" .. PACKED .. "\r\n"))
      for i = 1, 40 do assert(c:send(body:sub(i, i))) end
      assert(c:send(body:sub(41)))
      c:close()
      local got = told()
      assert.same({ #all, all, nil }, { got.bytes, got.text, got.problem })
    end
  end)

  it("that is cut within a block has broken off, and ends where a block does otherwise", function()
    local one, two = block(noise(300)), block("data: two\n\n")
    local whole = BEGIN .. one .. two
    for _, row in ipairs { { whole }, { BEGIN .. one }, { BEGIN }, { "" }, { whole:sub(1, -2), "in the middle" },
      { (BEGIN .. one):sub(1, -40), "in the middle" }, { BEGIN:sub(1, 5), "in the middle" },
      { gzip("text"):sub(1, -3), "in the middle" }, { "no gzip at all", "cannot be decoded: this is no gzip" },
      { gzip("text") .. "rubbish", "cannot be decoded" } } do
      local c, told = ask()
      c:send("HTTP/1.1 200 OK\r\n" .. PACKED .. "Transfer-Encoding: chunked\r\n\r\n")
      if row[1] ~= "" then c:send(("%x\r\n%s\r\n"):format(#row[1], row[1])) end
      c:send("0\r\n\r\n")
      local got = told()
      c:close()
      assert.equal(row[2] and "EUPSTREAM" or nil, got.code)
      assert.truthy(not row[2] or got.problem:find(row[2], 1, true), got.problem)
    end
  end)

  it("comes piece by piece however much it had shrunk, and others are answered meanwhile", function()
    local bytes = 24 << 20
    local body = gzip(("\0"):rep(bytes))
    assert.is_true(#body < bytes / 900)
    local c, told = ask()
    c:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n"):format(#body, PACKED))
    c:send(body)
    assert.equal("quick", s.get("/quick").body)
    local got = told()
    c:close()
    assert.same({ bytes, 65536, nil }, { got.bytes, got.most, got.problem })
  end)

  it("is resumed from the last whole event by a client whose stream was cut anywhere", function()
    math.randomseed(tonumber(os.getenv("SEED")) or os.time())
    local c, n, last = follow(), 0, 40
    repeat
      local parts = { BEGIN .. block("retry: 20\n") }
      for i = (tonumber(c.headers["last-event-id"]) or 0) + 1, last do
        parts[#parts + 1] = block(("data: %d %s\nid: %d\n\n"):format(i, noise(20), i))
      end
      local body = table.concat(parts)
      local cut = math.random(60, 1500) -- behind the retry
      c:send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" .. PACKED .. "\r\n" .. body:sub(1, cut))
      if math.random() < 0.5 then c:close() else c:reset() end
      n = n + 1
      c = from:accept()
    until cut >= #body
    assert.is_true(n > 1)
    c:finish(204)
    for i, text in ipairs(texts(last)) do assert.equal(tostring(i), text:match("^%d+")) end
  end)

  it("of a Sluice is what its plain stream is, over cuts", function()
    assert.equal(204, s.post("/follow", json.encode { url = s.url .. "/log" }).status)
    s.wait_clients(1)
    s.post("/go")
    s.post("/cut")
    s.post("/go")
    for i, text in ipairs(texts(1000)) do assert.equal((i - 1) % 500 + 1, json.decode(text).n) end
    local stats = json.decode(s.get("/stats").body)
    assert.is_true(stats.compressed_from > 20000 and stats.compressed_to < stats.compressed_from / 2)
  end)
end)

describe("a decoder", function()
  it("gives no more than is asked for at a time, whatever it is fed", function()
    math.randomseed(tonumber(os.getenv("SEED")) or os.time())
    local texts, members = { "", noise(20), noise(3000), ("x"):rep(300000), (noise(300) .. "\n"):rep(50) }, {}
    for i, text in ipairs(texts) do members[i] = gzip(text) end
    for _ = 1, 30 do
      local text, packed = {}, {}
      for k = 1, math.random(1, 4) do
        local i = math.random(#texts)
        text[k], packed[k] = texts[i], members[i]
      end
      local body, got, d = table.concat(packed), {}, core.decoder("gzip", true)
      local at, more = 1, false
      assert.is_true(d:is_whole())
      while at <= #body or more do
        local n, most = more and 0 or math.random(1, 700), math.random(1, 40000)
        local part
        part, more = d:feed(body:sub(at, at + n - 1), most)
        assert.is_true(#part <= most)
        got[#got + 1], at = part, at + n
      end
      assert.is_true(table.concat(got) == table.concat(text))
      assert.is_true(d:is_whole())
    end
  end)

  it("knows where a body may end, also where that fills a piece", function()
    for _, n in ipairs { 1, 16383, 16384, 16385, 65536 } do
      for _, text in ipairs { noise(n), ("x"):rep(n) } do
        for _, most in ipairs { 16384, 65536, n } do
          local d = core.decoder("gzip", true)
          local got, more = d:feed(BEGIN .. block(text), most)
          while more do
            local part
            part, more = d:feed("", most)
            got = got .. part
          end
          assert.is_true(got == text and d:is_whole(), n)
        end
      end
    end
  end)

  it("hands out what came before a mistake, and then says that", function()
    local d = core.decoder("gzip")
    local text = BEGIN .. block("data: 1\n\n") .. "\xff\xff\xff"
    assert.same({ "data: 1\n\n", true }, { d:feed(text) })
    assert.same({ nil, "this is no gzip", "EINVAL" }, { d:feed("") })
    assert.same({ nil, "this is no gzip", "EINVAL" }, { d:feed(block("x")) })
    assert.is_false(d:is_whole())
  end)
end)
