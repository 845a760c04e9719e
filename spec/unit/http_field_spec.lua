--- csrc/net/http_field.c: fields by name, over all their lines, by their grammar.
local http = require("sluice.core.testing_http")

--- { "name: value", … } as the pairs that the functions take.
local function lines(...)
  local out = {}
  for i, line in ipairs({ ... }) do
    local name, value = line:match("^(.-): ?(.*)$")
    out[i] = { name, value }
  end
  return out
end

describe("http_list", function()
  it("reads the elements of all lines in order, whatever the case of the name", function()
    local fields = lines("Via: a", "VIA: b , c", "Viable: x", "via: d")
    assert.same({ "a", "b", "c", "d" }, http.field_list(fields, "via"))
    assert.same({}, http.field_list(fields, "accept"))
  end)

  it("passes over empty elements, and over lines that hold nothing else", function()
    assert.same({ "a", "b" }, http.field_list(lines("X: , ,a ,\t,b,,", "X:", "X: ,"), "x"))
  end)

  it("separates nothing at a comma in a quoted string", function()
    assert.same({ 'a="1,2"', "b" }, http.field_list(lines('X: a="1,2", b'), "x"))
    assert.same({ 'a="\\",\\\\"', "b" }, http.field_list(lines('X: a="\\",\\\\",b'), "x"))
  end)

  it("ends a quoted string that is never closed with its line", function()
    assert.same({ 'a="1,2', "b" }, http.field_list(lines('X: a="1,2', "X: b"), "x"))
    assert.same({ '"\\' }, http.field_list(lines('X: "\\'), "x"))
  end)
end)

describe("http_field_has_token", function()
  local function has(...) return http.field_has_token(lines(...), "cache-control", "no-cache") end

  it("finds it in any line, place and case", function()
    assert.is_true(has("Cache-Control: no-cache"))
    assert.is_true(has("cache-control: NO-Cache"))
    assert.is_true(has("Cache-Control: max-age=0,\tno-cache"))
    assert.is_true(has("Cache-Control: max-age=0", "Pragma: x", "cache-control: , no-cache"))
  end)

  it("takes it with an argument, and never another word or a part of one", function()
    assert.is_true(has('Cache-Control: no-cache="set-cookie"'))
    assert.is_true(has("Cache-Control: no-cache ;x"))
    for _, value in ipairs({ "", "no-cached", "xno-cache", "no-cache/1", "no_cache", '"no-cache"', 'a="b, no-cache"',
      "a=no-cache", "no- cache" }) do
      assert.is_false(has("Cache-Control: " .. value), value)
    end
    assert.is_false(has("Pragma: no-cache"))
  end)
end)

describe("http_field_value", function()
  local fields = lines("Host: a", "Last-Event-ID: one", "LAST-EVENT-ID: two", "X-Empty:", "A^b: c")

  it("finds a field whatever its case, and tells an empty one from none", function()
    assert.equal("a", http.field_value(fields, "host"))
    assert.equal("", http.field_value(fields, "x-empty"))
    for _, name in ipairs({ "x-none", "hos", "host-" }) do
      assert.is_nil(http.field_value(fields, name))
    end
  end)

  it("never joins a repeated field to the first", function()
    assert.equal("one", http.field_value(fields, "last-event-id"))
  end)

  it("takes only letters as equal in two cases", function()
    assert.equal("c", http.field_value(fields, "a^b"))
    assert.is_nil(http.field_value(fields, "a~b"))
  end)
end)

describe("http_field_only_token", function()
  local function only(...) return http.field_only_token(lines(...), "content-encoding", "identity") end

  it("wants every element of every line to be it", function()
    assert.is_true(only("Accept: x"))
    assert.is_true(only("Content-Encoding:"))
    assert.is_true(only("Content-Encoding: Identity, identity", "Content-Encoding: IDENTITY"))
    assert.is_false(only("Content-Encoding: identity", "Content-Encoding: gzip"))
    assert.is_false(only("Content-Encoding: identity, gzip"))
    assert.is_false(only('Content-Encoding: "identity"'))
  end)
end)

