--- README.md keeps its word: its programs run, its commands show what it says they show, its
--- tables agree with the code, its names exist.
local codes = require("sluice.base.codes")
local config = require("sluice.live.config")
local core = require("sluice.core")
local generation = require("sluice.live.generation")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local nginx = require("spec.support.nginx")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")
local sse = require("spec.support.sse")
local tree = require("spec.support.tree")

local ADDRESS = "http://127.0.0.1:5121"
local RESERVED = { "hello", "reset", "sync", "bye", "open", "error" }

local doc = markdown.read("README.md")

local function is_program(block) return block.lang == "lua" and block.text:find("\nreturn app\n$") end
local function is_test(block) return block.lang == "lua" and block.text:find('require("sluice.testing")', 1, true) end

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

--- The names that a message lists as known, without those of later versions.
local function known_names(message, later)
  local list, skip = {}, {}
  for _, name in ipairs(later) do skip[name] = true end
  for _, name in ipairs(words_of(message:match("%(known: (.-)%)"))) do
    if not skip[name] then list[#list + 1] = name end
  end
  return sorted(list)
end

-- { NAME = value } of bounds.h, computed by Lua.
local function read_bounds()
  local values = {}
  local text = tree.read("csrc/base/bounds.h"):gsub("\\\n", " "):gsub("/%*.-%*/", "")
  for name, value in text:gmatch("#define ([%u%d_]+) +([^\n]+)") do
    values[name] = load("return " .. value:gsub("(%d)u", "%1"), name, "t", values)()
  end
  return values
end

describe("the README", function()
  -- A program, then the commands and what they show, up to the next program.
  local function acts()
    local list
    for i, block in ipairs(doc.blocks) do
      if is_program(block) then
        list = list or {}
        list[#list + 1] = { program = block, shows = {} }
      elseif list and block.lang == "sh" and block.text:find("^curl") then
        local text = doc.blocks[i + 1]
        assert(text.lang == "text", "README.md:" .. block.line .. " shows nothing")
        table.insert(list[#list].shows, { commands = block, text = text.text })
      end
    end
    return list
  end

  local function start(program)
    local folder = process.temp_dir()
    lfs.mkdir(folder .. "/public")
    process.write_file(folder .. "/public/index.html", "<p>a page</p>\n")
    local port, text = 0, program.text
    if text:find(ADDRESS, 1, true) then -- it asks itself
      local unused = source.listen()
      port = unused.port
      unused:close()
      text = text:gsub(ADDRESS:gsub("%p", "%%%0"), "http://127.0.0.1:" .. port)
    end
    process.write_file(folder .. "/app.lua", text)
    local s = server.start { path = folder .. "/app.lua", port = port }
    s.app_folder = folder
    return s, folder
  end

  -- Run one command: a function that tells what it has shown so far. A stream stays open.
  local function run(s, line)
    line = line:gsub("^curl ", "curl -sS "):gsub(ADDRESS:gsub("%p", "%%%0"), s.url)
    if not line:find("%-N") then
      local _, output = process.run(line, { dir = s.app_folder })
      return function() return (output:gsub("\r\n", "\n")) .. "\n" end
    end
    local p = process.spawn({ "sh", "-c", "exec " .. line }, { kind = "curl", dir = s.app_folder })
    deadline.eventually(function() return p:log():find("^:ok\n.-\n\n") end, 5, line .. " opens")
    return function() return p:log() .. "\n" end
  end

  local function play(s, show)
    local outputs = {}
    for line in show.commands.text:gmatch("[^\n]+") do outputs[#outputs + 1] = run(s, line) end
    local text
    local ok = pcall(deadline.eventually, function()
      local parts = {}
      for i, output in ipairs(outputs) do parts[i] = output() end
      text = table.concat(parts)
      return markdown.matches(show.text, text)
    end, 4)
    process.stop_all("curl")
    assert.is_true(ok, ("README.md:%d announces\n%s\nand this came:\n%s"):format(show.commands.line, show.text, text))
  end

  -- Every route and stream that a program names can be asked.
  local function knock(s, program)
    for method, path in program.text:gmatch('app:(%l+)%("(/[^"*]-)"') do
      local url = path:gsub(":%w+", "7")
      if method == "get" then
        assert.is_true(http.get(s.port, url).status < 500, url)
      elseif method == "stream" then
        local c = sse.connect(s.port, url)
        assert.is_true(c.status == 200 or c.status == 401, url .. ": " .. c.status)
        if c.status == 200 then assert.equal("ok", c:next_comment(5), url) end
        c:close()
      end
    end
  end

  after_each(function() process.stop_all() end)

  it("has programs that run, and commands that show what it says", function()
    local count, shown = 0, 0
    for _, act in ipairs(acts()) do
      local s, folder = start(act.program)
      for _, show in ipairs(act.shows) do
        play(s, show)
        shown = shown + 1
      end
      knock(s, act.program)
      assert.falsy(s.log():find('"level":"error"', 1, true), s.log())
      s.signal("KILL") -- a drain takes its time
      process.remove_dir(folder)
      count = count + 1
    end
    assert.is_true(count >= 9 and shown >= 8, count .. " programs, " .. shown .. " sessions")
  end)

  it("has a program of one's own that serves and stops", function()
    local count = 0
    for _, block in ipairs(doc.blocks) do
      if block.lang == "lua" and block.text:find("sluice%.serve") then
        count = count + 1
        local folder, root = process.temp_dir(), lfs.currentdir()
        process.write_file(folder .. "/own.lua", block.text)
        local env = { SLUICE_PORT = 0, SLUICE_IO_THREADS = 1, SLUICE_DRAIN = 0,
          LUA_PATH = ("%s/lua/?.lua;%s/lua/?/init.lua;;"):format(root, root),
          LUA_CPATH = root .. "/build/plain/?.so;;" }
        local p = process.spawn({ "lua5.4", folder .. "/own.lua" }, { env = env, folders = { folder } })
        local port = deadline.eventually(function() return p:log():match("127%.0%.0%.1:(%d+)") end)
        assert.equal("from a program", http.get(tonumber(port), "/").body)
        assert.equal(0, p:stop())
      elseif block.lang == "lua" and not is_test(block) then
        assert.truthy(is_program(block), "README.md:" .. block.line .. " is neither whole nor served")
      end
    end
    assert.equal(1, count)
  end)

  -- Run a spec of a user, with the app beside it.
  local function run_busted(spec, app)
    local folder, root = process.temp_dir(), lfs.currentdir()
    process.write_file(folder .. "/app_spec.lua", spec)
    process.write_file(folder .. "/app.lua", app)
    local code, output = process.run(root .. "/build/bin/sluice test app_spec.lua", { dir = folder })
    process.remove_dir(folder)
    return code, output
  end

  it("has a program with a spec that passes, and fails when the rule is another", function()
    local program, test
    for _, block in ipairs(doc.blocks) do
      if is_program(block) and not test then program = block.text end
      if is_test(block) then test = block.text end
    end
    local code, output = run_busted(test, program)
    assert.equal(0, code, output)
    assert.truthy(output:find("1 success", 1, true), output)
    local _, lines = test:match("it%([^\n]+\n(.-)  end%)"):gsub("\n", "")
    assert.is_true(lines <= 10, lines .. " lines")
    code, output = run_busted(test, (program:gsub("after%(20", "after(19")))
    assert.not_equal(0, code, output)
  end)

  it("has guards that leave a test its user", function()
    local count = 0
    for _, act in ipairs(acts()) do
      local path = act.program.text:match('app:guard%("(/[%w/]+)/%*%*"')
      if path then
        count = count + 1
        local t <close> = require("sluice.testing").start({ source = act.program.text })
        local url = act.program.text:match('app:stream%("(' .. path .. '/[^"]+)"'):gsub(":user", "alice")
        assert.same({ 401, 403, 200 }, { t:connect(url).status, t:connect(url, { user = "bob" }).status,
          t:connect(url, { user = "alice" }).status })
      end
    end
    assert.is_true(count > 0)
  end)

  it("names what a test and its streams can do", function()
    for head, module in pairs { ["of a test"] = "test", ["of a stream"] = "stream" } do
      local listed, names = {}, {}
      for _, row in ipairs(doc.table(head)) do
        for _, code in ipairs(markdown.code(row[1])) do listed[#listed + 1] = code:match("^%l:([%l_]+)") end
      end
      for name, value in pairs(require("sluice.testing." .. module).methods) do
        if type(value) == "function" and not name:find("^__") and name ~= "last_id" then names[#names + 1] = name end
      end
      assert.same(sorted(names), sorted(listed))
    end
  end)

  it("configures nginx so that events come at once", function()
    local s = server.start { app = acts()[2].program.text, args = { "--trust-proxy", "yes" } }
    local n = nginx.start(s.port, { server = nginx.readme(s.port) })
    local c = sse.connect(n.port, "/api/matches/7")
    assert(c:wait_for("hello", 1))
    local goal = { "POST", "/api/matches/7/goals", { ["Content-Type"] = "application/json" },
      '{"team":"home","minute":1}' }
    assert.equal(202, http.connect(s.port):request(table.unpack(goal)).status)
    assert(c:wait_for("goal", 1))
    c:close()
    n.stop()
  end)

  it("has programs that can be changed while streams stay open", function()
    local s, folder = start(acts()[2].program)
    local function score()
      local c = http.connect(s.port)
      return c:request("POST", "/api/matches/7/goals", { ["Content-Type"] = "application/json" },
        '{"team":"home","minute":1}').status
    end
    local c = sse.connect(s.port, "/api/matches/7")
    assert(c:wait_for("hello"))
    process.write_file(folder .. "/app.lua", "a mistake")
    s.signal("HUP")
    s.wait_log("reload failed in load")
    assert.equal(202, score())
    assert(c:wait_for("goal"))
    process.write_file(folder .. "/app.lua", (acts()[2].program.text:gsub('"goal"', '"point"')))
    s.signal("HUP")
    s.wait_log("reload #2")
    assert.equal(202, score())
    assert.equal("point", c:next_event().event)
    c:close()
    s.signal("KILL")
    process.remove_dir(folder)
  end)

  it("has JavaScript that is JavaScript", function()
    local folder = process.temp_dir()
    for _, block in ipairs(doc.blocks) do
      if block.lang == "js" then
        process.write_file(folder .. "/page.mjs", block.text)
        local code, output = process.run { "node", "--check", folder .. "/page.mjs" }
        assert.equal(0, code, output)
      end
    end
    process.remove_dir(folder)
  end)

  it("names commands that exist", function()
    local makefile, setup = tree.read("Makefile"), tree.read(".ci/setup")
    for _, block in ipairs(doc.blocks) do
      for line in (block.lang == "sh" and block.text or ""):gmatch("[^\n]+") do
        local target = line:match("^make (%l+)")
        local file = line:match("LUAROCKS_CONFIG=(%S+)")
        if target then assert.truthy(makefile:find("\n" .. target .. ":", 1, true), line) end
        if file then assert.equal("file", lfs.attributes(file, "mode")) end
        for package in (line:match("apt%-get install (.*)") or ""):gmatch("%S+") do
          assert.truthy(setup:find("%f[%w]" .. package:gsub("%p", "%%%0") .. "%f[^%w.-]"), package)
        end
      end
    end
  end)

  it("links and names what is there", function()
    local anchors = {}
    for heading in doc.text:gmatch("\n##+ ([^\n]+)") do
      anchors["#" .. heading:lower():gsub("[^%w%- ]", ""):gsub(" ", "-")] = true
    end
    for target in doc.text:gmatch("%]%(([^)]+)%)") do
      assert.truthy(anchors[target] or lfs.attributes(target, "mode"), target)
    end
    for path in doc.text:gmatch("`([%w_]+/[%w_./]+)`") do
      if path:find("^csrc/") or path:find("^lua/") or path:find("^spec/") or path:find("^examples/") then
        assert.truthy(lfs.attributes(path, "mode"), path)
      end
    end
  end)

  it("describes every public function, and no other", function()
    local meta = tree.read("lua/sluice/meta.lua")
    local owners = { App = "app:", Request = "req:", Client = "client:" }
    local exists = { ["app:store"] = true, ["app:chanel"] = true } -- not yet there; a mistake that is shown
    for owner, name in meta:gmatch("\nfunction ([%w.]+)[:.]([%w_]+)%(") do
      local full = (owners[owner] or owner .. ".") .. name
      exists[full] = true
      assert.truthy(doc.text:find("%f[%w]" .. name .. "%f[^%w_]"), full .. " is not in README.md")
    end
    for _, pattern in ipairs { "%f[%w]app:[%l_]+", "%f[%w]req:[%l_]+", "%f[%w]client:[%l_]+",
      "%f[%w]sluice%.json%.%l+", "%f[%w]sluice%.log%.%l+" } do
      for name in doc.text:gmatch(pattern) do
        assert.truthy(exists[name] or name == "sluice.json.null", name .. " does not exist")
      end
    end
  end)
end)

describe("the tables of the README", function()
  local bounds = read_bounds()

  it("list the settings with their defaults", function()
    local elsewhere = { io_threads = "processors - 1", trust_proxy = "no", allow_host = "none",
      lua_memory = "none", socket = "none", admin_key = "none", log_format = "by terminal",
      max_connections = ("`%d`"):format(bounds.CONNECTIONS_MAX_DEFAULT) }
    local rows = doc.table("flag")
    for i, setting in ipairs(config.SETTINGS) do
      local name, default = setting[1], setting[3]
      assert.equal(("`--%s`"):format((name:gsub("_", "-"))), rows[i][1])
      assert.equal(("`SLUICE_%s`"):format(name:upper()), rows[i][2])
      assert.equal(default and ("`%s`"):format(default) or elsewhere[name], rows[i][3], name)
    end
    assert.equal(#config.SETTINGS, #rows)
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
      local named = reason.told and listed[word] or doc.text:find(("`%s`, "):format(word), 1, true)
      assert.truthy(named, word)
    end
  end)

  it("list the options of channels and plans", function()
    local rows = doc.table("option", 2)
    local message = load_error('app:channel("a", { nothing_like_it = 1 })')
    assert.same(known_names(message, { "durable" }), names_of(rows))
    local defaults = {}
    for _, row in ipairs(rows) do defaults[markdown.code(row[1])[1]] = row[2]:match("^`(.-)`") end
    assert.same({ tostring(bounds.HISTORY_EVENTS_DEFAULT), tostring(bounds.TTL_DEFAULT_MS // 1000),
      tostring(bounds.KEYS_MAX_DEFAULT), "0", '"reset"' },
      { defaults.history, defaults.ttl, defaults.max_keys, defaults.rewind, defaults.slow })
    message = load_error('app:stream("/a", { channels = { "a" }, nothing_like_it = 1 })')
    assert.same(known_names(message, { "compress" }), names_of(doc.table("plan option")))
  end)

  it("list the options of a publish", function()
    local given = tree.read("lua/sluice/meta.lua"):match("%-%-%-@param opts%? ({[^\n]+})\n[^\n]+\nfunction App:publish")
    local wanted = {}
    for name in given:gmatch("([%l_]+)%?:") do wanted[#wanted + 1] = name end
    assert.same(sorted(wanted), names_of(doc.table("option", 1)))
  end)

  it("list the options of requests to other servers", function()
    for name, module in pairs { http = "http", client = "client" } do
      local known = tree.read("lua/sluice/" .. module .. ".lua"):match("\nlocal KNOWN = {(.-)}")
      local wanted, defaults = {}, {}
      for option, default in known:gmatch("([%l_]+) = ([%w.<> ]+)") do
        if option ~= "sign" then
          wanted[#wanted + 1] = option
          defaults[option] = load("local options = { NONE = false } return " .. default)()
        end
      end
      local rows = doc.table(name .. " option")
      assert.same(sorted(wanted), names_of(rows))
      for _, row in ipairs(rows) do
        local default = defaults[markdown.code(row[1])[1]]
        if default then assert.equal(tostring(default), row[2]:match("^`(.-)`")) end
      end
    end
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
    for _, row in ipairs(doc.table("written", 1)) do
      local code = markdown.code(row[1])[1]
      local message = assert(load_error(code), code .. " is no mistake")
      assert.truthy(message:find(row[2], 1, true), message)
    end
  end)

  it("tell the mistakes of handlers as the log tells them", function()
    finally(server.stop_all)
    local rows, routes = doc.table("written", 2), {}
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

describe("public functions", function()
  it("are documented where they stand", function()
    local sources = {}
    for _, path in ipairs(tree.files("^lua/sluice/.*%.lua$")) do
      if not path:find("meta.lua", 1, true) then sources[#sources + 1] = tree.read(path) end
    end
    local text = table.concat(sources, "\n")
    -- where the methods of App live that are made elsewhere
    local places = { App = { "App:", "publish.", "reading." }, Request = { "Request:" }, Client = { "Client:" },
      http = { "http." }, client = { "client." }, Connection = { "Connection:" },
      sluice = { "sluice." }, ["sluice.json"] = { "json." }, system = { "system." }, System = { "System:" },
      eventstream = { "eventstream." }, EventStream = { "EventStream:" }, testing = { "testing." },
      Test = { "Test:" }, Stream = { "Stream:" } }
    for owner, name in tree.read("lua/sluice/meta.lua"):gmatch("\nfunction ([%w.]+)[:.]([%w_]+)%(") do
      local found = false
      for _, prefix in ipairs(places[owner] or {}) do
        local full = prefix:gsub("%p", "%%%0") .. name
        found = found or text:find("\n%-%-[^\n]*\nfunction " .. full .. "%(")
          or text:find("\n%-%-[^\n]*\n" .. full .. " = [%w.]+\n") -- a function of the core
      end
      -- get, post … and the levels of the log are made in loops
      found = found or owner == "sluice.log"
        or owner == "App" and text:find('"' .. name .. '"[^\n]*}%) do\n  App%[method%]')
        or owner == "Test" and text:find('"' .. name .. '"[^\n]*}%) do\n  %-%-%- ')
        or owner == "Stream" and text:find("\n%-%-%- [^\n]+\nStream%." .. name .. " = ")
      assert.truthy(found, owner .. " " .. name .. " has no comment")
    end
  end)
end)
