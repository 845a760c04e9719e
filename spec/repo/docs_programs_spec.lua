--- The programs of all pages run, and their commands show what the page says they show. (Those of
--- doc/first-hour.md are one story: first_hour_spec.)
local commands = require("spec.support.commands")
local http = require("spec.support.http")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")
local sse = require("spec.support.sse")

local STORY = "doc/first-hour.md"
local MATCHES = "/api/matches/7"

local doc = markdown.pages()

-- The programs, each with the commands behind it and what they show, up to the next program.
local function read_acts()
  local list, act = {}, nil
  for i, block in ipairs(doc.blocks) do
    if act and act.program.path ~= block.path then act = nil end
    if markdown.is_program(block) then
      act = { program = block, shows = {} }
      if block.path ~= STORY then list[#list + 1] = act end
    elseif block.lang == "sh" and block.text:find("^curl") and block.path ~= STORY then
      local text = doc.blocks[i + 1]
      assert(act, block.place .. " asks no program")
      assert(text and text.lang == "text", block.place .. " shows nothing")
      text.is_shown = true
      table.insert(act.shows, { commands = block, text = text.text })
    end
  end
  return list
end

local acts = read_acts()

-- The one that has that route.
local function program_with(path)
  for _, act in ipairs(acts) do
    if act.program.text:find(path, 1, true) then return act.program.text end
  end
end

local function start(program)
  local folder = process.temp_dir()
  lfs.mkdir(folder .. "/public")
  process.write_file(folder .. "/public/index.html", "<p>a page</p>\n")
  local port, text = 0, program
  if text:find(commands.ADDRESS, 1, true) then -- it asks itself
    local unused = source.listen()
    port = unused.port
    unused:close()
    text = text:gsub(commands.ADDRESS:gsub("%p", "%%%0"), "http://127.0.0.1:" .. port)
  end
  process.write_file(folder .. "/app.lua", text)
  local database = folder .. "/shop.db"
  for _, block in ipairs(text:find("SHOP_DB", 1, true) and doc.blocks or {}) do
    if block.lang == "sql" then process.run { "sqlite3", database, block.text } end
  end
  local args = text:find("sluice.demo", 1, true) and { "--demo" } or nil
  local s = server.start { path = folder .. "/app.lua", port = port, env = { SHOP_DB = database }, args = args }
  s.app_folder = folder
  return s, folder
end

-- Every route and stream that a program names can be asked.
local function knock(s, program)
  for method, path, by in program.text:gmatch('app:(%l+)%("(/[^"*]-)"(,? ?{? ?%l*)') do
    local url = path:gsub(":%w+", "7")
    if method == "get" then
      assert.is_true(http.get(s.port, url).status < 500, url)
    elseif method == "stream" and by == ", { method" then
      assert.equal(405, http.get(s.port, url).status, url)
    elseif method == "stream" then
      local c = sse.connect(s.port, url)
      assert.is_true(c.status == 200 or c.status == 401 or c.status == 422, url .. ": " .. c.status)
      if c.status == 200 then assert.equal("ok", c:next_comment(5), url) end
      c:close()
    end
  end
end

-- Run a spec of a user, with the app beside it.
local function run_busted(spec, app)
  local folder, root = process.temp_dir(), lfs.currentdir()
  process.write_file(folder .. "/app_spec.lua", spec)
  process.write_file(folder .. "/" .. spec:match('testing%.start%("([^"]+)"'), app)
  local code, output = process.run(root .. "/build/bin/sluice test app_spec.lua", { dir = folder })
  process.remove_dir(folder)
  return code, output
end

describe("the programs of the pages", function()
  after_each(function() process.stop_all() end)

  it("run, and their commands show what the page says", function()
    local shown = 0
    for _, act in ipairs(acts) do
      local s, folder = start(act.program.text)
      for _, show in ipairs(act.shows) do
        commands.play(s, show.commands, show.text)
        process.stop_all("curl")
        shown = shown + 1
      end
      knock(s, act.program)
      assert.falsy(s.log():find('"level":"error"', 1, true), act.program.place .. s.log())
      s.signal("KILL") -- a drain takes its time
      process.remove_dir(folder)
    end
    assert.is_true(#acts >= 16 and shown >= 13, #acts .. " programs, " .. shown .. " sessions")
  end)

  it("leave no text that nothing shows, but for pictures and logs", function()
    local left = {}
    for _, block in ipairs(doc.blocks) do
      local shown = block.is_shown or block.lang ~= "text" and block.lang ~= "" or block.path == STORY
      if not shown then left[#left + 1] = block.path end
    end
    assert.same({ "CONTRIBUTING.md", "README.md", "doc/api/reload.md", "doc/design.md", "doc/design.md",
      "doc/design.md", "doc/lab.md", "doc/tools.md", "doc/tools.md", "doc/tools.md", "doc/tools.md",
      "doc/tools.md" }, left)
  end)

  it("are watched: the tour of the README shows the log that it says", function()
    local page, top = markdown.read("README.md"), process.temp_dir()
    local folder = top .. "/tour"
    local command, log
    for i, block in ipairs(page.blocks) do
      local path = block.text:match("sluice run (examples/%S+/)app%.lua")
      if path then command, log = path, page.blocks[i + 1] end
    end
    assert.equal(0, (process.run({ "cp", "-r", command, folder })))
    assert.equal(0, (process.run({ "cp", "-r", "examples/look", top })))
    local rules = process.read_file(folder .. "/rules.lua")
    local s = server.start { path = folder .. "/app.lua", watch = true, args = { "--log-format", "text" } }
    process.write_file(folder .. "/rules.lua", (rules:gsub("90", "50")))
    commands.expect(log.place, "…\n" .. log.text, function() return s.log() end)
    process.write_file(folder .. "/rules.lua", (rules:gsub("above = 90", "above = = 50")))
    local problem = page.text:match("`(rules%.lua:%d+: [^`]+)`")
    assert(s.wait_log(problem:gsub("%p", "%%%0")))
    process.remove_dir(top)
  end)

  it("that hang are reported as doc/api/reload.md says", function()
    local said
    for _, block in ipairs(markdown.read("doc/api/reload.md").blocks) do
      if block.lang == "text" then said = block end
    end
    local text = said.text:gsub("%f[%d]%d+%.%d+ s", "… s"):gsub("lua:%d+", "lua:…"):gsub("%(app", "(…app")
    local s = server.start { args = { "--log-format", "text" }, app = [[
      local app = require("sluice").app()
      app:get("/x", function() os.execute("exec sleep 1.6") end)
      return app]] }
    assert.equal(204, http.get(s.port, "/x").status)
    commands.expect(said.place, "…\n…" .. text:gsub("\n$", "…\n…\n"), function() return s.log() end)
  end)

  it("are whole, but for one that serves and stops by itself", function()
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
        local port = require("spec.support.deadline").eventually(function()
          return p:log():match("127%.0%.0%.1:(%d+)")
        end)
        assert.equal("from a program", http.get(tonumber(port), "/").body)
        assert.equal(0, p:stop())
      elseif block.lang == "lua" and block.path ~= STORY then
        assert.is_true(markdown.is_program(block) or markdown.is_test(block), block.place .. " is neither app nor spec")
      end
    end
    assert.equal(1, count)
  end)

  it("pass the spec behind them, which fails when the rule is another", function()
    local program, count = nil, 0
    for _, block in ipairs(markdown.read("doc/testing.md").blocks) do
      if markdown.is_program(block) then program = block.text end
      if markdown.is_test(block) and block.text:find('"app.lua"', 1, true) then
        count = count + 1
        local code, output = run_busted(block.text, program)
        assert.equal(0, code, output)
        local _, lines = block.text:match("it%([^\n]+\n(.-)  end%)"):gsub("\n", "")
        assert.is_true(lines <= 10, lines .. " lines")
        code, output = run_busted(block.text, (program:gsub("after%(20", "after(19")))
        assert.not_equal(0, code, output)
      end
    end
    assert.equal(1, count)
  end)

  it("send mail as their page says, and its spec fails when a mail is not tried again", function()
    local program = program_with("/api/contact")
    for _, block in ipairs(markdown.read("doc/mail.md").blocks) do
      if markdown.is_test(block) then
        local code, output = run_busted(block.text, program)
        assert.equal(0, code, output)
        code, output = run_busted(block.text, (program:gsub("retries = 2", "retries = 0")))
        assert.not_equal(0, code, output)
        return
      end
    end
    error("there is no spec")
  end)

  it("refuse what a full disk does not take, as the page about tests says", function()
    local program, count = program_with("/api/orders/:shop"), 0
    for _, block in ipairs(markdown.read("doc/testing.md").blocks) do
      if markdown.is_test(block) and block.text:find('"orders.lua"', 1, true) then
        count = count + 1
        local code, output = run_busted(block.text, program)
        assert.equal(0, code, output)
        assert.not_equal(0, (run_busted(block.text, (program:gsub(", durable = true", "")))))
      end
    end
    assert.equal(1, count)
  end)

  it("are told of what Redis loses, on several nodes, as the page about tests says", function()
    local program, count = program_with("/api/games/:id/goals"), 0
    for _, block in ipairs(markdown.read("doc/testing.md").blocks) do
      if markdown.is_test(block) and block.text:find('"game.lua"', 1, true) then
        count = count + 1
        local code, output = run_busted(block.text, program)
        assert.equal(0, code, output)
        assert.not_equal(0, (run_busted(block.text, (program:gsub("history = 100", 'history = "latest"')))))
      end
    end
    assert.equal(1, count)
  end)

  it("have guards that leave a test its user", function()
    local program = program_with("/api/orders/:user")
    local path = assert(program:match('app:guard%("(/[%w/]+)/%*%*"'))
    local url = program:match('app:stream%("(' .. path .. '/[^"]+)"'):gsub(":user", "alice")
    local t <close> = require("sluice.testing").start({ source = program })
    assert.same({ 401, 403, 200 }, { t:connect(url).status, t:connect(url, { user = "bob" }).status,
      t:connect(url, { user = "alice" }).status })
  end)

  it("know a test by the cookie that they gave it", function()
    local t <close> = require("sluice.testing").start({ source = program_with("/api/session") })
    assert.equal(401, t:connect("/api/mine").status)
    local given = t:post("/api/session", { json = { name = "ann", password = "secret" } }).headers["Set-Cookie"]
    assert.equal(200, t:connect("/api/mine", { headers = { Cookie = given:match("^[^;]+") } }).status)
    assert.equal(200, t:connect("/api/mine", { user = "ann" }).status)
  end)

  it("can be changed while streams stay open", function()
    local program = program_with("/api/matches")
    local s, folder = start(program)
    local function score()
      local c = http.connect(s.port)
      return c:request("POST", MATCHES .. "/goals", { ["Content-Type"] = "application/json" },
        '{"team":"home","minute":1}').status
    end
    local c = sse.connect(s.port, MATCHES)
    assert(c:wait_for("hello"))
    process.write_file(folder .. "/app.lua", "a mistake")
    s.signal("HUP")
    s.wait_log("reload failed in load")
    assert.equal(202, score())
    assert(c:wait_for("goal"))
    process.write_file(folder .. "/app.lua", (program:gsub('"goal"', '"point"')))
    s.signal("HUP")
    s.wait_log("reload #2")
    assert.equal(202, score())
    assert.equal("point", c:next_event().event)
    c:close()
    s.signal("KILL")
    process.remove_dir(folder)
  end)
end)
