--- The events that pages of the eight use cases listen for, with their fields: what an example or a
--- module of the kit sends under one of these names has at least these, of these JSON types.
local json = require("sluice.json")
local kit = require("spec.support.kit")
local lfs = require("lfs")
local shared = require("spec.support.shared")
local tree = require("spec.support.tree")

local EVENTS = {
  ["metrics-update"] = { timestamp = "string", cpu = "number", memory = "number", activeUsers = "integer",
    requestsPerSecond = "number" },
  notification = { message = "string", timestamp = "string" },
  progress = { jobId = "string", processed = "integer", total = "integer", percentage = "integer",
    currentItem = "string" },
  ["job-complete"] = { jobId = "string", status = "string" },
  ["match-event"] = { matchId = "string", type = "string", team = "string", player = "string", minute = "integer",
    score = { home = "integer", away = "integer" } },
  commentary = { matchId = "string", text = "string", timestamp = "string" },
  ["price-update"] = { symbol = "string", price = "number", change = "number", changePercent = "number",
    volume = "integer", timestamp = "string" },
  telemetry = { deviceId = "string", sensorData = "object", status = "string", battery = "number",
    location = "object", timestamp = "string" },
  alert = { message = "string", severity = "string", category = "string" },
  ["user-joined"] = { documentId = "string", userId = "string", userName = "string", activeUsers = "integer" },
  ["user-left"] = { userId = "string" },
  ["cursor-move"] = { documentId = "string", userId = "string", position = { line = "integer", column = "integer" } },
  ["system-metrics"] = { cpu = "number", memory = "number", disk = "number", network = "object", services = "array",
    timestamp = "string" },
  ["system-alert"] = { message = "string" },
  dataUpdate = { id = "any", type = "string", changes = "object" },
  heartbeat = {},
}

--- What a notification has beside that: to everyone, and to one user.
local TO_ALL, TO_USER = { severity = "string" }, { type = "string", priority = "integer" }

--- Sent by nobody yet. Whoever sends one takes it from here.
local LATER = {}

local GUARD = "local function anyone() return true end\n"
local KEY = { ["X-API-Key"] = "k" }

