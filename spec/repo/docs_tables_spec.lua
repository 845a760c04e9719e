--- The tables of the pages agree with the code: settings, limits, options, codes, reasons, hooks,
--- figures, messages.
local codes = require("sluice.base.codes")
local config = require("sluice.live.config")
local core = require("sluice.core")
local generation = require("sluice.live.generation")
local http = require("spec.support.http")
local markdown = require("spec.support.markdown")
local server = require("spec.support.server")
local tree = require("spec.support.tree")

local RESERVED = { "hello", "reset", "sync", "bye", "open", "error" }

local doc = markdown.pages()

local function words_of(text)
  local list = {}
  for word in text:gmatch("[%w_]+") do list[#list + 1] = word end
  return list
end

local function sorted(list)
  table.sort(list)
  return list
end

--- The first column's code of a table.
local function names_of(rows)
  local list = {}
  for _, row in ipairs(rows) do
    for _, code in ipairs(markdown.code(row[1])) do list[#list + 1] = code end
  end
  return sorted(list)
end

--- What a line of Lua at the top level of an app is told.
local function load_error(code)
  local text = ('local sluice = require("sluice")\nlocal app = sluice.app()\n%s\nreturn app\n'):format(code)
  local loaded, problem = generation.load(1, "app.lua", text)
  return not loaded and problem.message or nil
end

--- The names that a message lists as known.
local function known_names(message)
  return sorted(words_of(message:match("%(known: (.-)%)")))
end

-- { NAME = value } of bounds.h, computed by Lua.
local function read_bounds()
  local values = {}
  local text = tree.read("csrc/base/bounds.h"):gsub("\\\n", " "):gsub("/%*.-%*/", "")
  for name, value in text:gmatch("#define ([%u%d_]+) +([^\n]+)") do
    value = value:gsub("(%d)u", "%1"):gsub("%(uint%d+_t%)", "")
    values[name] = load("return " .. value, name, "t", values)()
  end
  return values
end

describe("the tables of the pages", function()
  local bounds = read_bounds()

  it("list the settings with their defaults", function()
    local elsewhere = { io_threads = "processors - 1", trust_proxy = "no", allow_host = "none",
      lua_memory = "none", data = "none", socket = "none", admin_key = "none", log_format = "by terminal",
      metrics_port = "none", agent_port = "none", demo = "no", limits_exempt = "none", max_streams_per_address = "none",
      max_streams_per_user = "none", max_requests_per_address = "none", max_requests_per_user = "none",
      tls_cert = "none", tls_key = "none", tls_port = "none", tls_host = "none", tls_redirect = "no", tls = "none",
      h2c = "no", cluster = "none", cluster_name = "none", cluster_password_file = "none", cluster_feed = "none",
      cluster_node = "none", cluster_ca = "none", cluster_cert = "none", cluster_key = "none", cluster_sni = "none",
      cluster_durable = "none", cluster_safe = "none",
      max_connections = ("`%d`"):format(bounds.CONNECTIONS_MAX_DEFAULT) }
    local rows, more = doc.table("flag"), doc.table("flag of a cluster")
    table.move(more, 1, #more, #rows + 1, rows)
    for i, setting in ipairs(config.SETTINGS) do
      local name, default = setting[1], setting[3]
      assert.equal(("`--%s`"):format((name:gsub("_", "-"))), rows[i][1])
      assert.equal(("`SLUICE_%s`"):format(name:upper()), rows[i][2])
      local shown = default == true and "yes" or default and ("`%s`"):format(default)
      assert.equal(shown or elsewhere[name], rows[i][3], name)
    end
    assert.equal(#config.SETTINGS, #rows)
  end)

  it("list the metrics with their types", function()
    local listed = {}
    for _, row in ipairs(doc.table("metric")) do
      for _, name in ipairs(markdown.code(row[1])) do listed[name] = row[2] end
    end
    for _, family in ipairs(require("sluice.requests.metrics").FAMILIES) do
      assert.truthy(listed[family[1]] and listed[family[1]]:find(family[2], 1, true), family[1])
      listed[family[1]] = nil
    end
    assert.same({}, listed)
  end)

  it("list the limits as they are", function()
    local units = { KiB = 1024, MiB = 1024 ^ 2, s = 1000 }
    for _, row in ipairs(doc.table("limit")) do
      local number, unit = row[2]:match("^(%d+) ?(%a*)$")
      local value = tonumber(number) * (units[unit] or 1)
      assert.equal(bounds[row[1]:match("`(.-)`")], value, row[1])
    end
    for _, setting in ipairs(config.SETTINGS) do
      local name = setting[1]:upper()
      local limit = bounds[name .. "_MS"] or bounds[name .. "_DEFAULT"]
      local scale = bounds[name .. "_MS"] and 1000 or 1
      if limit and setting[3] then assert.equal(limit, setting[3] * scale, name) end
    end
  end)

  it("list the words of reset and bye, each with what its row says", function()
    local reasons = require("sluice.core").reasons
    local listed = {}
    for _, row in ipairs(doc.table("reset")) do
      for _, word in ipairs(markdown.code(row[1])) do listed[word] = true end
    end
    assert.same(reasons.reset, listed)
    listed = {}
    local before = { ["after all"] = "all that was published", ["at the cursor"] = "what was sent",
      ["at once"] = "what was sent" }
    local retries = { usual = { "RETRY_MIN_MS", "RETRY_MAX_MS" },
      overload = { "RETRY_MIN_MS", "RETRY_OVERLOAD_MAX_MS" },
      drain = { "RETRY_DRAIN_MIN_MS", "RETRY_DRAIN_MAX_MS" } }
    for _, row in ipairs(doc.table("bye")) do
      for _, word in ipairs(markdown.code(row[1])) do
        local reason = assert(reasons.bye[word], word)
        listed[word] = true
        assert.equal(before[reason.place], row[3], word)
        assert.equal(reason.stays_away, row[2]:find("the browser stays away", 1, true) ~= nil, word)
        local times, retry = retries[reason.retry], "an hour"
        if times then retry = ("%g to %g s"):format(bounds[times[1]] / 1000, bounds[times[2]] / 1000) end
        assert.equal(retry, row[4]:match("[%d.]+ to [%d.]+ s$") or row[4], word)
      end
    end
    for word, reason in pairs(reasons.bye) do
      local named = reason.has_bye and listed[word] or doc.text:find(("`%s`, "):format(word), 1, true)
      assert.truthy(named, word)
    end
  end)

  it("list the options of channels and plans", function()
    local rows = doc.table("channel option")
    local message = load_error('app:channel("a", { nothing_like_it = 1 })')
    assert.same(known_names(message), names_of(rows))
    local defaults = {}
    for _, row in ipairs(rows) do defaults[markdown.code(row[1])[1]] = row[2]:match("^`(.-)`") end
    assert.same({ tostring(bounds.HISTORY_EVENTS_DEFAULT), tostring(bounds.TTL_DEFAULT_MS // 1000),
      tostring(bounds.KEYS_MAX_DEFAULT), "0", '"reset"' },
      { defaults.history, defaults.ttl, defaults.max_keys, defaults.rewind, defaults.slow })
    message = load_error('app:stream("/a", { channels = { "a" }, nothing_like_it = 1 })')
    assert.same(known_names(message), names_of(doc.table("plan option")))
  end)

  it("list the options of a publish", function()
    local given = tree.meta("app"):match("%-%-%-@param opts%? ({[^\n]+})\n[^\n]+\nfunction App:publish")
    local wanted = {}
    for name in given:gmatch("([%l_]+)%?:") do wanted[#wanted + 1] = name end
    assert.same(sorted(wanted), names_of(doc.table("publish option")))
  end)

  it("list the options of requests to other servers", function()
    for name, module in pairs { http = "http", client = "client", mail = "mail", sqlite = "sqlite" } do
      local known = tree.read("lua/sluice/" .. module .. ".lua"):match("\nlocal KNOWN = {(.-)}")
      local wanted, defaults = {}, {}
      for option, default in known:gmatch("([%l_]+) = ([%w.<> ]+)") do
        wanted[#wanted + 1] = option
        defaults[option] = load("local options, NONE, STRING, TABLE = {} return " .. default)()
      end
      local rows = doc.table(name .. " option")
      assert.same(sorted(wanted), names_of(rows))
      for _, row in ipairs(rows) do
        local default = defaults[markdown.code(row[1])[1]]
        if default then assert.equal(tostring(default), row[2]:match("^`(.-)`")) end
      end
    end
  end)

  it("list the options of an outbox", function()
    local rows = doc.table("outbox option")
    local message = load_error('require("sluice.outbox").new(app, { nothing_like_it = 1 })')
    assert.same(known_names(message, {}), names_of(rows))
    local known = tree.read("lua/sluice/outbox.lua"):match("\nlocal KNOWN = {(.-)}")
    for _, row in ipairs(rows) do
      local name, default = markdown.code(row[1])[1], row[2]:match("^`(.-)`")
      local value = known:match("[{ \n]" .. name .. " = ([^,]+)")
      if default then assert.equal(default, tostring(load("return " .. value)())) end
    end
  end)

  it("list the options of a hub", function()
    local message = load_error('require("sluice.hub").new(app, { nothing_like_it = 1 })')
    local rows = doc.table("hub option")
    assert.same(known_names(message, {}), names_of(rows))
    local source = tree.read("lua/sluice/hub.lua")
    for _, row in ipairs(rows) do
      local name, default = markdown.code(row[1])[1], row[2]:match("^`(.-)`")
      local given = source:find(("%s = %s"):format(name, default), 1, true)
        or source:find(("o.%s or %s"):format(name, default), 1, true)
      assert.is_true(default == nil and name == "read" or given ~= nil, name)
    end
  end)

  it("list the options of alerts and of their rules", function()
    for head, code in pairs { alerts = 'new(app, { x = 1 })', rule = 'new(app):rule("a", { x = 1 })',
      silence = 'new(app):silence("a", { x = 1 })' } do
      local message = load_error('require("sluice.alerts").' .. code)
      local rows = doc.table(head .. " option")
      local listed = {}
      for _, row in ipairs(rows) do
        for _, name in ipairs(markdown.code(row[1])) do listed[#listed + 1] = name end
      end
      assert.same(known_names(message, {}), sorted(listed))
    end
  end)

  it("list the options of jobs and of their start", function()
    local rows = doc.table("jobs option")
    assert.same(known_names(load_error('require("sluice.jobs").new(app, { nothing_like_it = 1 })'), {}), names_of(rows))
    local source = tree.read("lua/sluice/jobs.lua")
    for _, row in ipairs(rows) do
      local name, default = markdown.code(row[1])[1], row[2]:match("^`(.-)`")
      assert.truthy(not default or source:find(("%s = %s"):format(name, default), 1, true), name)
    end
    local start = source:match("\nlocal START = {(.-)}")
    local wanted = {}
    for name in start:gmatch("(%l+) = ") do wanted[#wanted + 1] = name end
    assert.same(sorted(wanted), names_of(doc.table("start option")))
  end)

  it("list the options of inboxes, of steps and of messages", function()
    local inbox = 'require("sluice.inbox").new(app, %s)'
    local message = load_error(inbox:format("{ x = 1 }"))
    assert.same(known_names(message, {}), names_of(doc.table("inbox option")))
    local named = {}
    for _, via in ipairs { '"webhook"', '"email"', "print" } do
      message = load_error(inbox:format("{ escalate = { high = { { via = " .. via .. ", x = 1 } } } }"))
      for _, name in ipairs(known_names(message, {})) do named[name] = true end
    end
    local listed = {}
    for _, row in ipairs(doc.table("escalation option")) do
      for _, name in ipairs(markdown.code(row[1])) do listed[name] = true end
    end
    assert.same(named, listed)
    message = load_error(inbox:format("{}") .. ':send("ann", { x = 1 })')
    assert.same(known_names(message, {}), names_of(doc.table("field of a message")))
  end)

  it("list the options of rooms", function()
    local message = load_error('require("sluice.rooms").new(app, { nothing_like_it = 1 })')
    local rows = doc.table("room option")
    assert.same(known_names(message, {}), names_of(rows))
    local source, n = tree.read("lua/sluice/rooms.lua"), 0
    for _, row in ipairs(rows) do
      local name, default = markdown.code(row[1])[1], row[2]:match("^`(.-)`")
      if default then
        n = n + 1
        assert.truthy(source:find(("%s = %s"):format(name, default), 1, true), name)
      end
    end
    assert.equal(6, n)
  end)

  it("list the options of runs, and what a run can do", function()
    local message = load_error('require("sluice.runs").new(app, { nothing_like_it = 1 })')
    local rows, source = doc.table("run option"), tree.read("lua/sluice/runs.lua")
    assert.same(known_names(message, {}), names_of(rows))
    for _, row in ipairs(rows) do
      local name, default = markdown.code(row[1])[1], row[2]:match("^`(.-)`")
      if default then assert.truthy(source:find(("%s = %s"):format(name, default), 1, true), name) end
    end
    assert.equal(4, #doc.table("of a run"))
  end)

  it("list what a test and its streams can do", function()
    require("sluice.testing")
    local tables = { t = doc.table("of a test"), c = doc.table("of a stream") }
    for _, row in ipairs(doc.table("with nodes")) do table.insert(tables[row[1]:match("^`(%l):")], row) end
    for letter, module in pairs { t = "test", c = "stream" } do
      local listed, names = {}, {}
      for _, row in ipairs(tables[letter]) do
        for _, code in ipairs(markdown.code(row[1])) do listed[#listed + 1] = code:match("^%l:([%l_]+)") end
      end
      for name, value in pairs(require("sluice.testing." .. module).methods) do
        if type(value) == "function" and not name:find("^__") and name ~= "last_id" then names[#names + 1] = name end
      end
      assert.same(sorted(names), sorted(listed))
    end
  end)

  it("list what the disk of a test can do", function()
    local t <close> = require("sluice.testing").start({ source = 'return require("sluice").app()' })
    local message = select(2, pcall(t.disk, t, { nothing_like_it = 1 }))
    assert.same(known_names(message, {}), names_of(doc.table("option of `t:disk`")))
  end)

  it("list what the Redis of a test can do", function()
    local t <close> = require("sluice.testing").start({ source = 'return require("sluice").app()' }, { nodes = 1 })
    local message = select(2, pcall(t.redis, t, { nothing_like_it = 1 }))
    assert.same(known_names(message, {}), names_of(doc.table("option of `t:redis`")))
  end)

  it("list the codes with their statuses", function()
    local listed = {}
    for _, row in ipairs(doc.table("code")) do listed[markdown.code(row[1])[1]] = tonumber(row[2]) end
    assert.same(codes.STATUS, listed)
  end)

  it("list the hooks, and what a stream is told", function()
    local hooks = {}
    for _, row in ipairs(doc.table("hook")) do
      for kind in row[1]:gmatch('app:on%("(%l+)"') do hooks[#hooks + 1] = kind end
      for kind in row[2]:gmatch('`"(%l+subscribe)"`') do hooks[#hooks + 1] = kind end
    end
    local known = words_of(load_error('app:on("nothing_like_it", print)'):match("%(known: (.-)%)"))
    assert.same(sorted(known), sorted(hooks))
    for _, name in ipairs(RESERVED) do assert.is_nil((core.check_event(name)), name) end
    assert.same({ "bye", "hello", "reset", "sync" }, names_of(doc.table("event")))
  end)

  it("tell the mistakes of the first hour as they are told", function()
    for _, row in ipairs(doc.table("written at the top level")) do
      local code = markdown.code(row[1])[1]
      local message = assert(load_error(code), code .. " is no mistake")
      assert.truthy(message:find(row[2], 1, true), message)
    end
  end)

  it("tell the mistakes of handlers as the log tells them", function()
    finally(server.stop_all)
    local rows, routes = doc.table("written in a handler"), {}
    for i, row in ipairs(rows) do
      routes[i] = ('app:get("/%d", function()\n%s\nend)'):format(i, markdown.code(row[1])[1])
    end
    local app = 'local sluice = require("sluice")\nlocal app = sluice.app()\n%s\nreturn app'
    local s = server.start { args = { "--log-format", "text" }, app = app:format(table.concat(routes, "\n")) }
    for i, row in ipairs(rows) do
      assert.equal(500, http.get(s.port, "/" .. i).status, row[1])
      s.wait_log("error GET /" .. i .. " ")
      assert.truthy(s.log():find(row[2], 1, true), row[2] .. "\n" .. s.log())
    end
  end)
end)
