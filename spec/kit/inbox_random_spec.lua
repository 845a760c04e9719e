--- Random inboxes: users send, acknowledge, come and go with several devices, while the app reloads, the process
--- dies, the disk is slow, full or hung, caps and age take things away and steps escalate. A checker that knows
--- nothing of the module goes by what was answered and by what each device was sent. Mistakes that are planted
--- into the module are all found. SEED= repeats one world.
local kit = require("spec.support.kit")
local worlds = require("spec.support.worlds")

local STEPS, MAX, KEEP, MARGIN = 70, 8, 400, 8
local USERS = { "ann", "bob smith", "~Ym9iIHNtaXRo", ("é"):rep(40), ("é"):rep(40) .. "x" }
local SEVERITIES = { "info", "info", "warning", "critical", "critical" }
local PRIORITY = { info = 0, warning = 1, critical = 3 }

local function chance(n) return math.random(n) == 1 end
local function pick(list) return list[math.random(#list)] end

local APP = [[
  local http = require("sluice.http")
  local inbox = require(%q).new(app, { max = %d, keep = %d, durable = %s, escalate = { critical = {
    { after = 10, via = "webhook", url = "http://log/1", retries = 0 },
    { after = 25, via = function(_, data)
      sluice.sleep(3)
      http.post("http://log/2", { json = { step = 2, notification = data } })
    end } } } })
  inbox:stream("/n")
  inbox:routes("/n")
  app:post("/send", function(req)
    local body = req:json()
    return sluice.receipt(inbox:send(body.to, body.message))
  end)
  app:post("/burst", function(req)
    local body = req:json()
    for _, message in ipairs(body.messages) do app:spawn(function() inbox:send(body.to, message) end) end
  end)
  app:post("/all", function(req)
    local body = req:json()
    return { n = (inbox:broadcast(body.to, body.message)) }
  end)]]

-- ---- What happens --------------------------------------------------------------------------

-- An item by its message: { to, severity, id, known (it was answered), acked (when), maybe_acked, dropped }
local function new_item(w, to)
  w.n = w.n + 1
  local item = { n = w.n, to = to, severity = pick(SEVERITIES), at = w.t:elapsed() }
  w.items["m" .. w.n] = item
  return item, { message = "m" .. w.n, severity = item.severity }
end

local function list_of(w, user)
  local answer = w.t:get("/n/unread", { user = user })
  assert(answer.status == 200, answer.body)
  return answer.json
end

local function send(w)
  local to, is_alone = pick(USERS), w.t:elapsed() > w.busy_until
  local item, message = new_item(w, to)
  local key = chance(3) and "k" .. w.n or nil
  message.idempotency = key
  for _ = 1, key and math.random(3) or 1 do
    local answer = w.t:post("/send", { json = { to = to, message = message } })
    local id = answer.status == 202 and answer.json.id
    if id and item.id and item.id ~= id then w.wrong = "another id of the same key: " .. message.message end
    if id then item.id, item.known, item.message = id, true, key and w.durable and message or nil end
    if id and is_alone and #list_of(w, to).notifications > MAX then w.wrong = "more than max" end
  end
end

-- The same once more, perhaps long after it was acknowledged.
local function repeat_one(w)
  local keyed = {}
  for message, item in pairs(w.items) do
    if item.known and item.message then keyed[#keyed + 1] = message end
  end
  if #keyed == 0 then return end
  table.sort(keyed)
  local item = w.items[pick(keyed)]
  local answer = w.t:post("/send", { json = { to = item.to, message = item.message } })
  local json = answer.status == 202 and answer.json
  if json and not (json.id == item.id and json.duplicate) then w.wrong = "sent again: " .. item.message.message end
end

local function burst(w)
  w.busy_until = w.t:elapsed() + 20
  local to, list = pick(USERS), {}
  for i = 1, math.random(6) do
    local _
    _, list[i] = new_item(w, to)
  end
  w.t:post("/burst", { json = { to = to, messages = list } })
end

local function broadcast(w)
  w.busy_until = w.t:elapsed() + 20
  w.n = w.n + 1
  local message = "m" .. w.n
  w.items[message] = { n = w.n, to_all = true, severity = "info", at = w.t:elapsed(), gone = {} }
  w.t:post("/all", { json = { to = USERS, message = { message = message } } })
end

local function ack(w)
  local user, ids, mine = pick(USERS), {}, {}
  for _, item in ipairs(list_of(w, user).notifications) do
    if chance(3) then ids[#ids + 1], mine[#mine + 1] = item.id, item.message end
  end
  for _, item in pairs(w.items) do
    if item.id and item.to ~= user and chance(40) then ids[#ids + 1] = item.id end -- somebody else's
  end
  local answer = w.t:post("/n/ack", { user = user, json = { ids = ids } })
  local is_done = answer.status == 200
  if is_done and answer.json.acknowledged > #mine then w.wrong = "more acknowledged than there were" end
  for _, message in ipairs(mine) do
    local key = user .. " " .. message
    w.maybe_acked[key] = w.maybe_acked[key] or w.t:elapsed()
    if is_done then w.acked[key] = w.acked[key] or w.t:elapsed() end
  end
end

local function disturb(w) w.disturbed[#w.disturbed + 1] = w.t:elapsed() end

local function trouble(w)
  local fault = pick { "full", "hung" }
  local from = w.t:elapsed()
  w.t:disk { [fault] = true }
  w.busy_until = math.huge
  for _ = 1, 3 do pick { send, ack, burst }(w) end
  if chance(2) then w.t:advance(pick { 1, 7 }) end
  w.t:disk { [fault] = false }
  w.outages[#w.outages + 1], w.busy_until = { from, w.t:elapsed() + MARGIN }, w.t:elapsed() + 20
end

local function source(w) return kit.source(APP:format(w.module, MAX, KEEP, w.durable)) end

-- ---- Devices: what each was sent, over all its connections ------------------------------------

-- Take in what came: what the device shows, and whether it was told twice or out of order.
local function read_device(w, d)
  for i = d.read + 1, #d.c:events() do
    local e = d.c:events()[i]
    local data = e.data
    if e.event == "reset" then
      d.shown, d.seen, d.last, d.resets = {}, {}, 0, d.resets + 1
    elseif e.event == "notification" then
      local item = w.items[data.message]
      if not item then w.wrong = "nobody sent " .. data.message end
      local is_mine = data.to == d.user and not (item and item.to and item.to ~= d.user)
      if not is_mine then w.wrong = "of another user: " .. data.message end
      if d.seen[data.id] then w.wrong = "twice on a device: " .. data.message end
      if w.acked[d.user .. " " .. data.message] and d.opened > w.acked[d.user .. " " .. data.message]
        and not d.resumed then
        w.wrong = "it came again: " .. data.message
      end
      d.seen[data.id], d.shown[data.id] = true, data.message
      if item and not item.id then item.id = not item.to_all and data.id or nil end
    elseif e.event == "notification-ack" then
      local message = d.shown[data.id]
      local item = message and w.items[message]
      if message and data.reason then w.dropped[d.user .. " " .. message] = data.reason end
      if message and not data.reason and not w.maybe_acked[d.user .. " " .. message] then
        w.wrong = "nobody acknowledged " .. message
      end
      if item and data.reason == "keep" and w.t:elapsed() - item.at < KEEP then w.wrong = "too early: " .. message end
      d.shown[data.id] = nil
    elseif e.event == "notification-dropped" then
      d.dropped[data.id] = true
    end
  end
  d.read = #d.c:events()
end

local function open(w, d)
  if d.c then read_device(w, d) end
  local last = d.c and d.c:last_id()
  d.resumed = last ~= nil
  d.c = w.t:connect("/n", { user = d.user, last_event_id = last })
  assert(d.c.status == 200)
  d.opened, d.read, d.is_open = w.t:elapsed(), 0, true
  if last == nil then d.shown, d.seen = {}, {} end
end

local function shut(w, d)
  read_device(w, d)
  d.c:drop()
  d.is_open = false
end

local function come_or_go(w)
  local d = pick(w.devices)
  if d.is_open then shut(w, d) else open(w, d) end
end

-- All streams end with the process; a device that follows comes back.
local function with_new_process(w, fn)
  for _, d in ipairs(w.devices) do
    if d.is_open then read_device(w, d) end
  end
  disturb(w)
  fn()
  disturb(w)
  for _, d in ipairs(w.devices) do
    if d.is_open then open(w, d) end
  end
end

local function step(w)
  local what = math.random(24)
  if what <= 6 then send(w)
  elseif what == 7 then repeat_one(w)
  elseif what <= 9 then burst(w)
  elseif what == 10 then broadcast(w)
  elseif what <= 13 then ack(w)
  elseif what <= 17 then come_or_go(w)
  elseif what == 18 then
    disturb(w)
    assert(w.t:reload(source(w)))
    w.t:advance(pick { 0, 1, 6 })
    disturb(w)
  elseif what == 19 and w.durable then with_new_process(w, function() pick { w.t.kill, w.t.restart }(w.t) end)
  elseif what == 20 and w.durable then trouble(w)
  elseif what == 21 and w.durable then w.t:disk { commit = pick { 0.002, 0.002, 0.5 } }
  else w.t:advance(pick { 1, 5, 12, 40, 150 })
  end
  w.t:advance(pick { 0, 0, 0.3, 2 })
end

-- ---- The checker ---------------------------------------------------------------------------

-- Whether one that was there before this item has stayed, though it is of the lowest severity.
local function stays_lower(w, listed, item)
  for message in pairs(listed) do
    local other = w.items[message]
    if other.n < item.n and PRIORITY[other.severity] == 0 then return true end
  end
  return false
end

local function check_list(w, user, is_calm)
  local answer, listed, last, n = list_of(w, user), {}, 0, 0
  for _, row in ipairs(answer.notifications) do
    local item, key = w.items[row.message], user .. " " .. row.message
    if not item or item.to and item.to ~= user then return "not of this user: " .. row.message end
    if w.acked[key] then return "acknowledged and still there: " .. row.message end
    if item.known and item.n < last then return "out of order: " .. row.message end
    last = item.known and item.n or last
    item.id = item.id or not item.to_all and row.id or nil
    listed[row.message], n = row, n + 1
  end
  if n > MAX and is_calm then return "more than max" end
  for message, item in pairs(w.items) do
    local key = user .. " " .. message
    local is_here = listed[message] ~= nil
    local is_gone = w.maybe_acked[key] or w.dropped[key] or w.t:elapsed() - item.at >= KEEP
    if item.known and item.to == user and not is_here and not is_gone then
      local notice = answer.dropped
      if not notice then return "it vanished: " .. message end
      local is_wrong = is_calm and PRIORITY[item.severity] == 3 and stays_lower(w, listed, item)
      if is_wrong then return "the wrong one was dropped: " .. message end
    end
    if is_here and w.t:elapsed() - item.at > KEEP + 65 and is_calm then return "too old: " .. message end
  end
  return nil, listed
end

-- How long a call may have been under way.
local function under_way(w, at)
  local till = at + MARGIN
  for _, outage in ipairs(w.outages) do
    if outage[1] <= till and outage[2] >= at then till = math.max(till, outage[2] + MARGIN) end
  end
  return till
end

local function check_calls(w, listed_all)
  for message, item in pairs(w.items) do
    local acked = item.to and w.acked[item.to .. " " .. message]
    for n = 1, 2 do
      local calls = w.calls[message .. " " .. n] or {}
      for i, at in ipairs(calls) do
        if item.severity ~= "critical" then return "escalated without need: " .. message end
        if acked and at > acked + (n == 2 and 3.1 or 0.01) then return "escalated though acknowledged: " .. message end
        if at < item.at + (n == 1 and 10 or 28) - 0.01 then return "escalated too early: " .. message end
        if i > 1 then
          local cut = false
          for _, d in ipairs(w.disturbed) do
            cut = cut or d >= calls[i - 1] - 3.1 and d <= under_way(w, calls[i - 1])
          end
          if not cut then return "a step was done twice: " .. message end
        end
      end
      local is_due = item.severity == "critical" and listed_all[message] and w.t:elapsed() > item.at + 60
      if is_due and #calls == 0 then return ("step %d was never done: %s"):format(n, message) end
    end
  end
end

-- The process goes on in peace for a minute: then everything is as it must be.
local function check(w)
  w.t:disk { commit = 0.002 }
  w.t:advance(75)
  local all = {}
  for _, user in ipairs(USERS) do
    local wrong, listed = check_list(w, user, true)
    if wrong then return user .. ": " .. wrong end
    for message in pairs(listed) do all[message] = true end
    local fresh = w.t:connect("/n", { user = user })
    local shown, steps = {}, {}
    for _, e in ipairs(fresh:events()) do
      if e.event == "notification" then shown[#shown + 1] = e.data.message end
      if e.event == "escalation" then steps[e.data.id] = e.data.step end
    end
    fresh:close()
    if #shown ~= #list_of(w, user).notifications then return user .. ": a new device shows something else" end
    for _, message in ipairs(shown) do
      local row = listed[message]
      if not row then return user .. ": a new device shows " .. message end
      local item = w.items[message]
      local is_due = item.severity == "critical" and w.t:elapsed() > item.at + 60
      if is_due and steps[row.id] ~= 2 then return user .. ": a step is not recorded: " .. message end
      steps[row.id] = nil
    end
    if next(steps) then return user .. ": escalated, but not there" end
    for _, d in ipairs(w.devices) do
      if d.user == user and d.is_open then
        read_device(w, d)
        local n = 0
        for _, message in pairs(d.shown) do
          if not listed[message] then return user .. ": a device still shows " .. message end
          n = n + 1
        end
        if n ~= #shown then return user .. ": a device shows less" end
      end
    end
  end
  return w.wrong or check_calls(w, all)
end

local function play(seed, files, module)
  math.randomseed(seed)
  local w = { module = module, durable = seed % 4 ~= 0, n = 0, items = {}, acked = {}, maybe_acked = {}, dropped = {},
    calls = {}, disturbed = {}, outages = {}, devices = {}, busy_until = 0 }
  w.t = kit.whole(source(w), { files = files, seed = seed, waits = seed % 2 == 0 })
  for _, n in ipairs { 1, 2 } do
    w.t:http("http://log/" .. n, function(request)
      local key = ("%s %d"):format(request.json.notification.message, n)
      w.calls[key] = w.calls[key] or {}
      table.insert(w.calls[key], w.t:elapsed())
      return { status = chance(4) and 500 or 200 }
    end)
  end
  for i = 1, 2 * #USERS do
    w.devices[i] = { user = USERS[(i + 1) // 2], shown = {}, seen = {}, read = 0, resets = 0, dropped = {} }
    open(w, w.devices[i])
  end
  local wrong
  for n = 1, STEPS do
    step(w)
    wrong = w.wrong or n % 35 == 0 and check(w) or nil
    if wrong then
      wrong = ("step %d: %s"):format(n, wrong)
      break
    end
  end
  kit.stop_all()
  return wrong
end

-- ---- Planted mistakes ----------------------------------------------------------------------

local MISTAKES = {
  { "inbox", "{ key = id, remove = true, update = true }", "{ key = id, update = true }" },
  { "inbox", "caps.enforce(self, channel)", "" },
  { "inbox", "limit = MAX_MOST", "limit = 5" },
  { "inbox", '{ idempotency = key and "send " .. item.id })', "{})", seed = 10 },
  { "inbox", "max_keys = KEYS_MAX", "max_keys = 4" },
  { "items", 'return "~" .. crypto', 'return "~x" or crypto' },
  { "items", "and text:sub(1, 1) ~= \"~\"", "" },
  { "items", "item.id = key and", "item.id = false and" },
  { "caps", "< (lowest.priority or 0)", "> (lowest.priority or 0)" },
  { "caps", "self.keep <= sluice.time()", "self.keep <= sluice.time() + 100", seed = 2 },
  { "caps", "if not self.keep then return nil end", "do return nil end", seed = 2 },
  { "escalation", "update = true, idempotency", "idempotency" },
  { "escalation", "return math.max(n + 1, least or 1)", "return least or 1" },
  { "escalation", 'app:on("start", function() self:arm_all() end)', "", seed = 3 },
  { "escalation", "then self:arm(item, n + 1) end", "then return end" },
}

describe("random inboxes", function()
  after_each(kit.stop_all)

  it("lose nothing, bring nothing back, tell what they drop, and escalate what stays", function()
    worlds.hold(function(seed) return play(seed, nil, "sluice.inbox") end, 10, 2000)
  end)

  it("show each mistake that is planted into the module", function()
    worlds.show(play, MISTAKES, worlds.copies("inbox"))
  end)
end)
