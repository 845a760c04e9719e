--- Drawn worlds of limits: streams of all kinds and requests, from some addresses and of some users, over closes,
--- cuts, ends by the app, reloads, and limits that change. What was asked and how it went is written down as it came,
--- and judged apart, by what doc/limits.md says: nobody has more than they may, nobody is refused who has less, and
--- when all is over everybody has everything again.
local kit = require("spec.support.kit")

local limited = {}

local STEPS = 70

-- What is drawn: addresses, what they count as, and who is exempt by which list.
local ADDRESSES = {
  { ip = "192.0.2.1", key = "a" }, { ip = "192.0.2.2", key = "b" }, { ip = "2001:db8::1", key = "c" },
  { ip = "2001:db8::ff:1", key = "c" }, { ip = "2001:db8:0:1::1", key = "d" } }
local EXEMPT = { { list = {}, of = {} }, { list = {}, of = {} },
  { list = { "192.0.2.0/30" }, of = { ["192.0.2.1"] = true, ["192.0.2.2"] = true } },
  { list = { "2001:db8::1", "10.0.0.0/8" }, of = { ["2001:db8::1"] = true } } }
local USERS = { "ann", "bob", "cy" }

local APP = [[
app:channel("news", { history = 5 })
local function who(req)
  req.user = req.headers["X-User"] and { id = req.headers["X-User"], expires = tonumber(req.headers["X-Expires"]) }
  return true
end
app:stream("/constant", "news")
app:stream("/planned", who, function() return "news" end)
app:stream("/late", function(req) sluice.sleep(3) return "news" end)
app:stream("/written", who, function(req, client)
  client:send("first", {})
  sluice.sleep(3600)
end)
app:stream("/refused", who, function() return 403 end)
app:stream("/none", function() return "a/:x" end)
app:durable_stream("/feed", { channel = "news", wait = 7 })
app:durable_stream("/own-feed", who, function() return { channel = "news", wait = 7 } end)
app:get("/asked", who, function() return {} end)
app:post("/end", function(req)
  for c in app:clients() do
    if not req.query.user or c.user and c.user.id == req.query.user then c:close("moved") end
  end
  return 204
end)
]]

local OPERATOR = "203.0.113.9" -- asks for what the world itself needs, from outside of all that is judged