describe("http_accepts_coding", function()
  local function weigh(coding, ...)
    local list = { ... }
    for i, value in ipairs(list) do list[i] = "Accept-Encoding: " .. value end
    return http.accepts_coding(lines(table.unpack(list)), coding)
  end

  it("is 0 where nothing is said: the one who asks has to name it", function()
    assert.equal(0, weigh("gzip"))
    assert.equal(0, weigh("gzip", ""))
    assert.equal(0, weigh("gzip", "identity, br", "deflate"))
  end)

  it("reads weights in thousandths, in any case, line and place", function()
    assert.equal(1000, weigh("gzip", "GZIP"))
    assert.equal(1000, weigh("gzip", "br", "deflate , gzip"))
    assert.equal(1000, weigh("gzip", "x-gzip"))
    assert.equal(250, weigh("gzip", "zstd, gzip ; Q=0.25"))
    assert.equal(7, weigh("zstd", "gzip;q=1.000, zstd;q=0.007"))
    assert.equal(500, weigh("gzip", "gzip;q=.5"))
    assert.equal(1, weigh("gzip", "gzip;q=0.0004"))
  end)

  it("is refused by a weight of 0, and * stands for what is not named (N117)", function()
    assert.equal(0, weigh("gzip", "gzip;q=0, *;q=0"))
    assert.equal(0, weigh("gzip", "*", "gzip;q=0.000"))
    assert.equal(0, weigh("zstd", "*;q=0, gzip"))
    assert.equal(1000, weigh("gzip", "gzip, *;q=0"))
    assert.equal(300, weigh("zstd", "gzip, *;q=0.3"))
  end)

  it("takes nothing else for it, and passes over what is no weight", function()
    for _, value in ipairs { "gzipped", "agzip", '"gzip"', "gzip x", "gzip;q=", "gzip;q=1.5", "gzip;q=-1", "gzip;q",
      "gzip;q=0,1", "gzip=1", "xz-gzip" } do
      assert.equal(0, weigh("gzip", value), value)
    end
    assert.equal(200, weigh("gzip", "gzip;q=a, *;q=0.2"))
  end)
end)

describe("http_accepts", function()
  local TYPE = "text/event-stream"
  local function check(expected, list)
    for _, accept in ipairs(list) do
      accept = type(accept) == "table" and accept or { accept }
      for i, value in ipairs(accept) do accept[i] = "Accept: " .. value end
      assert.equal(expected, http.accepts(lines(table.unpack(accept)), TYPE), table.concat(accept, " | "))
    end
  end

  it("takes everything where nothing is asked for", function()
    check(true, { {}, "", ", ,", { "", "" } })
  end)

  it("finds the type or a range in any line, place and case", function()
    check(true, { TYPE, "Text/Event-STREAM", "text/html, text/event-stream", { "text/html", "text/event-stream" },
      "*/*", "text/*", "TEXT/*", "application/json , text/event-stream", "text/event-stream; q=0.001",
      "text/event-stream;charset=utf-8", 'text/event-stream; Charset="UTF-8"', "text/event-stream;" })
  end)

  it("takes no other type, part or quoted text for it", function()
    check(false, { "text/html", "text/event-streams", "xtext/event-stream", "text/event", "image/*", "text", "tex/*",
      'a/b;c="text/event-stream"', 'a/b;c=", text/event-stream,"', "text/*x", "*/event-stream", "text/event-stream/x",
      "text/event-stream;version=2", "text/event-stream;charset=latin1", "event-stream", "text /event-stream" })
  end)

  it("is refused by a weight of 0, and takes the most specific range's word", function()
    check(false, { "text/event-stream;q=0", "text/event-stream;Q=0.000", "*/*, text/event-stream ; q=0.0",
      { "text/event-stream;q=0", "*/*" }, "text/*;q=0, */*;q=1", "*/*;q=0" })
    check(true, { "*/*;q=0, text/event-stream", "text/*;q=0, text/event-stream;q=0.1", "text/html;q=0, */*;q=0.1",
      "text/event-stream;version=2;q=0, text/event-stream", "text/event-stream;q=0, text/event-stream;charset=utf-8" })
  end)

  it("passes over what is no range and what is no weight", function()
    check(false, { "garbage", "text/event-stream;q=", "text/event-stream;q=a", "text/event-stream;q=1.5",
      "text/event-stream;q=2", "text/event-stream;q=-1", "text/event-stream;q=.", "text/event-stream;q=01",
      'text/event-stream;q="1"', "text/event-stream;q", "text/event-stream q=1", 'text/event-stream;a="x' })
    check(true, { "garbage, */*", "text/event-stream;q=x, text/*" })
  end)

  it("takes what Java's own client sends", function()
    check(true, { "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2" })
  end)
end)

describe("http_match", function()
  local function passes(...)
    local list = {}
    for i, value in ipairs({ ... }) do list[i] = "If-Match: " .. value end
    return http.match(lines(table.unpack(list)), '"00ff"')
  end

  it("lets pass what lists the tag as it is, or any, or has no such field", function()
    assert.is_true(passes('"a", "00ff"'))
    assert.is_true(passes('W/"00ff"', '"b","00ff"'))
    assert.is_true(passes("*"))
    assert.is_true(http.match(lines("if-none-match: *"), '"00ff"'))
  end)

  it("takes no weak tag for one, of either side, and nothing else", function()
    for _, value in ipairs({ 'W/"00ff"', '"a"', "", "00ff", '"a", *' }) do assert.is_false(passes(value), value) end
    assert.is_false(http.match(lines('if-match: W/"x", "x"'), 'W/"x"'))
  end)
end)

