--- Every command of the parser, as a process: each exit code that its help documents is caused, what it answers is on
--- standard output and what is wrong on standard error, --json prints JSON, and - is a pipe. What is not so stands in a
--- table here, with its reason; a command that is new fails until it is in one.
local cli = require("sluice.command.cli")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 100, rewind = "all", durable = true })
app:stream("/s", "news")
app:post("/p", function() return { id = app:publish("news", "n", {}) } end)
return app]]

local s, folder, outputs, silent

-- ---- What is run ---------------------------------------------------------------------------

-- By the exit code: the words behind the name. HOST, PORT, DIR and SILENT are the world's. A `signal` is sent once
-- `ready` is in what was printed, or once the silent server was asked.
local CASES = {
  new = { [0] = { "made" }, [1] = { "there" } },
  run = { [0] = { "app.lua", "--port", "0", "--data", "DIR/other", signal = "TERM", ready = "serving" },
    [1] = { "broken.lua" }, [75] = { "app.lua", "--port", "0", "--data", "DATA" } }, -- the server's own
  demo = { [0] = { "--port", "0", "--no-watch", signal = "INT", ready = "The showcase is at" },
    [1] = { "--port", "PORT" } },
  test = { [0] = { "good_spec.lua" }, [1] = { "bad_spec.lua" },
    [130] = { "good_spec.lua", "--watch", signal = "INT", ready = "waiting for a change" } },
  check = { [0] = { "app.lua" }, [1] = { "broken.lua" } },
  routes = { [0] = { "app.lua" }, [1] = { "--port", "1" } },
  reload = { [0] = { "--port", "PORT" }, [1] = { "--port", "1" } },
  console = { [0] = { "--port", "PORT" }, [1] = { "--port", "1" } },
  explain = { [0] = { "channel", "news", "--port", "PORT" }, [1] = { "channel", "news", "--port", "1" } },
  repl = { [0] = { "-e", "1 + 1", "--port", "PORT" }, [1] = { "-e", "error('x')", "--port", "PORT" },
    [130] = { "--port", "PORT", signal = "INT", input = "print('it ' .. 'runs')\n", ready = "it runs" } },
  store = { [0] = { "stats", "--data", "DATA" }, [1] = { "stats", "--data", "none" } },
  ["store verify"] = { [0] = { "--data", "DATA" }, [1] = { "--data", "none" } },
  ["store stats"] = { [0] = { "--data", "DATA" }, [1] = { "--data", "none" } },
  ["store export"] = { [0] = { "DIR/e.jsonl", "--data", "DATA" }, [1] = { "DIR/e2.jsonl", "--data", "none" } },
  ["store import"] = { [0] = { "export.jsonl", "--data", "DIR/new" }, [1] = { "none.jsonl", "--data", "DIR/new2" } },
  ["store backup"] = { [0] = { "DIR/b.db", "--data", "DATA" }, [1] = { "DIR/b2.db", "--data", "none" } },
  record = { [0] = { "HOST/s", "DIR/new.jsonl", signal = "INT", file = "new.jsonl" },
    [1] = { "http://127.0.0.1:1/", "DIR/none.jsonl" } },
  replay = { [0] = { "r.jsonl" }, [1] = { "none.jsonl" },
    [130] = { "slow.jsonl", signal = "INT", ready = "data: first" } },
  tail = { [0] = { "HOST/s", "--count", "1" }, [1] = { "http://127.0.0.1:1/" }, [130] = { "SILENT", signal = "INT" } },
  publish = { [0] = { "HOST/p", "n" }, [1] = { "http://127.0.0.1:1/", "n" },
    [130] = { "SILENT", "n", signal = "INT" } },
  ["wait-for"] = { [0] = { "HOST/s", "n" }, [1] = { "HOST/none", "n" },
    [130] = { "SILENT", "n", "--timeout", "60", signal = "INT" } },
  bench = { [0] = { "HOST/s", "-c", "2", "-d", "0.1" }, [1] = { "http://127.0.0.1:1/", "-c", "2" },
    [130] = { "SILENT", "-c", "1", signal = "INT" } },
  doctor = { [0] = { "HOST/s" }, [1] = { "http://127.0.0.1:1/" }, [130] = { "SILENT", signal = "INT" } },
  lab = { [0] = { "HOST/s", "--port", "0", "--control", "0", signal = "INT", ready = "127.0.0.1" },
    [1] = { "HOST/s", "--port", "PORT" } },
  completion = { [0] = { "bash" } },
  version = { [0] = {} },
}

-- Codes that another spec causes.
local ELSEWHERE = {
  demo = { [75] = "of `run`, which it is" },
  ["store verify"] = { [130] = "spec/e2e/store_command_spec.lua" },
  ["store export"] = { [130] = "spec/e2e/store_command_spec.lua" },
  ["store import"] = { [75] = "spec/e2e/store_command_spec.lua", [130] = "spec/e2e/store_command_spec.lua" },
  ["store backup"] = { [130] = "spec/e2e/store_command_spec.lua" },
}

