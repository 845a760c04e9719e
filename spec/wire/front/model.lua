--- What the answer to a request must be, from what the request means (draw.lua), the RFCs, and
--- what doc/protocol.md promises. It never looks at the server.
---
--- An expectation: `statuses` (a set), `keeps` (true, false, or nil: as the answer says),
--- `interim` (how many 100 may come before it), `fields` (name to text, or to a function that
--- judges), `body` (exact, of a 200), `size` (Content-Length, also of a HEAD), `early` (it may
--- come before the request is whole), `listens` (who asks for a stream and closes its half may
--- get nothing), `stream`, and `ends` of a stream that is over by itself.
local site = require("spec.wire.front.site")

local model = {}

local METHODS = { GET = true, HEAD = true, POST = true, PUT = true, PATCH = true, DELETE = true, OPTIONS = true }

-- Which methods a route takes, as Allow must say it.
local TAKES = { echo = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" }, mirror = { "POST" }, pieces = { "POST" },
  some = { "POST" }, json = { "POST" },
  health = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" } }
local READS = { "GET", "HEAD" }

local function takes(r)
  for _, method in ipairs(TAKES[r.route] or READS) do if method == r.method then return true end end
  return false
end

local function takes_body(r) return r.method == "POST" or r.method == "PUT" or r.method == "PATCH" end

local function has(list, word)
  for _, w in ipairs(list or {}) do if w:lower() == word then return true end end
  return false
end

-- ---- Conditions of fields -----------------------------------------------------------------

--- RFC 9110 13.1.2: the weak comparison of any of the tags; 13.1.1: the strong one, which no
--- weak tag is equal in. "*" is any.
local function is_same(tags, own, strong)
  if tags.any then return true end
  local opaque = own:match('"(.*)"')
  for _, tag in ipairs(tags) do
    if tag.text == opaque and not (strong and (tag.weak or own:find("^W/"))) then return true end
  end
  return false
end

--- RFC 9110 12.5.1: the most specific range that matches text/event-stream decides.
local function takes_stream(ranges)
  if not ranges then return true end
  local best, q = -1, 0
  for _, range in ipairs(ranges) do
    local type_fits = range.type == "text" or range.type == "*"
    local subtype_fits = range.subtype == "event-stream" or range.subtype == "*"
    if #range.params == 0 and type_fits and subtype_fits then
      local specific = (range.type == "*" and 0 or 1) + (range.subtype == "*" and 0 or 1)
      if specific > best then best, q = specific, range.q or 1 end
    end
  end
  return q > 0
end

local function is_allowed_host(host)
  return host == nil or host == "localhost" or host == "app.localhost" or host == "127.0.0.1" or host == "[::1]"
    or host == site.ALLOWED_HOST
end

--- May a page of this origin do what changes things here?
local function is_foreign(r)
  if not r.origin or r.origin == "own" or r.method == "GET" or r.method == "HEAD"
    or r.method == "OPTIONS" then return false end
  return not (r.prefix == "open" and r.origin == site.ALLOWED_ORIGIN)
end

local function is_address(text)
  if text:find("^%d+%.%d+%.%d+%.%d+$") then return true end
  return text:find(":", 1, true) ~= nil
end

local function ip_of(r)
  local last = r.forwarded and r.forwarded[#r.forwarded]
  return last and is_address(last) and last or "127.0.0.1"
end

-- ---- Refusals -----------------------------------------------------------------------------

--- What a handler that wants JSON says.
local function json_status(r)
  if not r.body or r.kind ~= "json" then return 415 end
  return (r.broken_json or #r.body == 0) and 400 or 200
end

--- A segment holds neither an encoded slash nor a control byte.
local function is_plain(r)
  return not r.encoded_slash and not table.concat(r.path):find("%c")
end

local function add_route_refusals(r, add)
  if r.bad_path then return add(400) end
  if r.prefix == "closed" then add(401) end
  if r.route == "nowhere" or not is_plain(r) then return add(404) end
  if r.method ~= "OPTIONS" and METHODS[r.method] and not takes(r) then add(405) end
  if r.route == "admin" and r.credentials ~= "good" then
    add(401)
    if r.credentials == "bad" then add(403) end
  end
  if r.stream and takes(r) and not takes_stream(r.accept) then add(406) end
end

local function in_pieces(r) return (r.route == "pieces" or r.route == "some") and takes(r) end

local function max_body(r) return in_pieces(r) and site.MAX_PIECES or site.MAX_BODY end

--- That such a body is too large may show too late.
local function may_stay_unread(r) return r.route == "some" and in_pieces(r) and r.framing == "chunks" end

--- All reasons to refuse; which of several is told is the server's choice.
local function refusals(r)
  local set, any = {}, false
  local function add(status) set[status], any = true, true end
  if r.method == "TRACE" then add(405) elseif not METHODS[r.method] then add(501) end
  if not is_allowed_host(r.host) then add(421) end
  if r.expect and r.minor == 1 and #r.expect > 1 then add(417) end
  if r.route ~= "health" and is_foreign(r) then add(403) end
  if r.body and #r.body > max_body(r) and not may_stay_unread(r) then add(413) end
  if r.twice then
    add(400)
    if r.twice == "Origin" then add(403) end -- whichever counts
  end
  if r.route ~= "health" and r.coding then add(415) end
  if r.query and #r.query > 100 then add(400) end
  add_route_refusals(r, add)
  -- what is refused before its route is looked at is read as any other
  if any and r.body and #r.body > site.MAX_BODY then add(413) end
  return any and set
end

-- ---- Bodies -------------------------------------------------------------------------------

local function decoded_path(r)
  return "/" .. table.concat(r.path, "/")
end

local function first_of(pairs_list)
  local out = {}
  for _, pair in ipairs(pairs_list or {}) do
    if out[pair[1]] == nil then out[pair[1]] = pair[2] end
  end
  return out
end

local function params_of(r)
  local own = r.prefix and 2 or 1
  if r.route == "echo" then return { name = r.path[own + 1] } end
  if r.route == "rest" then return { rest = table.concat(r.path, "/", own + 1) } end
  return {}
end

local function authority(r) return r.host and (r.host .. (r.port and ":" .. r.port or "")) or "" end

--- The text that site.lua's echo writes.
local function echo(r)
  return site.echo { method = r.method == "HEAD" and "GET" or r.method, path = decoded_path(r), host = authority(r),
    ip = ip_of(r),
    list = r.list and table.concat(r.list, ", "), body = r.body or "", params = params_of(r),
      query = first_of(r.query),
    cookies = first_of(r.cookies) }
end

local BODIES = {
  echo = echo, star = echo, rest = echo,
  mirror = function(r) return r.body or "" end,
  pieces = function(r) return r.body or "" end,
  some = function() return "some" end,
  json = function(r) return r.body end,
  size = function(r) return site.text:sub(1, r.size) end,
  file = function(r, at) return site.text:sub(1, at.files[r.file].size) end,
}

-- ---- The expectation ----------------------------------------------------------------------

local function is_set(words)
  return function(text)
    local seen, n = {}, 0
    for word in (text or ""):gmatch("[^%s,]+") do seen[word], n = true, n + 1 end
    for _, word in ipairs(words) do if not seen[word] then return false, "lacks " .. word end end
    return true
  end
end

local function contains(word)
  return function(text)
    return text ~= nil and (", " .. text:lower() .. ","):find(", " .. word:lower() .. ",", 1, true) ~= nil, "lacks "
      .. word
  end
end

--- Without Origin or from elsewhere no page is let in; caches are told that it matters.
local function add_cors(r, e)
  if r.twice == "Origin" or (r.prefix == "open" and not is_plain(r)) then return end -- what counts then is open
  if r.prefix ~= "open" or r.bad_path then
    e.fields["access-control-allow-origin"] = false
    return
  end
  local fits = r.origin == site.ALLOWED_ORIGIN
  e.fields["access-control-allow-origin"] = fits and site.ALLOWED_ORIGIN or false
  e.fields["access-control-allow-credentials"] = fits and "true" or false
  e.fields.vary = contains("Origin")
end

local function keeps(r)
  if has(r.connection, "close") then return false end
  return r.minor == 1 or has(r.connection, "keep-alive")
end

local function refused(r, e, set)
  if r.method == "OPTIONS" and not (r.bad_path or set[417]
    or set[421]) then set[204] = true end -- it asks what may be
  if r.last_id == "stop" then set[204] = true end
  if r.route == "health" then set[200] = true end -- it may not look at what is sent with it
  e.statuses = set
  if set[421] then e.fields = {} end -- which rules hold for another name is unknown
  local is_app = r.route ~= "health" and r.route ~= "admin"
  if set[405] and is_app and not set[404] and not r.bad_path then e.allow = is_set(TAKES[r.route] or READS) end
  if set[413] and next(set, next(set)) == nil then e.keeps = false end
  if r.body and e.keeps then e.keeps = nil end -- it need not read a body that it does not want
  if set[400] and r.bad_path and e.keeps then e.keeps = nil end
  return e
end

--- A list that is none may be refused, ignored, or taken for what can be read of it.
local function add_conditions(r, e, tag)
  local set = {}
  local function add_unless_failed(status)
    if not r.match or r.match.broken or is_same(r.match, tag, true) then set[status] = true end
  end
  if r.match and (r.match.broken or not is_same(r.match, tag, true)) then set[412] = true end
  if (r.tags and r.tags.broken) or (r.match and r.match.broken) then set[400] = true end
  if not r.tags or r.tags.broken or not is_same(r.tags, tag) then add_unless_failed(200) end
  if r.tags and is_same(r.tags, tag) then add_unless_failed(304) end
  e.statuses = set
  if set[304] then e.fields["content-type"] = nil end
end

local function answered(r, e, at)
  if r.route == "none" then e.statuses = { [204] = true } end
  if r.route == "broken" then
    e.statuses = { [500] = true }
  end
  if r.route == "some" and r.body then
    if e.keeps then e.keeps = nil end -- behind what was not read no request is found
    if may_stay_unread(r) and #r.body > site.MAX_PIECES then e.statuses[413] = true end
  end
  if r.route == "json" and json_status(r) ~= 200 then
    e.statuses = { [json_status(r)] = true }
    return e
  end
  local body = BODIES[r.route] and BODIES[r.route](r, at)
  e.body, e.size = body, body and #body
  if r.file then
    local file = at.files[r.file]
    e.fields["content-type"], e.fields.etag = file.type, file.tag
    add_conditions(r, e, file.tag)
  end
  return e
end

local function stream(r, e)
  if r.last_id == "stop" then -- a browser that was told to stay away
    e.statuses = { [204] = true }
    return e
  end
  e.fields["content-type"] = "text/event-stream"
  e.fields["cache-control"] = function(text) return text ~= nil and text:lower():find("no%-[cs]") ~= nil,
    "may be cached" end
  e.fields["x-accel-buffering"] = "no"
  e.stream = r.method == "GET"
  e.ends = r.stream == "written"
  if e.keeps then e.keeps = nil end
  return e
end

--- The expectation for a request on this server (its files are known in `at`).
function model.expect(r, at)
  local e = { statuses = { [200] = true }, fields = {}, keeps = false, interim = 0, minor = r.minor,
    no_body = r.method == "HEAD" }
  if r.spoiler then
    e.statuses = { [r.status] = true }
    return e
  end
  e.keeps = keeps(r)
  add_cors(r, e)
  local has_body = r.framing == "chunks" or (r.body and #r.body > 0)
  e.listens = r.stream and r.method == "GET"
  e.interim = r.minor == 1 and has(r.expect, "100-continue") and has_body and 1 or 0
  e.early = not takes_body(r) or r.route == "some" -- it may be answered before its body is there
  local set = refusals(r)
  if r.method == "OPTIONS" then e.statuses = { [204] = true } end
  if set then return refused(r, e, set) end
  if e.interim == 1 and not takes_body(r) and e.keeps then e.keeps = nil end -- this body is not waited for
  if r.method == "OPTIONS" then
    if r.route ~= "health" and r.route ~= "admin" and not r.preflight then e.fields.allow = is_set(TAKES[r.route]
      or READS) end
    if r.preflight and r.prefix == "open" and r.origin == site.ALLOWED_ORIGIN then
      e.fields["access-control-allow-methods"] = is_set { "GET", "POST", "DELETE" }
    end
    return e
  end
  if r.stream then return stream(r, e) end
  return answered(r, e, at)
end

return model
