--- Requests that are none: a good one with one fault at a random place. Each fault has a status,
--- and the connection ends behind it, since it is unknown where the next request begins.
local dice = require("spec.wire.front.dice")
local site = require("spec.wire.front.site")
local spell = require("spec.wire.front.spell")

local spoil = {}

local chance, pick, random = dice.chance, dice.pick, math.random

local CONTROLS = "\0\1\7\8\11\12\27\127"

local function insert(text, at, more) return text:sub(1, at) .. more .. text:sub(at + 1) end

--- Put `more` at a random place of the text, not before `least` bytes and not within the last `keep`.
local function put(text, more, least, keep)
  return insert(text, random(least or 0, math.max(least or 0, #text - (keep or 0))), more)
end

local function control() return dice.text(1, CONTROLS) end

--- Replace a line by one that is written as it stands, or add one.
local function raw(fields, text) table.insert(fields, random(#fields + 1), { raw = text }) end

local function drop(fields, name)
  for i = #fields, 1, -1 do
    if not fields[i].raw and fields[i][1]:lower() == name then table.remove(fields, i) end
  end
end

-- ---- The faults ---------------------------------------------------------------------------

-- name = { status, change(parts) }; parts are line, fields, body, and may get a text: the whole.
local HEADS = {
  target_byte = { 400, function(p) p.line[2] = put(p.line[2], pick { control(), " ", "\t", "\xff", "\xc3\xa9",
    "#" }, 1) end },
  target_start = { 400, function(p) p.line[2] = pick { "x", "echo/a", "?a=b", "a:80", "!" } end },
  method_byte = { 400, function(p) p.line[1] = put(p.line[1], pick { "(", "/", "{", "\"", "@", control(), "\xe9" },
    1) end },
  blank_before = { 400, function(p) p.line[1] = pick { " ", "\t", "\n" } .. p.line[1] end },
  two_blanks = { 400, function(p) p.line[random(1, 2)] = p.line[random(1, 2)] .. pick { " ", "\t" } end },
  version = { 400, function(p) p.line[3] = pick { "HTTP/1.10", "http/1.1", "HTTP/1", "HTTP/1.", "HTTP 1.1",
    "HTTP/01.1",
    "HTTPS/1.1", "HTTP/1.1 ", "HTTP/a.1", "" } end },
  other_version = { 505, function(p) p.line[3] = pick { "HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9" } end },
  bare_lf = { 400, function(p) raw(p.fields, "X-A: b\nX-B: c") end },
  line_lf = { 400, function(p) p.line[3] = p.line[3] .. "\nX-A: b" end },
  bare_cr = { 400, function(p) raw(p.fields, put("X-A: bcd", "\r", 5)) end },
  fold = { 400, function(p) p.fields[random(#p.fields)].fold = true end },
  value_byte = { 400, function(p) raw(p.fields, put("X-A: bcd", dice.text(1, CONTROLS), 5)) end },
  name_byte = { 400, function(p) raw(p.fields, put("X-Abc", pick { "(", "[", "\"", "@", ",", control(), "\xe9",
    " " }, 1) .. ": d") end },
  no_colon = { 400, function(p) raw(p.fields, dice.text(random(1, 20), "abcXYZ-")) end },
  no_name = { 400, function(p) raw(p.fields, ": x") end },
  blank_colon = { 400, function(p) raw(p.fields, "X-A" .. pick { " ", "\t" } .. ": x") end },
  no_host = { 400, function(p) drop(p.fields, "host") end },
  two_hosts = { 400, function(p) raw(p.fields, dice.case("Host") .. ": localhost") end },
  bad_host = { 400, function(p)
    drop(p.fields, "host")
    raw(p.fields, "Host: " .. pick { "", "a b", "a/b", "u@a", "a,b", "a:b", ":80", "[::1", "a?b", "a\\b", "\xe9",
      "localhost, localhost" })
  end },
  authority = { 400, function(p) p.line[2] = pick { "http://", "http:///x", "http://u@b/", "http://b:x/",
    "ftp://b/", "http:/b", "*" } end },
  connect = { 405, function(p) p.line[1], p.line[2] = "CONNECT", "a:80" end },
  long_line = { 414, function(p) p.line[2] = p.line[2] .. ("a"):rep(random(8192, 9000)) end },
  long_head = { 431, function(p) raw(p.fields, "X-A: " .. ("a"):rep(random(16384, 20000))) end },
  many_fields = { 431, function(p) for _ = 1, random(100, 300) do raw(p.fields, "X-A: b") end end },
  long_method = { 501, function(p) p.line[1] = ("G"):rep(random(33, 300)) end },
  two_lengths = { 400, function(p) for _ = 1, 2 do raw(p.fields, "Content-Length: " .. random(0, 9)) end end },
  length = { 400, function(p) raw(p.fields, "Content-Length: " .. pick { "", "+3", "-1", "0x3", "1 1", "3a", "3, 3",
    "3,", "3;", "3.0",
    "18446744073709551619", "9223372036854775808" }) end },
  both_framings = { 400, function(p)
    raw(p.fields, "Content-Length: 3")
    raw(p.fields, "Transfer-Encoding: chunked")
  end },
  coding = { 501, function(p) raw(p.fields, "Transfer-Encoding: " .. pick { "gzip, chunked", "identity", "gzip",
    "xchunked" }) end },
  two_codings = { 400, function(p)
    raw(p.fields, "Transfer-Encoding: chunked")
    raw(p.fields, "Transfer-Encoding: chunked")
  end },
  coding_order = { 400, function(p) raw(p.fields, "Transfer-Encoding: " .. pick { "chunked, gzip",
    "chunked, chunked", "\"chunked\"", "" }) end },
  old_coding = { 400, function(p)
    p.line[3] = "HTTP/1.0"
    raw(p.fields, "Transfer-Encoding: chunked")
  end },
  too_large = { 413, function(p)
    raw(p.fields, "Content-Length: " .. pick { site.MAX_BODY + 1, 99999999999, math.maxinteger })
    p.body = site.text:sub(1, random(0, 30000))
  end },
}

local function size_line(p, line) p.body = p.body .. line .. "\r\nabc\r\n0\r\n\r\n" end

-- In chunked bodies, behind some chunks that are good.
local BODIES = {
  chunk_size = { 400, function(p) size_line(p, pick { "", "3 ", " 3", "0x3", "+3", "-1", "g", "3\t", ";a", "3_",
    "10000000000000003" }) end },
  chunk_ends = { 400, function(p) p.body = p.body .. pick { "3\nabc\r\n", "3\r\nabcd\r\n", "3\r\nabc\n",
    "3\r\nabc3\r\n", "3\rabc\r\n" } end },
  extension = { 400, function(p) size_line(p, "3;" .. pick { ("a"):rep(257), "a=\0", "a=\rb", "a\nb" }) end },
  extensions = { 400, function(p) p.body = p.body .. ("1;" .. ("a"):rep(250) .. "\r\nx\r\n"):rep(70) end },
  trailer = { 400, function(p) p.body = p.body .. "0\r\n" .. pick { "Content-Length: 9", "bad",
    "transfer-encoding: chunked", "Host: b",
    "X : y", ": y", "X: y\r\n b" } .. "\r\n\r\n" end },
  trailers = { 431, function(p) p.body = p.body .. "0\r\nX: " .. ("a"):rep(random(4200, 9000)) .. "\r\n\r\n" end },
  chunks_too_large = { 413, function(p) p.body = p.body .. pick { "10001", "fffffff", "ffffffffffffffff" }
    .. "\r\nabc" end },
}

local function names_of(list)
  local out = {}
  for name in pairs(list) do out[#out + 1] = name end
  table.sort(out)
  return out
end

local HEAD_NAMES, BODY_NAMES = names_of(HEADS), names_of(BODIES)

--- A request with a fault; the model needs its status only.
function spoil.draw()
  local in_body = chance(0.25)
  local name = pick(in_body and BODY_NAMES or HEAD_NAMES)
  local path = in_body and { "mirror" } or { "echo", "spoilt" .. random(9) }
  return { minor = 1, method = in_body and "POST" or "GET", path = path, form = "origin", host = "localhost",
    spoiler = name,
    status = (in_body and BODIES or HEADS)[name][1], in_body = in_body, list = { "a", "b" },
    idle = { { "X-Idle", "x" }, { "User-Agent", "y" } }, body = in_body and dice.text(random(0, 50), "abc") or nil }
end

--- Its bytes: head, body.
function spoil.request(r)
  local parts = { line = spell.line(r), fields = spell.fields(r), body = "" }
  if r.in_body then
    parts.fields[#parts.fields + 1] = { "Transfer-Encoding", "chunked" }
    parts.body = spell.chunks(r.body)
  end
  local fault = (r.in_body and BODIES or HEADS)[r.spoiler]
  fault[2](parts)
  local head = spell.head(parts.line, parts.fields)
  for _, f in ipairs(parts.fields) do
    if f.fold then
      local at = assert(head:find("\r\n\r\n", 1, true))
      head = insert(head, at - 1, "\r\n" .. pick { " ", "\t" } .. "folded")
    end
  end
  return head, parts.body
end

return spoil