-- What is printed when it ends with 1 is its answer.
local FINDINGS = { test = "busted's report", doctor = "what is wrong is what was asked for" }

local NO_JSON = {
  new = "a folder is made", run = "its log is JSON", demo = "as run", test = "busted's --output=json",
  console = "one link", record = "what it writes is JSON", replay = "an event stream", completion = "for shells",
  store = "its parts have it", ["store export"] = "text, for import", ["store import"] = "a store is made",
  ["store backup"] = "a file is made",
}

-- Arguments that name a file: the words and what is piped through them; or why none is.
local PIPES = {
  ["store export"] = { words = { "-", "--data", "DATA" }, says = "channel 4:news" },
  ["store import"] = { words = { "-", "--data", "DIR/piped" }, from = "export.jsonl", says = "" },
  record = { words = { "HOST/s", "-" }, says = '"event":"n"', endless = true },
  replay = { words = { "-" }, from = "r.jsonl", says = "data: one" },
  tail = { words = { "-" }, from = "stream.txt", says = "  one" },
  publish = { words = { "HOST/p", "n", "-" }, from = "data.json", says = "%-%d+\n" },
}
local NO_PIPE = {
  run = "an app is read again at each save", check = "as run", routes = "as run", test = "busted reads files",
  ["store backup"] = "its writer goes back and forth in it",
}

-- ---- Running -------------------------------------------------------------------------------

local function fill(words)
  local list = {}
  for i, word in ipairs(words) do
    list[i] = word:gsub("DIR", folder):gsub("DATA", s.data):gsub("HOST", s.url):gsub("PORT", tostring(s.port))
      :gsub("SILENT", silent.url)
  end
  return list
end

