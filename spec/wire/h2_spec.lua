--- HTTP/2 in frames: what each wrong frame is answered, what a flood is, how streams open and end. What is
--- right is asked too by curl, nghttp and h2load (spec/e2e/h2_tools_spec.lua) and by browsers.
local deadline = require("spec.support.deadline")
local h2 = require("spec.support.h2")
local hpack = require("spec.support.hpack")
local http = require("spec.support.http")
local server = require("spec.support.server")
local wire = require("spec.support.wire")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("news", { history = 100 })
app:get("/", function(req) return 200, "hello" end)
app:get("/told", function(req)
  return 200, table.concat({ req.method, req.path, req.host, tostring(req.secure), req.headers.cookie or "-",
    req.headers["x-a"] or "-" }, " ")
end)
app:get("/cookie", function() return 200, "c", { ["Set-Cookie"] = "sid=secret" } end)
app:get("/large", function() return 200, ("0123456789abcdef"):rep(20000) end)
app:get("/waits", function() sluice.sleep(0.3) return 200, "waited" end)
app:post("/echo", function(req) return 200, req.body end)
app:post("/pub", function(req) app:publish("news", "text", req.body) return 204 end)
app:post("/pieces", { body = "stream", max = 10000000 }, function(req)
  local n = 0
  for piece in req:chunks() do n = n + #piece if req.query.slow then sluice.sleep(0.05) end end
  return 200, tostring(n)
end)
app:post("/early", { body = "stream", max = 10000000 }, function(req) return 200, "early" end)
local note = app:state("note", { text = "" })
app:post("/noted", { body = "stream", max = 10000000 }, function(req)
  local n = 0
  local ok, problem = pcall(function()
    for piece in req:chunks() do
      n = n + #piece
      note().text = ("%s %d so far"):format(req.query_text, n)
    end
  end)
  note().text = ("%s %d %s"):format(req.query_text, n, ok and "whole" or problem.code)
  return 204
end)
app:get("/notes", function() return 200, note().text end)
app:post("/never", { body = "stream", max = 10000000 }, function(req) sluice.sleep(60) return 204 end)
app:stream("/s", { channels = { "news" } })
app:stream("/stops", function(req, client) client:send("one", {}) client:stop() end)
return app
]]

local function u32(n) return string.pack(">I4", n) end
local function update(stream, n) return h2.frame("WINDOW_UPDATE", 0, stream, u32(n)) end
local function setting(id, value) return h2.settings { [id] = value } end
local function text(fields) return hpack.encode(fields) end

