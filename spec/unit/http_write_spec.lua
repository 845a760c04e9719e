--- csrc/net/http_write.c: answers, errors and the stream head, byte for byte.
local http = require("sluice.core.testing_http")

local NOW = 784111777
local DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

local function options(extra)
  local all = { now = NOW }
  for key, value in pairs(extra or {}) do all[key] = value end
  return all
end

describe("http_write_answer", function()
  it("writes status, fields, date and length before the body", function()
    assert.equal("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" .. DATE .. "Content-Length: 2\r\n\r\nhi",
      http.answer(200, options({ fields = { { "Content-Type", "text/plain" } } }), "hi"))
    assert.equal("HTTP/1.1 404 Not Found\r\n" .. DATE .. "Content-Length: 0\r\n\r\n", http.answer(404, options()))
    assert.equal("HTTP/1.1 299 \r\n" .. DATE .. "Content-Length: 0\r\n\r\n", http.answer(299, options()))
  end)

  it("says in the head whether the connection stays", function()
    local function connection(extra) return http.answer(200, options(extra)):match("Connection: (%S+)") end
    assert.is_nil(connection({}))
    assert.equal("close", connection({ keep_alive = false }))
    assert.equal("keep-alive", connection({ minor = 0 }))
    assert.equal("close", connection({ minor = 0, keep_alive = false }))
  end)

  it("leaves the body out for HEAD, but not its length", function()
    assert.equal("HTTP/1.1 200 OK\r\n" .. DATE .. "Content-Length: 5\r\n\r\n",
      http.answer(200, options({ head = true }), "hello"))
  end)

  it("gives 204 and 304 neither body nor length", function()
    assert.equal("HTTP/1.1 204 No Content\r\n" .. DATE .. "\r\n", http.answer(204, options(), "lost"))
    assert.equal("HTTP/1.1 304 Not Modified\r\n" .. DATE .. "\r\n", http.answer(304, options(), "lost"))
  end)

  it("gives a 401 that does not say how to sign in a WWW-Authenticate", function()
    assert.matches("\r\nWWW%-Authenticate: Bearer\r\n", http.answer(401, {}))
    assert.matches("\r\nWWW%-Authenticate: Bearer\r\n", http.failure(401, {}))
    local own = http.answer(401, { fields = { { "www-Authenticate", "Basic" } } })
    assert.matches("\r\nwww%-Authenticate: Basic\r\n", own)
    assert.is_nil(own:find("Bearer", 1, true))
    assert.is_nil(http.failure(403, {}):find("WWW-Authenticate", 1, true))
  end)

  it("writes lengths of any size", function()
    for _, n in ipairs({ 0, 9, 10, 99, 100, 123456 }) do
      local text = http.answer(200, options(), ("x"):rep(n))
      assert.equal(tostring(n), text:match("Content%-Length: (%d+)\r\n\r\n"))
      assert.equal(("x"):rep(n), text:match("\r\n\r\n(.*)$"))
    end
  end)

  it("refuses statuses that are none", function()
    for _, status in ipairs({ 0, 100, 101, 199, 600, -200 }) do
      assert.same({ nil, "EINVAL" }, { http.answer(status, options()) })
    end
  end)

  it("refuses fields that would break the head or are the server's", function()
    local bad = { { "X", "a\r\nSet-Cookie: b" }, { "X\r\n", "a" }, { "X", "a\0" }, { "Content-Length", "3" } }
    for _, field in ipairs(bad) do
      assert.same({ nil, "EBADFIELD" }, { http.answer(200, options({ fields = { { "A", "b" }, field } }), "x") })
    end
    assert.equal(0, http.live())
  end)

  it("never names the server", function()
    for _, text in ipairs({ http.answer(200, options()), http.failure(500, options()), http.stream(options()) }) do
      assert.is_nil(text:lower():find("server:", 1, true))
    end
  end)
end)

