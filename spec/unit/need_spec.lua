--- What is missing on a machine is told in one line, whatever was asked of the command.
local lfs = require("lfs")
local process = require("spec.support.process")

describe("a missing", function()
  local folder, root = nil, lfs.currentdir()

  before_each(function() folder = process.temp_dir() end)
  after_each(function() process.remove_dir(folder) end)

  -- Run Lua where only these modules are, beside Sluice's own.
  local function run(words, modules, core)
    for _, name in ipairs(modules) do
      local path = package.searchpath(name, package.path)
      local file = path or assert(package.searchpath(name, package.cpath))
      os.execute(("cp %s %s/%s%s"):format(file, folder, name, path and ".lua" or ".so"))
    end
    local env = ("LUA_PATH_5_4='%s/lua/?.lua;%s/lua/?/init.lua;%s/?.lua' LUA_CPATH_5_4='%s;%s/?.so'"):format(root, root,
      folder, core or root .. "/build/plain/?.so", folder)
    return process.run(("env -u LUA_PATH -u LUA_CPATH %s lua5.4 %s"):format(env, words), { dir = folder })
  end

  local MAIN = root .. "/lua/sluice/main.lua "
  local APP = 'local app = require("sluice").app() return app'

  it("library is named with what brings it, also for --version", function()
    process.write_file(folder .. "/app.lua", APP)
    local wanted = "sluice: the library %s is missing for Lua 5.4: sudo apt-get install %s, or luarocks --lua-version "
      .. "5.4 install %s\n"
    for _, words in ipairs { "--version", "run app.lua", "check app.lua", "test app.lua", "help" } do
      local code, output = run(MAIN .. words, {})
      assert.same({ 1, wanted:format("argparse", "lua-argparse", "argparse") }, { code, output })
    end
    assert.same({ 1, wanted:format("cjson", "lua-cjson", "lua-cjson") }, { run(MAIN .. "--version", { "argparse" }) })
    assert.equal(0, (run(MAIN .. "--version", { "cjson" })))
    local code, output = run(MAIN .. "test app.lua", {})
    assert.same({ 1, wanted:format("busted", "lua-busted", "busted") }, { code, output })
  end)

  it("library is named to a program of one's own", function()
    local wanted = "^lua5%%.4: the library %s is missing for Lua 5%%.4: sudo apt%%-get install lua%%-%s, [^\n]+\n"
    for module, library in pairs { sluice = "cjson", ["sluice.testing"] = "cjson", ["sluice.json"] = "cjson",
      ["sluice.command.cli"] = "argparse" } do
      local code, output = run(("-e 'require[[%s]]'"):format(module), {})
      assert.equal(1, code)
      assert.truthy(output:find(wanted:format(library, library)), output)
    end
    for _, module in ipairs { "sluice", "sluice.testing" } do
      assert.same({ 0, "" }, { run(("-e 'require[[%s]]'"):format(module), { "cjson" }) })
    end
  end)

  it("shared object is named with its package, and what cannot be loaded with the reason", function()
    lfs.mkdir(folder .. "/sluice")
    process.write_file(folder .. "/x.c", "int x(void) { return 1; }\n")
    process.write_file(folder .. "/y.c", "int x(void); int luaopen_sluice_core(void) { return x(); }\n")
    local built = process.run("gcc -shared -Wl,-soname,libev.so.99 -o libev.so x.c && "
      .. "gcc -shared -o sluice/core.so y.c -L. -lev && rm libev.so", { dir = folder })
    assert.equal(0, built)
    local here = folder .. "/?.so"
    assert.same({ 1, "sluice: the library libev.so.99 is missing: sudo apt-get install libev4\n" },
      { run(MAIN .. "--version", { "argparse" }, here) })
    process.write_file(folder .. "/sluice/core.so", "nonsense")
    local code, output = run(MAIN .. "--version", {}, here)
    assert.equal(1, code)
    local why = output:sub(#"sluice: " + #folder + 1)
    assert.truthy(why:find("^/sluice/core%.so cannot be loaded: [^\n]+\n$"), output)
    os.remove(folder .. "/sluice/core.so")
    local gone = "sluice: the C module of Sluice is not where Lua looks for it: build it (make all) or install it\n"
    assert.same({ 1, gone }, { run(MAIN .. "--version", {}, here) })
  end)

  it("file of Sluice is told too", function()
    local code, output = process.run("env LUA_PATH_5_4='" .. folder .. "/?.lua' lua5.4 " .. MAIN)
    assert.equal(1, code)
    assert.equal(("sluice: its files are not where Lua looks for them (LUA_PATH): %s/?.lua\n"):format(folder), output)
    os.execute(("mkdir -p %s/sluice/base && cp %s/lua/sluice/base/need.lua %s/sluice/base"):format(folder, root,
      folder))
    code, output = process.run("env LUA_PATH_5_4='" .. folder .. "/?.lua' lua5.4 " .. MAIN)
    assert.same({ 1, "sluice: the file of sluice.command.cli is not where Lua looks for it: install Sluice again\n" },
      { code, output })
  end)

  it("thing is no excuse for an error in a file", function()
    local need = require("sluice.base.need")
    package.preload["spec.broken"] = function() error("broken here", 0) end
    assert.error_matches(function() need("spec.broken") end, "^broken here$")
    package.preload["spec.broken"] = function() error({}) end
    assert.is_table(select(2, pcall(need, "spec.broken")))
    package.preload["spec.broken"] = nil
    assert.equal(lfs, need("lfs"))
  end)
end)
