--- A server that cannot start: what it leaves behind (nothing), and what it says.
local process = require("spec.support.process")

local CPATH = "./" .. (os.getenv("SLUICE_BUILD") or "build/plain") .. "/?.so;;"
local LUA = os.getenv("SLUICE_PRELOAD") and ".ci/lua" or "lua5.4"

--- Run Lua text with arguments in a process of its own: what it wrote.
local function run(text, ...)
  local path = os.tmpname()
  process.write_file(path, text)
  local code, output = process.run({ "env", "LUA_CPATH_5_4=" .. CPATH, LUA, path, ... })
  os.remove(path)
  assert.equal(0, code, output)
  return output
end

local STEPS = [[
local lfs, testing = require("lfs"), require("sluice.core.testing_server")
local core = require("sluice.core")
core.log_setup("off")
local function count(folder)
  local n = 0
  for name in lfs.dir("/proc/self/" .. folder) do n = n + (name:find("^%d") and 1 or 0) end
  return n
end
local options = { io_threads = 4, signals = true, control = arg[1] .. "/sock" }
testing.start({ io_threads = 1 }, 0)
local n = 0
repeat
  n = n + 1
  local threads, fds = count("task"), count("fd")
  local code, done, again = testing.start(options, n)
  local same = count("task") == threads and count("fd") == fds and not lfs.attributes(options.control)
  print(n, code, again, done, same)
until not done]]

describe("a server whose start fails at one step", function()
  it("lets nothing run on, keeps nothing open, and starts when it is tried again", function()
    local folder = process.temp_dir()
    local codes, steps = {}, 0
    for line in run(STEPS, folder):gmatch("[^\n]+") do
      local n, code, again, done, same = line:match("^(%d+)%s+(%S+)%s+(%S+)%s+(%S+)%s+(%S+)")
      assert.same({ "nil", "true" }, { again, same }, line)
      assert.equal(code == "nil", done == "false", line)
      steps, codes[code] = tonumber(n), (codes[code] or 0) + 1
    end
    process.remove_dir(folder)
    -- sockets, loops, threads and reserves of four workers; the Unix socket and the signals
    assert.is_true(steps > 4 * 4 + 2, steps)
    assert.is_true(codes.EAGAIN >= 4, "threads")
    assert.equal(1, codes["nil"])
  end)

  it("gives the signals back that it had taken", function()
    local out = run([[
      local testing = require("sluice.core.testing_server")
      require("sluice.core").log_setup("off")
      local function blocked()
        for line in io.lines("/proc/self/status") do
          local mask = line:match("^SigBlk:%s*(%x+)")
          if mask then return mask end
        end
      end
      local before = blocked()
      local code = testing.start({ io_threads = 2, signals = true, again = false }, tonumber(arg[1]))
      print(code, before == blocked())]], 9)
    assert.matches("^%u+%s+true\n", out)
  end)

  it("says when saved files are noticed late", function()
    local out = run([[require("sluice.core.testing_server").watch("/tmp")]])
    assert.matches("warn  a saved file is noticed after up to 5 s: inotify says: ", out)
  end)
end)

describe("a program without stdin, stdout and stderr", function()
  it("does not write its log into what it opens next", function()
    local path = os.tmpname()
    local code = process.run(([[env LUA_CPATH_5_4='%s' %s -e 'local core = require("sluice.core")
      local file = io.open("%s", "w") core.log("error", "for nobody") file:write("kept") file:close()
      os.exit(true, true)' 0<&- 1>&- 2>&-]]):format(CPATH, LUA, path))
    assert.equal(0, code)
    assert.equal("kept", process.read_file(path))
    os.remove(path)
  end)
end)