describe("http_field_check", function()
  it("takes tokens as names and visible text as values", function()
    assert.is_true(http.field_check("X-Name_1!", "a \t\"b\" \xc3\xa9"))
    assert.is_true(http.field_check("Set-Cookie", ""))
    assert.is_true(http.field_check("TEA", "x"))
  end)

  it("refuses control bytes, one by one", function()
    for byte = 0, 255 do
      local c = string.char(byte)
      local value_fits = byte == 9 or byte >= 32 and byte ~= 127
      assert.equal(value_fits or nil, (http.field_check("X", "a" .. c .. "b")), "value byte " .. byte)
      local name_fits = c:find("^[%w!#$%%&'*+%-.^_`|~]$") and byte < 128
      assert.equal(name_fits and true or nil, (http.field_check("X" .. c, "")), "name byte " .. byte)
    end
    assert.is_nil((http.field_check("", "a")))
  end)

  it("finds a control byte wherever it stands in a long value", function()
    for at = 1, 40 do
      for _, bad in ipairs({ "\r", "\n", "\0", "\x7f", "\x1f" }) do
        local value = ("\t"):rep(at - 1) .. bad .. ("\xff"):rep(40 - at)
        assert.is_nil((http.field_check("X", value)))
      end
    end
    assert.is_true(http.field_check("X", ("\t\xff~ "):rep(100)))
  end)

  it("keeps framing to the server, in any case", function()
    for _, name in ipairs({ "Content-Length", "TRANSFER-ENCODING", "connection", "Keep-Alive", "Upgrade", "Trailer",
      "TE", "Date" }) do
      assert.same({ nil, "EBADFIELD" }, { http.field_check(name, "x") })
    end
  end)
end)

describe("http_write_error", function()
  local function body(...) return http.failure(...):match("\r\n\r\n(.*)$") end

  it("writes JSON that no cache keeps", function()
    local json = [[{"error":{"code":"EBADFIELD","message":"no such field","field":"name"}}]]
    assert.equal("HTTP/1.1 422 Unprocessable Content\r\nContent-Type: application/json\r\n" ..
      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" .. DATE .. "Content-Length: " .. #json ..
      "\r\n\r\n" .. json, http.failure(422, options(), "EBADFIELD", "no such field", "name"))
  end)

  it("knows code and message of what HTTP itself refuses", function()
    assert.equal([[{"error":{"code":"ETOOBIG","message":"the request line is too long"}}]], body(414, options()))
    assert.equal([[{"error":{"code":"EBADREQUEST","message":"the request was refused"}}]], body(499, options()))
    assert.equal([[{"error":{"code":"EINTERNAL","message":"the server failed"}}]], body(599, options()))
    for _, status in ipairs({ 400, 405, 408, 413, 414, 415, 417, 421, 431, 501, 503, 505 }) do
      local phrase, code = http.reason(status)
      assert.not_equal("", phrase)
      assert.equal(code, body(status, options()):match([["code":"(%u+)"]]))
    end
  end)

  it("puts the caller's fields into the head", function()
    local text = http.failure(405, options({ fields = { { "Allow", "GET, HEAD" } }, keep_alive = false }))
    assert.truthy(text:find("\r\nAllow: GET, HEAD\r\n", 1, true))
    assert.truthy(text:find("\r\nConnection: close\r\n", 1, true))
  end)

  it("says with a 405 what is taken, be it nothing", function()
    assert.truthy(http.failure(405, options()):find("\r\nAllow: \r\n", 1, true))
    local text = http.failure(405, options({ fields = { { "allow", "GET" } } }))
    assert.equal(1, select(2, text:lower():gsub("\r\nallow:", "")))
  end)

  it("has no body for HEAD", function()
    local text = http.failure(404, options({ head = true }))
    assert.equal("", text:match("\r\n\r\n(.*)$"))
    assert.equal(#body(404, options()), tonumber(text:match("Content%-Length: (%d+)")))
  end)

  it("escapes what JSON cannot hold", function()
    assert.equal([[{"error":{"code":"E","message":"a\"b\\c\u000a\u0001\u007f"}}]],
      body(400, options(), "E", "a\"b\\c\n\1\x7f"))
    assert.equal("{\"error\":{\"code\":\"E\",\"message\":\"\xc3\xa9\xf0\x9f\x98\x80\"}}",
      body(400, options(), "E", "\xc3\xa9\xf0\x9f\x98\x80"))
  end)

  it("replaces what is not UTF-8", function()
    local bad = "\xef\xbf\xbd"
    local cases = { ["\xff"] = bad, ["\xc3("] = bad .. "(", ["\xc0\xaf"] = bad .. bad, ["\xed\xa0\x80"] = bad:rep(3),
      ["\xf4\x90\x80\x80"] = bad:rep(4), ["\xe2\x82"] = bad .. bad, ["\xe0\x80\x80"] = bad:rep(3),
      ["\xf0\x80\x80\x80"] = bad:rep(4), ["\xed\x9f\xbf"] = "\xed\x9f\xbf", ["\xf4\x8f\xbf\xbf"] = "\xf4\x8f\xbf\xbf" }
    for text, expected in pairs(cases) do
      assert.equal(expected, body(400, options(), "E", text):match([["message":"(.*)"}}]]))
    end
  end)

  it("is for errors only", function()
    assert.same({ nil, "EINVAL" }, { http.failure(200, options()) })
  end)
