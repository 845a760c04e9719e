--- sluice.json: what is written, what is read, and what is refused with which words.
local cjson = require("cjson")
local json = require("sluice.json")

describe("json", function()
  local function refused(value)
    local text, message, code = json.encode(value)
    assert.is_nil(text)
    assert.equal("EJSON", code)
    return message
  end

  -- The keys of objects come in any order: compare what is read back.
  local function round(value)
    local text = assert(json.encode(value))
    local back, message = json.decode(text)
    assert.is_nil(message)
    return back
  end

  describe("encode", function()
    it("writes scalars", function()
      assert.equal("null", json.encode(nil))
      assert.equal("null", json.encode(json.null))
      assert.equal("true", json.encode(true))
      assert.equal("1", json.encode(1))
      assert.equal("1", json.encode(1.0))
      assert.equal("-0.5", json.encode(-0.5))
      assert.equal('"a"', json.encode("a"))
    end)

    it("writes tables and arrays", function()
      assert.equal("[1,2,[3]]", json.encode({ 1, 2, { 3 } }))
      assert.equal('{"a":{"b":"c"}}', json.encode({ a = { b = "c" } }))
      assert.equal("{}", json.encode({}))
      assert.same({ ["1"] = 1, ["2"] = 2, a = 3 }, round({ 1, 2, a = 3 }))
    end)

    it("writes every integer exactly, as a value and as a key", function()
      for _, n in ipairs({ 99999999999999, 100000000000000, 123456789012345, 1700000000123456,
        2^53 // 1 | 0, 9007199254740993, math.maxinteger, math.mininteger, -123456789012345 }) do
        assert.equal(("%d"):format(n), json.encode(n))
        assert.equal(('{"n":[1,%d]}'):format(n), json.encode({ n = { 1, n } }))
        assert.equal(('{"%d":"a","x":1}'):format(n):len(), #json.encode({ [n] = "a", x = 1 }))
      end
    end)

    it("writes floats with the fewest digits that read back as the same float", function()
      for text, x in pairs({ ["1700000000123456"] = 1700000000123456.0,
        ["123456789012345.67"] = 123456789012345.67, ["1234567890123.45"] = 1234567890123.45,
        ["1764344973.335123"] = 1764344973.335123, ["1.8446744073709552e+19"] = 2^64,
        ["0.3333333333333333"] = 1 / 3, ["0.30000000000000004"] = 0.1 + 0.2, ["0.1"] = 0.1,
        ["1e-10"] = 1e-10, ["5e-324"] = 5e-324, ["1e+22"] = 1e22, ["-0"] = -0.0 }) do
        assert.equal(text, json.encode(x))
        assert.equal(('{"n":[%s]}'):format(text), json.encode({ n = { x } }))
        local key = x == 0 and "0" or text -- a table knows one zero
        assert.equal(#('{"%s":1,"x":1}'):format(key), #json.encode({ [x] = 1, x = 1 }))
      end
    end)

    it("is not misled by text that looks like a large number", function()
      assert.same({ "1e+15", "+", "e+", "a+b", "{}" }, round({ "1e+15", "+", "e+", "a+b", "{}" }))
    end)

    it("writes marked empty arrays as [] wherever they are, others as {}", function()
      assert.equal("[]", json.encode(json.array()))
      assert.equal('{"items":[]}', json.encode({ items = json.array() }))
      assert.equal('[[],{},"{}"]', json.encode({ json.array({}), {}, "{}" }))
    end)

    it("fills the gaps of marked arrays with null", function()
      assert.equal("[null,2]", json.encode(json.array({ [2] = 2 })))
      assert.equal("[1,null,3]", json.encode({ list = json.array({ 1, nil, 3 }) }):match("%[.*%]"))
    end)

    it("takes a marked table with names in it for what it is", function()
      assert.same({ { x = 1 }, {}, 1e20 }, round({ json.array({ x = 1 }), json.array(), 1e20 }))
      assert.same({ { x = 1 }, {} }, round({ json.array({ x = 1 }), json.array() }))
    end)

    it("leaves empty arrays empty", function()
      local list = json.array()
      assert.equal("[[]]", json.encode({ list }))
      assert.is_nil(next(list))
      assert.matches("has gaps", refused({ list, nil, 3 }), 1, true)
      assert.is_nil(next(list))
    end)

    it("refuses gaps in other tables, and says what to do", function()
      local advice = "use string keys, or sluice.json.array"
      assert.equal("data.lines has gaps (1 items, the last has number 50): " .. advice,
        refused({ lines = { [50] = "x" } }))
      assert.equal("data has gaps (1 items, the last has number 2): " .. advice,
        refused({ [2] = "a" }))
      assert.equal("data has gaps (2 items, the last has number 3): " .. advice,
        refused({ 1, nil, 3 }))
    end)

    it("takes integer keys from 2^31 on for names", function()
      assert.equal('{"1700000000123":"a"}', json.encode({ [1700000000123] = "a" }))
      assert.equal('{"1700000000123":1700000000123456}',
        json.encode({ [1700000000123] = 1700000000123456 }))
    end)

    it("names the path of what JSON cannot carry", function()
      assert.equal("data is a function: JSON cannot carry it", refused(print))
      assert.equal("data.items[3].f is a function: JSON cannot carry it",
        refused({ items = { 1, 2, { f = print } } }))
      assert.equal("data.a is a thread: JSON cannot carry it",
        refused({ a = coroutine.create(print) }))
      assert.equal("data.file is a userdata: JSON cannot carry it", refused({ file = io.stdout }))
      assert.equal('data["two words"] is a function: JSON cannot carry it',
        refused({ ["two words"] = print }))
      assert.equal("data.n is NaN: JSON has no such number", refused({ n = 0 / 0 }))
      assert.equal("data[1] is infinite: JSON has no such number", refused({ -1 / 0 }))
      assert.equal("data.a has a key of type boolean: JSON has string keys only",
        refused({ a = { [true] = 1 } }))
    end)

    it("refuses cycles and data nested too deep", function()
      local t = { name = "t" }
      t.child = { parent = t }
      assert.equal("data.child.parent is a table that holds itself", refused(t))
      local deep = {}
      for _ = 1, 80 do deep = { d = deep } end
      assert.matches("^data%.d%.d.* is nested deeper than 64 levels$", refused(deep))
    end)

    it("writes data nested 64 deep, which decode reads", function()
      local deep = "x"
      for _ = 1, 64 do deep = { deep } end
      local text = assert(json.encode(deep))
      assert.is_table(json.decode(text))
    end)

    it("writes the same table twice where it stands twice", function()
      local shared = json.array()
      assert.equal("[[],[]]", json.encode({ shared, shared }))
    end)

    it("bounds the path in its message", function()
      local deep = print
      for _ = 1, 60 do deep = { [("k"):rep(1000)] = deep } end
      assert.is_true(#refused(deep) < 400)
    end)

    it("escapes what breaks lines, and control characters", function()
      assert.equal('"a\\u2028b\\u2029c\\u0085d"', json.encode("a\u{2028}b\u{2029}c\u{85}d"))
      assert.equal('"\\u007f\\u0000\\u001f\\n\\r"', json.encode("\x7f\0\x1f\n\r"))
      assert.equal('"\u{2027}\u{202A}\u{86}é"', json.encode("\u{2027}\u{202A}\u{86}é"))
    end)

    it("escapes what JSON wants escaped, and no more", function()
      assert.equal([["\\\"/\b\f\n\r\t'"]], json.encode("\\\"/\b\f\n\r\t'"))
      for length = 0, 40 do
        for at = 1, length do
          local text = ("x"):rep(at - 1) .. '"' .. ("é"):rep(length - at)
          assert.equal('"' .. text:gsub('"', '\\"') .. '"', json.encode(text))
        end
      end
    end)

    it("replaces invalid UTF-8 by U+FFFD, as a browser does", function()
      local r = "\u{FFFD}"
      for bad, good in pairs({
        ["\xff\xc3("] = r .. r .. "(",
        ["a\xE2\x80"] = "a" .. r,
        ["\xE2\x80a"] = r .. "a",
        ["\xC0\x80"] = r .. r,
        ["\xED\xA0\x80"] = r .. r .. r,
        ["\xF4\x90\x80\x80"] = r .. r .. r .. r,
        ["\xF0\x9F\x98"] = r,
        ["\xF0\x9F\x98\x80\x80"] = "😀" .. r,
        ["\x80"] = r,
      }) do
        assert.equal('"' .. good .. '"', json.encode(bad))
        assert.equal('{"' .. good .. '":1}', json.encode({ [bad] = 1 }))
      end
    end)

    it("does not ask metatables", function()
      local proxy = setmetatable({ a = 1 }, { __index = { b = 2 }, __pairs = error, __len = error })
      assert.equal('{"a":1}', json.encode(proxy))
    end)

    it("refuses text larger than 16 MiB", function()
      local big = ("x"):rep(8 * 1024 * 1024)
      local list = {}
      for i = 1, 2000 do list[i] = big end
      local ballast = ("y"):rep(64 * 1024 * 1024)
      local text, message, code = json.encode(list)
      assert.is_nil(text)
      assert.equal("data makes more than 16777216 bytes of JSON", message)
      assert.equal("ETOOBIG", code)
      assert.equal("ETOOBIG", select(3, json.encode({ a = ballast })))
      assert.equal("ETOOBIG", select(3, json.encode(json.array({ [1 << 30] = 1 }))))
      assert.equal(#big + 2, #json.encode(big))
    end)
  end)

  describe("decode", function()
    local function refuses(text, pattern)
      local value, message, code = json.decode(text)
      assert.is_nil(value)
      assert.equal("EJSON", code)
      assert.matches(pattern or "^not JSON: ", message)
    end

    it("makes integers of integral numbers", function()
      local value = json.decode('{"a":1,"b":[2.0,-3],"c":1e3,"d":1.5}')
      assert.equal("integer", math.type(value.a))
      assert.equal("1 2 -3 1000 1.5", table.concat({ value.a, value.b[1], value.b[2], value.c,
        value.d }, " "))
      assert.equal("integer", math.type(json.decode("1")))
    end)

    it("keeps the sign of -0, which only a float has", function()
      for _, text in ipairs({ "-0", "-0.0", "-0e5" }) do
        local zero = json.decode(text)
        assert.equal(-math.huge, 1 / zero)
        assert.equal("-0", json.encode(zero))
      end
      assert.equal("integer", math.type(json.decode("0.0")))
    end)

    it("makes the nearest float of an integer beyond 64 bits", function()
      for text, written in pairs({ ["9223372036854775807"] = "9223372036854775807",
        ["-9223372036854775808"] = "-9223372036854775808",
        ["9223372036854775808"] = "9.223372036854776e+18",
        ["-9223372036854775809"] = "-9.223372036854776e+18",
        ["18446744073709551615"] = "1.8446744073709552e+19",
        ["-9223372036854777857"] = "-9.223372036854778e+18",
        ["10000000000000000000000"] = "1e+22", [("9"):rep(300)] = "1e+300" }) do
        assert.equal(written, json.encode(json.decode(text)))
      end
    end)

    it("makes no integer of a number with a fraction that it cannot hold exactly", function()
      for text, kind in pairs({ ["9007199254740991.0"] = "integer", ["9007199254740993.0"] = "float",
        ["1e15"] = "integer", ["1e18"] = "float", ["-9007199254740993e0"] = "float", ["-25.00e1"] = "integer" }) do
        assert.equal(kind, math.type(json.decode(text)), text)
      end
    end)

    it("reads any text of a number as the nearest float", function()
      for text, x in pairs({ ["1234567890123.45"] = 1234567890123.45, ["1e23"] = 1e23,
        ["9007199254740993.0"] = 9007199254740992, ["9007199254740993.00001"] = 9007199254740994,
        ["2.2250738585072011e-308"] = 0x0.fffffffffffffp-1022, ["1e-400"] = 0.0,
        ["2.4703282292062328e-324"] = 5e-324, ["2.4703282292062327e-324"] = 0.0,
        ["1.7976931348623158e308"] = 0x1.fffffffffffffp1023,
        ["0." .. ("0"):rep(400) .. "1e400"] = 0.1, [("1"):rep(25) .. "e-24"] = 1.1111111111111112 }) do
        assert.equal(x, json.decode(text))
      end
    end)

    it("refuses a number beyond all floats", function()
      refuses("1e400", "^not JSON: a number is too large at character 1$")
      refuses("[1,-" .. ("9"):rep(400) .. "]", "a number is too large at character 4$")
    end)

    it("keeps all digits of 64-bit integers", function()
      local text = '{"id":1234567890123456789,"s":"9007199254740993","n":[-9007199254740993]}'
      local value = json.decode(text)
      assert.equal(1234567890123456789, value.id)
      assert.equal("9007199254740993", value.s)
      assert.equal(-9007199254740993, value.n[1])
      assert.equal("float", math.type(json.decode("123456789012345678901234567890")))
      assert.equal(9007199254740993, json.decode("9007199254740993"))
    end)

    it("gives null as a value that is encoded as null", function()
      local value = json.decode('{"a":null}')
      assert.equal(json.null, value.a)
      assert.equal('{"a":null}', json.encode(value))
      assert.equal(json.null, json.decode("null"))
      assert.is_false(json.decode("false"))
    end)

    it("keeps empty arrays apart from empty objects", function()
      assert.equal('[[],{},"[]"]', json.encode((json.decode('[[ \t\n], {}, "[]"]'))))
      assert.equal("[]", json.encode((json.decode("[]"))))
      assert.same({}, json.decode('{"a\\"[]":[]}')['a"[]'])
      local list = json.decode("[1]")
      table.remove(list)
      assert.equal("[]", json.encode(list))
    end)

    it("refuses what is not JSON, and says where", function()
      refuses("", "^not JSON: ")
      refuses("{", "^not JSON: Expected a name in quotes but found the end at character 2$")
      refuses('{"a":1]', "^not JSON: Expected a comma or } but found ] at character 7$")
      refuses('["a\nb"]', "^not JSON: Expected the rest of a string but found the byte 0x0a at character 4$")
      refuses('["\\x41"]', "^not JSON: Expected an escape as \\n or \\u00e9 but found \\ at character 3$")
      for _, bad in ipairs({ "  ", "[1,]", '{"a":1,}', "{a:1}", "'a'", "[1 2]", "truex", "{} x",
        "1 2", "\xEF\xBB\xBF1", "[", '"abc', '{"a"}', "/**/1", '"\\x41"', '"\\u12"', "1\0", '"\1"', '"\\',
        '"\\u', '"\\u00g0"', '"\\ud800\\u00', "tru", "nul\0", "[\0]", "{,}", "[,1]", '{"a":1 "b":2}' }) do
        refuses(bad)
      end
    end)

    it("says where also in text with empty arrays", function()
      refuses('{"a":[],"b":}', "at character 13$")
    end)

    it("is strict about numbers", function()
      for _, bad in ipairs({ "NaN", "Infinity", "-Infinity", "nan", "0x10", "01", "-01", "+1",
        "1.", "[1.]", "[1.,2]", "1.e3", ".5", "-.5", "[-.5]", "1e", "1e+", "-", "- 1", "1e999",
        "[-1e999]", '{"a":"1. b","c":1.}' }) do
        refuses(bad)
      end
      assert.same({ "1. b", ".5", 1.5 }, json.decode('["1. b", ".5", 1.5]'))
      assert.equal("a. \\\". ", json.decode('{"a":"a. \\\\\\". "}').a)
    end)

    it("reads 64 levels and no more, unless told", function()
      local function nested(n) return ("["):rep(n) .. ("]"):rep(n) end
      assert.is_table(json.decode(nested(64)))
      refuses(nested(65))
      refuses(nested(100000))
      assert.is_table(json.decode(nested(100), 100))
      assert.is_nil((json.decode(nested(6), 5)))
      refuses(nested(65))
    end)

    it("replaces invalid UTF-8 and lone surrogates by U+FFFD", function()
      local r = "\u{FFFD}"
      assert.equal(r .. r .. "(", json.decode('"\xff\xc3("'))
      assert.equal("a" .. r .. "b", json.decode('"a\\ud800b"'))
      assert.equal(r .. "😀" .. r, json.decode('"\\udc00\\ud83d\\ude00\\ud83d"'))
      assert.equal("\\ud800" .. r, json.decode('"\\\\ud800\\uDFFF"'))
      assert.equal(r .. "\u{10FFFF}" .. r .. "A", json.decode('"\\ud800\\uDBFF\\uDFFF\\ud83d\\u0041"'))
    end)

    it("takes the last of equal keys", function()
      assert.same({ a = 2 }, json.decode('{"a":1,"a":2}'))
    end)

    it("answers for a body that is not there, and raises for other misuse", function()
      refuses(nil, "there is no text")
      assert.has_error(function() json.decode({}) end, "json.decode: expected a string, got table")
    end)

    it("refuses text larger than 16 MiB", function()
      local _, message, code = json.decode((" "):rep(16 * 1024 * 1024 + 1))
      assert.equal("16777217 bytes of JSON are more than 16777216", message)
      assert.equal("ETOOBIG", code)
    end)
  end)

  describe("array", function()
    it("marks the table it is given, or a new one", function()
      local t = { 1 }
      assert.equal(t, json.array(t))
      assert.same({}, json.array())
    end)

    it("refuses what is not a table", function()
      assert.has_error(function() json.array("a") end, "json.array: expected a table, got string")
    end)
  end)

  describe("beside lua-cjson", function()
    local TEXT = '{"a":[1,[2.5,"\u{e9}\\n"],{}],"b":{"c":null,"d":[true,false,null]},"e":-3e40,"f":[[[]]]}'

    -- What Sluice's modules are beside another lua-cjson.
    local function beside(other)
      local names = { "cjson", "sluice.base.arrays", "sluice.json", "sluice.base.plain", "sluice.base.shape",
        "sluice.requests.answers" }
      local before, made = {}, {}
      for _, name in ipairs(names) do before[name], package.loaded[name] = package.loaded[name], nil end
      package.loaded.cjson = other
      for i = 2, #names do made[names[i]:match("%w+$")] = require(names[i]) end
      for _, name in ipairs(names) do package.loaded[name] = before[name] end
      return made
    end

    -- A light userdata as lua-cjson's constants are.
    local function constant()
      local held = {}
      return debug.upvalueid(function() return held end, 1)
    end

    -- As LuaRocks' lua-cjson has them, and Debian's has not.
    local function with_marks()
      local fake = { null = cjson.null, array_mt = {}, empty_array_mt = {}, empty_array = constant() }
      return beside(fake), fake
    end

    it("has its null", function()
      assert.equal(cjson.null, json.null)
      assert.equal('{"a":null}', json.encode({ a = cjson.null }))
      assert.equal("[null]", cjson.encode({ json.null }))
      assert.equal(cjson.null, json.decode("null"))
      assert.equal(json.null, cjson.decode("null"))
      local own = constant()
      assert.equal(own, beside({ null = own }).json.null)
    end)

    it("writes what cjson.decode read, and has read what cjson.encode writes", function()
      assert.same(cjson.decode(TEXT), json.decode(TEXT))
      assert.same(cjson.decode(TEXT), json.decode(json.encode(cjson.decode(TEXT))))
      assert.same(json.decode(TEXT), cjson.decode(cjson.encode(json.decode(TEXT))))
      assert.equal("[1,[2.5],[3]]", json.encode({ json.decode("1"), cjson.decode("[2.5]"), json.array({ 3 }) }))
      assert.equal("[1,[2.5],[3]]", cjson.encode({ cjson.decode("1"), json.decode("[2.5]"), json.array({ 3 }) }))
    end)

    it("gives arrays its mark, and takes all that it marks for arrays", function()
      local sluice, fake = with_marks()
      assert.equal(fake.array_mt, getmetatable(sluice.json.array()))
      assert.equal(fake.array_mt, getmetatable(sluice.json.decode("[]")))
      assert.equal(fake.array_mt, getmetatable(sluice.json.decode('{"a":[1]}').a))
      local encode = sluice.json.encode
      for _, mark in ipairs { fake.array_mt, fake.empty_array_mt } do
        assert.equal("[[],[1],[null,2],{}]", encode({ setmetatable({}, mark), setmetatable({ 1 }, mark),
          setmetatable({ [2] = 2 }, mark), setmetatable({}, {}) }))
        assert.equal('{"x":1}', encode(setmetatable({ x = 1 }, mark)))
      end
      assert.equal('{"a":[]}', encode({ a = fake.empty_array }))
      assert.equal("[]", encode(fake.empty_array))
      assert.equal("data[1] is a userdata: JSON cannot carry it", select(2, encode({ constant() })))
    end)

    it("takes its marks for plain data, for lists of a shape and for answers", function()
      local sluice, fake = with_marks()
      local empty = { fake.empty_array, setmetatable({}, fake.empty_array_mt), setmetatable({}, fake.array_mt) }
      for i = 1, 3 do
        assert.equal("[]", (select(3, sluice.answers.read("here", 200, empty[i]))))
        assert.is_nil(sluice.plain.fault({ a = empty[i] }, "data"))
        assert.equal('{"a":[]}', sluice.json.encode(sluice.plain.copy({ a = empty[i] })))
        assert.equal('{"a":[]}', sluice.json.encode((sluice.plain.clean_copy({ a = empty[i] }, "data"))))
        assert.is_nil(sluice.shape.fault({ a = empty[i] }, { a = "array" }))
        assert.is_nil(sluice.shape.fault({ a = empty[i] }, { a = "array" }, true))
        assert.equal("a: an object is expected", (sluice.shape.fault({ a = empty[i] }, { a = "object" })))
      end
      assert.equal("data.a is a userdata", sluice.plain.fault({ a = constant() }, "data"))
      assert.equal("a: an array is expected", (sluice.shape.fault({ a = constant() }, { a = "array" })))
    end)

    it("has a mark of its own where lua-cjson has none", function()
      local sluice = beside({ null = cjson.null })
      assert.equal("[[],{}]", sluice.json.encode({ sluice.json.array(), {} }))
      assert.equal('[[],{},[1]]', sluice.json.encode((sluice.json.decode("[[],{},[1]]"))))
      assert.equal("data[1] is a userdata: JSON cannot carry it", select(2, sluice.json.encode({ constant() })))
      assert.is_nil(sluice.plain.fault({ sluice.json.array() }, "data"))
      assert.equal("data.1 is a userdata", sluice.plain.fault({ constant() }, "data"))
    end)

    it("is written as an array by the cjson.encode of this machine", function()
      assert.equal("[1,2]", cjson.encode(json.array({ 1, 2 })))
      assert.equal(cjson.array_mt and "[]" or "{}", cjson.encode(json.array()))
      assert.equal(cjson.array_mt and "[[]]" or "[{}]", cjson.encode(json.decode("[[]]")))
    end)
  end)

  it("reads what it wrote, for random data", function()
    math.randomseed(77)
    local words = { "a", "é", "\u{2028}", '"', "\\", "1e+20", "{}", "[]", "\0", "1.",
      "\xF0\x9F\x98\x80" }
    local function value(depth)
      local kind = math.random(depth > 4 and 4 or 6)
      if kind == 1 then return math.random(0) >> math.random(0, 63) end
      if kind == 2 then return math.random(-10^6, 10^6) / 8 end
      if kind == 3 then return math.random() < 0.3 and json.null or math.random() < 0.5 end
      if kind == 4 then return words[math.random(#words)] .. words[math.random(#words)] end
      local t = kind == 5 and json.array() or {}
      for i = 1, math.random(0, 4) do
        t[kind == 5 and i or "k" .. words[math.random(#words)]] = value(depth + 1)
      end
      return t
    end
    for _ = 1, 2000 do
      local data = value(1)
      assert.same(data, round(data))
    end
  end)
end)
