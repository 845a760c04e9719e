--- Clients that poll and clients of streams on the same channels, while answers are lost, cut or never asked for,
--- the app reloads and restarts, and clients stay away. A checker that knows only what was published and what each
--- client got says whether all of them were told the same: each event of a log once, in order, none left out
--- without a reset of its channel in the same answer; values as they are in the end; client:send and hooks once.
--- SEED= repeats one world.
local json = require("sluice.json")
local kit = require("spec.support.kit")
local worlds = require("spec.support.worlds")

local STEPS = 60
local TTL = 600 -- seconds that a value lives when nothing is published for its key
local LOGS = { log = true, short = true, keyed = true }

local APP = [[
app:channel("log", { history = 60 })
app:channel("short", { history = 4 })
app:channel("keyed", { history = 40, key = "key", rewind = "latest" })
app:channel("prices", { history = "latest", key = "key" })
local all = { channels = { "log", "short", "keyed", "prices" } }
app:stream("/all", all)
app:stream("/asked", function(req) return all end)
app:stream("/less", { channels = { "log", "prices" } })
local hooks = app:state("hooks", { here = {}, sent = {} })
app:on("subscribe", "log", function(client) hooks().here[client.id] = (hooks().here[client.id] or 0) + 1 end)
app:on("unsubscribe", "log", function(client) hooks().here[client.id] = hooks().here[client.id] - 1 end)
app:post("/own/:n", function(req)
  for client in app:clients() do
    if client:send("own", { n = tonumber(req.params.n) }) then
      local list = hooks().sent[client.id] or {}
      hooks().sent[client.id] = list
      list[#list + 1] = tonumber(req.params.n)
    end
  end
  return 204
end)
]]

local function chance(n) return math.random(n) == 1 end
local function pick(list) return list[math.random(#list)] end

-- ---- Reading an answer -----------------------------------------------------------------

--- The blocks of a text whose blank line is there: { event, data, id }, and the token.
local function read_text(text)
  local list, token = {}, nil
  for block in text:gmatch("(.-)\n\n") do
    local e = {}
    for line in (block .. "\n"):gmatch("(.-)\n") do
      local name, value = line:match("^(%w+): (.*)$")
      if name == "poll" then token = value elseif name then e[name] = value end
    end
    if e.data then list[#list + 1] = e end
  end
  return list, token
end

--- The same of the JSON form. Its lists say less about the order: resets first, then the logs.
local function read_json(text)
  local answer = json.decode(text)
  local list = {}
  local function add(event, data, id) list[#list + 1] = { event = event, data = data, id = id } end
  if answer.hello then add("hello", json.encode(answer.hello)) end
  for _, r in ipairs(answer.reset) do add("reset", json.encode(r)) end
  for _, e in ipairs(answer.events) do add(e.event, e.data, e.id) end
  for _, e in ipairs(answer.state) do add(e.event, e.data) end
  if answer.bye then add("bye", json.encode(answer.bye)) end
  if type(answer.cursor) == "string" then add("sync", "{}", answer.cursor) end
  return list, type(answer.poll) == "string" and answer.poll or nil
end

-- ---- A client: what it got, and what it may expect ----------------------------------------

local Client = {}
Client.__index = Client

local function epoch(id) return id:match("^(.*)%-%d+$") end
local function number(id) return math.tointeger(tonumber(id:match("%-(%d+)$"))) end

--- Everything of one answer, or of a part of it. `world.published`: per channel { n, id } in order.
function Client:take(list)
  local world, lost = self.world, self.lost -- a reset may be all that a cut has left of an answer
  for _, e in ipairs(list) do
    local data = json.decode(e.data)
    if e.event == "hello" then
      self.client = data.client
      self.values = {}
    elseif e.event == "reset" then
      lost[data.channel], self.lossy = true, true
      self.reset = self.reset + 1
      if data.reason == "epoch" or data.reason == "restart" then self.cursor = {} end
    elseif e.event == "own" then
      assert(not self.own[data.n], "sent twice: " .. data.n)
      self.own[data.n] = not self.is_cut -- it has no id: what was cut behind it brings it again
    elseif e.event == "value" then
      self.values[data.key] = data.n
    elseif LOGS[e.event] then
      local channel = e.event
      local before = self.cursor[channel]
      local snapshot = channel == "keyed" and (lost.keyed or self.fresh)
      if before and not snapshot then
        assert(data.n > before, ("%s: %d after %d"):format(channel, data.n, before))
        for _, p in ipairs(world.published[channel]) do
          if p.n > before and p.n < data.n and not lost[channel] then
            error(("%s: %d is missing between %d and %d"):format(channel, p.n, before, data.n), 0)
          end
        end
      end
      if before == nil or data.n > before then self.cursor[channel] = data.n end
      if channel == "log" then self.seen[#self.seen + 1] = data.n end
      lost[channel] = snapshot and lost[channel] or nil
    end
    if e.id and e.id ~= "" then
      if self.id and epoch(self.id) == epoch(e.id) then
        assert(number(e.id) >= number(self.id), "an id fell: " .. self.id .. " to " .. e.id)
      end
      self.id = e.id
    end
  end
end

--- Up to its id it must have everything: what of a log has a lower id and did not come is lost.
function Client:check()
  if not self.id then return end
  for channel in pairs(LOGS) do
    local last = self.cursor[channel]
    for _, p in ipairs(self.follows[channel] and self.world.published[channel] or {}) do
      local told = last and p.n > last and p.n > self.began and not self.excused[channel]
      if told and epoch(p.id) == epoch(self.id) and number(p.id) <= number(self.id) then
        error(("%s: %d (%s) never came, although %s did"):format(channel, p.n, p.id, self.id), 0)
      end
    end
  end
end

local FOLLOWS = { ["/all"] = LOGS, ["/asked"] = LOGS, ["/less"] = { log = true } }

local function new_client(world, path, form)
  return setmetatable({ world = world, path = path, form = form, cursor = {}, values = {}, own = {}, reset = 0,
    lost = {}, given_up = {},
    seen = {}, follows = FOLLOWS[path], began = world.n, excused = {}, fresh = true }, Client)
end

--- The target of its next poll.
function Client:target(id, token)
  local query = { "mode=poll" }
  if token then query[#query + 1] = "poll=" .. token end
  if id then query[#query + 1] = "lastEventId=" .. id end
  return self.path .. "?" .. table.concat(query, "&")
end

local function accept(self)
  return { headers = { accept = self.form == "json" and "application/json" or "text/event-stream" } }
end

--- One poll. `fate`: "lost", "cut" or nil.
function Client:poll(fate)
  local away = self.at and self.world.t:elapsed() - self.at > 49 -- then it is another client
  self.was_away = self.was_away or away
  local r = self.world.t:get(self:target(self.id, self.token), accept(self))
  assert(r.status == 200, r.status)
  if fate == "lost" then return end
  local text = r.body
  local list, token
  self.is_cut = fate == "cut" and self.form == "text"
  self.at = self.world.t:elapsed()
  if fate == "cut" and self.form == "text" then
    for _, e in ipairs((read_text(text))) do -- what the app sent to it alone may be lost with this answer
      if e.event == "own" then self.given_up[json.decode(e.data).n] = true end
    end
    list = read_text(text:sub(1, math.random(0, #text - 1)))
  elseif self.form == "text" then
    list, token = read_text(text)
  else
    list, token = read_json(text)
  end
  self:take(list)
  self.is_cut = false
  if token then self.token = token end
  if fate == nil then self:check() end
  if token and #list > 0 then self.fresh = false end
  return list
end

-- ---- A world ------------------------------------------------------------------------------

local function publish(world, channel)
  local key = pick { "a", "b", "c" }
  world.n = world.n + 1
  local event = channel == "prices" and "value" or channel
  local id = world.t:publish(channel, event, { n = world.n, key = key })
  local list = world.published[channel]
  list[#list + 1] = { n = world.n, id = type(id) == "string" and id or nil, key = key }
  if channel == "prices" then world.values[key] = { n = world.n, at = world.t:elapsed() } end
end

local ACTS = {
  publish = function(world)
    for _ = 1, math.random(4) do publish(world, pick { "log", "log", "short", "keyed", "prices" }) end
  end,
  many = function(world) for _ = 1, math.random(60) do publish(world, pick { "log", "keyed" }) end end,
  poll = function(world) pick(world.polls):poll() end,
  lost = function(world) pick(world.polls):poll("lost") end,
  cut = function(world) pick(world.polls):poll("cut") end,
  --- It waits, and its connection breaks before or after something comes.
  drop = function(world)
    local c = pick(world.polls)
    local waits = world.t:connect(c.path, { mode = "poll", token = c.token, last_event_id = c.id })
    c.was_away = true -- it may have gone on from the answer that c does not know
    if chance(2) then publish(world, "log") end
    waits:drop()
  end,
  own = function(world)
    world.n = world.n + 1
    world.t:post("/own/" .. world.n)
  end,
  forge = function(world)
    local c = pick(world.polls)
    local r = world.t:get(c:target(c.id, (c.token or "0.1.x.y"):gsub("%w$", "z")), accept(c))
    assert(r.status == 200)
    assert(not c.client or not r.body:find(('"client":"%s"'):format(c.client), 1, true), "a forged token was taken")
  end,
  away = function(world) world.t:advance(pick { 1, 10, 40, 60 }) end,
  reload = function(world)
    world.reloads = world.reloads + 1
    assert(world.t:reload(kit.source(APP .. "\n-- " .. world.reloads)))
  end,
  restart = function(world) world.t:restart() end,
}
local OFTEN = { "publish", "publish", "publish", "publish", "many", "poll", "poll", "poll", "poll", "poll",
  "lost", "lost", "cut", "cut", "drop", "drop", "own", "forge", "away", "reload", "restart" }

--- A stream that was open all the time got the same of the log.
local function compare(world, c)
  local list, at = {}, 1
  for i, e in ipairs(world.stream:events("log")) do
    list[i] = e.data.n
    if list[i] == c.seen[1] then at = i end
  end
  for i, n in ipairs(c.seen) do
    assert(list[at + i - 1] == n, ("%d of the log comes in place of %s on a stream"):format(n, list[at + i - 1]))
  end
end

--- In the end all are told everything: the values too, and who is there was told so once.
local function finish(world)
  publish(world, "log")
  publish(world, "prices")
  for _, c in ipairs(world.polls) do
    local last = world.published.log[#world.published.log].n
    for _ = 1, 50 do
      c:poll()
      if c.cursor.log == last then break end
    end
    assert(c.cursor.log == last, "the last of the log never came")
    c:poll() -- what is left of another channel
    if not world.restarted and c.reset == 0 then compare(world, c) end
    for key, value in pairs(world.values) do
      local ages = world.t:elapsed() - value.at > TTL
      if not world.restarted and not ages then assert.equal(value.n, c.values[key], c.path .. ": value " .. key) end
    end
  end
  for _, c in ipairs(world.polls) do
    for _, n in ipairs(not c.was_away and world.t:state("hooks").sent[c.client] or {}) do
      assert(c.own[n] or c.given_up[n], "client:send was lost: " .. n)
    end
  end
  for id, n in pairs(world.t:state("hooks").here) do
    assert(n == 0 or n == 1, ("hooks of %s: %d"):format(id, n))
  end
end

local function play(seed)
  math.randomseed(seed)
  local world = { n = 0, reloads = 0, published = { log = {}, short = {}, keyed = {}, prices = {} }, values = {},
    t = kit.start(APP, { seed = seed }), polls = {} }
  world.stream = world.t:connect("/all")
  for i = 1, 4 do
    world.polls[i] = new_client(world, pick { "/all", "/all", "/asked", "/less" }, pick { "json", "text" })
    publish(world, "prices")
    world.polls[i]:poll()
  end
  local trace = {}
  local restarts = chance(3)
  local ok, problem = pcall(function()
    for _ = 1, STEPS do
      local act = pick(OFTEN)
      if act ~= "restart" or restarts then
        trace[#trace + 1] = act
        if act == "restart" then
          world.restarted, world.values = true, {}
        end
        ACTS[act](world)
      end
    end
    trace[#trace + 1] = "finish"
    finish(world)
  end)
  kit.stop_all()
  return not ok and ("%s\n%s"):format(tostring(problem), table.concat(trace, " ")) or nil
end

describe("clients that poll", function()
  after_each(kit.stop_all)

  it("are told what was published, once, in order, with what was lost", function()
    worlds.hold(play, 12, 2000)
  end)
end)
