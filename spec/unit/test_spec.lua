--- `sluice test`: specs of an app run with busted, by the Lua of the command.
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local process = require("spec.support.process")

local COMMAND = lfs.currentdir() .. "/build/bin/sluice"

local APP = [[
local app = require("sluice").app()
app:get("/", function() return "hi" end)
return app
]]

local SPEC = [[
describe("the app", function()
  it("%s", function()
    local t <close> = require("sluice.testing").start("app.lua", { sockets = %s })
    assert.equal("%s", t:get("/").body)
  end)
end)
]]

describe("sluice test", function()
  local folder

  before_each(function()
    folder = process.temp_dir()
    process.write_file(folder .. "/app.lua", APP)
    process.write_file(folder .. "/app_spec.lua", SPEC:format("answers", "false", "hi"))
  end)
  after_each(function()
    process.stop_all()
    process.remove_dir(folder)
  end)

  local function run(words, env)
    local line = ("env -u LUA_PATH -u LUA_CPATH %s %s test %s"):format(env or "", COMMAND, words)
    return process.run(line, { dir = folder })
  end

  local function passes(n, words, env)
    local code, output = run(words, env)
    assert.equal(0, code, output)
    assert.truthy(output:find(("%d success"):format(n)), output)
  end

  it("runs the files that are named, in virtual time and over sockets", function()
    process.write_file(folder .. "/more.lua", SPEC:format("answers over sockets", "true", "hi"))
    passes(1, "app_spec.lua")
    passes(2, "app_spec.lua more.lua")
    process.write_file(folder .. "/app_spec.lua", SPEC:format("answers otherwise", "false", "ho"))
    local code, output = run("app_spec.lua")
    assert.equal(1, code)
    assert.truthy(output:find("app_spec.lua:4", 1, true), output)
  end)

  it("runs what is there when nothing is named", function()
    lfs.mkdir(folder .. "/spec")
    process.write_file(folder .. "/spec/deep_spec.lua", SPEC:format("is deep", "false", "hi"))
    passes(2, "")
    process.write_file(folder .. "/.busted", 'return { default = { ROOT = { "spec" } } }')
    passes(1, "")
  end)

  it("hands options to busted, with values in both ways", function()
    local code, output = run("-o TAP --filter=answers --filter-out nothing app_spec.lua")
    assert.equal(0, code, output)
    assert.truthy(output:find("ok 1 - the app answers", 1, true), output)
    passes(0, "--filter nothing")
  end)

  it("refuses what is not there, by name", function()
    assert.same({ 2, "sluice: there is no 'none_spec.lua'\n" }, { run("app_spec.lua none_spec.lua") })
    os.remove(folder .. "/app_spec.lua")
    assert.same({ 2, "sluice: no specs here: name them, or call them …_spec.lua\n" }, { run("") })
    assert.matches("Usage: sluice test .*<file>", select(2, run("--help")))
  end)

  it("runs them again when a file has changed, however quickly", function()
    local p = process.spawn({ COMMAND, "test", "--watch", "app_spec.lua" }, { dir = folder })
    local function says(pattern)
      return deadline.eventually(function() return p:log():find(pattern) end, 20, pattern .. " in " .. p:log())
    end
    says("1 success.*waiting for a change")
    process.write_file(folder .. "/app.lua", (APP:gsub('"hi"', '"ho"'))) -- of the same length
    says("app.lua has changed\n.*1 failure.*waiting for a change")
    process.write_file(folder .. "/app.lua", APP)
    says("1 failure.*app.lua has changed\n.*1 success.*waiting for a change")
    process.write_file(folder .. "/more.lua", "return {}")
    says("more.lua has changed\n.*1 success.*waiting for a change")
    assert.is_nil(p:log():find("\27", 1, true))
    p:signal("INT")
    assert.equal(130, p:wait(10))
  end)

  it("takes what it writes into a file there for no change", function()
    local log = folder .. "/w.log"
    local p = process.spawn({ "sh", "-c", ("exec %s test --watch app_spec.lua >w.log 2>&1"):format(COMMAND) },
      { dir = folder })
    local function says(pattern)
      return deadline.eventually(function() return (process.read_file(log) or ""):find(pattern) end, 20, pattern)
    end
    says("1 success.*waiting for a change")
    process.write_file(folder .. "/app.lua", (APP:gsub('"hi"', '"ho"')))
    says("app.lua has changed\n.*1 failure.*waiting for a change")
    process.write_file(folder .. "/app.lua", APP)
    says("1 failure.*app.lua has changed\n.*1 success.*waiting for a change")
    assert.is_nil(process.read_file(log):find("w.log has changed", 1, true))
    p:signal("INT")
    assert.equal(130, p:wait(10))
  end)

  -- As `luarocks --local install busted` leaves it, where Debian's is not on the path.
  it("finds a busted that was installed for this user alone", function()
    local base, tree = folder .. "/base", folder .. "/user/.luarocks"
    for _, path in ipairs { base, folder .. "/user", tree, tree .. "/share", tree .. "/share/lua", tree .. "/lib",
      tree .. "/lib/lua" } do lfs.mkdir(path) end
    local lua = assert(package.searchpath("busted.runner", package.path):match("^(.*)/busted/runner%.lua$"))
    local c = assert(package.searchpath("lfs", package.cpath):match("^(.*)/lfs%.so$"))
    os.execute(("cp -rL %s %s/share/lua/5.4; mkdir %s/lib/lua/5.4"):format(lua, tree, tree))
    os.execute(("cp -rL %s/lfs.so %s/term %s/system %s/lib/lua/5.4 2>/dev/null"):format(c, c, c, tree))
    for _, name in ipairs { "argparse", "cjson" } do
      local path = package.searchpath(name, package.path) or package.searchpath(name, package.cpath)
      os.execute(("cp %s %s"):format(path, base))
    end
    local env = ("HOME=%s/user LUA_PATH_5_4='%s/?.lua' LUA_CPATH_5_4='%s/?.so'"):format(folder, base, base)
    passes(1, "app_spec.lua", env)
    os.execute("rm -r " .. tree)
    local code, output = run("app_spec.lua", env)
    assert.equal(1, code)
    assert.truthy(output:find("the library busted is missing for Lua 5.4", 1, true), output)
  end)
end)