local GET = { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/" }, { ":authority", "localhost" } }
-- Those of GET, some of them changed or left out (false), and others behind them.
local function fields(changed, more)
  local out = {}
  for _, field in ipairs(GET) do
    local value = (changed or {})[field[1]]
    if value ~= false then out[#out + 1] = { field[1], value or field[2] } end
  end
  for _, field in ipairs(more or {}) do out[#out + 1] = field end
  return out
end
local POST = { [":method"] = "POST", [":path"] = "/echo" }
local HEAD_END = h2.END_HEADERS | h2.END_STREAM

-- ---- One frame that is wrong --------------------------------------------------------------

-- Each ends the connection, by GOAWAY with that code.
local ENDS = {
  { "a stream's window opened by 0", "PROTOCOL_ERROR", h2.frame("HEADERS", HEAD_END, 1,
    text(fields({ [":path"] = "/s" }))) .. update(1, 0) },
  { "DATA behind the end of its stream", "STREAM_CLOSED", h2.frame("HEADERS", HEAD_END, 1,
    text(fields({ [":path"] = "/s" }))) .. h2.frame("DATA", 0, 1, "x") },
  { "a window of the connection opened by 0", "PROTOCOL_ERROR", update(0, 0) },
  { "a window above 2^31-1 by SETTINGS", "FLOW_CONTROL_ERROR", h2.frame("HEADERS", HEAD_END, 1,
    text(fields({ [":path"] = "/s" }))) .. update(1, 2 ^ 31 - 1 - 70000) .. setting(h2.INITIAL_WINDOW_SIZE, 80000) },
  { "a window of the connection above 2^31-1", "FLOW_CONTROL_ERROR", update(0, 2 ^ 31 - 1) },
  { "WINDOW_UPDATE of 3 bytes", "FRAME_SIZE_ERROR", h2.frame("WINDOW_UPDATE", 0, 0, "\0\0\1") },
  { "WINDOW_UPDATE of a stream that never was", "PROTOCOL_ERROR", update(7, 1) },
  { "MAX_FRAME_SIZE below 16384", "PROTOCOL_ERROR", setting(h2.MAX_FRAME_SIZE, 16383) },
  { "MAX_FRAME_SIZE above 2^24-1", "PROTOCOL_ERROR", setting(h2.MAX_FRAME_SIZE, 1 << 24) },
  { "INITIAL_WINDOW_SIZE above 2^31-1", "FLOW_CONTROL_ERROR", setting(h2.INITIAL_WINDOW_SIZE, 1 << 31) },
  { "ENABLE_PUSH of 2", "PROTOCOL_ERROR", setting(h2.ENABLE_PUSH, 2) },
  { "SETTINGS of 5 bytes", "FRAME_SIZE_ERROR", h2.frame("SETTINGS", 0, 0, "12345") },
  { "SETTINGS on a stream", "PROTOCOL_ERROR", h2.frame("SETTINGS", 0, 1, "") },
  { "an acknowledgement with settings", "FRAME_SIZE_ERROR", h2.frame("SETTINGS", h2.ACK, 0, "123456") },
  { "PRIORITY of 4 bytes", "FRAME_SIZE_ERROR", h2.frame("PRIORITY", 0, 1, u32(0)) },
  { "PING of 7 bytes", "FRAME_SIZE_ERROR", h2.frame("PING", 0, 0, "1234567") },
  { "PING on a stream", "PROTOCOL_ERROR", h2.frame("PING", 0, 1, "12345678") },
  { "index 0", "COMPRESSION_ERROR", h2.frame("HEADERS", HEAD_END, 1, "\x80") },
  { "an index beyond the table", "COMPRESSION_ERROR", h2.frame("HEADERS", HEAD_END, 1, "\xbf") },
  { "an integer that overflows", "COMPRESSION_ERROR",
    h2.frame("HEADERS", HEAD_END, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1") },
  { "bad padding of Huffman's code", "COMPRESSION_ERROR", h2.frame("HEADERS", HEAD_END, 1, "\0\x81\0\0") },
  { "EOS in a string", "COMPRESSION_ERROR", h2.frame("HEADERS", HEAD_END, 1, "\0\x84\xff\xff\xff\xff\0") },
  { "a table above the limit", "COMPRESSION_ERROR", h2.frame("HEADERS", HEAD_END, 1, "\x3f\xe2\xff\x03\x82") },
  { "a string that is cut", "COMPRESSION_ERROR", h2.frame("HEADERS", HEAD_END, 1, "\0\5ab") },
  { "a frame of 16385 bytes", "FRAME_SIZE_ERROR", h2.frame("DATA", 0, 1, ("x"):rep(16385)) },
  { "DATA on stream 0", "PROTOCOL_ERROR", h2.frame("DATA", 0, 0, "x") },
  { "DATA on a stream that never was", "PROTOCOL_ERROR", h2.frame("DATA", 0, 1, "x") },
  { "HEADERS on stream 0", "PROTOCOL_ERROR", h2.frame("HEADERS", HEAD_END, 0, text(GET)) },
  { "HEADERS on a stream with an even number", "PROTOCOL_ERROR", h2.frame("HEADERS", HEAD_END, 2, text(GET)) },
  { "RST_STREAM of a stream that never was", "PROTOCOL_ERROR", h2.frame("RST_STREAM", 0, 1, u32(8)) },
  { "RST_STREAM of 3 bytes", "FRAME_SIZE_ERROR",
    h2.frame("HEADERS", h2.END_HEADERS, 1, text(fields(POST))) .. h2.frame("RST_STREAM", 0, 1, "\0\0\8") },
  { "PUSH_PROMISE", "PROTOCOL_ERROR", h2.frame("PUSH_PROMISE", h2.END_HEADERS, 1, u32(2) .. text(GET)) },
  { "CONTINUATION of nothing", "PROTOCOL_ERROR", h2.frame("CONTINUATION", h2.END_HEADERS, 1, text(GET)) },
  { "a head that another frame interrupts", "PROTOCOL_ERROR",
    h2.frame("HEADERS", h2.END_STREAM, 1, text(GET)) .. h2.frame("PING", 0, 0, "12345678") },
  { "more padding than there is", "PROTOCOL_ERROR",
    h2.frame("HEADERS", h2.END_HEADERS, 1, text(fields(POST))) .. h2.frame("DATA", h2.PADDED, 1, "\5abc") },
}

-- Each resets its stream, or is answered 400; the connection goes on. (An error of a stream may be one of the
-- connection instead, RFC 9113, 5.4.2. For libnghttp2 these are: a window opened by 0, DATA behind the end.)
local RESETS = {
  { "a window above 2^31-1", "FLOW_CONTROL_ERROR", fields({ [":path"] = "/s" }), update(1, 2 ^ 31 - 1) },
  { "a name with a capital letter", "PROTOCOL_ERROR", fields({}, { { "X-A", "b" } }) },
  { "a name with a space", "PROTOCOL_ERROR", fields({}, { { "x a", "b" } }) },
  { "an empty name", "PROTOCOL_ERROR", fields({}, { { "", "b" } }) },
  { "a name with a colon", "PROTOCOL_ERROR", fields({}, { { "x:a", "b" } }) },
  { "connection", "PROTOCOL_ERROR", fields({}, { { "connection", "close" } }) },
  { "keep-alive", "PROTOCOL_ERROR", fields({}, { { "keep-alive", "1" } }) },
  { "proxy-connection", "PROTOCOL_ERROR", fields({}, { { "proxy-connection", "close" } }) },
  { "transfer-encoding", "PROTOCOL_ERROR", fields({}, { { "transfer-encoding", "chunked" } }) },
  { "upgrade", "PROTOCOL_ERROR", fields({}, { { "upgrade", "h2c" } }) },
  { "te that is not trailers", "PROTOCOL_ERROR", fields({}, { { "te", "gzip" } }) },
  { "no :path", "PROTOCOL_ERROR", fields({ [":path"] = false }) },
  { "an empty :path", "PROTOCOL_ERROR", fields({ [":path"] = "" }) },
  { "a :path without its slash", "PROTOCOL_ERROR", fields({ [":path"] = "told" }) },
  { "no :method", "PROTOCOL_ERROR", fields({ [":method"] = false }) },
  { "no :scheme", "PROTOCOL_ERROR", fields({ [":scheme"] = false }) },
  { "a pseudo-field twice", "PROTOCOL_ERROR", fields({}, { { ":path", "/told" } }) },
  { "a pseudo-field behind a field", "PROTOCOL_ERROR",
    fields({ [":path"] = false }, { { "a", "b" }, { ":path", "/" } }) },
  { "a pseudo-field that nobody knows", "PROTOCOL_ERROR", fields({}, { { ":what", "x" } }) },
  { ":status in a request", "PROTOCOL_ERROR", fields({}, { { ":status", "200" } }) },
  { "CR in a value", "PROTOCOL_ERROR", fields({}, { { "x-a", "b\rc" } }) },
  { "LF in a value", "PROTOCOL_ERROR", fields({}, { { "x-a", "b\nc: d" } }) },
  { "NUL in a value", "PROTOCOL_ERROR", fields({}, { { "x-a", "b\0c" } }) },
  { "a space before a value", "PROTOCOL_ERROR", fields({}, { { "x-a", " b" } }) },
  { "a space behind a value", "PROTOCOL_ERROR", fields({}, { { "x-a", "b " } }) },
  { "LF in :path", "PROTOCOL_ERROR", fields({ [":path"] = "/\r\nx: y" }) },
  { "a space in :path", "PROTOCOL_ERROR", fields({ [":path"] = "/ HTTP/1.1\r\nx:" }) },
  { "a space in :method", "PROTOCOL_ERROR", fields({ [":method"] = "GET /x" }) },
  { "a Host that is not :authority", 400, fields({}, { { "host", "example.org" } }) },
  { "a Host with a port that is not the usual one", 400, fields({}, { { "host", "localhost:443" } }) },
  { "no :authority and no Host", { 400, "PROTOCOL_ERROR" }, fields({ [":authority"] = false }) },
  { "two of :authority's hosts", 400, fields({ [":authority"] = "localhost,localhost" }) },
  { "less DATA than content-length", "PROTOCOL_ERROR", fields(POST, { { "content-length", "5" } }),
    h2.frame("DATA", h2.END_STREAM, 1, "abc"), true },
  { "more DATA than content-length", "PROTOCOL_ERROR", fields(POST, { { "content-length", "2" } }),
    h2.frame("DATA", h2.END_STREAM, 1, "abc"), true },
  { "two lengths", "PROTOCOL_ERROR", fields(POST, { { "content-length", "3" }, { "content-length", "3" } }),
    h2.frame("DATA", h2.END_STREAM, 1, "abc"), true },
  { "a length that is none", "PROTOCOL_ERROR", fields(POST, { { "content-length", "+3" } }),
    h2.frame("DATA", h2.END_STREAM, 1, "abc"), true },
  { "a trailer with a pseudo-field", "PROTOCOL_ERROR", fields(POST),
    h2.frame("HEADERS", HEAD_END, 1, text { { ":path", "/" } }), true },
  { "trailers that are not the end", "PROTOCOL_ERROR", fields(POST),
    h2.frame("HEADERS", h2.END_HEADERS, 1, text { { "x-a", "b" } }), true },
  { "PRIORITY of a stream that depends on itself", { "PROTOCOL_ERROR", "none" }, fields({ [":path"] = "/s" }),
    h2.frame("PRIORITY", 0, 1, u32(1) .. "\0") },
}

local function is_one_of(code, wanted)
  for _, one in ipairs(type(wanted) == "table" and wanted or { wanted }) do
    if one == code then return true end
  end
  return false
end

local function shown(wanted) return type(wanted) == "table" and table.concat(wanted, " or ") or tostring(wanted) end

-- ---- The spec -----------------------------------------------------------------------------

describe("HTTP/2", function()
  local s
  setup(function()
    s = server.start { app = APP, tls = true, env = { SLUICE_H2C = "yes" },
      args = { "--stall-timeout", os.getenv("SLUICE_PRELOAD") and 5 or 1, "--max-body", 1000000 } }
  end)
  teardown(server.stop_all)

  local function connect(options) return assert(h2.connect(s.plain_port, options)) end

  local function is_well()
    local c = connect()
    assert.equal("hello", c:get("/").body)
    c:close()
  end

  it("answers over TLS and by prior knowledge, in small letters, with a date", function()
    for scheme, port in pairs { http = s.plain_port, https = s.port } do
      local c = assert(h2.connect(port, { encoder = true }))
      local r = c:get("/told", { Cookie = "a=1", ["x-a"] = "b" })
      assert.equal(("GET /told localhost:%d %s a=1 b"):format(port, tostring(scheme == "https")), r.body)
      assert.equal(200, r.status)
      assert.truthy(r.headers.date)
      assert.truthy(c.settings[h2.MAX_CONCURRENT_STREAMS] >= 100)
      assert.equal(1, c.acknowledged)
      for _ = 1, 3 do assert.equal("hello", c:get("/").body) end
      assert.equal(404, c:get("/nowhere").status)
      assert.equal("", c:request("HEAD", "/large").body)
      assert.equal("320000", c:request("HEAD", "/large").headers["content-length"])
      assert.is_true(c:get("/large").body == ("0123456789abcdef"):rep(20000))
      local body = ("x"):rep(200000)
      assert.is_true(c:post("/echo", body).body == body)
      assert.equal("200000", c:post("/pieces?slow=1", body).body)
      assert.is_true(c:sync())
      c:close()
    end
  end)

  it("ends the connection at what concerns all of it, and says why", function()
    for _, case in ipairs(ENDS) do
      local c = connect()
      for _ = 1, 4 do c:stream() end -- some are answered before
      c:send(case[3])
      local closed, why = c:wait_closed(5)
      assert.is_true(closed, case[1] .. ": " .. tostring(why))
      local code = c.goaway and c.goaway.code or "none"
      assert.is_true(is_one_of(code, case[2]), ("%s: GOAWAY %s, not %s"):format(case[1], code, shown(case[2])))
      c:close()
    end
    is_well()
  end)

  it("ends a stream at what concerns it alone, and the others go on", function()
    for _, case in ipairs(RESETS) do
      local c = connect()
      local goes_on = c:open("GET", "/s")
      assert(goes_on:wait("head"))
      local one = c:open(nil, nil, nil, { fields = case[3], later = case[5] })
      if case[4] then -- on this stream
        c:send(case[4]:sub(1, 5) .. u32(one.id) .. case[4]:sub(10) .. (case[6] or ""))
      end
      if c:sync() and not one.ended and is_one_of("none", case[2]) then one.code = "none" else one:wait("end", 2) end
      local got = one.code or one.status
      local fits = is_one_of(got, case[2]) or (got == 400 and case[2] == "PROTOCOL_ERROR")
      assert.is_true(fits, ("%s: %s, not %s"):format(case[1], tostring(got), shown(case[2])))
      assert.is_nil(goes_on.ended, case[1])
      assert.equal("hello", c:get("/").body, case[1])
      assert.is_nil(c.goaway)
      c:close()
    end
  end)

  it("passes over what it does not know", function()
    local c = connect()
    c:send(h2.frame(99, 255, 0, "what") .. h2.frame(16, 0, 0, u32(1) .. "u=1") .. h2.frame("PRIORITY", 0, 1,
      u32(0) .. "\16") .. setting(0x99, 5) .. h2.frame("PRIORITY", 0, 9, u32(3) .. "\255"))
    c:frame("PING", 0x80, 1 << 31, "reserved")
    assert.is_truthy(c:wait_for(function() return c.pongs[1] == "reserved" end))
    local padded = c:stream()
    c:frame("HEADERS", HEAD_END | h2.PADDED | h2.PRIORITY, padded.id,
      "\3" .. u32(1 << 31) .. "\5" .. text(GET) .. "\0\0\0")
    assert.equal("end", padded:wait("end"))
    assert.equal("hello", padded.body)
    assert.equal("hello", c:get("/", { priority = "u=1, i" }).body)
    c:close()
  end)

  it("takes a head in pieces, cookies in crumbs, a body in pieces with padding, and trailers", function()
    local c = connect()
    local one = c:stream()
    local block = text(fields({ [":path"] = "/told" },
      { { "cookie", "a=1" }, { "cookie", "b=2" }, { "x-a", ("y"):rep(500) } }))
    c:frame("HEADERS", h2.END_STREAM, one.id, block:sub(1, 10))
    c:frame("CONTINUATION", 0, one.id, block:sub(11, 200))
    c:frame("CONTINUATION", h2.END_HEADERS, one.id, block:sub(201))
    assert.equal("end", one:wait("end"))
    assert.matches("a=1; b=2 yyy", one.body)
    local two = c:open("POST", "/echo", nil, { later = true })
    c:frame("DATA", h2.PADDED, two.id, "\3abc\0\0\0")
    c:frame("DATA", 0, two.id, "def")
    c:frame("HEADERS", HEAD_END, two.id, text { { "x-sum", "1" } })
    assert.equal("end", two:wait("end"))
    assert.equal("abcdef", two.body)
    c:close()
  end)

  it("takes a Host that says what :authority says, in other letters or with the port that goes without", function()
    local c = connect()
    for host, authority in pairs { LOCALHOST = "localhost", ["localhost:80"] = "localhost",
      localhost = "LocalHost:80" } do
      local one = c:open(nil, nil, nil,
        { fields = fields({ [":path"] = "/told", [":authority"] = authority }, { { "host", host } }) })
      assert.equal("end", one:wait("end"))
      assert.matches("^GET /told " .. authority:gsub("%p", "%%%0"), one.body)
    end
    local secure = c:open(nil, nil, nil, { fields = fields({ [":path"] = "/told", [":scheme"] = "https" },
      { { "host", "localhost:443" } }) })
    assert.equal("end", secure:wait("end"))
    assert.equal(200, secure.status)
    c:close()
  end)

  it("lets a client send all of a body that nobody reads, when the answer is whole", function()
    local c = connect()
    local up = c:open("POST", "/early", nil, { later = true })
    assert.equal("end", up:wait("end"))
    assert.equal("early", up.body)
    assert.is_true(up.room > 1000000000) -- and no frame has to come for that any more
    assert.is_true(c.room > 1000000000)
    for _ = 1, 100 do c:frame("DATA", 0, up.id, ("x"):rep(16384)) end
    c:frame("DATA", h2.END_STREAM, up.id, "x")
    assert(c:sync())
    assert.is_nil(up.code)
    local endless = c:open("POST", "/early", nil, { later = true })
    assert.equal("end", endless:wait("end"))
    local sent = 0
    while not endless.code and sent < 40 << 20 do
      for _ = 1, 64 do c:frame("DATA", 0, endless.id, ("x"):rep(16384)) end
      sent = sent + 64 * 16384
      assert(c:sync())
    end
    assert.equal("NO_ERROR", endless.code)
    assert.is_true(sent > 14 << 20) -- 16 MiB of all that came
    assert.equal("hello", c:get("/").body)
    c:close()
  end)

  it("tells the handler of a body that its client breaks off", function()
    for _, how in ipairs { "reset", "close", "whole" } do
      local c = connect()
      local up = c:open("POST", "/noted?" .. how, nil, { later = true })
      local function wait_told(what)
        deadline.eventually(function() return http.get(s.plain_port, "/notes").body == how .. " " .. what end, 5, what)
      end
      up:send("abc")
      wait_told("3 so far")
      if how == "reset" then up:reset() elseif how == "close" then c:close() else up:send("def", true) end
      wait_told(how == "whole" and "6 whole" or "3 ECLOSED")
      c:close()
    end
  end)

  it("tells who waits for it to go on, with a length or without, and refuses before the body comes", function()
    local c = connect()
    for _, length in ipairs { "", "3" } do
      local headers = { { "expect", "100-continue" }, length ~= "" and { "content-length", length } or nil }
      local one = c:open("POST", "/echo", headers, { later = true })
      assert.truthy(one:wait(function() return one.interim end, 5), "100, length " .. length)
      assert.is_nil(one.status)
      one:send("abc", true)
      assert.equal("end", one:wait("end"))
      assert.equal("abc", one.body)
      local refused = c:open("POST", "/no/such", headers, { later = true })
      assert.equal(404, refused:wait("head", 5))
    end
    c:close()
  end)

  it("refuses what it cannot read as a request without the fields of HTTP/1.1", function()
    local c = connect()
    local refused = c:open("CONNECT", nil, nil,
      { fields = { { ":method", "CONNECT" }, { ":authority", "a.example:80" } } })
    assert.equal("end", refused:wait("end", 5)) -- the client raises at a Connection field
    assert.equal(405, refused.status)
    assert.equal(200, c:get("/told").status)
    c:close()
  end)

  it("keeps secrets out of the tables of HPACK", function()
    local c = connect()
    for _ = 1, 2 do
      local found
      for _, field in ipairs(c:get("/cookie").fields) do
        if field[1] == "set-cookie" then found = field end
      end
      assert.equal("sid=secret", found[2])
      assert.is_nil(found.indexed)
    end
    c:close()
  end)

  it("does not serve a stream whose number was passed over, or is even", function()
    local c = connect()
    c:stream()
    assert.equal("hello", c:get("/").body)
    c:frame("HEADERS", HEAD_END, 1, text(GET))
    assert(c:sync())
    assert.is_nil(c.streams[1].status) -- libnghttp2 passes over it
    c:frame("HEADERS", HEAD_END, 2, text(GET))
    assert.is_true(c:wait_closed(5))
    assert.equal("PROTOCOL_ERROR", c.goaway.code)
    c:close()
  end)

  it("refuses streams above the limit that a client did not know yet, in a way that is safe to repeat", function()
    local c = connect({ silent = true })
    local open = {}
    for i = 1, 800 do open[i] = c:open("GET", "/s") end
    for i, one in ipairs(open) do
      if i <= 128 then assert.equal(200, one:wait("head", 10)) else assert.equal("reset", one:wait("end", 10)) end
    end
    for i = 129, 800 do assert.equal("REFUSED_STREAM", open[i].code) end
    c:frame("SETTINGS", h2.ACK, 0)
    open[1]:reset()
    assert(c:sync())
    assert.equal("hello", c:get("/").body)
    assert.is_nil(c.goaway)
    c:close()
  end)

  it("has 128 streams at once, and refuses one more alone", function()
    local c = connect()
    assert(c:sync())
    assert.equal(128, c.settings[h2.MAX_CONCURRENT_STREAMS])
    local open = {}
    for i = 1, 128 do open[i] = c:open("GET", "/s") end
    for _, one in ipairs(open) do assert.equal(200, one:wait("head", 10)) end
    local more = c:open("GET", "/")
    assert.equal("reset", more:wait("end"))
    assert.equal("REFUSED_STREAM", more.code)
    open[7]:reset()
    assert(c:sync())
    assert.equal("hello", c:get("/").body)
    local r = http.post(s.plain_port, "/pub", "to all")
    assert.equal(204, r.status)
    for i, one in ipairs(open) do
      if i ~= 7 then
        assert.is_truthy(one:wait(function() return one.body:find("to all", 1, true) end, 10), "stream " .. i)
      end
    end
    c:close()
  end)

  it("has patience with a page of many streams that is loaded again and again", function()
    local c = connect()
    for _ = 1, 6 do
      local open = {}
      for i = 1, 60 do open[i] = c:open("GET", "/s") end
      for _, one in ipairs(open) do assert.equal(200, one:wait("head", 10)) end
      for _, one in ipairs(open) do one:reset() end
    end
    assert(c:sync())
    assert.equal("hello", c:get("/").body)
    c:close()
  end)

  it("ends a stream that says goodbye by END_STREAM, whatever Cache-Control says", function()
    for _, headers in ipairs { {}, { ["cache-control"] = "no-cache" } } do
      local c = connect()
      local one = c:open("GET", "/stops", headers)
      assert.equal("end", one:wait("end"))
      assert.matches("event: bye\nretry: %d+\ndata: {\"reason\":\"stop\"", one.body)
      assert.equal("hello", c:get("/").body)
      c:close()
    end
  end)

  it("holds a stream at its window, ends one that stays there, and stalls no other", function()
    local c = connect({ window = 0 })
    local held = c:open("GET", "/s", nil, { credits = false })
    assert.equal(200, held:wait("head"))
    assert(c:sync())
    assert.equal("", held.body)
    local free = c:open("GET", "/s", nil, { credits = false })
    free:credit(1000000)
    assert.is_truthy(free:wait(function() return free.body:find("event: sync", 1, true) end))
    http.post(s.plain_port, "/pub", "passes")
    assert.is_truthy(free:wait(function() return free.body:find("passes", 1, true) end))
    local ended, why = held:wait("end", 20)
    assert.is_truthy(ended, why)
    assert.is_nil(free.ended)
    assert.equal("", held.body)
    c:close()
  end)

  it("closes a connection whose window stays at zero", function()
    local c = connect({ credit = false })
    local large = {}
    for i = 1, 4 do
      large[i] = c:open("GET", "/large")
      large[i]:credit(10000000)
    end
    assert.is_true(c:wait_closed(20))
    assert.equal(0, c.granted)
    c:close()
    is_well()
  end)

  it("takes no more of a body than a handler takes", function()
    local c = connect()
    local up = c:open("POST", "/never", nil, { later = true })
    assert(c:sync())
    local sent = 0
    repeat
      assert(c:sync())
      local n = math.min(up.room, c.room, 16384)
      if n > 0 then
        c:frame("DATA", 0, up.id, ("x"):rep(n))
        up.room, c.room, sent = up.room - n, c.room - n, sent + n
      end
    until n == 0 or sent > 5000000
    assert.is_true(sent <= 1000000, "it takes all: " .. sent)
    up:reset()
    assert(c:sync())
    assert.equal("hello", c:get("/").body) -- and its window is open again for others
    local body = ("y"):rep(300000)
    assert.is_true(c:post("/echo", body).body == body)
    c:close()
  end)

  it("refuses DATA beyond its windows", function()
    local c = connect()
    local up = c:open("POST", "/never", nil, { later = true })
    assert(c:sync())
    for _ = 1, 200 do
      if not c:frame("DATA", 0, up.id, ("x"):rep(16384)) then break end
    end
    assert.is_truthy(c:wait_for(function() return up.ended or c.goaway end, 5))
    assert.equal("FLOW_CONTROL_ERROR", up.code or c.goaway.code)
    c:close()
  end)

  it("goes on with its streams when the client says GOAWAY", function()
    local c = connect()
    local one = c:open("GET", "/s")
    assert.is_truthy(one:wait(function() return one.body:find("event: sync", 1, true) end))
    c:frame("GOAWAY", 0, 0, u32(0) .. u32(0))
    assert(c:sync())
    http.post(s.plain_port, "/pub", "after all")
    assert.is_truthy(one:wait(function() return one.body:find("after all", 1, true) end))
    c:close()
  end)

  it("closes what begins almost like HTTP/2, and HTTP/1.1 behind an agreement on h2", function()
    for i, preface in ipairs { h2.PREFACE:sub(1, -2) .. "\r", h2.PREFACE:sub(1, -2) .. "x",
      "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" } do
      local w = assert(wire.connect(s.plain_port, { plain = true }))
      w:send(preface .. h2.settings {})
      local answer, how = w:drain(5)
      assert.equal("closed", how, i)
      assert.is_nil(answer:find("200", 1, true))
      w:close()
    end
    local w = assert(wire.connect(s.port, { protocol = "h2" }))
    w:send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    local answer, how = w:drain(5)
    assert.equal("closed", how)
    assert.is_nil(answer:find("hello", 1, true))
    w:close()
    is_well()
  end)

  it("asks for SETTINGS first", function()
    local c = connect({ preface = h2.PREFACE .. h2.frame("PING", 0, 0, "12345678") })
    assert.is_true(c:wait_closed(5))
    assert.equal("PROTOCOL_ERROR", c.goaway and c.goaway.code)
    c:close()
  end)

  it("takes what comes byte by byte", function()
    local c = connect({ preface = "" })
    local all = h2.PREFACE .. h2.settings {} .. h2.frame("HEADERS", HEAD_END, 1, text(GET))
    local one = c:stream()
    for i = 1, #all do c:send(all:sub(i, i)) end
    assert.equal("end", one:wait("end"))
    assert.equal("hello", one.body)
    c:close()
  end)

  it("speaks it on the plain port only where --h2c says so", function()
    local other = server.start { app = APP, tls = true, h2 = false }
    local w = assert(wire.connect(other.plain_port, { plain = true }))
    w:send(h2.PREFACE .. h2.settings {})
    local answer, how = w:drain(5)
    assert.equal("closed", how)
    assert.is_true(answer == "" or answer:find("^HTTP/1%.1 %d") ~= nil, ("%q"):format(answer))
    w:close()
    assert.equal("hello", assert(h2.connect(other.port)):get("/").body)
  end)

  it("says GOAWAY twice when it stops, ends its streams, and closes", function()
    local one = server.start { app = APP, tls = true, args = { "--drain", 1 } }
    local c = assert(h2.connect(one.port))
    local open = {}
    for i = 1, 5 do
      open[i] = c:open("GET", "/s")
      assert.is_truthy(open[i]:wait(function(x) return x.body:find("event: sync", 1, true) end))
    end
    local waits = c:open("GET", "/waits")
    assert(c:sync())
    one.signal("TERM")
    assert.is_truthy(c:wait_for(function() return c.goaway end, 5))
    assert.same({ "NO_ERROR", 2 ^ 31 - 1 }, { c.goaway.code, c.goaway.last })
    assert.equal("end", waits:wait("end"))
    assert.equal("waited", waits.body)
    for _, stream in ipairs(open) do
      assert.equal("end", stream:wait("end", 10))
      assert.matches("event: bye\nretry: %d+\ndata: {\"reason\":\"drain\"", stream.body)
    end
    assert.is_true(c:wait_closed(10))
    assert.same({ "NO_ERROR", waits.id }, { c.goaway.code, c.goaway.last })
    assert.equal("closed", c.wire.sock.how) -- said over TLS
    deadline.eventually(function() return one.code() == 0 end, 10, "the server has ended")
  end)

  it("asks a client that says nothing whether it is there, and closes when no answer comes", function()
    if not os.getenv("SLUICE_SPEC_FULL") then pending("full size only") return end
    local there, gone = connect({ credit = false }), connect({ credit = false, silent = true })
    there:open("GET", "/s")
    local one = gone:open("GET", "/s")
    assert.is_truthy(there:wait_for(function() return there.pings end, 45))
    assert.is_true(gone:wait_closed(20))
    assert.equal(1, gone.pings)
    assert.is_nil(one.code)
    assert(there:sync())
    assert.is_nil(there.streams[1].ended)
    there:close()
    gone:close()
  end)

  -- ---- Floods -------------------------------------------------------------------------------

  -- Send the same again and again until the server has had enough of it. options: the client's, and `most`.
  local function flood(make, most, options)
    local c = connect(options)
    assert(c:sync())
    local before, sent, many = s.rss(), 0, most > 2000 and 500 or 20
    local first = make(c, true)
    if first then c:send(first) end
    while sent < most and not (c.goaway or c.closed) do
      local part = {}
      for i = 1, many do part[i] = make(c) end
      sent = sent + many
      if not c:send(table.concat(part)) then break end
      if many == 20 then c:sync(1) end
      while not c.silent and c:next(0) do end
    end
    local closed = c:wait_closed(10)
    c:close()
    return c, closed, sent, s.rss() - before
  end

  -- At most: what the allocators keep, and sanitizers hold back of what is freed.
  local GROWS_BY = (os.getenv("SLUICE_PRELOAD") and 128 or 32) * 1024 * 1024
  local FLOODS = {
    { "requests that are taken back", function(c)
      local one = c:stream()
      one.ended = "ours"
      return h2.frame("HEADERS", HEAD_END, one.id, text(GET)) .. h2.frame("RST_STREAM", 0, one.id, u32(8))
    end, 2000 },
    { "streams that the server is made to reset", function(c)
      local one = c:stream()
      one.ended = "ours"
      return h2.frame("HEADERS", HEAD_END, one.id, text(fields({ [":path"] = "/s" })))
        .. update(one.id, 2 ^ 31 - 1)
    end, 2000 },
    { "DATA behind the end of streams", function(c)
      local one = c:stream()
      one.ended = "ours"
      return h2.frame("HEADERS", HEAD_END, one.id, text(fields({ [":path"] = "/s" })))
        .. h2.frame("DATA", 0, one.id, "x")
    end, 2000, { "STREAM_CLOSED", "ENHANCE_YOUR_CALM" } },
    { "heads that are none", function(c)
      local one = c:stream()
      one.ended = "ours"
      return h2.frame("HEADERS", HEAD_END, one.id, text(fields({}, { { "X", "y" } })))
    end, 2000 },
    { "a head that never ends", function(c, first)
      if first then return h2.frame("HEADERS", 0, c:stream().id, text(GET)) end
      return h2.frame("CONTINUATION", 0, 1, hpack.encode { { "x", ("y"):rep(100) } })
    end, 1000, { "ENHANCE_YOUR_CALM", "PROTOCOL_ERROR", "INTERNAL_ERROR", "none" } },
    { "a head that goes on with nothing", function(c, first)
      if first then return h2.frame("HEADERS", 0, c:stream().id, text(GET)) end
      return h2.frame("CONTINUATION", 0, 1, "")
    end, 1000, { "ENHANCE_YOUR_CALM", "PROTOCOL_ERROR", "INTERNAL_ERROR", "none" } },
    { "SETTINGS", function() return setting(h2.INITIAL_WINDOW_SIZE, 65535) end, 50000 },
    { "SETTINGS without settings", function() return h2.settings {} end, 50000 },
    { "PING", function() return h2.frame("PING", 0, 0, "12345678") end, 50000 },
    { "acknowledgements of nothing", function() return h2.frame("PING", h2.ACK, 0, "12345678") end, 50000 },
    { "empty DATA", function(c, first)
      if first then return h2.frame("HEADERS", h2.END_HEADERS, c:stream().id, text(fields(POST))) end
      return h2.frame("DATA", 0, 1, "")
    end, 50000 },
    { "DATA of padding alone", function(c, first)
      if first then return h2.frame("HEADERS", h2.END_HEADERS, c:stream().id, text(fields(POST))) end
      return h2.frame("DATA", h2.PADDED, 1, "\9" .. ("\0"):rep(9))
    end, 50000 },
    { "streams above the limit, again and again", function(c)
      return h2.frame("HEADERS", HEAD_END, c:stream().id, text(fields({ [":path"] = "/s" })))
    end, 2000 },
    { "PRIORITY", function() return h2.frame("PRIORITY", 0, 1, u32(0) .. "\16") end, 50000 },
    { "WINDOW_UPDATE", function() return update(0, 1) end, 50000 },
    { "frames that nobody knows", function() return h2.frame(99, 0, 0, "") end, 50000 },
  }

  for _, case in ipairs(FLOODS) do
    it("has enough of " .. case[1], function()
      local c, closed, sent, grown = flood(case[2], case[3])
      assert.is_true(closed, "it goes on after " .. sent)
      local code = c.goaway and c.goaway.code or "none"
      assert.is_true(is_one_of(code, case[4] or "ENHANCE_YOUR_CALM"), code .. " after " .. sent)
      assert.is_true(grown < GROWS_BY, grown)
      is_well()
    end)
  end

  it("keeps no answers for who reads none", function()
    for _, one in ipairs { h2.settings {}, h2.frame("PING", 0, 0, "12345678") } do
      local c, closed, sent, grown = flood(function() return one end, 200000, { silent = true, rcvbuf = 4096 })
      assert.is_true(closed, "it goes on after " .. sent)
      assert.is_true(grown < GROWS_BY, grown)
      assert.is_truthy(c)
    end
    is_well()
  end)

  it("keeps no refusals for who reads none", function()
    local other = server.start { app = APP, tls = false, env = { SLUICE_H2C = "yes" } }
    local c = assert(h2.connect(other.port, { silent = true, rcvbuf = 4096, window = 2 ^ 31 - 1 }))
    c:frame("WINDOW_UPDATE", 0, 0, u32(2 ^ 31 - 1 - 65535))
    local before = other.rss()
    for i = 1, 128 do c:open("GET", i <= 30 and "/large" or "/s") end -- until nothing goes out any more
    local head, grown = text(GET), 0
    for _ = 1, 500 do
      local part = {}
      for i = 1, 500 do part[i] = h2.frame("HEADERS", HEAD_END, c:stream().id, head) end
      if not c:send(table.concat(part)) then break end
      grown = math.max(grown, other.rss() - before)
    end
    assert.is_true(grown < GROWS_BY, "it keeps " .. grown)
    c:close()
    assert.equal("hello", http.get(other.port, "/").body)
  end)

  it("keeps a table of HPACK within its limit, whatever is put in", function()
    local c = connect({ encoder = true })
    local before = s.rss()
    for i = 1, 300 do
      local r = c:get("/", { ["x-" .. i] = ("y"):rep(1000) .. i })
      assert.equal(200, r.status)
    end
    assert.is_true(s.rss() - before < GROWS_BY)
    local bomb = {} -- one entry of 3 KB, named a thousand times
    for i = 1, 1000 do bomb[i] = "\xbe" end
    local one = c:stream()
    c:frame("HEADERS", HEAD_END, one.id, text(GET) .. hpack.integer(0, 6, 64) .. hpack.text("x")
      .. hpack.text(("z"):rep(3000)) .. table.concat(bomb))
    one:wait("end")
    assert.is_true(one.status == 431 or one.status == 400 or one.code ~= nil or c.goaway ~= nil, tostring(one.status))
    assert.is_true(s.rss() - before < GROWS_BY)
    c:close()
    is_well()
  end)
end)
