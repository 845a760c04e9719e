--- Numbers as text: every double, by the digits that the C library would print and by chance.
--- $SLUICE_SPEC_FULL=1 draws a million.
local process = require("spec.support.process")
local text_of = require("sluice.core").text_of
local decode = require("sluice.json").decode

local DRAWS = os.getenv("SLUICE_SPEC_FULL") and 1000000 or 20000

local function same(a, b) return ("<d"):pack(a) == ("<d"):pack(b) end

-- 1234.5e-10 as "12345" and the exponent of its first digit
local function digits_of(text)
  local whole, rest, exponent = text:match("^%-?(%d+)%.?(%d*)e?([+-]?%d*)$")
  local all = whole .. rest
  local zeros = #all:match("^0*")
  return all:sub(zeros + 1):gsub("0+$", ""), #whole - zeros - 1 + (tonumber(exponent) or 0)
end

-- The text reads back as the same bits. No text with a digit less does, and of those with as
-- many it is the nearest, unless only one of the others lies where it reads back.
local function check(x)
  local text = text_of(x)
  assert(same(tonumber(text) + 0.0, x), text)
  assert(same(decode(text) + 0.0, x), text)
  local whole = math.abs(x) < 2^63 and x == math.floor(x)
  if whole then return assert(text:find("^%-?%d+$"), text) end
  local digits, exponent = digits_of(text)
  local printed = ("%." .. #digits - 1 .. "e"):format(x)
  if same(tonumber(printed), x) then
    local wanted, at = digits_of(printed)
    assert(wanted == digits and at == exponent, text)
  end
  assert(#digits == 1 or not same(tonumber(("%." .. #digits - 2 .. "e"):format(x)), x), text)
end

local function both(x)
  if x == 0 then return end -- Lua reads "-0" as an integer
  check(x)
  check(-x)
end

describe("the text of a number", function()
  it("is as a person would write it", function()
    for text, x in pairs({ ["0"] = 0.0, ["-0"] = -0.0, ["1"] = 1.0, ["-17"] = -17.0, ["0.1"] = 0.1,
      ["-0.25"] = -0.25, ["0.0001"] = 1e-4, ["1e-5"] = 1e-5, ["1.5e-7"] = 1.5e-7, ["123.456"] = 123.456,
      ["100000000000000000"] = 1e17, ["9223372036854774784"] = 2^63 - 1024,
      ["9.223372036854776e+18"] = 2^63, ["1e+22"] = 1e22, ["1e+23"] = 1e23, ["5e-324"] = 5e-324,
      ["1.7976931348623157e+308"] = 0x1.fffffffffffffp1023, ["2.2250738585072014e-308"] = 2^-1022,
      ["-1.7976931348623157e+308"] = -0x1.fffffffffffffp1023, inf = math.huge, ["-inf"] = -math.huge,
      nan = 0 / 0 }) do
      assert.equal(text, text_of(x))
    end
  end)

  it("is exact for integers", function()
    for _, n in ipairs({ 0, 1, -1, 9007199254740993, math.maxinteger, math.mininteger }) do
      assert.equal(("%d"):format(n), text_of(n))
    end
  end)

  it("of another value is that of tostring()", function()
    assert.equal("true", text_of(true))
    assert.equal("x", text_of("x"))
    assert.equal("me", text_of(setmetatable({}, { __tostring = function() return "me" end })))
    assert.has_error(function() text_of() end)
  end)

  it("reads back: all powers of two and ten, their neighbours and multiples", function()
    for e = -1074, 1023 do
      local bits = ("<i8"):unpack(("<d"):pack(2.0^e))
      for step = -2, 2 do
        local x = ("<d"):unpack(("<i8"):pack(math.max(0, bits + step)))
        if x < math.huge then both(x) end
      end
    end
    for e = -324, 308 do
      for n = 1, 9 do
        local x = tonumber(n .. "e" .. e)
        if x < math.huge then both(x) end
      end
    end
  end)

  it("reads back: the smallest numbers", function()
    for n = 1, 3000 do both(n * 5e-324) end
  end)

  it("reads back: random bits, and random decimals", function()
    math.randomseed(613)
    for _ = 1, DRAWS do
      local x = ("<d"):unpack(("<i8"):pack(math.random(0)))
      if x - x == 0 then check(x) end
      local digits = math.random(0) >> math.random(1, 63)
      check(tonumber(("%d.%de%d"):format(digits % 1000, digits, math.random(-20, 20))))
      check(math.random(-10^9, 10^9) / 10.0^math.random(0, 9))
    end
  end)
end)

describe("a locale with a comma", function()
  local folder

  setup(function() folder = process.temp_dir() end)
  teardown(function() process.remove_dir(folder) end)

  -- A C library that an app loads may set it; what an app sees as os.setlocale does not.
  local PROGRAM = [[
    assert(os.setlocale("xx_XX.UTF-8") and ("%.1f"):format(1.5) == "1,5")
    local core, json = require("sluice.core"), require("sluice.json")
    local list = { 0.5, -1.25e-7, 1764344973.335123, 1e22 }
    assert(json.encode(list) == "[0.5,-1.25e-7,1764344973.335123,1e+22]")
    for i, x in ipairs(json.decode("[5e-1,-1.25e-7,1764344973.33512300000000000,1e22]")) do assert(x == list[i]) end
    core.log("info", "words", { n = 0.25 })
    local t = require("sluice.testing").start({ source = [=[
      local app = require("sluice").app()
      app:channel("a", { history = "latest", key = "k" })
      app:stream("/a", { channels = { "a" }, heartbeat = 2.5 })
      return app ]=] })
    local hello = t:connect("/a?max_rate=0.50000000000000001"):events("hello")[1].data
    assert(hello.heartbeat == 2.5 and hello.max_rate == 0.5)
    t:stop()
  ]]

  it("changes no number: JSON, log, hello, ?max_rate", function()
    local made = process.run { "localedef", "-i", "de_DE", "-f", "UTF-8", folder .. "/xx_XX.UTF-8" }
    if made ~= 0 then return pending("this machine cannot make a locale (Debian: locales)") end
    process.write_file(folder .. "/program.lua", PROGRAM)
    local lua = os.getenv("SLUICE_PRELOAD") and ".ci/lua" or "lua5.4"
    local code, output = process.run { "env", "LOCPATH=" .. folder, "LUA_PATH_5_4=./lua/?.lua;./lua/?/init.lua;;",
      "LUA_CPATH_5_4=./" .. (os.getenv("SLUICE_BUILD") or "build/plain") .. "/?.so;;", lua,
      folder .. "/program.lua" }
    assert.equal(0, code, output)
    assert.matches("n[\"=:]+0%.25", output)
  end)
end)
