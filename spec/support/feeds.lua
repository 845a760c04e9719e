--- Drawn worlds of durable streams: readers of all kinds follow a durable log and one in memory, over bursts, cuts,
--- stalls, restarts, kills and short histories. What each one was given is written down as it came, and judged apart:
--- the numbers of a log in order, none twice, none left out unless a 410 came in between.
local kit = require("spec.support.kit")

local feeds = {}

local APP = [[
app:channel("durable/:id", { history = %d, durable = true })
app:channel("memory/:id", { history = %d, ttl = false })
for _, kind in ipairs { "durable", "memory" } do
  local log = kind .. "/log"
  app:durable_stream("/json/" .. kind, { channel = log, closes = "done", wait = 1 })
  app:durable_stream("/text/" .. kind, { channel = log, closes = "done", type = "text/plain", wait = 1 })
  app:durable_stream("/asked/" .. kind, function(req) return log end)
  app:stream("/events/" .. kind, log)
end
]]

local function chance(n) return math.random(n) == 1 end
local function pick(list) return list[math.random(#list)] end

local function numbers_of(text)
  local list = {}
  for n in text:gmatch('{"n":(%d+)') do list[#list + 1] = tonumber(n) end
  return list
end

-- ---- Readers -------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

local function new_reader(world, kind, form, how)
  return setmetatable({ world = world, kind = kind, form = form, how = how, offset = pick { "-1", "-1", "now" },
    got = {}, read = 0 }, Reader)
end

function Reader:note(what, value) table.insert(self.got, { what, value }) end

function Reader:take(text)
  if self.form ~= "text" and text ~= "" then
    local values = require("sluice.json").decode(text)
    if type(values) ~= "table" then self:note("garbage", text:sub(1, 80)) return end
    for _, value in ipairs(values) do
      if type(value) ~= "table" or not value.n then self:note("garbage", text:sub(1, 80)) end
    end
  end
  for _, n in ipairs(numbers_of(text)) do self:note("item", n) end
end

function Reader:path(live)
  return ("/%s/%s?offset=%s%s"):format(self.form, self.kind, self.offset, live and "&live=" .. live or "")
end

-- It begins again with what is left.
function Reader:lose()
  self:note("told")
  self.offset = "-1"
end

function Reader:ask()
  local newest = self.world.there[self.kind]
  local answer = self.world.t:get(self:path(self.how == "poll" and "long-poll" or nil))
  if answer.status == 410 then return self:lose() end
  if answer.status == 503 then return end
  if answer.status ~= 200 and answer.status ~= 204 then
    return self:note("garbage", answer.status .. " " .. answer.body:sub(1, 80))
  end
  local to = answer.headers["stream-next-offset"]
  if self.offset:find("_") and to < self.offset and to:sub(1, 13) == self.offset:sub(1, 13) then
    self:note("garbage", self.offset .. " and then " .. to)
  end
  self:take(answer.body)
  if self.offset == "now" then self:note("begins") end
  self.offset = to
  if answer.headers["stream-up-to-date"] then self:note("all", newest) end
end

-- Messages count when the control event behind them is here.
function Reader:listen()
  local c = self.stream
  if not c then
    c = self.world.t:connect(self:path("sse"))
    if c.status == 410 then return self:lose() end
    if c.status == 503 then return end
    if c.status ~= 200 then return self:note("garbage", c.status .. " " .. tostring(c.body)) end
    self.stream, self.read = c, 0
    if self.offset == "now" then self:note("begins") end
  end
  local list, data = c:events(), {}
  for i = self.read + 1, #list do
    local e = list[i]
    if e.event == "data" then data[#data + 1] = e.text
    elseif e.event == "control" then
      for _, text in ipairs(data) do self:take(text) end
      self.offset, data, self.read = e.data.streamNextOffset, {}, i
    else self:note("garbage", e.event) end
  end
  if c.exchange.ended then self.stream = nil end
end

function Reader:turn()
  if self.how == "sse" then self:listen() else self:ask() end
end

function Reader:cut()
  if self.stream then self.stream:close() end
  self.stream = nil
end

-- ---- The judge -----------------------------------------------------------------------------

-- What is wrong with what a reader got, or nil. 'last': the newest number of its log.
local function judge(reader, last)
  local at, told, begun = 0, false, reader.got[1] == nil or reader.got[1][1] ~= "begins"
  for i, row in ipairs(reader.got) do
    local what, value = row[1], row[2]
    if what == "garbage" then return ("it got %s"):format(value) end
    if what == "told" then told = true end
    if what == "begins" then told, begun = true, true end
    if what == "all" and begun and value and at < value and not told then
      return ("up to date, with %d of %d"):format(at, value)
    end
    if what == "item" then
      if value <= at then return ("%d after %d, at %d"):format(value, at, i) end
      if value > at + 1 and at > 0 and not told then return ("%d after %d, and nothing was said"):format(value, at) end
      at, told = value, false
    end
  end
  if at ~= last and not (at == 0 and begun and told) then return ("it ended with %d, not %d"):format(at, last) end
end

-- ---- The world -----------------------------------------------------------------------------

local World = {}
World.__index = World

local SIZES = { 3, 3, 200, 4000 }

function World:publish(kind, n)
  for _ = 1, n do
    local number = self.sent[kind] + 1
    local text = ('{"n":%d,"p":"%s"}'):format(number, ("x"):rep(pick(SIZES)))
    local name = chance(40) and "done" or "message"
    local id = self.t:publish(kind .. "/log", name, text)
    if id then self.sent[kind], self.acked[kind], self.there[kind] = number, number, number end
  end
end

local ACTS = {
  { 10, function(w) w:publish(pick(w.kinds), math.random(1, 4)) end },
  { 3, function(w) w:publish(pick(w.kinds), math.random(10, 60)) end },
  { 4, function(w) w.t:advance(pick { 0.01, 0.5, 2, 5 }) end },
  { 14, function(w) pick(w.readers):turn() end },
  { 2, function(w) pick(w.readers):cut() end },
  { 3, function(w)
    local r = pick(w.readers)
    if r.stream and not r.stream.exchange.ended then r.stream:stall(pick { 0.5, 3, 9 }) end
  end },
  { 1, function(w) w.t:restart() w.there.memory = 0 end },
  { 1, function(w) w.t:kill() w.there.memory = 0 end },
  { 1, function(w) assert(w.t:reload()) end },
  { 1, function(w) w.t:disk { commit = pick { 0.002, 0.2 } } end },
}

local function draw()
  local all = 0
  for _, row in ipairs(ACTS) do all = all + row[1] end
  local at = math.random(all)
  for _, row in ipairs(ACTS) do
    at = at - row[1]
    if at <= 0 then return row[2] end
  end
end

local function finish(w)
  w.t:disk { commit = 0.002 }
  for _, kind in ipairs(w.kinds) do
    local before = w.acked[kind]
    repeat w:publish(kind, 1) until w.acked[kind] > before
  end
  w.t:advance(20) -- stalls end
  for _, reader in ipairs(w.readers) do
    reader:cut()
    for _ = 1, 60 do
      reader:turn()
      w.t:advance(0.05)
    end
  end
end

--- Play the world of a seed: nil, or what was wrong.
function feeds.play(seed)
  math.randomseed(seed)
  local t = kit.start(APP:format(pick { 5, 40, 300 }, pick { 5, 40, 300 }), { seed = seed })
  local w = setmetatable({ t = t, kinds = { "durable", "memory" }, readers = {},
    sent = { durable = 0, memory = 0 }, acked = { durable = 0, memory = 0 },
    there = { durable = 0, memory = 0 } }, World)
  for _, kind in ipairs(w.kinds) do
    for _, how in ipairs { "page", "poll", "sse", "sse" } do
      table.insert(w.readers, new_reader(w, kind, pick { "json", "text", "asked" }, how))
    end
    t:connect("/events/" .. kind) -- a stream at the same places
  end
  local ok, problem = pcall(function()
    for _ = 1, math.random(30, 90) do draw()(w) end
    finish(w)
  end)
  kit.stop_all()
  if not ok then error(problem, 0) end
  for _, r in ipairs(w.readers) do
    local wrong = judge(r, w.acked[r.kind])
    if wrong then return ("%s, %s, by %s: %s"):format(r.kind, r.form, r.how, wrong) end
  end
end

return feeds
