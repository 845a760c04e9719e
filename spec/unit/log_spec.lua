--- The log: one line stays one line, and JSON stays JSON, whatever a peer or an app puts into
--- it; a stderr that is not read costs lines, which are counted, and neither time nor memory.
local cjson = require("cjson")
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")

local CPATH = "./" .. (os.getenv("SLUICE_BUILD") or "build/plain") .. "/?.so;;"
local LUA = os.getenv("SLUICE_PRELOAD") and ".ci/lua" or "lua5.4"

-- What the log shows of hidden characters is worked out here a second time, from their names.
local HIDDEN = { { 0, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x34f, 0x34f }, { 0x600, 0x605 },
  { 0x61c, 0x61c }, { 0x6dd, 0x6dd }, { 0x70f, 0x70f }, { 0x890, 0x891 }, { 0x8e2, 0x8e2 }, { 0x115f, 0x1160 },
  { 0x17b4, 0x17b5 }, { 0x180b, 0x180f }, { 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },
  { 0x3164, 0x3164 }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 }, { 0xfff0, 0xfffb },
  { 0x110bd, 0x110bd }, { 0x110cd, 0x110cd }, { 0x13430, 0x1343f }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a },
  { 0xe0000, 0xe0fff } }

local function is_hidden(code)
  for _, range in ipairs(HIDDEN) do
    if code >= range[1] and code <= range[2] then return true end
  end
  return false
end

--- Run Lua text that uses `core` with the arguments: what it wrote on stderr and stdout.
local function run(text, ...)
  local path = os.tmpname()
  process.write_file(path, 'local core = require("sluice.core")\n' .. text)
  local code, output = process.run({ "env", "LUA_CPATH_5_4=" .. CPATH, LUA, path, ... })
  os.remove(path)
  assert.equal(0, code, output)
  return output
end