describe("http_none_match", function()
  local TAG = '"00ff"'
  local function matches(...)
    local list = {}
    for i, value in ipairs({ ... }) do list[i] = "If-None-Match: " .. value end
    return http.none_match(lines(table.unpack(list)), TAG)
  end

  it("finds a tag in any line and place, weak or strong", function()
    assert.is_true(matches(TAG))
    assert.is_true(matches("W/" .. TAG))
    assert.is_true(matches('"a", W/"b",,"00ff"'))
    assert.is_true(matches('"a"', 'W/"00ff" , "b"'))
    assert.is_true(matches('"a,\\", "00ff"'), "a backslash escapes nothing in a tag, and a comma separates nothing")
    assert.is_true(http.none_match(lines('if-none-match: "x"'), 'W/"x"'))
  end)

  it("takes a star alone for any tag", function()
    assert.is_true(matches("*"))
    assert.is_false(matches("*", '"a"'))
    assert.is_false(matches('"a", *'))
    assert.is_false(matches('"*"'))
  end)

  it("takes nothing else for a tag", function()
    assert.is_false(matches())
    for _, value in ipairs({ "", "00ff", '"00FF"', 'w/"00ff"', '"00ff', '00ff"', 'W/ "00ff"', '"a" "00ff"',
      '"x"00ff"', '"00ff"x', "W/", "W/00ff", '"a,00ff"' }) do
      assert.is_false(matches(value), value)
    end
  end)
end)

describe("http_media_type", function()
  it("takes the parameters off, whatever their form", function()
    for _, value in ipairs({ "application/json", "application/json;charset=utf-8",
      "application/json ; a=b;c=\"d;e\\\"\"", " application/json", "application/json;", "application/json; ;a=b" }) do
      assert.equal("application/json", http.media_type(value), value)
    end
    assert.equal("A/B+c", http.media_type("A/B+c"))
  end)

  it("is nothing where the text is no media type", function()
    for _, value in ipairs({ "", "json", "application/", "/json", "application/json text",
      "application/json, text/plain",
      "application/json;a", "application/json;a=", "application/json;=b", 'application/json;a="b', "a b/c", "a/b/c",
      "application/json;a = b", 'application/json;a="b"c' }) do
      assert.is_nil(http.media_type(value), value)
    end
  end)
end)

describe("http_credentials", function()
  it("reads a scheme in any case", function()
    for _, value in ipairs({ "Bearer k=y", "bearer k=y", "BEARER   k=y " }) do
      assert.equal("k=y", http.credentials(value, "bearer"), value)
    end
  end)

  it("is nothing for another scheme, or without credentials", function()
    for _, value in ipairs({ "", "Bearer", "Bearer ", "Basic k=y", "Bearers k", "k=y", "Bearer\tk", "Bearer=k" }) do
      assert.is_nil(http.credentials(value, "bearer"), value)
    end
  end)
end)

describe("http_field_repeated", function()
  it("is a field of one value that comes twice, whatever the case", function()
    assert.is_true(http.repeated(lines("Origin: a", "X: y", "ORIGIN: a")))
    assert.is_true(http.repeated(lines("Content-Type: a/b", "content-type: a/b")))
    assert.is_false(http.repeated(lines("Accept: a", "Accept: b", "Cookie: c", "Cookie: d", "Origin: e", "Origins: f")))
    assert.is_false(http.repeated(lines()))
  end)
end)

describe("address_read", function()
  it("takes addresses, also with a port, and writes them the usual way", function()
    for text, expected in pairs({ ["192.0.2.1"] = "192.0.2.1", ["192.0.2.1:8080"] = "192.0.2.1",
      ["2001:DB8:0::1"] = "2001:db8::1", ["[2001:db8::1]"] = "2001:db8::1", ["[2001:db8::1]:443"] = "2001:db8::1",
      ["fe80::1%eth0"] = "fe80::1", ["[fe80::1%25eth0]:80"] = "fe80::1",
      ["::ffff:192.0.2.1"] = "192.0.2.1", ["[::ffff:192.0.2.1]:1"] = "192.0.2.1" }) do
      assert.equal(expected, http.address(text), text)
    end
  end)

  it("takes nothing else", function()
    for _, text in ipairs({ "", "unknown", "_hidden", "unix:", "192.0.2.1.", "192.0.2.256", "192.0.2", "1.2.3.4:",
      "1.2.3.4:x", "1.2.3.4:123456", "[2001:db8::1", "[2001:db8::1]x", "[2001:db8::1]:", "[]", "1.2.3.4%eth0", "%eth0",
      "a.b.c.d", "1.2.3.4 ", "dead.beef", ("1"):rep(60), "::1:1.2.3.4:80", '"192.0.2.1"' }) do
      assert.is_nil(http.address(text), text)
    end
  end)
end)
