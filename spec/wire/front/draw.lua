--- Draws what requests mean: method, route, lists of entity tags, media ranges, options and so
--- on, and the life of the connection that carries them. How it is written is spell.lua's, what
--- the answer must be is model.lua's; both see only what stands here.
local dice = require("spec.wire.front.dice")
local site = require("spec.wire.front.site")
local spell = require("spec.wire.front.spell")
local spoil = require("spec.wire.front.spoil")

local draw = {}

local chance, pick, weighed, few, random = dice.chance, dice.pick, dice.weighed, dice.few, math.random

local LETTERS = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789"
local SEGMENT = LETTERS .. "-._~!$&'()*+,;=:@ %?#[]<>\"\\|^`{}\xc3\xa9\xff\1"
local FIELD = LETTERS .. "!\"#$%&'()*+-./:;<=>?@[]^_`{|}~ \t\xe9\xff"
local ETAG = LETTERS .. "!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\xe9"

-- ---- Fields that are lists ----------------------------------------------------------------

local function entity_tag(file, weak_chance)
  local own = chance(0.35)
  return { weak = chance(weak_chance), text = own and file.tag:match('"(.*)"') or dice.text(random(0, 8), ETAG) }
end

--- If-None-Match or If-Match of a file: nil, { any = true }, a list of tags, or one that is no list of tags.
local function entity_tags(file, p)
  if not chance(p) then return nil end
  if chance(0.1) then return { any = true } end
  local list = dice.list(1 + few(0.6, 6), function() return entity_tag(file, 0.4) end)
  if chance(0.1) then list.broken = pick { "bare", "star", "lower", "open", "tail" } end
  return list
end

local function quality() return pick { 0, 0, 0.001, 0.5, 0.999, 1, 1 } end

local function media_range()
  local range = pick { { "text", "event-stream" }, { "text", "event-stream" }, { "text", "*" }, { "*", "*" },
    { "text", "html" }, { "application", "xml" }, { "text", "event-streams" }, { "image", "event-stream" } }
  local params = dice.list(few(0.15, 2), function() return { dice.text(random(3), "abcxyz"), dice.text(random(0, 5),
    FIELD) } end)
  if range[2] == "event-stream" then params = {} end -- what a parameter of ours would mean is open
  return { type = range[1], subtype = range[2], params = params, q = chance(0.5) and quality() or nil }
end