local function chance(n) return math.random(n) == 1 end
local function pick(list) return list[math.random(#list)] end

-- ---- The world -------------------------------------------------------------------------------

local function source(world)
  local l, parts = world.limits, {}
  for _, name in ipairs { "streams_address", "streams_user", "requests_address", "requests_user" } do
    local what, whose = name:match("^(%l+)_(%l+)$")
    parts[#parts + 1] = ("max_%s_per_%s = %d"):format(what, whose, l[name])
  end
  local list = { ("%q"):format(OPERATOR) }
  for _, text in ipairs(l.exempt.list) do list[#list + 1] = ("%q"):format(text) end
  return kit.source(("app:limits{ %s, exempt = { %s } }\n%s-- %d"):format(table.concat(parts, ", "),
    table.concat(list, ", "), APP, world.reloads))
end

local function draw_limits(world)
  local function some(list) return world.counts_requests and pick(list) or 0 end
  world.limits = { streams_address = pick { 0, 1, 2, 3 }, streams_user = pick { 0, 1, 2 },
    requests_address = some { 0, 3, 10, 30 }, requests_user = some { 0, 2, 20 }, exempt = pick(EXEMPT) }
end

local function note(world, fact)
  fact.at, fact.n = world.t:elapsed(), #world.facts + 1
  world.facts[fact.n] = fact
  return fact
end

local function headers_of(from, more)
  local headers = { ["X-Forwarded-For"] = from.ip, ["X-User"] = from.user }
  for name, value in pairs(more or {}) do headers[name] = value end
  return headers
end

local function somebody() return { ip = pick(ADDRESSES).ip, user = chance(2) and pick(USERS) or nil } end

local function all_open(world)
  local list = {}
  for s in pairs(world.open) do list[#list + 1] = s end
  table.sort(list, function(a, b) return a.fact.n < b.fact.n end)
  return list
end

-- What has ended by itself until now. `lag`: for how long the server may count it still.
local function look(world)
  for _, s in ipairs(all_open(world)) do
    local over = s.link and s.link:read() ~= "" or s.c and s.c.exchange.ended
    if over then
      world.open[s] = nil
      local bye = s.c and s.c:events("bye")[1]
      note(world, { what = "end", of = s.fact, lag = s.lag, is_thrown_out = bye and bye.data.reason == "overload" })
      if s.link then s.link:close() end
    end
  end
end

local function open_stream(world)
  local from = somebody()
  local path = pick { "/constant", "/planned", "/written", "/late", "/refused", "/none" }
  if path == "/constant" or path == "/late" or path == "/none" then from.user = nil end
  local polls = not world.counts_requests and path ~= "/none" and path ~= "/late" and chance(4)
  local expires = from.user and chance(5) and world.t.place:time() + math.random(20) or nil
  local fact = note(world, { what = "open", ip = from.ip, user = from.user, no_client = path == "/refused" })
  local c = world.t:connect(path, { headers = headers_of(from, { ["X-Expires"] = expires }),
    mode = polls and "poll" or nil })
  local bye = c.status == 200 and not c.hello and c:events("bye")[1]
  fact.refused = bye and bye.data.reason == "overload" or false
  if c.hello or polls and c.status == 200 and not bye then -- a poll waits while nothing is new
    world.open[{ c = c, fact = fact, lag = polls and 51 or 0 }] = true
  else
    assert(c.status == 403 or c.status == 404 or fact.refused, c.status)
    c:close()
    note(world, { what = "end", of = fact, lag = 0 })
  end
end

-- A reader of a durable stream, which waits.
local function open_feed(world)
  local from = somebody()
  local path = from.user and "/own-feed" or "/feed"
  local lines = { ("GET %s?offset=now&live=long-poll HTTP/1.1"):format(path), "Host: localhost" }
  for name, value in pairs(headers_of(from)) do lines[#lines + 1] = name .. ": " .. value end
  local fact = note(world, { what = "open", ip = from.ip, user = from.user, no_client = true })
  local link = world.t.place:dial()
  link:write(table.concat(lines, "\r\n") .. "\r\n\r\n")
  world.t:settle()
  local text = link:read()
  fact.refused = text:find("^HTTP/1.1 429 ") ~= nil
  assert(text == "" or fact.refused, text)
  if fact.refused then
    note(world, { what = "end", of = fact, lag = 0 })
    return link:close()
  end
  world.open[{ link = link, fact = fact, lag = 0 }] = true
end

local ACTS = {
  open = open_stream,
  feed = open_feed,
  close = function(world)
    local list = all_open(world)
    if #list == 0 then return end
    local s = pick(list)
    world.open[s] = nil
    if s.link then s.link:close() else s.c:close() end
    world.t:settle()
    note(world, { what = "end", of = s.fact, lag = s.lag })
  end,
  --- It leaves while its plan is made, before or after its head is out.
  leave = function(world)
    local from = somebody()
    local fact = note(world, { what = "open", ip = from.ip })
    local link = world.t.place:dial()
    link:write(("GET /late HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: %s\r\n\r\n"):format(from.ip))
    world.t:settle()
    fact.refused = link:read() ~= ""
    if chance(2) then world.t:advance(pick { 1, 2.5 }) end
    link:close()
    world.t:settle()
    note(world, { what = "end", of = fact, lag = 0 })
  end,
  ask = function(world)
    local from = somebody()
    for _ = 1, math.random(8) do
      local fact = note(world, { what = "ask", ip = from.ip, user = from.user })
      local r = world.t:get("/asked", { headers = headers_of(from) })
      fact.refused = r.status == 429
      assert(r.status == 200 or fact.refused and tonumber(r.headers["retry-after"]) >= 1, r.status)
    end
  end,
  ["end"] = function(world)
    local user = chance(2) and "?user=" .. pick(USERS) or ""
    world.t:post("/end" .. user, { headers = headers_of { ip = OPERATOR } })
  end,
  publish = function(world) world.t:publish("news", "story", {}) end,
  away = function(world) world.t:advance(pick { 0.1, 1, 5, 20, 45 }) end,
  change = function(world)
    world.reloads = world.reloads + 1
    if not chance(3) then draw_limits(world) end
    assert(world.t:reload(source(world)))
    note(world, { what = "limits", limits = world.limits })
  end,
}
local OFTEN = { "open", "open", "open", "open", "open", "feed", "close", "close", "leave", "ask", "ask", "end",
  "publish", "away", "away", "change" }

-- ---- The judge ---------------------------------------------------------------------------------

local KEYS, EPSILON = {}, 0.02
for _, a in ipairs(ADDRESSES) do KEYS[a.ip] = a.key end

--- How much of a bucket is used: the most that any stretch of time up to now has more than it may.
local function level(list, per_second, at)
  local most, sum = 0, 0
  for i = #list, 1, -1 do
    sum = sum + list[i].n
    most = math.max(most, sum - (at - list[i].at) * per_second)
  end
  return most
end

local Judge = {}
Judge.__index = Judge

-- Streams of somebody: those that are surely open, and those that may still count.
function Judge:streams(field, value, at)
  local sure, maybe = 0, 0
  for fact, ended in pairs(self.held) do
    local theirs = field == "user" and fact.user == value and not fact.no_client
      or field == "key" and KEYS[fact.ip] == value
    if theirs and not ended then sure = sure + 1 end
    if theirs and (not ended or ended.at + ended.lag >= at) then maybe = maybe + 1 end
  end
  return sure, maybe
end

-- { limit, list of what surely counts, and of what may } of somebody's requests.
function Judge:bucket(name, who)
  self.buckets[name][who] = self.buckets[name][who] or { sure = {}, maybe = {} }
  return self.buckets[name][who]
end

function Judge:change(fact)
  for name, all in pairs(self.buckets) do
    local before, after = self.limits[name], fact.limits[name]
    for who, b in pairs(all) do
      local kept = { sure = {}, maybe = {} }
      for which in pairs(kept) do
        local used = before > 0 and after > 0 and level(b[which], before / 60, fact.at) or 0
        kept[which][1] = { at = fact.at, n = math.min(used, after) }
      end
      all[who] = kept
    end
  end
  self.limits = fact.limits
end

-- The reasons for which a request may have been refused, and must have been.
function Judge:reasons(fact)
  local may, must = {}, {}
  local function weigh(name, sure, maybe, limit)
    if limit > 0 and sure >= limit then must[#must + 1] = name end
    if limit > 0 and maybe >= limit then may[#may + 1] = name end
  end
  local exempt = self.limits.exempt.of[fact.ip]
  for name, who in pairs { requests_address = not exempt and KEYS[fact.ip] or nil, requests_user = fact.user } do
    local limit, b = self.limits[name], self:bucket(name, who)
    weigh(name, level(b.sure, limit / 60, fact.at) + 1 - EPSILON, level(b.maybe, limit / 60, fact.at) + 1 + EPSILON,
      limit > 0 and limit + 1e-9 or 0)
  end
  if fact.what == "ask" then return may, must end
  local sure, maybe = self:streams("key", KEYS[fact.ip], fact.at)
  if not exempt then weigh("streams_address", sure, maybe, self.limits.streams_address) end
  if fact.user and not fact.no_client then
    sure, maybe = self:streams("user", fact.user, fact.at)
    weigh("streams_user", sure, maybe, self.limits.streams_user)
  end
  return may, must
end

-- One request more, of its address and its user; if it was refused nobody knows which of them counted it.
function Judge:count(fact)
  local exempt = self.limits.exempt.of[fact.ip]
  for name, who in pairs { requests_address = not exempt and KEYS[fact.ip] or nil, requests_user = fact.user } do
    if self.limits[name] > 0 then
      local b = self:bucket(name, who)
      table.insert(b.maybe, { at = fact.at, n = 1 })
      if not fact.refused then table.insert(b.sure, { at = fact.at, n = 1 }) end
    end
  end
end

function Judge:take(fact)
  if fact.what == "limits" then return self:change(fact) end
  if fact.what == "end" then
    if fact.is_thrown_out then return fact.of.ip .. " had a stream, which a limit ended" end
    if self.held[fact.of] == false then self.held[fact.of] = fact end
    return
  end
  local may, must = self:reasons(fact)
  local who = ("%s %s %s at %.3f"):format(fact.what, fact.ip, fact.user or "", fact.at)
  if fact.refused and #may == 0 then return who .. " was refused and has less than it may" end
  if not fact.refused and #must > 0 then return who .. " was let in over " .. table.concat(must, ", ") end
  self:count(fact)
  if fact.what == "open" and not fact.refused then self.held[fact] = false end
end

--- What is wrong with a story, or nil.
function limited.judge(facts)
  local judge = setmetatable({ held = {}, buckets = { requests_address = {}, requests_user = {} },
    limits = facts[1].limits }, Judge)
  for _, fact in ipairs(facts) do
    local wrong = judge:take(fact)
    if wrong then return wrong end
  end
end

-- ---- The end -------------------------------------------------------------------------------------

-- Nothing is held any more: two streams each fit, and no third.
local function finish(world)
  local t = world.t
  for s in pairs(world.open) do
    if s.link then s.link:close() else s.c:close() end
  end
  t:settle()
  t:advance(60)
  world.reloads = world.reloads + 1
  world.limits = { streams_address = 2, streams_user = 0, requests_address = 0, requests_user = 0, exempt = EXEMPT[1] }
  assert(t:reload(source(world)))
  local seen = {}
  for _, a in ipairs(ADDRESSES) do
    for i = 1, seen[a.key] and 0 or 3 do
      local c = t:connect("/planned", { headers = headers_of { ip = a.ip } })
      if (c.hello ~= nil) ~= (i < 3) then return ("in the end %s, stream %d: %s"):format(a.ip, i, c.hello ~= nil) end
    end
    seen[a.key] = true
  end
  world.limits.streams_address, world.limits.streams_user = 0, 2
  assert(t:reload(source(world)))
  for _, user in ipairs(USERS) do
    for i = 1, 3 do
      local c = t:connect("/planned", { headers = headers_of { ip = OPERATOR, user = user } })
      if (c.hello ~= nil) ~= (i < 3) then return ("in the end %s, stream %d: %s"):format(user, i, c.hello ~= nil) end
    end
  end
end

--- nil, or what was wrong.
function limited.play(seed)
  math.randomseed(seed)
  local world = { open = {}, facts = {}, reloads = 0, counts_requests = chance(2) }
  draw_limits(world)
  world.t = kit.whole(source(world), { seed = seed, flags = { trust_proxy = true } })
  note(world, { what = "limits", limits = world.limits })
  for _ = 1, STEPS do
    look(world)
    ACTS[pick(OFTEN)](world)
  end
  local wrong = limited.judge(world.facts) or finish(world)
  kit.stop_all()
  return wrong
end

return limited
