--- The console of a real server: who gets in, the log it tells, and the link that the command prints.
local http = require("spec.support.http")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local sse = require("spec.support.sse")

local KEY = "0123456789abcdefghijklmnopqrstuvwxyz%+&#"
local WITH_KEY = { Authorization = "Bearer " .. KEY }

local APP = [[
app:limits { max_streams_per_address = 2 }
app:channel("log", { history = 5 })
app:stream("/log", "log")
app:get("/broken/:n", function(req) error("no such luck " .. req.params.n) end)]]

describe("the console of a server", function()
  local s

  before_each(function()
    s = live.start(APP, { io_threads = 2, args = { "--drain", "0", "--admin-key", KEY, "--metrics-port", "0" } })
  end)
  after_each(live.stop_all)

  local function look() return live.connect(s, "/-/console/stream", { headers = WITH_KEY }) end

  --- Read on until a line has that text; all lines that came by their numbers.
  local function read_to(c, text)
    c.lines = c.lines or {}
    local function has()
      for _, line in pairs(c.lines) do
        if line.message:find(text, 1, true) then return line end
      end
    end
    while not has() do
      local told = json.decode(assert(c:wait_for("log", 5)).data)
      for i, line in ipairs(told.lines) do
        local n = told.last - #told.lines + i
        assert.is_nil(c.lines[n], "line " .. n .. " came twice")
        c.lines[n] = line
      end
    end
    return has()
  end

  it("lets in who has the key, whatever limits an address has", function()
    for _, path in ipairs { "/-/console", "/-/console/", "/-/console/console.js", "/-/console/sluice.js" } do
      assert.equal(200, s.get(path).status, path)
    end
    for _, path in ipairs { "stream", "link", "publish", "x.js", "../reload", "page/console.js" } do
      path = "/-/console/" .. path
      assert.equal(401, s.get(path).status, path)
    end
    assert.equal(403, s.get("/-/console/link", WITH_KEY).status)
    for _ = 1, 4 do look() end
    for _ = 1, 2 do live.connect(s, "/log") end
    assert.matches("overload", sse.connect(s.port, "/log"):wait_for("bye").data)
    local port = s.wait_log("metrics on http:[/\\]+[^%s\"]-:(%d+)")
    assert.equal(404, http.get(port, "/-/console").status)
  end)

  it("logs that a wrong key came, and from where, once in a while", function()
    for n = 1, 5 do assert.equal(401, s.get("/-/load", { Authorization = "Bearer guess" .. n }).status) end
    assert.equal(401, s.get("/-/load").status)
    s.wait_log("a wrong admin key was refused", 5)
    local line = s.log():match('[^\n]*a wrong admin key was refused[^\n]*')
    assert.matches("127.0.0.1", line)
    assert.matches("load", line)
    assert.is_nil(s.log():find("guess", 1, true))
    assert.is_true(select(2, s.log():gsub("a wrong admin key", "")) <= 2, "one line from each thread")
  end)

  it("tells each line of the log once, to who comes later too", function()
    s.get("/broken/1")
    local early = look()
    s.get("/broken/2")
    read_to(early, "no such luck 2")
    local late = look()
    s.get("/broken/3")
    for _, c in ipairs { early, late } do
      read_to(c, "no such luck 3")
      assert.equal("error", read_to(c, "no such luck 1").level)
      assert.matches("app.lua:%d+: in handler", read_to(c, "no such luck 2").traceback)
      assert.equal("info", read_to(c, "serving ").level)
    end
    assert.is_nil(s.log():find(KEY:sub(1, 30), 1, true))
  end)

  it("is reached by the link that the command prints", function()
    local function console(...)
      local words = { "env", "XDG_RUNTIME_DIR=" .. s.folder, "build/bin/sluice", "console", "--port", s.port, ... }
      return process.run(words)
    end
    local code, out = console()
    assert.equal(0, code, out)
    local url, key = out:match("^(http://127.0.0.1:%d+)/%-/console#key=(%S+)\n$")
    assert.equal(("http://127.0.0.1:%d"):format(s.port), url)
    assert.equal(KEY, (key:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)))
    code, out = console("--url", "https://example.com/x/")
    assert.equal(0, code)
    assert.equal("https://example.com/x/-/console#key=" .. key .. "\n", out)
    assert.equal(2, (console("--url", "example.com")))
    s.stop()
    code, out = console()
    assert.equal(1, code)
    assert.matches("^sluice: no server answers", out)
  end)
end)