-- Each starts an app, makes it send, and returns test and streams.
local SENDERS = {
  ["examples/alerts"] = function()
    local rules = tree.read("examples/alerts/rules.lua"):gsub("above = 90", "above = 50")
    local app = tree.read("examples/alerts/app.lua"):gsub("app:static[^\n]+\n", "")
    local t = kit.whole(app, { files = { ["rules.lua"] = rules } })
    local c = t:connect("/api/alerts")
    t:advance(120)
    return t, { c }
  end,
  ["examples/dashboard"] = function()
    local t = kit.open("examples/dashboard/app.lua")
    local c = t:connect("/api/dashboard-metrics")
    t:advance(3)
    return t, { c }
  end,
  ["examples/devices"] = function()
    local t = kit.open("examples/devices/app.lua")
    local key = t:post("/api/devices/d1", { user = "alice", json = { limit = 80 } }).json.key
    local c = t:connect("/api/devices/d1/telemetry", { user = "alice" })
    t:post("/api/devices/d1/telemetry", { headers = { ["X-Device-Key"] = key }, json = { temperature = 81, battery = 50,
      status = "ok", location = { lat = 1 }, sensors = { t = 81 } } })
    return t, { c }
  end,
  ["examples/notifications"] = function()
    local t = kit.open("examples/notifications/app.lua", { env = { SESSION_SECRET = ("s"):rep(32) } })
    local c = t:connect("/api/notifications", { user = "ann" })
    t:post("/api/messages", { user = "ben", json = { to = "ann", message = "m" } })
    t:advance(1)
    return t, { c }
  end,
  ["examples/match"] = function()
    local t = kit.open("examples/match/app.lua", { env = { DESK_KEY = "k" } })
    t:put("/api/matches/7", { headers = KEY })
    local c = t:connect("/api/live-match/7")
    t:post("/api/matches/7/goals", { headers = KEY, json = { team = "home" } })
    t:post("/api/matches/7/commentary", { headers = KEY, json = { text = "Goal!" } })
    return t, { c }
  end,
  ["examples/monitoring"] = function()
    local procfs, ticks = require("sluice.base.procfs"), 0
    local cpu = procfs.cpu
    finally(function() procfs.cpu = cpu end)
    function procfs.cpu()
      ticks = ticks + 100
      return { busy = ticks, total = ticks, processors = 1 }
    end
    local t = kit.open("examples/monitoring/app.lua")
    local c = t:connect("/api/system/monitoring")
    t:advance(50)
    return t, { c }
  end,
  ["examples/progress"] = function()
    local t = kit.open("examples/progress/app.lua")
    local c = t:connect("/api/job-progress", { user = "alice" })
    t:post("/api/process-batch", { user = "alice", json = { items = { "a", "b", "c" } } })
    t:put("/api/files/x", { user = "alice", body = "all of it" })
    t:advance(2)
    return t, { c }
  end,
  ["examples/editor"] = function()
    local t = kit.open("examples/editor/app.lua")
    local a = t:connect("/api/documents/d/collaboration", { user = "alice" })
    local b = t:connect("/api/documents/d/collaboration", { user = "bob" })
    t:post("/api/documents/d/cursor", { user = "bob", json = { line = 3, column = 7 } })
    b:drop()
    t:advance(6)
    return t, { a }
  end,
  ["examples/showcase"] = function()
    local t = kit.open("examples/showcase/app.lua", { flags = { demo = true } })
    local page = t:connect("/api/sse/connect")
    local all = t:connect("/api/showcase?match=7&device=boiler&document=welcome")
    local key = { ["X-API-Key"] = "your-api-key" }
    t:post("/api/sse/notification", { headers = key, json = { message = "a" } })
    t:post("/api/sse/broadcast-maintenance", { headers = key, json = { startTime = "3:00" } })
    t:advance(31)
    return t, { page, all }
  end,
  ["examples/stocks"] = function()
    local t = kit.open("examples/stocks/app.lua")
    local c = t:connect("/api/stock-prices?symbols=ACME")
    t:advance(1)
    return t, { c }
  end,
  ["examples/triggers"] = function()
    local t = kit.open("examples/triggers/app.lua", { env = { OPERATOR_KEY = "k" } })
    local c = t:connect("/api/sse/connect")
    t:patch("/api/orders/7", { json = { status = "paid" } })
    t:post("/api/announcements", { json = { message = "hi" } })
    t:post("/api/maintenance", { headers = KEY, json = { startTime = "3:00" } })
    t:advance(31)
    return t, { c }
  end,
  ["lua/sluice/rooms.lua"] = function()
    local t = kit.start([[
      local rooms = require("sluice.rooms").new(app, { name = "doc", field = "documentId", grace = 0 })
      app:guard("/**", function(req) req.user = req.user or { id = req.headers["x-user"] } return true end)
      rooms:stream("/documents/:id")]])
    local c = t:connect("/documents/7", { headers = { ["X-User"] = "ann" } })
    local other = t:connect("/documents/7", { headers = { ["X-User"] = "ben" } })
    t:advance(1)
    other:close()
    t:advance(2)
    return t, { c }
  end,
  ["lua/sluice/alerts.lua"] = function()
    local t = kit.start([[
      local alerts = require("sluice.alerts").new(app)
      alerts:rule("hot", { field = "cpu", above = 90, category = "performance", message = "too hot" })
      alerts:stream("/alerts")
      app:get("/check", function() alerts:check("a", { cpu = 95 }) return 200 end)]])
    local c = t:connect("/alerts")
    t:get("/check")
    t:advance(1)
    return t, { c }
  end,
  ["lua/sluice/inbox.lua"] = function()
    local t = kit.start([[
      local inbox = require("sluice.inbox").new(app)
      inbox:stream("/mine")
      app:get("/send", function() return sluice.receipt(inbox:send("ann", { message = "m" })) end)]])
    local c = t:connect("/mine", { user = "ann" })
    t:get("/send")
    t:advance(1)
    return t, { c }
  end,
  ["lua/sluice/jobs.lua"] = function()
    local t = kit.start([[
      local jobs = require("sluice.jobs").new(app)
      jobs:define("batch", function(job, args)
        for i, item in ipairs(args) do job:progress(i, { currentItem = item }) end
      end)
      jobs:stream("/jobs")
      app:post("/jobs", function()
        jobs:start("batch", { args = { "a", "b" }, owner = "ann", total = 2, fields = { currentItem = "" } })
      end)]])
    local c = t:connect("/jobs", { user = "ann" })
    t:post("/jobs")
    t:advance(1)
    return t, { c }
  end,
  ["lua/sluice/demo.lua"] = function()
    local t = kit.start([[
      local demo = require("sluice.demo").new(app)
      demo:use_cases("all")
      app:channel("all", { history = 1000 })
      app:stream("/all", "all")
      app:get("/start", function() return demo:start { interval = 1 } end)]], { flags = { demo = true } })
    local c = t:connect("/all")
    t:get("/start")
    t:advance(100)
    return t, { c }
  end,
  ["lua/sluice/changes.lua"] = function()
    local t = kit.start([[
      local orders = require("sluice.changes").new(app):entity("order")
      app:stream("/changes", "changes/order")
      app:post("/orders", function() orders:created(7, { status = "new" }) end)]])
    local c = t:connect("/changes")
    t:post("/orders")
    t:advance(1)
    return t, { c }
  end,
  ["lua/sluice/hub.lua"] = function()
    local t = kit.start(GUARD .. [[
      require("sluice.hub").new(app):routes("/api/sse", { publish = anyone, admin = anyone })]])
    local c = t:connect("/api/sse/connect")
    for path, body in pairs {
      notification = { message = "a" }, alert = { message = "a", category = "b" },
      ["data-update"] = { id = 7, type = "order" }, heartbeat = {}, ["send-announcement"] = { message = "a" },
      ["broadcast-maintenance"] = { startTime = "3:00" },
    } do
      assert.equal(202, t:post("/api/sse/" .. path, { json = body }).status)
    end
    return t, { c }
  end,
  ["lua/sluice/system.lua"] = function()
    local t = kit.start [[
      local system = require("sluice.system").new(app, { services = { "nginx.service" } })
      app:stream("/s", "figures")
      app:get("/", function()
        app:publish("figures", "metrics-update", system:sample())
        app:publish("figures", "system-metrics", system:sample())
      end)]]
    local c = t:connect("/s")
    t:get("/")
    return t, { c }
  end,
}

