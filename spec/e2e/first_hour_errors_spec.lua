--- The mistakes of doc/first-hour.md that show when an app is asked, and those of the machine: each is made, and told
--- in the words of the page. (Those at the top level and in handlers: spec/repo/docs_tables_spec.)
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local server = require("spec.support.server")
local wire = require("spec.support.wire")

local APP = 'local sluice = require("sluice")\nlocal app = sluice.app()\n%s\nreturn app\n'
local TEXT = { "--log-format", "text" }

local doc, folder = markdown.read("doc/first-hour.md"), nil

-- Run something in the checkout, with Lua's paths for it.
local function run(command)
  local root = lfs.currentdir()
  local paths = ("LUA_PATH_5_4='%s/lua/?.lua;%s/lua/?/init.lua' LUA_CPATH_5_4='%s/build/plain/?.so'"):format(root, root,
    root)
  return select(2, process.run(("env -u LUA_PATH -u LUA_CPATH %s %s"):format(paths, command)))
end

-- What is told, by what the page says is done.
local MADE = {}

MADE["another server has the port"] = function()
  local first = server.start { app = APP:format("") }
  return select(2, server.run_to_end { app = APP:format(""), port = first.port })
end

MADE["a rock or package is missing"] = function() return run("lua5.4 -e 'require[[sluice]]'") end

MADE["another Lua"] = function()
  return run([[lua5.4 -e '_VERSION = "Lua 5.3"' lua/sluice/main.lua --version]])
end

MADE["a library is missing when Sluice is built"] = function()
  process.write_file(folder .. "/cc", [[
#!/bin/sh
[ $# = 0 ] || text=$(cat)
case $text in *"<ev.h>"*) exit 1 ;; *) printf '%s\n' "$text" | exec gcc "$@" ;; esac
]])
  os.execute("chmod +x " .. folder .. "/cc")
  return select(2, process.run(("make core CC=%s/cc B=%s/build"):format(folder, folder)))
end

MADE["more connections than descriptors"] = function()
  local s, list = server.start { app = APP:format(""), args = TEXT }, {}
  assert.equal(0, (process.run { "prlimit", "--pid", s.pid, "--nofile=40:4096" }))
  for i = 1, 60 do list[i] = assert(wire.connect(s.port)) end
  s.wait_log("out of file descriptors")
  for _, w in ipairs(list) do w:close() end
  return s.log()
end

MADE["a data folder that cannot be written"] = function()
  local app = APP:format('app:channel("a", { durable = true })')
  return select(2, server.run_to_end { app = app, args = { "--data", "/proc/data" } })
end

describe("a mistake of the first hour", function()
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    process.stop_all()
    process.remove_dir(folder)
  end)

  for _, row in ipairs(doc.table("what")) do
    it("of the machine is told: " .. row[1], function()
      local told = assert(MADE[row[1]], "nothing makes it")()
      assert.truthy(told:find(row[2], 1, true), told)
    end)
  end

  for i, row in ipairs(doc.table("written at the top level, for `/x`")) do
    local code = markdown.code(row[1])[1]
    it("is told when the app is asked: " .. code, function()
      local app = APP:format(code)
      local s = server.start { app = app, args = TEXT }
      assert(wire.connect(s.port)):send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
      if code:find("^local seen") then
        s.wait_log("request .*path=/x")
        process.write_file(s.folder .. "/app.lua", app .. "-- saved\n")
        s.signal("HUP")
      end
      deadline.eventually(function() return s.log():find(row[2], 1, true) end, 5, ("%d: %s"):format(i, row[2]))
    end)
  end
end)
