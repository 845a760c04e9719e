--- The options and fields that meta/ lists for editors are those that an app and a test meet.
local config = require("sluice.live.config")
local eventstream = require("sluice.eventstream")
local kit = require("spec.support.kit")
local testing = require("sluice.testing")
local tree = require("spec.support.tree")

local TEXT = tree.meta()

-- Fields by class: { parent =, fields = { [name] = optional } }, and the comments by function.
local function read()
  local classes, comments, last, above = {}, {}, nil, {}
  for line in TEXT:gmatch("[^\n]*") do
    local name, parent = line:match("^%-%-%-@class ([%w_.]+):? ?([%w_.]*)")
    if name then
      classes[name], last = { parent = classes[parent] and parent, fields = {} }, name
    end
    local field, mark = line:match("^%-%-%-@field ([%w_]+)(%??)")
    if field then classes[last].fields[field] = mark == "?" end
    local owner = line:match("^function ([%w_.:]+)%(")
    if owner then comments[owner] = table.concat(above, "\n") end
    if line:find("^%-%-%-") then above[#above + 1] = line else above = {} end
  end
  return classes, comments
end

local CLASSES, COMMENTS = read()

local function fields_of(name)
  local class, out = assert(CLASSES[name], name .. " is in no file of meta/"), {}
  if class.parent then out = fields_of(class.parent) end
  for field, optional in pairs(class.fields) do out[field] = optional end
  return out
end

-- Of "---@param opts? { key?: string, … }" above a function.
local function inline_fields(owner, param)
  local line = COMMENTS[owner]:match("%-%-%-@param " .. param .. "%?? (%b{})")
  local out = {}
  for field, mark in assert(line, owner):gsub("fun%b()", ""):gmatch("([%w_]+)(%??):") do out[field] = mark == "?" end
  return out
end

local function names(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- The names that a message lists as known.
local function known(message)
  local set = {}
  for name in assert(message:match("%(known: (.-)%)"), message):gmatch("[%w_]+") do
    set[name] = true
  end
  return names(set)
end

-- What a value has is listed, and what is listed without "?" is there.
local function assert_fields(class, value, without)
  local listed = fields_of(class)
  for name in pairs(value) do
    if type(name) == "string" and name:sub(1, 1) ~= "_" then
      assert.truthy(listed[name] ~= nil, ("%s.%s is not in meta/"):format(class, name))
    end
  end
  for name, optional in pairs(listed) do
    if not optional and name ~= without then
      assert.truthy(value[name] ~= nil, ("%s has no %s"):format(class, name))
    end
  end
end

describe("meta", function()
  after_each(kit.stop_all)

  -- What is said to an unknown option of a function, by the name of its list.
  local AT_LOAD = {
    ["sluice.Policy"] = 'app:channel("a", { nothing_like_it = 1 })',
    ["sluice.PlanTable"] = 'app:stream("/a", { channels = { "a" }, nothing_like_it = 1 })',
    ["sluice.DurableStream"] = 'app:durable_stream("/a", { channel = "a", nothing_like_it = 1 })',
    ["sluice.EveryOptions"] = "app:every(1, { nothing_like_it = 1 }, print)",
    ["sluice.SqliteOptions"] = 'require("sluice.sqlite").open("x", { nothing_like_it = 1 })',
    ["sluice.SystemOptions"] = 'require("sluice.system").new(app, { nothing_like_it = 1 })',
    ["sluice.HubOptions"] = 'require("sluice.hub").new(app, { nothing_like_it = 1 })',
    ["sluice.HubGuards"] = 'require("sluice.hub").new(app):routes("/a", { nothing_like_it = 1 })',
    ["sluice.AlertsOptions"] = 'require("sluice.alerts").new(app, { nothing_like_it = 1 })',
    ["sluice.AlertRule"] = 'require("sluice.alerts").new(app):rule("a", { nothing_like_it = 1 })',
    ["sluice.AlertSilence"] = 'require("sluice.alerts").new(app):silence("a", { nothing_like_it = 1 })',
    ["sluice.InboxOptions"] = 'require("sluice.inbox").new(app, { nothing_like_it = 1 })',
    ["sluice.RoomsOptions"] = 'require("sluice.rooms").new(app, { nothing_like_it = 1 })',
    ["sluice.JobsOptions"] = 'require("sluice.jobs").new(app, { nothing_like_it = 1 })',
    ["App:task opts"] = 'app:task("a", { nothing_like_it = 1 }, print)',
    ["App:state opts"] = 'app:state("a", {}, { nothing_like_it = 1 })',
    ["App:cors rule"] = 'app:cors("/", { nothing_like_it = 1 })',
    ["App:event_type info"] = 'app:event_type("a", { nothing_like_it = 1 })',
  }
  local IN_HANDLER = {
    ["sluice.HttpOptions"] = 'require("sluice.http").request({ nothing_like_it = 1 })',
    ["sluice.ClientOptions"] = 'require("sluice.client").connect("http://x", { nothing_like_it = 1 })',
    ["App:publish opts"] = 'app:publish("a", "b", {}, { nothing_like_it = 1 })',
    ["App:remove opts"] = 'app:remove("a", "b", { nothing_like_it = 1 })',
    ["Request:json opts"] = "req:json(nil, { nothing_like_it = 1 })",
    ["App:history opts"] = 'app:history("a", { nothing_like_it = 1 })',
    ["App:newest opts"] = 'app:newest("a", { nothing_like_it = 1 })',
    ["App:clients filter"] = "app:clients({ nothing_like_it = 1 })",
    ["App:after opts"] = 'app:after(1, "t", nil, { nothing_like_it = 1 })',
    ["App:at opts"] = 'app:at(1, "t", nil, { nothing_like_it = 1 })',
    ["App:cancel opts"] = 'app:cancel("a", { nothing_like_it = 1 })',
    ["Store:set opts"] = 'store:set("a", 1, { nothing_like_it = 1 })',
    ["Store:delete opts"] = 'store:delete("a", { nothing_like_it = 1 })',
    ["Client:subscribe opts"] = 'client:subscribe("a", { nothing_like_it = 1 })',
    ["Client:set opts"] = "client:set({ nothing_like_it = 1 })",
  }

  local function listed(what)
    local owner, param = what:match("^(%S+) (%S+)$")
    return names(owner and inline_fields(owner, param) or fields_of(what))
  end

  it("lists the options of what an app registers and calls", function()
    for what, code in pairs(AT_LOAD) do
      local ok, message = pcall(kit.start, code)
      assert.is_false(ok)
      assert.same(known(message), listed(what), what)
    end
    local t = kit.start [[
      local told, store = app:state("told", {}), app:store("kept")
      app:task("t", print)
      app:stream("/s", function(req, client)
        local env = { app = app, req = req, client = client, store = store }
        setmetatable(env, { __index = _ENV })
        told().message = select(2, pcall(load(req.headers["x-code"], "c", "t", env)))
        return 400
      end)]]
    for what, code in pairs(IN_HANDLER) do
      t:connect("/s", { headers = { ["X-Code"] = code } })
      assert.same(known(t:state("told").message), listed(what), what)
    end
  end)

  it("lists the options of servers, parsers and tests", function()
    local message = select(2, pcall(config.resolve, {}, { nothing_like_it = 1 }))
    assert.same(known(message), listed("sluice.ServeOptions"))
    message = select(2, pcall(eventstream.new, { nothing_like_it = 1 }))
    assert.same(known(message), listed("sluice.EventStreamOptions"))
    message = select(2, pcall(testing.start, { source = "" }, { nothing_like_it = 1 }))
    assert.same(known(message), listed("sluice.testing.Options"))
    local test = kit.start("")
    message = select(2, pcall(test.disk, test, { nothing_like_it = 1 }))
    assert.same(known(message), listed("sluice.testing.DiskOptions"))
    local node = testing.start({ source = kit.source("") }, { nodes = 1 })
    message = select(2, pcall(node.redis, node, { nothing_like_it = 1 }))
    node:stop()
    assert.same(known(message), listed("sluice.testing.RedisOptions"))
    message = select(2, pcall(test.connect, test, "/", { nothing_like_it = 1 }))
    assert.same(known(message), listed("sluice.testing.RequestOptions"))
  end)

  it("lists the figures", function()
    local t = kit.start [[
      app:channel("big", { history = 100 })
      app:channel("kept", { durable = true })
      app:stream("/big", "big")
      app:get("/figures", function()
        local client = app:clients()()
        local slow = app:slowest(1)[1]
        slow.client = slow.client.id
        return { server = app:stats(), channel = app:stats("big"), client = client:stats(), slow = slow }
      end)]]
    local c = t:connect("/big")
    c:stall()
    for n = 1, 30 do t:publish("big", "n", { n = n, pad = ("x"):rep(10000) }) end
    t:advance(1)
    local figures = t:get("/figures").json
    assert_fields("sluice.Stats", figures.server)
    assert_fields("sluice.StoreStats", figures.server.store)
    assert_fields("sluice.ChannelStats", figures.channel)
    assert_fields("sluice.ClientStats", figures.client)
    assert_fields("sluice.Slow", figures.slow)
    local reasons = {}
    for word in TEXT:match("reset_reasons table<(.-), integer>"):gmatch('"([%w_]+)"') do reasons[word] = true end
    assert.same(names(figures.server.reset_reasons), names(reasons))
  end)

  it("lists the fields of requests, clients and events", function()
    local t = kit.start [[
      local system = require("sluice.system").new(app)
      local seen = app:state("seen", {})
      local function keys(t)
        local out = {}
        for k, v in pairs(t) do out[k] = type(v) == "table" and "table" or v end
        return out
      end
      app:channel("news", { history = 10, key = "id" })
      app:stream("/news", "news")
      app:on("published", "news", function(event) seen().published = keys(event) end)
      app:transform("news", function(event) seen().transform = keys(event) return event.data end)
      app:post("/all/:id", function(req)
        local request, client = keys(req), app:clients()()
        for _, name in ipairs { "query", "headers", "cookies", "id" } do request[name] = type(req[name]) end
        for _, name in ipairs { "query_text", "query_values", "header_text" } do request[name] = nil end
        app:publish("news", "story", { id = 1 })
        seen().history, seen().request = keys(app:history("news")[1]), request
        seen().client = { id = client.id, ip = client.ip, path = client.path, params = "table", meta = "table" }
        seen().sample = keys(system:sample())
      end)]]
    local c = t:connect("/news")
    assert.equal(204, t:post("/all/1?x=1", { user = "alice", body = "b", headers = { Cookie = "a=b" } }).status)
    local seen = t:state("seen")
    assert_fields("sluice.Request", seen.request)
    assert_fields("sluice.Client", seen.client)
    assert_fields("sluice.SystemSample", seen.sample)
    assert_fields("sluice.Event", seen.published)
    assert_fields("sluice.Event", seen.transform)
    assert_fields("sluice.Event", seen.history, "channel")
    local e = c:wait_for("story")
    assert_fields("sluice.testing.Event", { event = e.event, data = e.data, id = e.id, at = e.at, text = e.text })
    assert_fields("sluice.testing.Response", t:get("/nowhere"))
    local parser = eventstream.new()
    assert_fields("sluice.EventStreamEvent", parser:feed("retry: 5\ndata: x\n\n")[1])
    assert.same({ "", 5 }, { parser.last_id, parser.retry })
  end)

  it("lists the functions of the kit, and the methods of what they make", function()
    local MAKE = { Alerts = "alerts", Changes = "changes", Demo = "demo", Hub = "hub", Inbox = "inbox", Jobs = "jobs",
      Outbox = "outbox", Rooms = "rooms", Runs = "runs", Auth = "auth" }
    local OPTIONS = { auth = '{ keys = {}, durable = false }', outbox = '{ durable = false }',
      inbox = "{ durable = false }" }
    local app, wanted = { [[
      local seen = app:state("seen", {})
      local function keep(class, module, object)
        local list = {}
        for _, t in ipairs { module, getmetatable(object) } do
          for name, value in pairs(t) do
            if type(value) == "function" and name:sub(1, 1) ~= "_" then list[#list + 1] = name end
          end
        end
        table.sort(list)
        app:on("start", function() seen()[class] = list end)
      end]] }, {}
    for class, module in pairs(MAKE) do
      local line = "do local m = require('sluice.%s') keep('%s', m, m.new(app, %s)) end"
      app[#app + 1] = line:format(module, class, OPTIONS[module] or "nil")
      local list = {}
      for name in TEXT:gmatch("\nfunction " .. module .. "%.([%w_]+)%(") do list[#list + 1] = name end
      for name in TEXT:gmatch("\nfunction " .. class .. ":([%w_]+)%(") do list[#list + 1] = name end
      table.sort(list)
      wanted[class] = list
    end
    local t = kit.start(table.concat(app, "\n"))
    assert.same(wanted, t:state("seen"))
  end)
end)
