--- JSON texts of all kinds, right ones and such with something wrong, read by us and by Node: both
--- take the same texts, and what we read and write again says the same to Node. A number beyond all
--- doubles, and more than 64 levels, are refused by us only.
local json = require("sluice.json")
local process = require("spec.support.process")

local DRAWS = os.getenv("SLUICE_SPEC_FULL") and 300000 or 20000
local random = math.random

local function pick(list) return list[random(#list)] end

local PIECES = { "a", "é", "\u{2028}", "😀", "\\n", "\\u00e9", "\\ud83d\\ude00", "\\ud800", "\\udc00", "\\/", '\\"',
  "\\\\", "\\u0000", "\xff", "\xe2\x80", "\xed\xa0\x80", "\xf0\x9f\x98", "\xc0\x80", "\x7f", "__proto__" }
local NUMBERS = { "0", "-0", "1", "-1.5", "1e5", "1E+5", "0.1e-7", "18446744073709551615", "9007199254740993", "1e308",
  "1e309", "-1e-400", "123456789012345678901234567890.5", "2.2250738585072011e-308", "0.1", "1764344973.335123" }
local SPACE = { "", "", "", "", " ", "\n", "\t", "\r\n", " " }
local JUNK = { ",", ":", "[", "]", "{", "}", '"', "\\", "0", "-", "+", ".", "e", "tru", "null", "NaN", "Infinity", "'",
  "/**/", "\0", "\1", "\n", " ", "\xef\xbb\xbf", "\\u12", "\\x", "1.", ".5", "01", "\u{a0}" }

local function text()
  local parts = {}
  for i = 1, random(0, 4) do parts[i] = pick(PIECES) end
  return '"' .. table.concat(parts) .. '"'
end

local function number()
  if random() < 0.5 then return pick(NUMBERS) end
  return ("%s%d.%de%d"):format(random() < 0.5 and "-" or "", random(0) >> random(1, 63), random(0) >> random(1, 63),
    random(-330, 270))
end

local function value(depth)
  local kind = random(depth > 5 and 4 or 7)
  if kind == 1 then return pick({ "true", "false", "null" }) end
  if kind == 2 then return text() end
  if kind <= 4 then return number() end
  local items = {}
  for i = 1, random(0, 4) do
    -- of two equal names Node forgets the first, and with it a number that is too large
    local name = kind == 5 and "" or ('"%d'):format(i) .. text():sub(2) .. pick(SPACE) .. ":"
    items[i] = pick(SPACE) .. name .. pick(SPACE) .. value(depth + 1) .. pick(SPACE)
  end
  return (kind == 5 and "[%s]" or "{%s}"):gsub("%%s", (table.concat(items, ","):gsub("%%", "%%%%")))
end

-- A byte less, another one, or something more, somewhere.
local function spoil(whole)
  local at = random(0, #whole)
  local kind = random(3)
  if kind == 1 then return whole:sub(1, at) .. whole:sub(at + 1 + random(3)) end
  return whole:sub(1, at) .. pick(JUNK) .. whole:sub(at + (kind == 2 and 1 or 2))
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

describe("a JSON text", function()
  it("is to us what it is to Node", function()
    if process.run("command -v node") ~= 0 then return pending("no node here") end
    math.randomseed(8259)
    local lines = { hex(("["):rep(64) .. ("]"):rep(64)) .. " " .. hex("[" .. ("["):rep(63) .. ("]"):rep(64)) }
    for _ = 1, DRAWS do
      local given = pick(SPACE) .. value(1) .. pick(SPACE)
      for _ = 1, random(0, 2) do given = spoil(given) end
      local read = json.decode(given)
      lines[#lines + 1] = hex(given) .. " " .. (read == nil and "" or hex((assert(json.encode(read)))))
    end
    local name = os.tmpname()
    process.write_file(name, table.concat(lines, "\n"))
    local code, output = process.run({ "node", "spec/wire/json_oracle.mjs", name }, { seconds = 300 })
    os.remove(name)
    assert.equal(0, code, output)
    local accepted = tonumber(output:match("^(%d+) accepted\n$"))
    assert.truthy(accepted, output:sub(1, 2000))
    assert.is_true(accepted > DRAWS / 4 and accepted < DRAWS * 3 / 4)
  end)
end)