local KINDS = {
  any = function(v) return v ~= nil and v ~= json.null end,
  string = function(v) return type(v) == "string" end,
  number = function(v) return type(v) == "number" end,
  integer = function(v) return math.type(v) == "integer" end,
  object = function(v) return type(v) == "table" and json.encode(v):sub(1, 1) == "{" end,
  array = function(v) return type(v) == "table" and json.encode(v):sub(1, 1) == "[" end,
}

local function check(data, fields, where)
  for name, kind in pairs(fields) do
    local value, path = data[name], where .. "." .. name
    if type(kind) == "table" then
      assert.is_table(value, path)
      check(value, kind, path)
    else
      assert.is_true(KINDS[kind](value), ("%s: %s is expected, not %s"):format(path, kind, tostring(value)))
    end
  end
end

-- The names that a sender has sent, each event checked.
local function sent_by(sender)
  local _, streams = SENDERS[sender]()
  local seen = {}
  for _, c in ipairs(streams) do
    for _, e in ipairs(c:events()) do
      local fields = EVENTS[e.event]
      if fields then
        check(e.data, fields, sender .. ": " .. e.event)
        if e.event == "notification" then
          local to_one = sender:find("inbox", 1, true) or sender:find("notifications", 1, true)
          check(e.data, to_one and TO_USER or TO_ALL, sender .. ": " .. e.event)
        end
        if e.data.timestamp then assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", e.data.timestamp) end
        seen[e.event] = true
      end
    end
  end
  return seen
end

local function names_of(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

describe("the events of the use cases", function()
  after_each(kit.stop_all)

  it("are sent with their fields by examples and the kit, each by somebody", function()
    local sent = {}
    for sender in pairs(SENDERS) do
      local seen = sent_by(sender)
      assert.truthy(next(seen), sender .. " has sent none")
      for name in pairs(seen) do sent[name] = true end
    end
    local missing = {}
    for name in pairs(EVENTS) do missing[name] = not sent[name] or nil end
    assert.same(LATER, names_of(missing))
  end)

  it("are looked for in every example and module of the kit", function()
    local known = { ["lua/sluice/auth.lua"] = "sends none of these", ["lua/sluice/runs.lua"] = "sends none of these",
      ["examples/chat"] = "sends none of these" }
    for sender in pairs(SENDERS) do known[sender] = true end
    for name in lfs.dir("examples") do
      if lfs.attributes("examples/" .. name .. "/app.lua") then assert.truthy(known["examples/" .. name], name) end
    end
    for _, name in ipairs { "rooms", "jobs", "runs", "inbox", "alerts", "changes", "system", "demo", "hub", "auth" } do
      local path = "lua/sluice/" .. name .. ".lua"
      if lfs.attributes(path) then assert.truthy(known[path], path) end
    end
  end)

  it("are those of the document, with the same fields", function()
    local text = shared.read("use-cases.md")
    if not text then return pending("no ../shared/use-cases.md") end
    -- "total = totalItems", "jobId", "Type = type" are one field each; what is in braces is one level below
    local function read_fields(block)
      local fields = {}
      local flat = block:sub(2, -2):gsub("(%w+)%s*=%s*new%s*(%b{})", function(name, below)
        fields[name] = read_fields(below)
        return ""
      end):gsub("%b()", "")
      for part in flat:gmatch("[^,]+") do
        local name = part:match("^%s*(%w+)")
        if name then fields[name:sub(1, 1):lower() .. name:sub(2)] = true end
      end
      return fields
    end
    local function names(fields)
      local out = {}
      for name, kind in pairs(fields) do out[name] = type(kind) == "table" and names(kind) or true end
      return out
    end
    local count = 0
    for name, block in text:gmatch('EventType = "([%w-]+)",%s*Data = new[%s%w]*(%b{})') do
      local wanted = names(assert(EVENTS[name], name))
      if name == "notification" then
        for field in pairs(TO_USER) do wanted[field] = true end
      end
      assert.same(wanted, read_fields(block), name)
      count = count + 1
    end
    assert.is_true(count >= 11, count)
    for list in text:gmatch("eventTypes: %[([^%]]+)%]") do
      for name in list:gmatch("'([%w-]+)'") do assert.truthy(EVENTS[name], name) end
    end
    local described = text:match("const EventTypeInfo = (%b{})")
    for name in described:gmatch("\n  (%w+): {") do assert.truthy(EVENTS[name], name) end
  end)
end)