end)

describe("http_write_stream", function()
  local HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store, no-transform\r\n" ..
    "X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\n"

  it("writes the fields in their order", function()
    assert.equal(HEAD .. DATE .. "Transfer-Encoding: chunked\r\n\r\n", http.stream(options()))
    assert.equal(HEAD .. "Vary: Origin\r\nAccess-Control-Allow-Origin: https://a\r\n" .. DATE ..
      "Transfer-Encoding: chunked\r\n\r\n",
      http.stream(options({ fields = { { "Vary", "Origin" }, { "Access-Control-Allow-Origin", "https://a" } } })))
  end)

  it("is not chunked for HTTP/1.0", function()
    assert.equal(HEAD .. DATE .. "Connection: close\r\n\r\n", http.stream(options({ minor = 0 })))
  end)

  it("says when the connection ends with it", function()
    assert.equal(HEAD .. DATE .. "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
      http.stream(options({ keep_alive = false })))
  end)

  it("refuses bad fields", function()
    assert.same({ nil, "EBADFIELD" }, { http.stream(options({ fields = { { "X", "\n" } } })) })
  end)
end)

describe("http_write_continue", function()
  it("has no fields", function()
    assert.equal("HTTP/1.1 100 Continue\r\n\r\n", http.continue())
  end)
end)

describe("http_date_text", function()
  it("is an IMF-fixdate whatever the locale", function()
    assert.equal("Thu, 01 Jan 1970 00:00:00 GMT", http.date(0))
    assert.equal("Tue, 29 Feb 2000 23:59:59 GMT", http.date(951868799))
    assert.equal("Tue, 19 Jan 2038 03:14:08 GMT", http.date(2147483648))
    local before = os.setlocale()
    if os.setlocale("de_DE.UTF-8") then assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", http.date(NOW)) end
    os.setlocale(before)
  end)

  it("agrees with the system for many seconds", function()
    for i = 1, 2000 do
      local t = i * 1234567
      assert.equal(os.date("!%a, %d %b %Y %H:%M:%S GMT", t), http.date(t))
    end
  end)
end)

describe("every writer", function()
  local long = options({ fields = { { "A", ("b"):rep(900) } } })
  local writers = {
    answer = function() return http.answer(200, long, ("x"):rep(5000)) end,
    failure = function() return http.failure(400, long, nil, ("m"):rep(500)) end,
    stream = function() return http.stream(long) end,
    continue = http.continue,
  }
  for name, write in pairs(writers) do
    it("(" .. name .. ") survives each failed allocation", function()
      local whole = write()
      local failures = 0
      for n = 1, 50 do
        http.fail_after(n)
        local text, code = write()
        http.fail_after(0)
        assert.equal(0, http.live())
        if text then
          assert.equal(whole, text)
          break
        end
        assert.equal("ENOMEM", code)
        failures = failures + 1
      end
      assert.is_true(failures > 0 and failures < 50)
    end)
  end
end)