--- Accept: nil, or a list in which no range comes twice.
local function media_ranges()
  if not chance(0.6) then return nil end
  local out, seen = {}, {}
  for _ = 1, 1 + few(0.5, 4) do
    local range = media_range()
    local key = range.type .. "/" .. range.subtype
    if not seen[key] then out[#out + 1], seen[key] = range, true end
  end
  return out
end

local function address()
  return chance(0.7) and ("%d.%d.%d.%d"):format(random(1, 223), random(0, 255), random(0, 255), random(1, 254))
    or pick { "2001:db8::1", "::1", "fe80::1:2", "2001:db8:1:2:3:4:5:6" }
end

local function forwarded()
  if not chance(0.4) then return nil end
  return dice.list(1 + few(0.5, 4), address)
end

local function connection(minor)
  local list = {}
  if chance(0.1) then list[#list + 1] = "close" end
  if chance(minor == 0 and 0.6 or 0.1) then list[#list + 1] = "keep-alive" end
  for _ = 1, few(0.2, 3) do list[#list + 1] = pick { "Upgrade", "TE", "HTTP2-Settings", "x-close", "closed",
    "clos" } end
  return #list > 0 and dice.shuffle(list) or nil
end

-- ---- Where a request goes -----------------------------------------------------------------

local function size()
  return weighed { 0, 2, 1, 2, random(2, 300), 10, random(300, 5000), 6, random(5000, 70000), 4, pick { 16384, 32768,
    65535, 65536, 65537 }, 3, random(70000, 400000), 1.5, site.TEXT_MAX, 0.5 }
end

local function segment()
  local text = dice.text(1 + few(0.8, 12), chance(0.5) and LETTERS or SEGMENT)
  return (text == "." or text == "..") and "x" or text
end

-- Each sets `path` (a list of decoded segments) and what the model must know besides.
local ROUTES = {
  echo = function(r)
    r.method = weighed { "GET", 5, "POST", 4, "PUT", 1, "PATCH", 1, "DELETE", 1, "HEAD", 2, "OPTIONS", 1 }
    r.path = { "echo", segment() }
  end,
  star = function(r) r.path = { "star", segment() } end,
  rest = function(r)
    r.path = { "rest", table.unpack(dice.list(random(0, 4), segment)) }
  end,
  mirror = function(r)
    r.method, r.path = weighed { "POST", 8, "GET", 1, "OPTIONS", 1 }, { "mirror" }
  end,
  pieces = function(r)
    r.method, r.path = weighed { "POST", 9, "GET", 1, "OPTIONS", 1 }, { "pieces" }
  end,
  some = function(r) r.method, r.path = "POST", { "some", tostring(random(0, 3)) } end,
  json = function(r) r.method, r.path = "POST", { "json" } end,
  size = function(r)
    r.size = size()
    r.path = { "size", tostring(r.size) }
  end,
  file = function(r, at)
    local names = {}
    for name in pairs(at.files) do names[#names + 1] = name end
    table.sort(names)
    local name = pick(names)
    if at.files[name].size > 100000 and chance(0.7) then name = "/40k.txt" end
    r.file, r.path = name, { "files" }
    for part in name:gmatch("/([^/]*)") do r.path[#r.path + 1] = part end
    r.tags, r.match = entity_tags(at.files[name], 0.7), entity_tags(at.files[name], 0.1)
    if chance(0.1) then r.method = pick { "PUT", "POST", "DELETE" } end
  end,
  none = function(r) r.path = { "none" } end,
  broken = function(r) r.path = { "broken" } end,
  stream = function(r)
    r.stream = pick { "constant", "planned", "written" }
    r.path, r.accept = { r.stream }, media_ranges()
    r.method = weighed { "HEAD", 4, "GET", 3, "POST", 1, "OPTIONS", 1 }
    r.last_id = chance(0.2) and pick { "stop", "x-1", "" } or nil
  end,
  health = function(r) r.path = { "-", "healthz" } end,
  admin = function(r)
    r.path, r.credentials = { "-", "reload" }, weighed { "good", 5, "bad", 2, "basic", 1, "bare", 1, "none", 2 }
  end,
  nowhere = function(r)
    r.path = { "nowhere" .. dice.text(random(0, 5), LETTERS) }
    r.method = weighed { "GET", 4, "POST", 1, "HEAD", 1 }
  end,
}

local SHARES = { "echo", 20, "star", 3, "rest", 4, "mirror", 10, "pieces", 10, "some", 3, "json", 4, "size", 16,
  "file", 18, "none", 2, "broken", 1, "stream", 7, "health", 2, "admin", 3, "nowhere", 3 }

local BELOW = { "echo", "star", "rest", "mirror", "pieces", "some", "json", "size", "file", "none", "stream" }

local function is_below(route)
  for _, name in ipairs(BELOW) do if name == route then return true end end
end

-- ---- The parts of a request ---------------------------------------------------------------

local function add_path(r)
  if r.prefix then table.insert(r.path, 1, r.prefix) end
  if r.route == "rest" or r.route == "echo" or r.route == "star" or r.route == "file" then
    if chance(0.04) then r.encoded_slash = true end
  end
  if chance(0.03) then r.bad_path = pick { "climb", "escape", "nul" } end
end

local function add_query(r)
  if not chance(0.3) then return end
  r.query = dice.list(few(0.6, 5), function()
    return { pick { "a", "b", "q q", "x&=", "\xc3\xa9", "" }, dice.text(random(0, 6), SEGMENT) }
  end)
  if r.route == "echo" and chance(0.06) then r.query = dice.list(pick { 100, 101 }, function() return { "a",
    "1" } end) end
end

local function add_host(r)
  r.host = weighed { "localhost", 8, "127.0.0.1", 3, "[::1]", 1, site.ALLOWED_HOST, 2, "app.localhost", 1,
    "evil.example", 0.5,
    site.ALLOWED_HOST .. ".evil.example", 0.3 }
  r.port = chance(0.5) and random(1, 65535) or nil
  r.form = weighed { "origin", 9, "absolute", 1.5 }
  if r.minor == 0 and r.form == "origin" and chance(0.4) then r.host = nil end
  if r.form == "absolute" then r.other_host = chance(0.4) and pick { "evil.example", "localhost", "x:1" } or nil end
end

local function takes_body(r) return r.method == "POST" or r.method == "PUT" or r.method == "PATCH" end

local function body_size()
  return weighed { 0, 2, random(1, 40), 10, random(41, 3000), 5, random(3000, 30000), 2, random(30000,
    site.MAX_BODY), 1,
    site.MAX_BODY, 0.5, site.MAX_BODY + 1, 0.7 }
end

local function pieces_size()
  return weighed { body_size(), 8, random(site.MAX_BODY, site.MAX_PIECES), 2, site.MAX_PIECES, 0.5,
    site.MAX_PIECES + 1, 0.7, random(site.MAX_PIECES, 300000), 0.5 }
end

local function add_body(r)
  if not chance(takes_body(r) and 0.9 or 0.06) then return end
  if r.route == "json" then
    r.kind = weighed { "json", 6, "text", 1, "none", 1 }
    r.broken_json = chance(0.1)
    r.body = r.broken_json and "{\"a\":" or ('{"a":"%s"}'):format(dice.text(random(0, 200), LETTERS))
  else
    local n = (r.route == "pieces" or r.route == "some") and pieces_size() or body_size()
    r.body = n > 60 and site.text:sub(1, n) or dice.text(n, SEGMENT .. "\r\n\0")
  end
  r.framing = r.minor == 1 and chance(0.45) and "chunks" or "length"
  if r.minor == 1 and chance(0.25) then r.expect = { "100-continue" } end
  if takes_body(r) and chance(0.03) then r.coding = pick { "gzip", "br", "deflate" } end
end

local function add_expect(r)
  if chance(0.03) then r.expect = dice.shuffle({ "100-continue", pick { "200-ok", "100-continued", "x=y" } }) end
  if chance(0.01) then r.expect = { "100-continue" } end
  r.waits = r.expect and #r.expect == 1 and r.minor == 1 and r.body and #r.body > 0 and chance(0.6)
end

local function add_site(r)
  if chance(0.25) then r.origin = weighed { site.ALLOWED_ORIGIN, 3, "https://evil.example", 2, "null", 1, "own",
    2 } end
  if r.origin == "own" and not r.host then r.origin = nil end
  if r.method == "OPTIONS" and r.origin and chance(0.6) then r.preflight = pick { "GET", "POST", "DELETE" } end
end

local function add_rest(r)
  r.connection, r.forwarded = connection(r.minor), forwarded()
  if r.forwarded and chance(0.1) then r.forwarded[#r.forwarded + 1] = pick { "unknown", "1.2.3.4.5", "evil",
    "_hidden" } end
  if chance(0.2) then r.cookies = dice.list(1 + few(0.5, 3), function(i)
    return { "c" .. i, dice.text(random(0, 6), LETTERS .. "!#$%&'()*+-./:<=>?@[]^_`{|}~"), chance(0.2) }
  end) end
  if chance(0.25) then
    r.list = dice.list(1 + few(0.5, 3), function() return (dice.text(random(0, 12), FIELD):gsub("^[ \t]+",
      ""):gsub("[ \t]+$", "")) end)
  end
  if chance(0.02) then r.twice = pick(spell.SINGLE) end
  r.idle = dice.list(few(0.3, 4), function() return pick(draw.IDLE_FIELDS) end)
end

--- Fields that change nothing here.
draw.IDLE_FIELDS = { { "Range", "bytes=0-5" }, { "If-Modified-Since", "Sat, 29 Oct 2044 19:43:31 GMT" }, { "TE",
  "trailers" },
  { "If-Range", '"x"' }, { "Accept-Encoding", "gzip;q=1.0, br, *;q=0" }, { "Upgrade", "h2c, websocket" },
  { "User-Agent", "Mozilla/5.0 (X11; \xe9) \"quoted\"" }, { "Accept-Language", "de, en;q=0.5,*;q=0" }, { "X-Empty",
    "" },
  { "Max-Forwards", "3" }, { "Trailer", "X-A" }, { "!#$%&'*+-.^_`|~09azAZ", "tchar" }, { "Content_Length", "3" },
  { "X-Forwarded-Host", "evil.example" }, { "Forwarded", "for=1.2.3.4" }, { "X-Long", ("long "):rep(200) .. "x" },
  { "X-HTTP-Method-Override", "DELETE" }, { "Keep-Alive", "timeout=5, max=1000" }, { "Proxy-Connection", "close" } }

--- One request. `last`: it is the last of its connection.
function draw.request(at, last)
  local r = { minor = chance(0.9) and 1 or 0, method = weighed { "GET", 8, "HEAD", 2, "OPTIONS", 0.5 },
    route = weighed(SHARES) }
  ROUTES[r.route](r, at)
  if is_below(r.route) and chance(0.35) then r.prefix = pick { "open", "open", "closed", "passed" } end
  if r.stream and r.method == "GET" and not last then r.method = "HEAD" end
  if chance(0.02) then r.method = pick { "TRACE", "get", "X", "PROPFIND", "G!#$%&'*+-.^_`|~", "DELETE", "PATCH" } end
  if r.method ~= "HEAD" and r.stream and not last then r.method = pick { "OPTIONS", "POST" } end
  if r.route == "health" and chance(0.2) then r.method, r.asterisk = "OPTIONS", true end
  add_path(r)
  add_query(r)
  add_host(r)
  add_body(r)
  add_expect(r)
  add_site(r)
  add_rest(r)
  if r.asterisk then r.form, r.bad_path, r.query, r.encoded_slash = "origin", nil, nil, nil end
  return r
end

-- ---- The life of a connection -------------------------------------------------------------

local function small_request(at)
  local r = { minor = 1, method = "GET", route = "echo", path = { "echo", "s" .. random(9) }, form = "origin",
    host = "localhost" }
  if chance(0.3) then
    r.route, r.file, r.path = "file", "/one.txt", { "files", "one.txt" }
    r.tags = chance(0.5) and entity_tags(at.files["/one.txt"], 0.7) or nil
  end
  return r
end

local function same_file(at)
  local name = pick { "/40k.txt", "/40k.txt", "/300k.bin" }
  local r = { minor = 1, method = "GET", route = "file", file = name, path = { "files", name:sub(2) },
    form = "origin",
    host = "localhost" }
  return r, at
end

local function requests(at, c)
  local kind = weighed { "mixed", 92, "storm", 2, "files", 3, "one", 3 }
  if kind == "storm" then return dice.list(random(100, 900), function() return small_request(at) end) end
  if kind == "files" then return dice.list(random(2, 8), function() return same_file(at) end) end
  local n = kind == "one" and 1 or 1 + few(0.7, 9)
  local list = dice.list(n, function(i) return draw.request(at, i == n) end)
  if chance(0.2) then
    list[n] = spoil.draw()
    c.spoilt = true
  end
  return list
end

--- How it reads: `hold` rounds nothing, then `bytes` a round.
local function reading()
  local how = weighed { "now", 55, "hold", 15, "sips", 20, "both", 8 }
  local c = { hold = 0, bytes = 1 << 20 }
  if how ~= "now" then c.rcvbuf = weighed { 2048, 2, 4096, 3, 16384, 2, 65536, 1, false, 3 } or nil end
  if how == "hold" or how == "both" then c.hold = random(1, 60) end
  if how == "sips" or how == "both" then c.bytes = random(100, 20000) end
  return c
end

--- Does this seed make a connection that takes seconds? (run.lua begins these first.)
function draw.is_slow(seed) return seed % 50 == 7 end

--- One that takes longer for a large answer than a socket may take nothing.
function draw.slow_connection()
  local r = { minor = 1, method = "GET", route = "file", file = "/1m.bin", path = { "files", "1m.bin" },
    form = "origin",
    host = "localhost", connection = { "close" } }
  return { slow = true, rcvbuf = 4096, hold = 0, bytes = 1, requests = { r }, pieces = "whole",
    ending = pick { "close", "half" } }
end

--- A connection: its requests, how they are cut into pieces, how it reads, how it ends.
function draw.connection(at)
  local c = reading()
  c.requests = requests(at, c)
  c.pieces = weighed { "whole", 45, "some", 35, "bytes", 8, "each", 12 }
  c.ending = c.spoilt and weighed { "wait", 8, "half", 2 } or weighed { "close", 45, "half", 25, "cut", 12, "leave",
    12, "reset", 6 }
  local last = c.requests[#c.requests]
  if c.ending == "close" and not last.spoiler then
    last.connection = last.connection or {}
    table.insert(last.connection, "close")
  end
  return c
end

return draw
