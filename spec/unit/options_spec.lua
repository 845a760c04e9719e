--- One helper for all options, and every table of options there is: names and types.
local rehearsal = require("spec.support.rehearsal")
local options = require("sluice.base.options")

after_each(rehearsal.stop)

local KNOWN = { history = 100, ttl = 600, read = options.NONE, automatic = false }

-- A function with options, as the modules have them: errors name the line that called it.
local function make(given)
  local checked = options("channel 'a'", given, KNOWN)
  return checked
end

describe("options", function()
  it("fills in the defaults, also false, and leaves out what has none", function()
    assert.same({ history = 100, ttl = 600, automatic = false }, make())
    assert.same({ history = 5, ttl = 600, automatic = false, read = print },
      make({ history = 5, read = print }))
  end)

  it("keeps false where the default is true", function()
    assert.is_false(options("x", { a = false }, { a = true }).a)
  end)

  it("returns a new table", function()
    local given = { history = 5 }
    assert.not_equal(given, make(given))
    assert.same({ history = 5 }, given)
  end)

  it("names an unknown option, the one probably meant, and those known", function()
    local message = "channel 'a': unknown option 'histroy', did you mean 'history'? "
      .. "(known: automatic, history, read, ttl)"
    assert.matches(message, select(2, pcall(make, { histroy = 1 })), 1, true)
  end)

  it("suggests for one slip, whatever it is", function()
    for _, slip in ipairs({ "histry", "histoory", "hostory", "ihstory", "History", "HISTORY" }) do
      local _, message = pcall(make, { [slip] = 1 })
      assert.matches("did you mean 'history'?", message, 1, true)
    end
  end)

  it("suggests nothing for another word", function()
    for _, word in ipairs({ "size", "max_rate", "x", "" }) do
      local _, message = pcall(make, { [word] = 1 })
      assert.not_matches("did you mean", message, 1, true)
    end
  end)

  it("bounds what it repeats of a long name", function()
    local _, message = pcall(make, { [("x"):rep(1e6)] = 1 })
    assert.is_true(#message < 300)
  end)

  it("says that options are named when it meets a number", function()
    assert.matches("channel 'a': options are named, got the key 1 (known: automatic, history, read, ttl)",
      select(2, pcall(make, { "latest" })), 1, true)
  end)

  it("refuses what is not a table", function()
    assert.matches("channel 'a': options must be a table, got number", select(2, pcall(make, 5)))
    assert.matches("channel 'a': options must be a table, got boolean", select(2, pcall(make, false)))
  end)

  it("takes no name of one letter for another", function()
    assert.is_nil(options.nearest("b", { "a", "c" }))
    assert.equal("ab", options.nearest("b", { "a", "ab" }))
  end)

  it("blames the nearest line that is not Sluice's own", function()
    local timers = require("sluice.app.timers")
    local function call() timers.register({ timer_counts = {} }, 5, { bad = 1 }, print) end
    local line = debug.getinfo(call, "S").linedefined
    local _, message = pcall(call)
    assert.matches("options_spec.lua:" .. line .. ": app:every(5): unknown option 'bad'", message, 1, true)
  end)

  it("refuses another type than that of the default, or the one that stands for it", function()
    assert.matches("channel 'a': history is a number, not a string", select(2, pcall(make, { history = "5" })))
    assert.matches("channel 'a': automatic is a boolean, not a number", select(2, pcall(make, { automatic = 1 })))
    assert.same({ read = false, history = 1, ttl = 2, automatic = true },
      make({ read = false, history = 1, ttl = 2, automatic = true }))
    local known = { a = options.STRING, b = options.FUNCTION }
    assert.same({}, options("x", {}, known))
    assert.same({ a = "", b = print }, options("x", { a = "", b = print }, known))
    assert.matches("x: a is a string, not a table", select(2, pcall(options, "x", { a = {} }, known)))
  end)

  it("knows a list", function()
    assert.is_nil(options.list_fault({}, "names"))
    assert.is_nil(options.list_fault({ "a", 5 }, "names", "text"))
    assert.equal("is a list of names, not a number", options.list_fault(5, "names"))
    assert.equal("is a list of names, and [2] is a number", options.list_fault({ "a", 5 }, "names", "string"))
    assert.equal("is a list of names, and 'x' is no place in it", options.list_fault({ x = 1 }, "names"))
    assert.equal("is a list of names, and [2] is a table", options.list_fault({ "a", {} }, "names", "text"))
    assert.truthy(options.list_fault({ "a", nil, "c" }, "names"))
    assert.truthy(options.list_fault({ [0] = "a", "b" }, "names"))
    assert.truthy(options.list_fault({ [1.5] = "a" }, "names"))
  end)
end)

-- ---- Every table of options there is -----------------------------------------------------

local VALUES = { boolean = "true", number = "1.5", string = '"x y"', table = "{}", ["function"] = "print" }

-- How the option is given, and the types that it may have. "%s" is the option.
local AT_LOAD = {
  { 'app:channel("a", { %s })', history = "number string table", ttl = "number", key = "string", max_keys = "number",
    rewind = "number string", slow = "string", max_rate = "number", batch = "number", read = "function" },
  { 'app:channel("a", { history = { %s } })', count = "number", bytes = "number" },
  { 'app:stream("/s", { %s }, "a")', heartbeat = "number" },
  { 'app:stream("/s", { channels = { "a" }, %s })', keys = "table", types = "table", max_rate = "number",
    rewind = "number string", heartbeat = "number", meta = "table", query = "table" },
  { 'app:stream("/s", { %s })', channels = "string table" },
  { 'app:stream("/s", { channels = { { "a", %s } } })', keys = "table", types = "table", max_rate = "number",
    rewind = "number string" },
  { 'app:stream("/s", { channels = { "a" }, query = { %s } })', keys = "string", types = "string",
    max_rate = "string" },
  { 'app:cors("/**", { origins = { "*" }, %s })', credentials = "boolean", max_age = "number" },
  { 'app:cors("/**", { %s })', origins = "table" },
  { 'app:every(5, { %s }, print)', name = "string", jitter = "number", overlap = "string", while_subscribed = "string",
    now = "boolean" },
  { 'app:task("u", { %s }, print)', restart = "boolean" },
  { 'app:event_type("e", { %s })', automatic = "boolean", description = "string", fields = "table",
    channel = "string" },
  { 'app:state("s", {}, { %s })', version = "number string", migrate = "function" },
  { 'require("sluice.system").new(app, { %s })', name = "string", services = "table", disks = "table",
    interval = "number", root = "string" },
  { 'require("sluice.eventstream").new({ %s })', line_max = "number", event_max = "number", last_id = "string" },
}
local RUNNING = {
  { 'app:publish("a", "e", {}, { %s })', key = "string number", ttl = "number", idempotency = "string",
    remove = "boolean", update = "boolean" },
  { 'app:remove("a", "k", { %s })', update = "boolean", idempotency = "string" },
  { 'app:history("a", { %s })', limit = "number", after = "string", event = "string" },
  { 'app:clients({ %s })', user = "string number" },
  { 'app:after(1, "t", nil, { %s })', id = "string" },
  { 'app:at(1, "t", nil, { %s })', id = "string" },
  { 'client:subscribe("b", { %s })', keys = "table", types = "table", max_rate = "number", rewind = "number string" },
  { 'client:set({ %s })', keys = "table", types = "table", max_rate = "number" },
  { 'require("sluice.http").request({ url = "http://a", %s })', method = "string", headers = "table", body = "string",
    timeout = "number", retries = "number", max_bytes = "number", redirects = "number", verify = "boolean" },
  { 'require("sluice.client").events("http://a", { %s })', events = "table", keys = "table", headers = "table",
    last_event_id = "string", timeout = "number" },
}
-- Lists that are none, and other values of the right type that cannot be meant.
local AMISS = {
  { 'app:stream("/s", { channels = { "a" }, %s })', 'keys = { k = "v" }', "types = { {} }", 'keys = { "a", nil, "c" }',
    "keys = { true }", "heartbeat = 0/0", "max_rate = 0/0" },
  { 'app:stream("/s", { %s })', 'channels = { "a", read = print }', "channels = {}" },
  { 'app:cors("/**", { origins = { "*" }, %s })', "max_age = -1", "max_age = 0/0", "max_age = 1/0" },
  { 'app:cors("/**", { %s })', 'origins = { site = "*" }', "origins = { 5 }", 'origins = { "*", x = 1 }' },
  { 'app:every(5, { %s }, print)', 'name = ""', "jitter = 0/0", "jitter = 6" },
  { 'require("sluice.system").new(app, { %s })', "disks = { 5 }", 'services = { name = "a" }', "interval = 0/0" },
}

describe("every table of options", function()
  local APP = 'local app = require("sluice").app()\napp:task("t", print)\n'
  local function refused(line) return rehearsal.load_error(APP .. line .. "\nreturn app") end

  local function each_wrong(rows, fn)
    for _, row in ipairs(rows) do
      for option, kinds in pairs(row) do
        for kind, value in pairs(type(option) == "string" and VALUES or {}) do
          if not kinds:find(kind, 1, true) then
            local line = row[1]:format(option .. " = " .. value)
            fn(line, option)
          end
        end
      end
    end
  end

  it("refuses a value of another type by the option's name, at load", function()
    local n = 0
    each_wrong(AT_LOAD, function(line, option)
      local message = refused(line)
      assert.truthy(message:find(option, 1, true), line .. ": " .. message)
      assert.matches("^app.lua:3: ", message)
      n = n + 1
    end)
    assert.is_true(n > 100)
  end)

  it("refuses a list that is none, and numbers that are none", function()
    for _, row in ipairs(AMISS) do
      for i = 2, #row do
        local line, option = row[1]:format(row[i]), row[i]:match("^%S+")
        local message = refused(line)
        assert.truthy(message:find(option, 1, true), line .. ": " .. message)
      end
    end
  end)

  it("refuses a value of another type by the option's name, in a handler", function()
    local n = 0
    each_wrong(RUNNING, function(line, option)
      local t = rehearsal.load(APP .. 'app:stream("/s", function() return "s" end)\napp:get("/", function(req)\n'
        .. "for client in app:clients() do " .. line .. " end end)\nreturn app")
      t:connect("/s")
      assert.equal(500, t:get("/").status, line)
      local message = rehearsal.logged("error")[1]
      assert.truthy(message:find("app.lua:5: .*" .. option), line .. ": " .. message)
      n = n + 1
    end)
    assert.is_true(n > 60)
  end)

  it("has no options where none are known", function()
    assert.equal("app.lua:3: app:static(prefix, folder) takes no options",
      refused('app:static("/", "p", { max_age = 5 })'))
    for _, path in ipairs({ '"api/**"', "nil", "5" }) do
      assert.matches("app.lua:3: app:cors%(path, …%): the path .*string that starts with a slash",
        refused(("app:cors(%s, { origins = { '*' } })"):format(path)))
    end
  end)

  it("takes an id, not a user, where one is named", function()
    local t = rehearsal.load(APP .. 'app:get("/", function() app:recheck({ id = "alice" }) end)\nreturn app')
    assert.equal(500, t:get("/").status)
    assert.matches("app.lua:3: app:recheck%(%): user is an id, a string, not a table", rehearsal.logged("error")[1])
  end)
end)
