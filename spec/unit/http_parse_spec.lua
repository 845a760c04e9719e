--- csrc/net/http_parse.c: every row of the table of nasty inputs that a head decides, whole
--- and cut at each of its first 256 bytes, and what the table does not say.
local http = require("sluice.core.testing_http")
local rows = require("spec.wire.http_vectors")

local HOST = "Host: a\r\n"

local function head(fields) return "GET / HTTP/1.1\r\n" .. HOST .. (fields or "") .. "\r\n" end

--- The parser's answer in one comparable string.
local function answer(text, cut, step)
  local got, status = http.parse_head(text, cut, step)
  if not got then return "refused " .. status end
  local parts = {}
  for _, key in ipairs({ "used", "verb", "minor", "status", "body", "content_length", "keep_alive",
    "expect_continue", "method", "path", "query", "host" }) do
    parts[#parts + 1] = key .. "=" .. tostring(got[key])
  end
  for _, field in ipairs(got.fields) do parts[#parts + 1] = field[1] .. ":" .. field[2] end
  return table.concat(parts, " ")
end

local function field_of(got, name)
  for _, field in ipairs(got.fields) do
    if field[1] == name then return field[2] end
  end
end

local function check_wanted(row, got)
  for key, value in pairs(row.want or {}) do
    local is = got[key]
    if is == nil then is = field_of(got, key) end
    assert.equal(value, is, row.id .. " " .. key)
  end
end

describe("http_parse_head, on the table of nasty inputs,", function()
  for _, row in ipairs(rows) do
    local refused = row.by == "head" and row.after == "close" and row.status >= 400
    local title = refused and ("refuses with " .. row.status) or "takes"
    it(title .. " " .. row.id .. ", however it is cut", function()
      local got, status = http.parse_head(row.input)
      if refused then
        assert.is_nil(got)
        assert.equal(row.status, status)
      else
        assert.is_table(got, status)
        check_wanted(row, got)
      end
      local whole = answer(row.input)
      for cut = 1, math.min(256, #row.input) do
        assert.equal(whole, answer(row.input, cut), row.id .. " cut at " .. cut)
      end
    end)
  end

  it("gives the same answer when the bytes come one by one", function()
    for _, row in ipairs(rows) do
      local text = row.input:sub(1, 600)
      assert.equal(answer(text), answer(text, 1, 1), row.id)
    end
    for _, step in ipairs({ 7, 64, 1000, 4096 }) do
      for _, row in ipairs(rows) do assert.equal(answer(row.input), answer(row.input, 1, step), row.id) end
    end
  end)
end)

describe("http_parse_head", function()
  it("asks for more until the empty line is whole", function()
    local text = head("Accept: */*\r\n")
    for n = 0, #text - 1 do
      local got, status = http.parse_head(text:sub(1, n))
      assert.is_nil(got)
      assert.equal(0, status, "at " .. n)
    end
    assert.equal(#text, http.parse_head(text).used)
  end)

  it("uses the head only, not what follows", function()
    assert.equal(#head(), http.parse_head(head() .. "GET /next HTTP/1.1\r\n").used)
    assert.equal(#head() + 4, http.parse_head("\r\n\r\n" .. head() .. "body").used)
  end)

  it("refuses with the first byte that cannot be right", function()
    local early = {
      ["\x16"] = 400, ["\n"] = 400, [" "] = 400, ["GET\t"] = 400, ["GET  "] = 400, ["GET /\0"] = 400,
      ["GET / X"] = 400, ["GET / HTTP/1.1\n"] = 400, ["GET / HTTP/1.1\rX"] = 400,
      ["GET / HTTP/1.10"] = 400, ["GET / HTTP/2.0\r\n"] = 505, ["CONNECT a:1 HTTP/1.1\r\n"] = 405,
      ["GET x HTTP/1.1\r\n"] = 400, ["GET / HTTP/1.1\r\n "] = 400, ["GET / HTTP/1.1\r\n:"] = 400,
      ["GET / HTTP/1.1\r\nA\r"] = 400, ["GET / HTTP/1.1\r\nA: \0"] = 400, ["GET / HTTP/1.1\r\nA: b\n"] = 400,
      ["GET / HTTP/1.1\r\nA: b\r\n "] = 400, ["\r\n\r\n\r"] = 400, [("G"):rep(33)] = 501,
      ["GET " .. ("a"):rep(16380)] = 414, ["GET /" .. ("a"):rep(9000) .. " HTTP/1.1\r\n\r\n"] = 414,
      ["GET / HTTP/1.1\r\nA:" .. ("a"):rep(16366)] = 431,
      ["GET / HTTP/1.1\r\n" .. ("A:\r\n"):rep(100) .. "A"] = 431,
    }
    for text, status in pairs(early) do
      local got, refused = http.parse_head(text)
      assert.is_nil(got)
      assert.equal(status, refused, ("%q"):format(text:sub(1, 40)))
      got, refused = http.parse_head(text:sub(1, -2))
      assert.is_nil(got)
      assert.equal(0, refused, ("one byte less of %q"):format(text:sub(1, 40)))
    end
  end)

  it("takes a head of exactly 16 KiB and no byte more", function()
    local rest = #head("A: \r\n")
    local text = head("A: " .. ("a"):rep(16384 - rest) .. "\r\n")
    assert.equal(16384, http.parse_head(text).used)
    local _, status = http.parse_head(head("A: " .. ("a"):rep(16385 - rest) .. "\r\n"))
    assert.equal(431, status)
  end)

  it("tells a limit before an error that lies behind it", function()
    local _, status = http.parse_head("GET /" .. ("a"):rep(9000) .. "\0 HTTP/1.1\r\n\r\n")
    assert.equal(414, status)
    _, status = http.parse_head(head("A: " .. ("a"):rep(16384) .. "\0\r\n"))
    assert.equal(431, status)
  end)

  it("knows the methods that routes can have", function()
    for i, method in ipairs({ "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }) do
      local got = http.parse_head(method .. " / HTTP/1.1\r\n" .. HOST .. "\r\n")
      assert.equal(i, got.verb)
      assert.equal(0, got.status)
    end
  end)

  it("splits path from query at the first question mark", function()
    local got = http.parse_head("GET /a%3Fb?c=d?e&/f HTTP/1.1\r\n" .. HOST .. "\r\n")
    assert.equal("/a%3Fb", got.path)
    assert.equal("c=d?e&/f", got.query)
    assert.equal("/a%3Fb?c=d?e&/f", got.target)
    got = http.parse_head("GET /? HTTP/1.1\r\n" .. HOST .. "\r\n")
    assert.equal("", got.query)
    assert.is_nil(http.parse_head(head()).query)
  end)

  it("takes hosts with ports and addresses", function()
    for _, host in ipairs({ "a", "a.b-c.example", "a_b", "127.0.0.1:5121", "[::1]", "[::ffff:1.2.3.4]:80", "a:",
      "xn--bcher-kva.example.", ("a"):rep(255) }) do
      local got = http.parse_head("GET / HTTP/1.1\r\nhOST:  " .. host .. "\t\r\n\r\n")
      assert.equal(host, got and got.host)
    end
  end)

  it("keeps the fields in order, apart and trimmed", function()
    local got = http.parse_head(head("B:  x \r\na:y\r\nB:z\r\nC:\r\n"))
    assert.same({ { "Host", "a" }, { "B", "x" }, { "a", "y" }, { "B", "z" }, { "C", "" } }, got.fields)
  end)

  it("lets a connection stay by version and Connection", function()
    local cases = {
      { "1.1", "", true }, { "1.1", "Connection: close\r\n", false }, { "1.1", "Connection: x,\tClose ,y\r\n", false },
      { "1.1", "Connection: closed\r\n", true }, { "1.1", "X: close\r\n", true }, { "1.0", "", false },
      { "1.0", "Connection: Keep-Alive\r\n", true }, { "1.0", "Connection: keep-alive, close\r\n", false },
    }
    for _, case in ipairs(cases) do
      local got = http.parse_head("GET / HTTP/" .. case[1] .. "\r\n" .. HOST .. case[2] .. "\r\n")
      assert.equal(case[3], got.keep_alive, case[1] .. " " .. case[2])
    end
  end)

  it("reads the length of the body", function()
    local function body(fields)
      local got, status = http.parse_head("POST / HTTP/1.1\r\n" .. HOST .. fields .. "\r\n")
      return got and got.body .. " " .. got.content_length or status
    end
    assert.equal("none 0", body(""))
    assert.equal("none 0", body("Content-Length: 0\r\n"))
    assert.equal("length 5", body("content-length:5\r\n"))
    assert.equal("length " .. math.maxinteger, body("Content-Length: 9223372036854775807\r\n"))
    assert.equal(400, body("Content-Length: 9223372036854775808\r\n"))
    assert.equal("length 7", body("Content-Length: " .. ("0"):rep(300) .. "7\r\n"))
    assert.equal("chunked 0", body("Transfer-Encoding:\tchunked\t\r\n"))
  end)
end)
