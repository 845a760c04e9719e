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
