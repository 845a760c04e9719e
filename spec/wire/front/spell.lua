--- Writes a request, with all the freedom that RFC 9110 and 9112 give: case of names and tokens,
--- white space, empty list elements, lists over several lines, quoted or bare parameters,
--- escapes that need not be, dot segments, chunks of any size with extensions and trailers.
local dice = require("spec.wire.front.dice")
local site = require("spec.wire.front.site")

local spell = {}

local chance, pick, random, few = dice.chance, dice.pick, math.random, dice.few

local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"

-- ---- Values and lists ---------------------------------------------------------------------

local function blank() return chance(0.7) and "" or pick { " ", "\t", "  ", " \t" } end

--- A parameter's value: bare when it is a token, or quoted, with escapes that need not be.
local function value(text)
  if text:find(TOKEN) and chance(0.6) then return text end
  return '"' .. text:gsub(".", function(c)
    return (c == '"' or c == "\\" or (chance(0.1) and not c:find("[\t\x80-\xff]"))) and "\\" .. c or c
  end) .. '"'
end

local function params(list)
  local out = {}
  for _, p in ipairs(list) do out[#out + 1] = blank() .. ";" .. blank() .. dice.case(p[1]) .. "=" .. value(p[2]) end
  return table.concat(out)
end

--- A list on one line: commas, blanks around them, elements that are empty.
local function joined(elements)
  local out = {}
  for _, e in ipairs(elements) do
    for _ = 1, few(0.08, 3) do out[#out + 1] = "" end
    out[#out + 1] = e
  end
  for _ = 1, few(0.08, 2) do out[#out + 1] = "" end
  local text = out[1] or ""
  for i = 2, #out do text = text .. blank() .. "," .. (chance(0.5) and " " or blank()) .. out[i] end
  return text
end

--- Add a list field, on one line or on several.
local function add_list(fields, name, elements)
  local line = {}
  for i, e in ipairs(elements) do
    line[#line + 1] = e
    if i == #elements or chance(0.3) then
      fields[#fields + 1] = { name, joined(line) }
      line = {}
    end
  end
end

local function add(fields, name, text) fields[#fields + 1] = { name, text } end

-- ---- Fields with a grammar ----------------------------------------------------------------

-- What looks like a list of entity tags and is none.
local BROKEN_TAGS = {
  bare = function(list) list[#list + 1] = "bare" end,
  star = function(list) list[#list + 1] = "*" end,
  lower = function(list) list[#list + 1] = 'w/"x"' end,
  open = function(list) list[#list + 1] = '"x' end,
  tail = function(list) list[#list + 1] = '"x"y' end,
}

local function tags(fields, name, list)
  if not list then return end
  if list.any then return add(fields, name, "*") end
  local out = dice.list(#list, function(i) return (list[i].weak and "W/" or "") .. '"' .. list[i].text .. '"' end)
  if list.broken then
    BROKEN_TAGS[list.broken](out)
    dice.shuffle(out)
  end
  add_list(fields, name, out)
end

local function weight(q)
  local text = ("%.3f"):format(q)
  if chance(0.7) then text = text:gsub("%.?0+$", "") end
  return blank() .. ";" .. blank() .. pick { "q", "Q" } .. "=" .. (text == "" and "0" or text)
end

local function accept(r, fields)
  if not r.accept then return end
  add_list(fields, "Accept", dice.list(#r.accept, function(i)
    local range = r.accept[i]
    return dice.case(range.type) .. "/" .. dice.case(range.subtype) .. params(range.params) .. (range.q
      and weight(range.q) or "")
  end))
end

local function tokens(fields, name, list)
  if list then add_list(fields, name, dice.list(#list, function(i) return dice.case(list[i]) end)) end
end

local function cookies(r, fields)
  local line = {}
  for i, c in ipairs(r.cookies or {}) do
    line[#line + 1] = c[1] .. "=" .. (c[3] and '"' .. c[2] .. '"' or c[2])
    if i == #r.cookies or chance(0.2) then
      add(fields, "Cookie", table.concat(line, "; "))
      line = {}
    end
  end
end

local CREDENTIALS = {
  good = function() return dice.case("Bearer") .. (" "):rep(random(1, 3)) .. site.ADMIN_KEY end,
  bad = function() return "Bearer " .. pick { site.ADMIN_KEY .. "x", site.ADMIN_KEY:sub(2), "x",
    site.ADMIN_KEY:lower() } end,
  basic = function() return "Basic " .. site.ADMIN_KEY end,
  bare = function() return pick { site.ADMIN_KEY, "Bearer", "Bearer" .. site.ADMIN_KEY, "Bearer,"
    .. site.ADMIN_KEY } end,
}

local function credentials(r, fields)
  local kind = r.credentials
  if kind and kind ~= "none" then add(fields, "Authorization", CREDENTIALS[kind]()) end
end

local function content_type(r, fields)
  if r.kind == "json" then
    local charset = chance(0.5) and params({ { "charset", dice.case("utf-8") } }) or ""
    add(fields, "Content-Type", dice.case("application/json") .. charset)
  elseif r.kind == "text" then
    add(fields, "Content-Type", pick { "text/plain", "application/jsonx", 'text/plain; a="application/json"',
      "application/octet-stream", "multipart/form-data; boundary=application/json" })
  end
end

local function cross_site(r, fields)
  if r.origin == "own" then add(fields, "Origin", site.scheme .. "://" .. spell.authority(r))
  elseif r.origin then add(fields, "Origin", r.origin) end
  if r.preflight then
    add(fields, "Access-Control-Request-Method", r.preflight)
    if chance(0.5) then add_list(fields, "Access-Control-Request-Headers", { "content-type", "x-foo" }) end
  end
end

-- ---- The request line ---------------------------------------------------------------------

function spell.authority(r) return r.host .. (r.port and ":" .. r.port or "") end

local function escaped(c)
  local text = ("%%%02x"):format(c:byte())
  return chance(0.5) and text:upper() or text
end

--- A segment: what must be escaped is, the rest now and then.
local function segment(text)
  local eager = chance(0.3) and 0.4 or 0.02
  return (text:gsub(".", function(c)
    if not c:find("[%w%-._~!$&'()*+,;=:@]") or chance(eager) then return escaped(c) end
  end))
end

local BAD_PATHS = {
  climb = function() return pick { "/../x", "/%2e%2e/x", "/a/../../x", "/.%2E/", "/.." } end,
  escape = function() return pick { "/%", "/a%zz", "/%4", "/%4/1", "/%%41", "/a/%g1" } end,
  nul = function() return pick { "/%00", "/echo/a%00b", "/files/one.txt%00" } end,
}

function spell.path(r)
  if r.asterisk then return "*" end
  if r.bad_path then return BAD_PATHS[r.bad_path]() end
  local out = {}
  for i, part in ipairs(r.path) do
    if chance(0.02) then out[#out + 1] = pick { ".", "%2e", "x/..", "y/%2E." } end
    out[#out + 1] = segment(part)
    if i == #r.path and r.encoded_slash then
      out[#out] = out[#out] .. pick { "%2f", "%2F" } .. pick { "", "x", "..", "one.txt" }
    end
  end
  return "/" .. table.concat(out, "/")
end

local function form(text)
  return (text:gsub(".", function(c)
    if c == " " then return chance(0.5) and "+" or "%20" end
    if not c:find("[%w%-._~!$'()*,;:@/?]") or chance(0.1) then return escaped(c) end
  end))
end

local function query(r)
  if not r.query then return "" end
  local out = {}
  for _, pair in ipairs(r.query) do
    if chance(0.05) then out[#out + 1] = "" end
    local name, text = form(pair[1]), form(pair[2])
    out[#out + 1] = text == "" and name ~= "" and chance(0.5) and name or name .. "=" .. text
  end
  return "?" .. table.concat(out, "&")
end

local function target(r)
  local path = spell.path(r)
  if r.form == "absolute" then
    return dice.case(pick { "http", "http", "https" }) .. "://" .. dice.case(spell.authority(r)) .. path .. query(r)
  end
  return path .. query(r)
end

-- ---- The head -----------------------------------------------------------------------------

local function host(r, fields)
  local name = r.form == "absolute" and (r.other_host or spell.authority(r)) or r.host
    and dice.case(spell.authority(r))
  if name then add(fields, "Host", name) end
end

local function length_fields(r, fields)
  if r.framing == "length" then add(fields, "Content-Length", ("0"):rep(few(0.1, 5)) .. #r.body) end
  if r.framing == "chunks" then add(fields, "Transfer-Encoding", dice.case("chunked")) end
end

--- Shuffle the lines; those of one name keep their order.
local function shuffled(fields)
  local places, by_name = dice.list(#fields, function(i) return i end), {}
  dice.shuffle(places)
  local out = {}
  for i, f in ipairs(fields) do
    local key = f[1]:lower()
    by_name[key] = by_name[key] or {}
    table.insert(by_name[key], { places[i], f })
  end
  for _, list in pairs(by_name) do
    local at = {}
    for i, pair in ipairs(list) do at[i] = pair[1] end
    table.sort(at)
    for i, pair in ipairs(list) do out[at[i]] = pair[2] end
  end
  return out
end

-- What has one value and comes twice, though it may be the same.
local TWICE = { Origin = "http://localhost", Authorization = "Bearer x", ["Content-Type"] = "application/json",
  ["Last-Event-ID"] = "x-1", ["X-API-Key"] = "k", ["Idempotency-Key"] = "k" }
spell.SINGLE = {}
for name in pairs(TWICE) do table.insert(spell.SINGLE, name) end
table.sort(spell.SINGLE)

--- The lines of a head as { name, value } in order.
function spell.fields(r)
  local fields = {}
  host(r, fields)
  length_fields(r, fields)
  content_type(r, fields)
  if r.coding then add_list(fields, "Content-Encoding", { dice.case(r.coding) }) end
  tokens(fields, "Connection", r.connection)
  tokens(fields, "Expect", r.expect)
  tags(fields, "If-None-Match", r.tags)
  tags(fields, "If-Match", r.match)
  accept(r, fields)
  credentials(r, fields)
  cross_site(r, fields)
  cookies(r, fields)
  if r.forwarded then add_list(fields, "X-Forwarded-For", r.forwarded) end
  if r.twice then
    local text = TWICE[r.twice]
    for _, f in ipairs(fields) do if f[1] == r.twice then text = f[2] end end
    add(fields, r.twice, text)
    add(fields, r.twice, pick { text, "x" })
  end
  if r.last_id then add(fields, "Last-Event-ID", r.last_id) end
  for _, text in ipairs(r.list or {}) do add(fields, "X-List", text) end
  for _, pair in ipairs(r.idle or {}) do add(fields, pair[1], pair[2]) end
  return shuffled(fields)
end

function spell.line(r)
  local version = r.minor == 0 and "HTTP/1.0" or chance(0.02) and "HTTP/1." .. random(2, 9) or "HTTP/1.1"
  return { r.method, target(r), version }
end

--- The text of a head. A part whose `raw` is set is written as it stands.
function spell.head(line, fields)
  local out = { table.concat(line, " ") }
  for _, f in ipairs(fields) do
    out[#out + 1] = f.raw or dice.case(f[1]) .. ":" .. blank() .. (chance(0.5) and " " or "") .. f[2] .. blank()
  end
  return table.concat(out, "\r\n") .. "\r\n\r\n"
end

-- ---- The body -----------------------------------------------------------------------------

local function extension()
  return ";" .. dice.text(random(4), "abcxyz") .. (chance(0.6) and "=" .. value(dice.text(random(0, 8),
    "abc;,= \"\\")) or "")
end

local function chunk(bytes)
  local size = ("0"):rep(few(0.1, 6)) .. ("%x"):format(#bytes)
  return dice.case(size) .. (chance(0.1) and extension() or "") .. "\r\n" .. bytes .. "\r\n"
end

--- The chunks of a body, without the end.
function spell.chunks(body)
  local out, at = {}, 1
  local most = chance(0.5) and #body // random(1, 8) + 1 or random(1, 4000)
  while at <= #body do
    local n = chance(0.3) and random(1, most) or most
    if #out > 300 then n = #body end
    out[#out + 1] = chunk(body:sub(at, at + n - 1))
    at = at + n
  end
  return table.concat(out)
end

local function last_chunk()
  local trailers = {}
  for i = 1, few(0.1, 3) do trailers[i] = "X-Trailer: " .. dice.text(random(0, 9), "abc ,") .. "\r\n" end
  return dice.case(("0"):rep(1 + few(0.1, 4))) .. (chance(0.1) and extension() or "") .. "\r\n"
    .. table.concat(trailers) .. "\r\n"
end

function spell.body(r)
  if not r.body then return "" end
  return r.framing == "chunks" and spell.chunks(r.body) .. last_chunk() or r.body
end

--- A request: its head and its body as bytes.
function spell.request(r)
  local before = ("\r\n"):rep(few(0.05, 2))
  return before .. spell.head(spell.line(r), spell.fields(r)), spell.body(r)
end

return spell