local function lines_of(output)
  local list = {}
  for line in output:gmatch("([^\n]*)\n") do list[#list + 1] = line end
  return list
end

-- Texts of every kind of trouble, the same in the spec and in the program that logs them.
local RANDOM = [[
local function random_text(longest)
  local parts = {}
  for i = 1, math.random(0, longest) do
    local kind = math.random(8)
    if kind == 1 then parts[i] = string.char(math.random(0, 255))
    elseif kind == 2 then parts[i] = utf8.char(math.random(0, 0xffff))
    elseif kind == 3 then parts[i] = utf8.char(math.random(0x80, 0x9f))
    elseif kind == 4 then parts[i] = utf8.char(0x2000 + math.random(0, 0x70))
    elseif kind == 5 then parts[i] = utf8.char(0xe0000 + math.random(0, 0x200))
    elseif kind == 6 then parts[i] = ("\0\n\r\"\\ =,{}"):sub(math.random(10)):sub(1, 1)
    else parts[i] = string.char(math.random(97, 122)) end
  end
  return table.concat(parts)
end
]]
local random_text = load(RANDOM .. "return random_text")()

-- What a reader of the JSON is to see: bytes that are no UTF-8 as \xff, all others as they are.
local function as_seen(text)
  local out, i = {}, 1
  while i <= #text do
    local character = utf8.len(text, i, i) and utf8.char((utf8.codepoint(text, i)))
    out[#out + 1] = character or ("\\x%02x"):format(text:byte(i))
    i = i + (character and #character or 1)
  end
  return table.concat(out)
end

local function assert_shows_all(line)
  assert(utf8.len(line), "no UTF-8: " .. line)
  for _, code in utf8.codes(line) do assert.is_false(is_hidden(code), ("U+%04x in %s"):format(code, line)) end
end

describe("a line of the log", function()
  local N, SEEDS = 400, 5

  it("is one JSON object that says what was given, whatever that holds", function()
    for seed = 1, SEEDS do
      local list = lines_of(run(RANDOM .. [[
        core.log_setup("info", "json")
        math.randomseed(tonumber(arg[1]))
        for _ = 1, tonumber(arg[2]) do
          core.log("info", random_text(30), { [random_text(6)] = random_text(30), n = 1.5 })
        end]], seed, N))
      assert.equal(N, #list)
      math.randomseed(seed)
      for _, line in ipairs(list) do
        assert_shows_all(line)
        local message, name, value = random_text(30), random_text(6), random_text(30)
        local got = cjson.decode(line)
        assert.equal(as_seen(message), got.message)
        if name ~= "n" then assert.equal(as_seen(value), got[as_seen(name)]) end
        assert.equal("info", got.level)
      end
    end
  end)

  -- name=value in two spaces behind the message; either may be in quotes
  local function read_fields(rest)
    local out, i = {}, 1
    local function word(stop)
      if rest:sub(i, i) ~= '"' then
        local text = rest:match("^[^" .. stop .. "\" ]*", i)
        i = i + #text
        return text
      end
      local first = i + 1
      i = first
      while rest:sub(i, i) ~= '"' do i = i + (rest:sub(i, i) == "\\" and 2 or 1) end
      i = i + 1
      return rest:sub(first, i - 2)
    end
    while i <= #rest do
      assert(rest:sub(i, i + 1) == "  ", rest:sub(i))
      i = i + 2
      local name = word("=")
      assert(rest:sub(i, i) == "=", rest:sub(i))
      i = i + 1
      out[name] = word("")
    end
    return out
  end

  -- For a reader that JOURNAL_STREAM names, by device and number.
  local function run_in_journal(text, stream)
    local path = os.tmpname()
    process.write_file(path, 'local core = require("sluice.core")\n' .. text)
    local code, output = process.run(("JOURNAL_STREAM=%s LUA_CPATH_5_4='%s' %s %s"):format(
      stream or "$(stat -L -c %d:%i /proc/self/fd/2)", CPATH, LUA, path))
    os.remove(path)
    assert.equal(0, code, output)
    return output
  end

  it("begins with its priority for the journal, which has the time and the level itself", function()
    local levels = [[
      for _, level in ipairs { "debug", "info", "warn", "error" } do core.log(level, level, { n = 1 }) end
      core.log("warn", "a\nb")]]
    assert.equal("<7>debug  n=1\n<6>info  n=1\n<4>warn  n=1\n<3>error  n=1\n<4>a\n<4>    b\n",
      run_in_journal("core.log_setup('debug')" .. levels))
    local list = lines_of(run_in_journal("core.log_setup('info', 'json')" .. levels))
    assert.equal(4, #list)
    assert.equal("info", cjson.decode(list[1]:match("^<6>({.*})$")).level)
    assert.equal("a\nb", cjson.decode(list[4]:match("^<4>({.*})$")).message)
    for _, other in ipairs { "1:1", "x", "''" } do -- stderr was led elsewhere
      assert.matches('^{"time":', run_in_journal("core.log_setup()" .. levels, other))
    end
  end)

  it("is one line of text whose fields stand apart, whatever they hold", function()
    for seed = 1, SEEDS do
      local list = lines_of(run(RANDOM .. [[
        core.log_setup("info", "text")
        math.randomseed(tonumber(arg[1]))
        for _ = 1, tonumber(arg[2]) do
          core.log("warn", "told", { ["f" .. random_text(6)] = random_text(30) })
        end]], seed, N))
      assert.equal(N, #list)
      for _, line in ipairs(list) do
        assert_shows_all(line)
        local rest = assert(line:match("^%d+%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ warn  told(  .*)$"), line)
        local n = 0
        for name in pairs(read_fields(rest)) do
          n = n + 1
          assert.equal("f", name:sub(1, 1))
        end
        assert.equal(1, n, line)
      end
    end
  end)

  it("shows what would not be seen, by byte and by number", function()
    local text = "\255\u{9b}\u{202e}\u{e0041}\u{2028}\27"
    local script = "core.log_setup('info', arg[1]) core.log('info', arg[2], { [arg[2]] = arg[2] })"
    local shown = "\\xff\\u009b\\u202e\\u{e0041}\\u2028\\u001b"
    assert.matches(('info  %s  "%s"="%s"'):format(shown, shown, shown), run(script, "text", text), 1, true)
    shown = "\\\\xff\\u009b\\u202e\\udb40\\udc41\\u2028\\u001b"
    assert.matches(('"message":"%s","%s":"%s"}'):format(shown, shown, shown), run(script, "json", text), 1, true)
  end)

  it("has every digit of a number", function()
    local output = run([[core.log_setup("info", "json") core.log("info", "x", { t = 1764344973.335123,
      n = 9007199254740993, third = 1 / 3, big = 2.0 ^ 64, whole = 5.0 })]])
    for _, member in ipairs { '"t":1764344973.335123', '"n":9007199254740993', '"third":0.3333333333333333',
      '"big":1.8446744073709552e+19', '"whole":5' } do
      assert.truthy((output:gsub("}", ",")):find(member .. ",", 1, true), member .. " in " .. output)
    end
  end)

  it("goes on indented after a line feed of a message, so that no text begins a line", function()
    local list = lines_of(run("core.log_setup('info', 'text') core.log('info', 'a\\nb\\r\\nc', { t = 'x\\ny' })"))
    assert.same({ "    b\\u000d", "    c  t=\"x\\ny\"" }, { list[2], list[3] })
  end)

  it("keeps its own time, level and message when fields have these names", function()
    local got = cjson.decode(run([[core.log_setup("info", "json")
      core.log("info", "m", { time = "never", level = "error", message = "forged" })]]))
    assert.same({ "info", "m", "error", "forged", "never" },
      { got.level, got.message, got._level, got._message, got._time })
  end)

  it("has numbers that JSON knows, a NUL in a text, and no more than its limit of fields and bytes", function()
    local out = run([[core.log_setup("info", "json")
      core.log("info", "a\0b", { nan = 0/0, inf = 1/0, big = 1e300, half = 0.5, yes = true, t = {} })
      local many = {}
      for i = 1, 40 do many["f" .. i] = i end
      core.log("info", "many", many)
      core.log("info", ("\u{e4}"):rep(100000))]])
    local list = lines_of(out)
    local got = cjson.decode(list[1])
    assert.same({ "a\0b", cjson.null, cjson.null, 1e300, 0.5, "true", "table" },
      { got.message, got.nan, got.inf, got.big, got.half, got.yes, got.t })
    got = cjson.decode(list[2])
    assert.equal(8, got.more)
    assert.equal("\u{e4}... (200000 bytes)", cjson.decode(list[3]).message:sub(-20))
    assert.is_true(#list[3] < 17000)
  end)
end)

describe("the log, while stderr is not read,", function()
  local fifo, reader

  before_each(function()
    fifo = os.tmpname()
    os.remove(fifo)
    assert(os.execute("mkfifo " .. fifo))
    reader = assert(io.open(fifo, "r+")) -- of both kinds, so that opening it does not wait
  end)
  after_each(function()
    reader:close()
    os.remove(fifo)
    process.stop_all("log")
  end)

  -- A server without streams, whose program logs n lines of 1 KiB, then waits for a file.
  local WRITER = [[
    core.log_setup("info", "json")
    local s = assert(core.server({ host = "127.0.0.1", io_threads = 1 }))
    assert(s:start())
    local function rss()
      for line in io.lines("/proc/self/status") do
        local kb = line:match("^VmRSS:%s*(%d+)")
        if kb then return tonumber(kb) end
      end
    end
    local before, from = rss(), core.now()
    for i = 1, tonumber(arg[1]) do core.log("info", ("x"):rep(1024), { n = i }) end
    print(rss() - before, core.now() - from)
    io.stdout:flush()
    if arg[2] == "wait" then
      repeat local f = io.open(arg[3]) until f
      core.log("info", "again")
    end
    s:shut()
    print("ended")]]

  local function start(n, how)
    local path = os.tmpname()
    process.write_file(path, 'local core = require("sluice.core")\n' .. WRITER)
    local go = path .. ".go"
    local p = process.spawn({ "sh", "-c", ('exec "$0" "$@" 2>%s'):format(fifo), LUA, path, tostring(n), how, go },
      { env = { LUA_CPATH_5_4 = CPATH }, kind = "log" })
    local kb, seconds = deadline.eventually(function() return p:log():match("^(%-?%d+)%s+([%d.e-]+)\n") end, 20)
    finally(function() os.remove(path) os.remove(go) end)
    return p, tonumber(kb), tonumber(seconds), go
  end

  it("holds a bounded number of bytes, delays nothing, and reports what is missing when it flows again", function()
    local N = 50000
    local p, kb, seconds, go = start(N, "wait")
    if not os.getenv("SLUICE_PRELOAD") then assert.is_true(kb < 8192, kb .. " KiB") end
    assert.is_true(seconds < 5 * deadline.scale, seconds .. " s")
    process.write_file(go, "")
    local written, missing = 0, 0
    repeat
      local got = cjson.decode((reader:read("l")))
      if got.lines then
        assert.matches("lines were dropped", got.message)
        missing = missing + got.lines
      elseif got.n then
        written = written + 1
        assert.equal(got.n, written + missing, "the count stands where the lines are missing")
      end
    until got.message == "again"
    assert.equal(N, written + missing)
    assert.is_true(missing > N / 2)
    assert.equal(0, p:wait(10))
  end)

  it("does not keep the process from ending", function()
    local p = start(20000, "end")
    assert.equal(0, p:wait(5))
    assert.matches("ended", p:log())
  end)
end)