-- Begin one; its two outputs apart.
local started = 0
local function begin(name, words, more)
  started = started + 1
  local self = { name = name, given = words, errors = ("%s/err.%d"):format(outputs, started) }
  local input = words.input and outputs .. "/in" or "/dev/null"
  local list = { "sh", "-c", ('exec "$@" 2>"$0" <%s'):format(input), self.errors, SLUICE }
  for word in name:gmatch("%S+") do list[#list + 1] = word end
  for _, word in ipairs(fill(words)) do list[#list + 1] = word end
  for _, word in ipairs(more or {}) do list[#list + 1] = word end
  if words.input then
    process.run { "mkfifo", input }
    self.input = assert(io.open(input, "r+"))
    self.input:write(words.input):flush()
  end
  self.process = process.spawn(list, { dir = folder, env = { XDG_RUNTIME_DIR = s.folder } })
  return self
end

local function errors_of(c) return process.read_file(c.errors) or "" end

-- It is where its signal may come.
local function is_ready(c)
  local given = c.given
  if given.file then return (process.read_file(folder .. "/" .. given.file) or ""):find("\n", 1, true) end
  return (c.process:log() .. errors_of(c)):find(given.ready, 1, true)
end

local function finish(c)
  local given = c.given
  if given.signal then
    if given.ready or given.file then
      deadline.eventually(function() return is_ready(c) or c.process:code() end, 20, c.name .. " is ready")
    end
    c.process:signal(given.signal)
  end
  return c.process:wait(40), c.process:log(), errors_of(c)
end

-- Run those of one code, side by side: { { name, code, out, err }, … }.
local function run_all(code, more_of)
  local list, found = {}, {}
  for name, codes in pairs(CASES) do
    local words, more = codes[code], more_of and more_of(name)
    if words and (more or not more_of) then
      list[#list + 1] = begin(name, words, more)
      local asks = words.signal and not (words.ready or words.file)
      if asks then assert(silent:accept(20), name) end -- one at a time: it is known who asks
    end
  end
  for i, c in ipairs(list) do found[i] = { c.name, finish(c) } end
  return found
end

-- ---- What the parser says ------------------------------------------------------------------

local function commands()
  local list = {}
  local function add(parser, before)
    for _, command in ipairs(parser._commands) do
      local name = before .. command._name
      if name ~= "help" then list[name] = command end
      add(command, name .. " ")
    end
  end
  add(cli.parser(), "")
  return list
end

local function documented(command)
  local list = {}
  for code in (", " .. command:get_help():match("\nExit codes: ([^\n]+)%.$")):gmatch(", (%d+) ") do
    list[#list + 1] = math.tointeger(code)
  end
  return list
end

local function has_json(command)
  for _, option in ipairs(command._options) do
    for _, alias in ipairs(option._aliases) do
      if alias == "--json" then return true end
    end
  end
  return false
end

local FILES = { ["<file>"] = true, ["<data>"] = true, ["<app.lua>"] = true }

local function takes_file(command)
  for _, argument in ipairs(command._arguments) do
    local name = argument._argname
    if type(name) == "table" then name = name[1] end
    if FILES[name] or argument._description:find("standard input", 1, true) then return true end
  end
  return false
end

describe("every command", function()
  setup(function()
    folder, outputs = process.temp_dir(), process.temp_dir()
    lfs.mkdir(folder .. "/there")
    local data = process.temp_dir()
    local key = "0123456789abcdef0123456789"
    s = server.start { app = APP, args = { "--data", data, "--heartbeat", "1", "--admin-key", key } }
    s.data, silent = data, source.listen()
    for name, text in pairs {
      ["app.lua"] = APP, ["broken.lua"] = "return", ["data.json"] = "{}", ["stream.txt"] = "data: one\n\n",
      ["good_spec.lua"] = 'it("is", function() assert.equal(1, 1) end)',
      ["bad_spec.lua"] = 'it("is not", function() assert.equal(1, 2) end)',
      ["r.jsonl"] = '{"t":0,"data":"one"}\n', ["slow.jsonl"] = '{"t":0,"data":"first"}\n{"t":900,"data":"last"}\n',
    } do process.write_file(folder .. "/" .. name, text) end
    assert.equal(0, (process.run { "curl", "-sf", "-X", "POST", s.url .. "/p" }))
    assert.equal(0, (process.run { SLUICE, "store", "export", folder .. "/export.jsonl", "--data", data }))
  end)
  teardown(function()
    process.stop_all()
    source.close_all()
    for _, path in ipairs { folder, outputs, s.data } do process.remove_dir(path) end
  end)

  it("has a case for each code that its help documents", function()
    for name, command in pairs(commands()) do
      for _, code in ipairs(documented(command)) do
        local elsewhere = (ELSEWHERE[name] or {})[code]
        if elsewhere and elsewhere:find("^spec/") then
          assert.truthy(process.read_file(elsewhere):find(tostring(code), 1, true), elsewhere)
        end
        assert.truthy(code == 2 or CASES[name] and CASES[name][code] or elsewhere, name .. ": " .. code)
      end
    end
    for name, codes in pairs(CASES) do
      local known = table.concat(documented(assert(commands()[name], name)), " ")
      for code in pairs(codes) do assert.truthy(known:find("%f[%d]" .. code .. "%f[%D]"), name .. ": " .. code) end
    end
  end)

  it("ends with 0 when it worked, and complains of nothing", function()
    for _, row in ipairs(run_all(0)) do
      local name, code, out, err = table.unpack(row)
      assert.equal(0, code, name .. ": " .. err .. out)
      assert.falsy(("\n" .. err):find("\nsluice: ", 1, true), name .. ": " .. err)
    end
  end)

  it("ends with 1 or 75 when it did not: a line that begins with its name on standard error, and no answer", function()
    for _, wanted in ipairs { 1, 75 } do
      for _, row in ipairs(run_all(wanted)) do
        local name, code, out, err = table.unpack(row)
        assert.equal(wanted, code, name .. ": " .. err .. out)
        if not FINDINGS[name] then
          assert.truthy(("\n" .. err):find("\nsluice: ", 1, true), name .. ": " .. err)
          assert.equal("", out, name)
        else
          assert.truthy(#out > 0, name)
        end
      end
    end
  end)

  it("ends with 130 at Ctrl-C", function()
    for _, row in ipairs(run_all(130)) do
      local name, code, out, err = table.unpack(row)
      assert.equal(130, code, name .. ": " .. err .. out)
      assert.falsy(err:find("traceback", 1, true), name .. ": " .. err)
    end
  end)

  it("prints nothing but JSON with --json", function()
    local seen = 0
    for name, command in pairs(commands()) do
      assert.equal(not has_json(command), NO_JSON[name] ~= nil, name)
    end
    for _, wanted in ipairs { 0, 1 } do
      for _, row in ipairs(run_all(wanted, function(name) return not NO_JSON[name] and { "--json" } end)) do
        local name, code, out, err = table.unpack(row)
        assert.equal(wanted, code, name .. ": " .. err .. out)
        for line in out:gmatch("[^\n]+") do
          assert.is_table(json.decode(line), name .. ": " .. line)
          seen = seen + 1
        end
        if wanted == 0 then assert.truthy(out:find("^[{%[]"), name .. ": " .. out) end
      end
    end
    assert.is_true(seen > 15)
  end)

  it("takes - for a file, or says why not", function()
    local running = {}
    for name, command in pairs(commands()) do
      local wanted = takes_file(command) and #command._commands == 0
      assert.equal(wanted, (PIPES[name] or NO_PIPE[name]) ~= nil, name)
    end
    for name, row in pairs(PIPES) do
      local words = {}
      for word in name:gmatch("%S+") do words[#words + 1] = word end
      for _, word in ipairs(fill(row.words)) do words[#words + 1] = process.quote(word) end
      local line = ("%s %s <%s"):format(SLUICE, table.concat(words, " "), row.from or "/dev/null")
      running[name] = process.spawn({ "sh", "-c", "exec " .. line }, { dir = folder })
    end
    for name, p in pairs(running) do
      local row = PIPES[name]
      if row.endless then
        deadline.eventually(function() return p:code() or p:log():find(row.says) end, 20, name)
        p:signal("INT")
      end
      assert.equal(0, p:wait(30), name .. ": " .. p:log())
      assert.matches(row.says, p:log())
    end
  end)
end)
