--- Where the text of an app comes from: marks, links, names of other modules, and what is no
--- text. Each refusal names the file and the reason. On the real command.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")

local BOM = "\xEF\xBB\xBF"
local APP = 'local app = require("sluice").app()\n'
local COMMAND = lfs.currentdir() .. "/build/bin/sluice"

describe("the text of an app", function()
  local folder

  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    server.stop_all()
    process.remove_dir(folder)
  end)

  local function write(name, text) process.write_file(folder .. "/" .. name, text) end
  local function link(target, name) assert(os.execute(("ln -sfn %s %s/%s"):format(target, folder, name))) end

  -- `sluice check FILE` in the folder: exit code and what it says.
  local function check(file, env)
    return process.run(("%s %s check %s"):format(env or "", COMMAND, file), { dir = folder })
  end

  local function is_fine(file, env)
    local code, output = check(file, env)
    assert.equal(0, code, output)
  end

  local function is_refused(file, message)
    local code, output = check(file)
    assert.equal(1, code, output)
    assert.truthy(output:find("sluice: " .. message .. "\n", 1, true), output)
  end

  it("may begin with a byte order mark, and a line for the shell behind it", function()
    write("m.lua", BOM .. "return 7")
    write("shell.lua", BOM .. "#!/usr/bin/env lua\nreturn debug.getinfo(1).currentline")
    write("app.lua", BOM .. APP .. 'assert(require("m") == 7 and require("shell") == 2) return app')
    is_fine("app.lua")
    write("bad.lua", BOM .. "local x = = 1")
    write("app.lua", 'require("bad")')
    is_refused("app.lua", "bad.lua:1: unexpected symbol near '='")
  end)

  it("is text", function()
    write("code.lua", string.dump(function() end))
    is_refused("code.lua", "code.lua: is compiled Lua (bytecode); only source text is loaded")
    write("wide.lua", "\xFF\xFEl\0o\0c\0a\0l\0")
    is_refused("wide.lua", "wide.lua: is UTF-16; save it as UTF-8")
    for name, message in pairs({ code = "is compiled Lua (bytecode); only source text is loaded",
      wide = "is UTF-16; save it as UTF-8" }) do
      write("app.lua", APP .. ('require("%s")\nreturn app'):format(name))
      is_refused("app.lua", ("%s.lua: %s"):format(name, message))
    end
  end)

  it("can be read", function()
    lfs.mkdir(folder .. "/dir")
    lfs.mkdir(folder .. "/m.lua")
    link("loop.lua", "loop.lua")
    write("file", "")
    is_refused("none.lua", "none.lua: there is no such file")
    local code, log = process.run(COMMAND .. " run dir --port 0", { dir = folder })
    assert.same({ 1, "sluice: dir: is a folder\n" }, { code, log })
    is_refused("file/none.lua", "file/none.lua: there is no such file")
    is_refused("dir", "dir: is a folder")
    is_refused("loop.lua", "loop.lua: cannot be read: Too many levels of symbolic links")
    write("app.lua", APP .. 'require("m")\nreturn app')
    is_refused("app.lua", "app.lua:2: ./m.lua: is a folder")
    write("app.lua", APP .. 'require("loop")\nreturn app')
    is_refused("app.lua", "app.lua:2: ./loop.lua: cannot be read: Too many levels of symbolic links")
  end)

  it("is in a file of any name, also that of a module", function()
    local here = "LUA_PATH_5_4='./?.lua;./?/init.lua;;' LUA_CPATH_5_4='./?.so;;'"
    for _, name in ipairs({ "cjson", "argparse", "string", "sluice", "need", "init", "os", "coroutine" }) do
      write(name .. ".lua", APP .. [[
        assert(type(require("string").rep) == "function" and require("os").time and require("coroutine").wrap)
        assert(require("argparse")("x") and require("sluice").app and require("sluice.http").get)
        assert(require("cjson").encode({ 1 }) == "[1]")
        return app]])
      is_fine(name .. ".lua", here)
      os.remove(folder .. "/" .. name .. ".lua")
    end
    write("same.lua", APP .. 'require("same")\nreturn app')
    local code, output = check("same.lua")
    assert.equal(1, code)
    assert.truthy(output:find("sluice: module 'same' not found", 1, true), output)
  end)

  it("finds its modules and folders beside a link, and beside what it leads to", function()
    assert(os.execute(("mkdir -p %s/releases/1/public"):format(folder)))
    write("releases/1/app.lua", APP .. [[
      assert(require("near") == "link" and require("far") == "target" and require("both") == "link")
      app:static("/", "public")
      return app]])
    write("releases/1/public/x.txt", "x")
    write("releases/1/far.lua", 'return "target"')
    write("releases/1/both.lua", 'return "target"')
    write("both.lua", 'return "link"')
    write("near.lua", 'return "link"')
    link("releases/1/app.lua", "current.lua")
    link("current.lua", "again.lua")
    for _, file in ipairs({ "current.lua", "again.lua", folder .. "/current.lua" }) do is_fine(file) end
  end)

  it("is loaded again when what a link leads to has changed, or the link itself", function()
    local function release(n, v)
      assert(os.execute(("mkdir -p %s/%d"):format(folder, n)))
      write(n .. "/rules.lua", ("return %d"):format(v))
      write(n .. "/app.lua", APP .. [[
        local v = require("rules")
        app:get("/", function() return { v = v } end)
        return app]])
    end
    release(1, 1)
    release(2, 20)
    link(folder .. "/1/app.lua", "app.lua")
    local s = server.start({ path = folder .. "/app.lua", watch = true })
    local function becomes(v)
      deadline.eventually(function() return http.get(s.port, "/").body == ('{"v":%d}'):format(v) end, 10, "v " .. v)
    end
    becomes(1)
    write("1/rules.lua", "return 2")
    becomes(2)
    write("1/app.lua", APP .. 'app:get("/", function() return { v = 3 } end) return app')
    becomes(3)
    link(folder .. "/2/app.lua", "app.lua")
    becomes(20)
    write("2/rules.lua", "return 21")
    becomes(21)
  end)
end)
