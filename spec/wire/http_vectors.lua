--- Nasty HTTP/1.1 inputs and what a correct server answers: data, and nothing else.
---
--- A row is { id, input, status, after, ... }: the bytes sent on a fresh connection, the
--- status of the first answer, and whether the connection stays ("keep") or must be closed
--- without looking at what follows ("close"). Where proxies disagree ours is the stricter.
---   by     who decides: "head" (http_parse), "body" (http_chunks), "url" or "app"
---   n      length of the body that the handler sees; text: the body of the first answer
---   more   statuses of further answers to the same input, in order
---   interim  statuses of 1xx answers before the first one
---   is_head  the first answer has no body whatever its Content-Length says
---   want   fields that the parsed head must have
---   node   Node's parser decides alike (accept or refuse, and the same body)
--- The ids are those of the project's table of inputs; N01 is what the specs do with every
--- row (cut it at each byte).
local rows = {}

local HOST = "Host: localhost\r\n"
local NEXT = "GET /next HTTP/1.1\r\n" .. HOST .. "\r\n"

local function add(id, status, after, input, extra)
  local row = { id = id, status = status, after = after, input = input, by = "head" }
  for key, value in pairs(extra or {}) do row[key] = value end
  rows[#rows + 1] = row
end

--- A request line with a good head behind it.
local function line(text) return text .. "\r\n" .. HOST .. "\r\n" end

--- A GET with these field lines besides Host.
local function get(fields) return "GET / HTTP/1.1\r\n" .. HOST .. fields .. "\r\n\r\n" end

--- A POST with these field lines besides Host, and a body.
local function post(fields, body)
  return "POST / HTTP/1.1\r\n" .. HOST .. fields .. "\r\n\r\n" .. (body or "")
end

local function chunked(body) return post("Transfer-Encoding: chunked", body) end

local node = { node = true }
local function body_row(extra)
  extra.by = "body"
  return extra
end

-- Host
add("N02", 400, "close", "GET / HTTP/1.1\r\n\r\n") -- Node refuses it from version 20 on only
add("N03", 400, "close", get("Host: localhost"))
add("N03.2", 400, "close", get("host: other"))
add("N04", 400, "close", "GET / HTTP/1.1\r\nHost:\r\n\r\n")
add("N04.2", 400, "close", "GET / HTTP/1.1\r\nHost: \t \r\n\r\n")
for i, host in ipairs({ "a b", "a/b", "u@a", "a,b", "a:b", "a:80:80", ":80", "[::1", "[]", "[g::]",
  "a?b", "a#b", "a\\b", "\xc3\xa9", "a:123456", ("a"):rep(256) }) do
  add("N05." .. i, 400, "close", "GET / HTTP/1.1\r\nHost: " .. host .. "\r\n\r\n")
end

-- Targets
add("N06", 200, "keep", "GET http://127.0.0.1/x?y HTTP/1.1\r\n" .. HOST .. "\r\n",
  { node = true, want = { host = "127.0.0.1", path = "/x", query = "y" } })
add("N06.2", 200, "keep", "GET HTTPS://localhost:80 HTTP/1.1\r\n" .. HOST .. "\r\n",
  { want = { host = "localhost:80", path = "/" } })
add("N06.3", 200, "keep", "GET http://localhost?a=b HTTP/1.1\r\n" .. HOST .. "\r\n",
  { want = { host = "localhost", path = "/", query = "a=b" } })
for i, target in ipairs({ "http://", "http:///x", "http://u@b/", "http://b:x/", "ftp://b/", "http:/b",
  "http://b c/" }) do
  add("N06.e" .. i, 400, "close", line("GET " .. target .. " HTTP/1.1"))
end
add("N06.h", 400, "close", "GET http://localhost/ HTTP/1.1\r\n\r\n")
add("N07", 400, "close", line("GET a:80 HTTP/1.1"), node)
add("N08", 405, "close", line("CONNECT a:80 HTTP/1.1"))
add("N09", 204, "keep", line("OPTIONS * HTTP/1.1"), { want = { path = "*" } })
add("N10", 400, "close", line("GET * HTTP/1.1"))
add("N11", 400, "close", line("GET /x#f HTTP/1.1"))
add("N12", 400, "close", line("GET /a\0b HTTP/1.1"), node)
add("N13", 400, "close", line("GET /a b HTTP/1.1"), node)
add("N14", 400, "close", line("GET\t/\tHTTP/1.1"), node)
add("N14.2", 400, "close", line("GET /\tHTTP/1.1"), node)
add("N15", 400, "close", line("GET  / HTTP/1.1"))
add("N15.2", 400, "close", line("GET /  HTTP/1.1"))
add("N16", 400, "close", line("GET /\xff HTTP/1.1"), node)
add("N16.2", 400, "close", line("GET /\xc3\xa9 HTTP/1.1"), node)
add("N16.3", 400, "close", line("GET /\x7f HTTP/1.1"), node)
for i, path in ipairs({ "/%zz", "/%", "/%4", "/a%2", "/%%41", "/%4g" }) do
  add("N17." .. i, 400, "keep", line("GET " .. path .. " HTTP/1.1"), { by = "url" })
end
add("N18", 400, "keep", line("GET /%00 HTTP/1.1"), { by = "url" })
for i, path in ipairs({ "/../../etc/passwd", "/%2e%2e/x", "/..", "/a/../..", "/.%2E/", "/a/./%2e./.." }) do
  add("N19." .. i, 400, "keep", line("GET " .. path .. " HTTP/1.1"), { by = "url" })
end
-- One segment to the parser; but ':name' never holds a slash, so that no parameter climbs.
add("N20", 404, "keep", line("GET /segment/a%2fb HTTP/1.1"))
add("N21", 400, "close", line("GET x HTTP/1.1"), node)
add("N21.2", 400, "close", line("GET ! HTTP/1.1"), node)

-- Versions
add("N22", 400, "close", "GET /\r\n")
add("N22.2", 400, "close", "GET / \r\n\r\n")
add("N22.3", 400, "close", "GET\r\n\r\n", node)
add("N23", 505, "close", line("GET / HTTP/2.0"))
add("N23.2", 505, "close", line("GET / HTTP/9.9"), node)
add("N23.3", 505, "close", line("GET / HTTP/0.9"))
add("N24", 200, "keep", line("GET / HTTP/1.2"), { want = { minor = 1, keep_alive = true } })
add("N24.2", 200, "keep", line("GET / HTTP/1.9"), { want = { minor = 1 } })
for i, version in ipairs({ "HTTP/1.10", "http/1.1", "HTTP/1.1 ", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/01.1",
  "HTTP/1,1", "HTTP 1.1", "HTTPS/1.1", "HTTP/1.1\t", "HTTP/1.a" }) do
  add("N25." .. i, 400, "close", line("GET / " .. version), node)
end
add("N26", 505, "close", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
add("N27", 400, "close", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" .. ("\xa5"):rep(64), node)
add("N28", 200, "close", "GET / HTTP/1.0\r\n\r\n", { node = true, want = { minor = 0, keep_alive = false } })
add("N28.2", 400, "close", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n")
add("N29", 200, "keep", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  { want = { minor = 0, keep_alive = true } })
add("N30", 400, "close", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")

-- Line ends and blanks
add("N31", 200, "keep", "\r\n\r\n" .. line("GET / HTTP/1.1"), node)
add("N31.2", 200, "keep", "\r\n" .. line("GET / HTTP/1.1"), node)
add("N31.3", 400, "close", "\r\n\r\n\r\n" .. line("GET / HTTP/1.1"))
add("N32", 400, "close", line(" GET / HTTP/1.1"), node)
add("N33", 400, "close", "GET / HTTP/1.1\nHost: localhost\n\n", node)
add("N33.2", 400, "close", "GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", node)
add("N33.3", 400, "close", "GET / HTTP/1.1\nHost: localhost\r\n\r\n", node)
add("N33.4", 400, "close", "GET / HTTP/1.1\r\nHost: localhost\r\n\n", node)
add("N33.5", 400, "close", "\n" .. line("GET / HTTP/1.1"))
add("N34", 400, "close", get("X: a\rb"), node)
add("N34.2", 400, "close", get("X: \rb"), node)
add("N34.3", 400, "close", get("X\r: b"), node)
add("N34.4", 400, "close", line("GET /\r HTTP/1.1"), node)
add("N35", 400, "close", "GET / HTTP/1.1\rHost: localhost\r\r", node)
add("N36", 400, "close", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", node)

-- Methods
add("N37", 501, "keep", line("get / HTTP/1.1"), { want = { status = 501 } })
add("N37.2", 501, "keep", line("G!#$ / HTTP/1.1"), { want = { status = 501 } })
add("N37.3", 501, "keep", line("X / HTTP/1.1"), { want = { status = 501 } })
add("N38", 400, "close", line("G(T / HTTP/1.1"), node)
add("N38.2", 400, "close", line("G\xc3\xa9T / HTTP/1.1"), node)
add("N39", 501, "close", line(("G"):rep(5000) .. " / HTTP/1.1"), node)
add("N39.2", 501, "close", line(("G"):rep(33) .. " / HTTP/1.1"))
add("N39.3", 501, "keep", line(("G"):rep(32) .. " / HTTP/1.1"), { want = { status = 501 } })
add("N40", 405, "keep", line("TRACE / HTTP/1.1"), { want = { status = 405 } })

-- Fields
add("N41", 400, "close", get("X: a\r\n b"), node)
add("N41.2", 400, "close", get("X: a\r\n\tb"), node)
add("N42", 400, "close", "GET / HTTP/1.1\r\n X: y\r\n" .. HOST .. "\r\n", node)
add("N43", 400, "close", get("X : y"), node)
add("N43.2", 400, "close", post("Content-Length : 3", "abc"), node)
add("N43.3", 400, "close", post("Transfer-Encoding : chunked", "0\r\n\r\n"), node)
add("N43.4", 400, "close", get("X\t: y"), node)
add("N44", 400, "close", get("nocolon"), node)
add("N45", 400, "close", get(": x"), node)
for i, name in ipairs({ "X[]", "\xefoo", "X\0", "X(", "X,", "X;", "X\"", "X/", "X@", "X{", "X\x7f" }) do
  add("N46." .. i, 400, "close", get(name .. ": y"), node)
end
for i, value in ipairs({ "a\0b", "\7", "\x7f", "\x1b[31m", "a\vb", "a\fb" }) do
  add("N47." .. i, 400, "close", get("X: " .. value), { node = not value:find("[\x7f]") })
end
add("N48", 200, "keep", get("X: \xff\xfe\r\nY:\ta\tb\t\r\nZ:\r\nW: \xc2\xa0x\xa0"),
  { node = true, want = { X = "\xff\xfe", Y = "a\tb", Z = "", W = "\xc2\xa0x\xa0" } })
add("N49", 200, "keep", post("Content_Length: 3"), { node = true, n = 0, want = { body = "none" } })

-- Content-Length
add("N50", 400, "close", post("Content-Length: 3\r\nContent-Length: 3", "abc"), node)
add("N50.2", 400, "close", post("Content-Length: 3, 3", "abc"), node)
add("N51", 400, "close", post("Content-Length: 3\r\nContent-Length: 4", "abcd"), node)
add("N51.2", 400, "close", post("Content-Length: 3, 4", "abcd"), node)
for i, length in ipairs({ "+3", "-1", "0x3", "1 1", "3a", "1_0", "3;", "\xb3", "3.0", "" }) do
  add(i < 10 and "N52." .. i or "N53", 400, "close", post("Content-Length: " .. length, "abc"), node)
end
add("N54", 200, "keep", post("Content-Length: 0003", "abc"),
  { node = true, n = 3, want = { content_length = 3, body = "length" } })
add("N55", 400, "close", post("Content-Length: 18446744073709551619", "abc"), node)
add("N55.2", 400, "close", post("Content-Length: 9223372036854775808", "abc"))
add("N56", 413, "close", post("Content-Length: 99999999999", "abc"),
  { by = "app", want = { content_length = 99999999999 } })
add("N56.2", 413, "close", post("Content-Length: 9223372036854775807", "abc"),
  { by = "app", want = { content_length = math.maxinteger } })
add("N57", 200, "keep", "GET / HTTP/1.1\r\n" .. HOST .. "Content-Length: 3\r\n\r\nabc" .. NEXT,
  { node = true, n = 3, more = { 200 }, want = { content_length = 3 } })

-- Transfer-Encoding
add("N58", 400, "close", post("Transfer-Encoding: chunked\r\nContent-Length: 3", "0\r\n\r\n"), node)
add("N58.2", 400, "close", post("Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), node)
add("N58.3", 400, "close", post("Content-Length: 0\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), node)
add("N59", 400, "close",
  post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), node)
add("N59.3", 501, "close", post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "0\r\n\r\n"))
add("N59.4", 400, "close", post("Transfer-Encoding: chunked\r\nTransfer-Encoding:", "0\r\n\r\n"))
local codings = {
  { "N59.2", 400, "chunked, chunked", true }, { "N60", 501, "identity" }, { "N60.2", 501, "xchunked" },
  { "N60.3", 501, "gzip, chunked" }, { "N60.4", 501, "gzip" }, { "N60.5", 501, "gzip;q=1, chunked" },
  { "N61", 400, "chunked, gzip", true }, { "N62", 400, "\vchunked", true }, { "N62.2", 400, "\"chunked\"", true },
  { "N62.3", 400, ",chunked" }, { "N62.4", 400, "" }, { "N62.5", 400, "chunked," },
  { "N62.6", 400, "chunked;a=b" }, { "N62.7", 400, "gzip, , chunked" }, { "N62.8", 400, "chunked\xa0" },
}
for _, c in ipairs(codings) do
  add(c[1], c[2], "close", post("Transfer-Encoding: " .. c[3], "0\r\n\r\n"), { node = c[4] })
end
add("N63", 200, "keep", post("Transfer-Encoding: ChUnKeD", "3\r\nabc\r\n0\r\n\r\n"),
  { node = true, n = 3, want = { body = "chunked" } })

-- Chunks
add("N64", 200, "keep", chunked("3;a=b\r\nabc\r\n0\r\n\r\n"), body_row { n = 3, node = true })
add("N64.2", 200, "keep", chunked("3;a=\"x;y\"\r\nabc\r\n0;z\r\n\r\n"), body_row { n = 3, node = true })
add("N64.3", 200, "keep", chunked("00000003\r\nabc\r\nA\r\n0123456789\r\n000\r\n\r\n"),
  body_row { n = 13, node = true })
local bad_chunks = {
  { "N65", "3;a=b\nabc\r\n0\r\n\r\n", true }, { "N65.2", "3;a=\rb\r\nabc\r\n0\r\n\r\n", true },
  { "N65.3", "3;a=\0\r\nabc\r\n0\r\n\r\n" }, { "N65.4", "3;a\r\r\nabc\r\n0\r\n\r\n", true },
  { "N66", "3 \r\nabc\r\n0\r\n\r\n", true }, { "N66.2", "3\t\r\nabc\r\n0\r\n\r\n", true },
  { "N66.3", "3 ;a\r\nabc\r\n0\r\n\r\n" }, { "N67", " 3\r\nabc\r\n0\r\n\r\n", true },
  { "N67.2", "0x3\r\nabc\r\n0\r\n\r\n", true }, { "N67.3", "+3\r\nabc\r\n0\r\n\r\n", true },
  { "N67.4", "-1\r\nabc\r\n0\r\n\r\n", true }, { "N67.5", "0_3\r\nabc\r\n0\r\n\r\n", true },
  { "N67.6", "\r\nabc\r\n0\r\n\r\n", true }, { "N67.7", ";a\r\nabc\r\n0\r\n\r\n", true },
  { "N68", "10000000000000003\r\nabc\r\n0\r\n\r\n", true },
  { "N69", ("0"):rep(40) .. "3\r\nabc\r\n0\r\n\r\n" }, { "N70", "3\nabc\r\n0\r\n\r\n", true },
  { "N70.2", "3\r\nabc\n0\r\n\r\n", true }, { "N70.3", "0\n\r\n", true }, { "N70.4", "0\r\n\n", true },
  { "N70.5", "3\rabc\r\n0\r\n\r\n", true }, { "N71", "3\r\nabcd\r\n0\r\n\r\n", true },
  { "N71.2", "3\r\nabc0\r\n\r\n", true }, { "N71.3", "3\r\nabc\r0\r\n\r\n", true },
  { "N73", "0\r\nContent-Length: 9\r\n\r\n" }, { "N73.2", "0\r\nbad\r\n\r\n", true },
  { "N73.3", "0\r\ntransfer-encoding: chunked\r\n\r\n" }, { "N73.4", "0\r\nHost: b\r\n\r\n" },
  { "N73.5", "0\r\nX : y\r\n\r\n", true }, { "N73.6", "0\r\n X: y\r\n\r\n", true },
  { "N73.7", "0\r\nX: y\n\r\n", true }, { "N73.8", "0\r\nX: a\r\n b\r\n\r\n", true },
  { "N73.9", "0\r\n: y\r\n\r\n", true },
  { "N74", "3;" .. ("a"):rep(70000) .. "\r\nabc\r\n0\r\n\r\n", true },
  { "N74.2", "3;" .. ("a"):rep(257) .. "\r\nabc\r\n0\r\n\r\n" },
  { "N74.3", ("1;" .. ("a"):rep(250) .. "\r\nx\r\n"):rep(70) .. "0\r\n\r\n" },
}
for _, c in ipairs(bad_chunks) do
  add(c[1], 400, "close", chunked(c[2]), body_row { node = c[3] })
end
add("N72", 200, "keep", chunked("3\r\nabc\r\n0\r\nX: y\r\n\r\n"), body_row { n = 3, node = true })
add("N72.2", 200, "keep", chunked("0\r\nA-Name-Longer-Than-Any-We-Know: \r\nY: \xff\r\n\r\n"),
  body_row { n = 0, node = true })
add("N74.4", 200, "keep", chunked("3;" .. ("a"):rep(256) .. "\r\nabc\r\n0\r\n\r\n"), body_row { n = 3, node = true })
add("N74.5", 431, "close", chunked("0\r\nX: " .. ("a"):rep(5000) .. "\r\n\r\n"), body_row {})
add("N76.2", 413, "close", chunked("fffffff\r\n"), body_row {})
add("N76.3", 413, "close", chunked("ffffffffffffffff\r\n"), body_row {})

-- Expect
add("N75", 200, "keep", post("Expect: 100-continue\r\nContent-Length: 3", "abc"),
  { node = true, n = 3, interim = { 100 }, want = { expect_continue = true } })
add("N75.2", 200, "keep", post("Expect: 100-Continue\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"),
  { node = true, n = 3, interim = { 100 }, want = { expect_continue = true } })
add("N76", 413, "close", post("Expect: 100-continue\r\nContent-Length: 99999999"), { by = "app" })
add("N77", 417, "keep", get("Expect: foo"), { want = { status = 417 } })
add("N77.2", 417, "keep", get("Expect: 100-continue, foo"), { want = { status = 417 } })
add("N77.3", 417, "keep", get("Expect: 100-continue\r\nExpect: foo"), { want = { status = 417 } })
add("N77.4", 417, "keep", get("Expect: \"100-continue\""), { want = { status = 417 } })
add("N75.3", 200, "keep", post("Expect: , 100-continue\r\nExpect: 100-CONTINUE,\r\nContent-Length: 3", "abc"),
  { n = 3, interim = { 100 }, want = { expect_continue = true, status = 0 } })
add("N78", 200, "keep", get("Expect: 100-continue"), { want = { expect_continue = false, status = 0 } })
add("N78.2", 200, "keep", post("Expect: 100-continue\r\nContent-Length: 0"),
  { n = 0, want = { expect_continue = false } })
add("N79", 200, "close", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
  { n = 3, want = { expect_continue = false } })
add("N79.2", 200, "close", "GET / HTTP/1.0\r\nExpect: foo\r\n\r\n", { want = { status = 0 } })

-- Several requests
add("N80", 200, "keep", line("GET / HTTP/1.1") .. NEXT .. NEXT, { node = true, more = { 200, 200 } })
add("N81", 200, "keep", line("HEAD / HTTP/1.1") .. NEXT, { node = true, is_head = true, more = { 200 } })
add("N82", 200, "close", get("Connection: close") .. NEXT, { want = { keep_alive = false } })
add("N82.2", 200, "close", get("Connection: keep-alive, CLOSE") .. NEXT, { want = { keep_alive = false } })
add("N82.3", 200, "close", get("Connection: keep-alive\r\nConnection: close") .. NEXT,
  { want = { keep_alive = false } })

-- Limits
add("N83", 431, "close", get("X: " .. ("a"):rep(16384)))
add("N83.2", 431, "close", get("X: " .. ("a"):rep(65536)), node)
add("N83.3", 431, "close", get(("a"):rep(17000) .. ": x"))
add("N84", 414, "close", line("GET /" .. ("a"):rep(16384) .. " HTTP/1.1"))
add("N84.2", 414, "close", line("GET /" .. ("a"):rep(8192 - 13) .. " HTTP/1.1"))
add("N84.3", 200, "keep", line("GET /" .. ("a"):rep(8192 - 14) .. " HTTP/1.1"), node)
add("N85", 431, "close", get(("X: y\r\n"):rep(149) .. "X: y"))
add("N85.2", 431, "close", get(("X: y\r\n"):rep(999) .. "X: y"))
add("N85.3", 431, "close", get(("X: y\r\n"):rep(99) .. "X: y"))
add("N85.4", 200, "keep", get(("X: y\r\n"):rep(98) .. "X: y"), node)
add("N86", 200, "keep", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"))
add("N86.2", 200, "keep", get("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"))
add("N87", 200, "close", get("Connection: close, Host"), { want = { host = "localhost", keep_alive = false } })
add("N88", 200, "keep", "POST / HTTP/1.1\r\n" .. HOST .. "\r\n" .. NEXT, { node = true, n = 0, more = { 200 } })
add("N89", 415, "keep", post("Content-Encoding: gzip\r\nContent-Length: 3", "abc"), { by = "app" })
add("N93", 400, "close", "Extra lineGET / HTTP/1.1\r\n" .. HOST .. "\r\n", node)
add("N93.2", 400, "close", "GET / HTTP/1.1\r\n" .. HOST .. "\r\r\nSome-Header: x\r\n\r\n", node)
add("N95", 200, "keep", get("Cookie: " .. ("a"):rep(12 * 1024)), node)

return rows
