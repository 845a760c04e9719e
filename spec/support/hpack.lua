--- HPACK (RFC 7541) for specs, written apart from the server's: a strict decoder, and an encoder that can
--- also say what nobody should.
---
---   local d = hpack.decoder([limit])     d:decode(block) -> { { name, value, never = true | nil }, … }; raises
---   hpack.encode(fields[, in_huffman]) -> block     of literals; hpack.encoder()(fields) fills the table
---   hpack.integer(n, bits, mark)   hpack.text(bytes[, huffman])     the parts, for what is wrong on purpose
local hpack = {}

-- Appendix A.
local STATIC = {}
for line in ([[:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate]]):gmatch("[^\n]+") do
  local name, value = line:match("^(%S+) ?(.*)$")
  STATIC[#STATIC + 1] = { name, value }
end
assert(#STATIC == 61)

-- Appendix B. The code is canonical: among codes of one length those of greater bytes are greater, so
-- the lengths say all. 256 is EOS.
local LENGTHS = {
  [5] = "48-50 97 99 101 105 111 115-116",
  [6] = "32 37 45-47 51-57 61 65 95 98 100 102-104 108-110 112 114 117",
  [7] = "58 66-87 89 106-107 113 118-122",
  [8] = "38 42 44 59 88 90",
  [10] = "33-34 40-41 63", [11] = "39 43 124", [12] = "35 62", [13] = "0 36 64 91 93 126", [14] = "94 125",
  [15] = "60 96 123", [19] = "92 195 208", [20] = "128 130-131 162 184 194 224 226",
  [21] = "153 161 167 172 176-177 179 209 216-217 227 229-230",
  [22] = "129 132-134 136 146 154 156 160 163-164 169-170 173 178 181 185-187 189-190 196 198 228 232-233",
  [23] = "1 135 137-141 143 147 149-152 155 157-158 165-166 168 174-175 180 182-183 188 191 197 231 239",
  [24] = "9 142 144-145 148 159 171 206 215 225 236-237", [25] = "199 207 234-235",
  [26] = "192-193 200-202 205 210 213 218-219 238 240 242-243 255",
  [27] = "203-204 211-212 214 221-223 241 244-248 250-254",
  [28] = "2-8 11-12 14-21 23-31 127 220 249", [30] = "10 13 22 256",
}
local EOS = 256

local CODES, SYMBOLS = {}, {} -- symbol -> { code, length }; length -> code -> symbol
do
  local code, before = 0, 0
  for length = 5, 30 do
    SYMBOLS[length] = {}
    for range in (LENGTHS[length] or ""):gmatch("%S+") do
      local first, last = range:match("^(%d+)%-?(%d*)$")
      for symbol = math.tointeger(first), math.tointeger(last) or math.tointeger(first) do
        code = code << (length - before)
        before = length
        CODES[symbol], SYMBOLS[length][code] = { code, length }, symbol
        code = code + 1
      end
    end
  end
  assert(code == 1 << 30, "the code is not complete") -- Kraft's sum is one
end

-- ---- Parts --------------------------------------------------------------------------------

--- An integer behind `8 - bits` bits, which `mark` has (section 5.1).
function hpack.integer(n, bits, mark)
  local most = (1 << bits) - 1
  if n < most then return string.char(mark | n) end
  local out = { string.char(mark | most) }
  n = n - most
  while n >= 128 do
    out[#out + 1] = string.char(n & 127 | 128)
    n = n >> 7
  end
  out[#out + 1] = string.char(n)
  return table.concat(out)
end

local function huffman(bytes)
  local out, bits, n = {}, 0, 0
  for i = 1, #bytes do
    local code = CODES[bytes:byte(i)]
    bits, n = bits << code[2] | code[1], n + code[2]
    while n >= 8 do
      n = n - 8
      out[#out + 1] = string.char(bits >> n & 255)
      bits = bits & (1 << n) - 1
    end
  end
  if n > 0 then out[#out + 1] = string.char((bits << (8 - n) | (1 << (8 - n)) - 1) & 255) end
  return table.concat(out)
end

--- A string literal (section 5.2).
function hpack.text(bytes, in_huffman)
  if not in_huffman then return hpack.integer(#bytes, 7, 0) .. bytes end
  local coded = huffman(bytes)
  return hpack.integer(#coded, 7, 128) .. coded
end

local function read_integer(self, bits)
  local most = (1 << bits) - 1
  local n = self.block:byte(self.at) & most
  self.at = self.at + 1
  if n < most then return n end
  local shift = 0
  repeat
    local byte = assert(self.block:byte(self.at), "HPACK: an integer is cut")
    self.at = self.at + 1
    n = n + ((byte & 127) << shift)
    shift = shift + 7
    assert(shift <= 35, "HPACK: an integer is too long")
  until byte < 128
  return n
end

local function unpack_huffman(bytes)
  local out, code, length = {}, 0, 0
  for i = 1, #bytes do
    local byte = bytes:byte(i)
    for bit = 7, 0, -1 do
      code, length = code << 1 | byte >> bit & 1, length + 1
      assert(length <= 30, "HPACK: no such Huffman code")
      local symbol = SYMBOLS[length] and SYMBOLS[length][code]
      if symbol then
        assert(symbol ~= EOS, "HPACK: EOS in a string")
        out[#out + 1] = string.char(symbol)
        code, length = 0, 0
      end
    end
  end
  assert(length < 8 and code == (1 << length) - 1, "HPACK: bad padding")
  return table.concat(out)
end

local function read_text(self)
  local first = assert(self.block:byte(self.at), "HPACK: a string is cut")
  local n = read_integer(self, 7)
  local bytes = self.block:sub(self.at, self.at + n - 1)
  assert(#bytes == n, "HPACK: a string is cut")
  self.at = self.at + n
  return first >= 128 and unpack_huffman(bytes) or bytes
end

-- ---- Decoding -----------------------------------------------------------------------------

local Decoder = {}
Decoder.__index = Decoder

--- limit: SETTINGS_HEADER_TABLE_SIZE that its own side has said.
function hpack.decoder(limit)
  return setmetatable({ limit = limit or 4096, most = limit or 4096, size = 0, list = {} }, Decoder)
end

local function shrink(self, most)
  while self.size > most do
    local last = table.remove(self.list)
    self.size = self.size - #last[1] - #last[2] - 32
  end
end

local function add(self, name, value)
  local size = #name + #value + 32
  shrink(self, math.max(0, self.most - size))
  if size > self.most then return end
  table.insert(self.list, 1, { name, value })
  self.size = self.size + size
end

local function entry(self, index)
  assert(index > 0, "HPACK: index 0")
  return assert(STATIC[index] or self.list[index - #STATIC], "HPACK: an index beyond the table")
end

local function read_literal(self, bits)
  local index = read_integer(self, bits)
  local name = index > 0 and entry(self, index)[1] or read_text(self)
  return name, read_text(self)
end

local function resize(self, is_first)
  assert(is_first, "HPACK: a table size behind a field")
  local most = read_integer(self, 5)
  assert(most <= self.limit, "HPACK: a table size above the limit")
  self.most = most
  shrink(self, most)
end

function Decoder:decode(block)
  self.block, self.at = block, 1
  local fields = {}
  while self.at <= #block do
    local first = block:byte(self.at)
    if first >= 128 then
      local found = entry(self, read_integer(self, 7))
      fields[#fields + 1] = { found[1], found[2], indexed = true }
    elseif first >= 64 then
      local name, value = read_literal(self, 6)
      add(self, name, value)
      fields[#fields + 1] = { name, value, indexed = true }
    elseif first >= 32 then
      resize(self, #fields == 0)
    else
      local name, value = read_literal(self, 4)
      fields[#fields + 1] = { name, value, never = first >= 16 or nil }
    end
  end
  return fields
end

-- ---- Encoding -----------------------------------------------------------------------------

-- In a table that the other side keeps the same.
local function find(self, name, value)
  local with_name
  for i = 1, #STATIC + #self.list do
    local e = STATIC[i] or self.list[i - #STATIC]
    if e[1] == name and e[2] == value then return i, true end
    if e[1] == name then with_name = with_name or i end
  end
  return with_name or 0, false
end

--- One that fills the other side's table, as browsers do: encode(fields) -> block.
function hpack.encoder()
  local kept = hpack.decoder()
  return function(fields)
    local out = {}
    for i, field in ipairs(fields) do
      local index, all = find(kept, field[1], field[2])
      if all then
        out[i] = hpack.integer(index, 7, 128)
      else
        out[i] = hpack.integer(index, 6, 64) .. (index == 0 and hpack.text(field[1], true) or "")
          .. hpack.text(field[2], true)
        add(kept, field[1], field[2])
      end
    end
    return table.concat(out)
  end
end

--- Literals that no table keeps, in Huffman's code or not.
function hpack.encode(fields, in_huffman)
  local out = {}
  for i, field in ipairs(fields) do
    out[i] = "\0" .. hpack.text(field[1], in_huffman) .. hpack.text(field[2], in_huffman)
  end
  return table.concat(out)
end

return hpack
