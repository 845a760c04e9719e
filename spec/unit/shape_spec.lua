--- Shapes of JSON objects.
local json = require("sluice.json")
local shape = require("sluice.base.shape")

describe("shape", function()
  local good = {
    { "string", '"x"' }, { "number", "1.5" }, { "number", "1" }, { "integer", "1" }, { "integer", "1.0" },
    { "boolean", "false" }, { "array", "[]" }, { "array", "[1]" }, { "object", "{}" }, { "object", '{"a":1}' },
    { "any", "[]" }, { "string?", "null" }, { { "a", "b" }, '"b"' }, { { 1, 2 }, "2" },
  }
  local bad = {
    { "string", "1" }, { "number", '"1"' }, { "integer", "1.5" }, { "boolean", "0" }, { "array", "{}" },
    { "array", '{"a":1}' }, { "object", "[]" }, { "object", "[1]" }, { "any", "null" }, { { "a", "b" }, '"c"' },
    { "string?", "1" }, { { "a", optional = true }, '"b"' },
  }
  local function fault(kind, text) return shape.fault(json.decode('{"f":' .. text .. "}"), { f = kind }, true) end

  it("takes what fits", function()
    for _, case in ipairs(good) do assert.is_nil(fault(case[1], case[2]), case[2]) end
  end)

  it("names what does not", function()
    for _, case in ipairs(bad) do
      local message, field = fault(case[1], case[2])
      assert.equal("f", field, case[2])
      assert.matches("^f", message)
    end
    assert.equal("f: an integer is expected", (fault("integer", "1.5")))
    assert.equal("f: one of a, b is expected", (fault({ "a", "b" }, '"c"')))
    assert.equal("f is missing", (shape.fault({}, { f = "any" })))
    assert.equal("a JSON object is expected", (shape.fault(5, { f = "any" })))
  end)

  it("takes true or false for optional, nothing else", function()
    assert.is_nil(shape.fault({}, { f = { "a", optional = true } }))
    assert.equal("f is missing", (shape.fault({}, { f = { "a", optional = false } })))
    assert.error_matches(function() shape.check({ f = { "a", optional = "yes" } }) end,
      "shape: optional of field 'f' is a boolean, not a string")
  end)

  it("takes an empty table of Lua's as an array or an object", function()
    assert.is_nil(shape.fault({ a = {}, b = {} }, { a = "array", b = "object" }))
  end)

  it("names the first field in order, so that the answer is always the same", function()
    for _ = 1, 20 do assert.equal("a", select(2, shape.fault({}, { c = "any", b = "any", a = "any" }))) end
  end)
end)
