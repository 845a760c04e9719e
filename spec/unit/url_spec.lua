--- csrc/net/url.c: paths are decoded once and segment by segment, queries parameter by
--- parameter.
local http = require("sluice.core.testing_http")

describe("url_path", function()
  local function is(expected, raw)
    assert.equal(expected, (http.path(raw)), raw)
  end
  local function is_refused(raw, expected)
    local path, status = http.path(raw)
    assert.is_nil(path, raw)
    assert.equal(expected or 400, status)
  end

  it("leaves a plain path alone", function()
    for _, path in ipairs({ "/", "/a", "/a/", "/a/b.c/d", "//", "/a//b", "/~a/-._!$&'()*+,;=:@", "/..a/.../b..",
      "/a\\..\\b" }) do
      is(path, path)
    end
  end)

  it("decodes each escape once", function()
    is("/a b", "/a%20b")
    is("/\xc3\xa9", "/%c3%A9")
    is("/%41", "/%2541")
    is("/\xff\x80\\", "/%ff%80%5C")
    is("/a+b", "/a+b")
    is("/?#", "/%3f%23")
  end)

  it("resolves dot segments however they are spelled", function()
    is("/a/c", "/a/./b/../c")
    is("/c", "/a/%2e%2E/c")
    is("/a/", "/a/.")
    is("/a/", "/a/b/..")
    is("/", "/a/..")
    is("/", "/.")
    is("/", "/a/b/../../")
    is("/a/", "/a//..")
    is("/", "//..")
  end)

  it("finds nothing at a segment that holds a slash or a control byte", function()
    for _, raw in ipairs({ "/a%2fb", "/a%2Fb/c", "/%2f/", "/..%2f..", "/%2f%2e%2e/", "/a%0d%0a", "/%1f", "/%7F/b",
      "/%01", "/a\1" }) do
      is_refused(raw, 404)
    end
  end)

  it("refuses to climb above the root", function()
    for _, raw in ipairs({ "/..", "/../", "/../../etc/passwd", "/%2e%2e/x", "/.%2e", "/a/../..", "/./..",
      "/a/b/../../../c" }) do
      is_refused(raw)
    end
  end)

  it("refuses broken escapes and NUL", function()
    for _, raw in ipairs({ "/%", "/%4", "/%zz", "/%4g", "/%g4", "/%%41", "/a/%", "/%4/1", "/%00", "/a%00/b", "/% 4",
      "/%+4", "/%-1" }) do
      is_refused(raw)
    end
  end)

  it("refuses NUL in every spelling", function()
    is_refused("/a\0b")
    assert.equal(400, select(2, http.query_get("a\0b=1", "a")))
    assert.equal(400, select(2, http.decode("\0")))
  end)

  it("takes every pair of hexadecimal digits and no other", function()
    for high = 0, 255 do
      for low = 0, 255 do
        local raw = "/%" .. string.char(high, low)
        local digits = string.char(high, low):match("^%x%x$")
        local slash = high == 47 or low == 47
        local expected = not slash and digits and digits ~= "00" and "/" .. string.char(tonumber(digits, 16)) or nil
        if expected and expected:find("[/%c]", 2) then expected = nil end
        if digits == "2e" or digits == "2E" then expected = "/" end
        assert.equal(expected, (http.path(raw)))
      end
    end
  end)
end)

describe("url_decode", function()
  it("makes a plus a blank in forms only", function()
    assert.equal("a+b c", http.decode("a+b%20c"))
    assert.equal("a b c+", http.decode("a+b%20c%2b", true))
    assert.equal("", http.decode(""))
  end)

  it("refuses broken escapes and NUL", function()
    for _, raw in ipairs({ "%", "%a", "%0", "%00", "a%zz" }) do
      local text, status = http.decode(raw, true)
      assert.is_nil(text)
      assert.equal(400, status)
    end
  end)
end)

describe("url_query_next", function()
  it("walks through the parameters in order", function()
    assert.same({ { "a", "1" }, { "b", "" }, { "a", "2" }, { "c", "" }, { "", "d" }, { "e", "f=g" } },
      (http.query("a=1&b&&a=2&c=&=d&e=f=g&")))
    assert.same({}, (http.query("")))
    assert.same({}, (http.query("&&&")))
    assert.same({ { "a%26b", "c+d" } }, (http.query("a%26b=c+d")))
  end)

  it("stops at a hundred parameters", function()
    assert.equal(100, #http.query(("a&"):rep(100)))
    assert.equal(100, #http.query(("&"):rep(1000) .. ("a&"):rep(100)))
    local list, status = http.query(("a&"):rep(101))
    assert.is_nil(list)
    assert.equal(400, status)
  end)
end)

describe("url_query_check", function()
  it("refuses a broken escape anywhere", function()
    for _, query in ipairs({ "a=%", "%zz", "a=b&c=%00", "a&b%4", "a=b&%=c" }) do
      assert.equal(400, select(2, http.query(query)), query)
    end
    assert.equal(0, select(2, http.query("a=%41+b&c=d%25&=")))
  end)
end)

describe("url_query_get", function()
  it("finds the first of that name and decodes it", function()
    assert.equal("1 2", http.query_get("b=0&a=1+2&a=3", "a"))
    assert.equal("x", http.query_get("last%45ventId=x", "lastEventId"))
    assert.equal("x", http.query_get("a+b=x", "a b"))
    assert.equal("", http.query_get("aa=1&a", "a"))
    assert.equal("=", http.query_get("a==", "a"))
  end)

  it("tells what is not there, broken, or too long", function()
    local function status(...) return select(2, http.query_get(...)) end
    assert.equal(404, status("", "a"))
    assert.equal(404, status("ab=1&b=2", "a"))
    assert.equal(404, status("A=1", "a"))
    assert.equal(400, status("a=%zz", "a"))
    assert.equal(400, status("%zz=1&a=2", "a"))
    assert.equal(400, status("a=1%00", "a"))
    assert.equal(414, status("a=12345", "a", 4))
    assert.equal(400, status("a=1234%", "a", 4))
    assert.equal("1234", (http.query_get("a=1234", "a", 4)))
    assert.equal(400, status(("b&"):rep(100) .. "a=1", "a"))
  end)
end)
