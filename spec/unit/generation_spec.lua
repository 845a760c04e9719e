--- One load of an app: its environment, its modules, and what it may do meanwhile.
local rehearsal = require("spec.support.rehearsal")
local generation = require("sluice.live.generation")
local process = require("spec.support.process")

after_each(rehearsal.stop)

describe("generation", function()
  local folder

  before_each(function() folder = process.temp_dir() end)
  after_each(function() process.remove_dir(folder) end)

  local function file(name, text) process.write_file(folder .. "/" .. name, text) end

  local function load(text)
    file("app.lua", text)
    return generation.load(1, folder .. "/app.lua")
  end

  local function failing(text)
    local loaded, problem = load(text)
    assert.is_nil(loaded)
    assert.equal("load", problem.phase)
    return (problem.message:gsub(folder, "."):gsub("^%./", ""))
  end

  it("keeps globals and modules of the app's folder to itself", function()
    file("rules.lua", "limit = 90 return { limit = limit, name = ... }")
    local text = [[
      local app = require("sluice").app()
      local rules = require("rules")
      assert(rules == require("rules") and rules.name == "rules")
      assert(_G.limit == 90 and limit == 90)
      app:get("/", function() return { limit = rules.limit } end)
      return app]]
    local first, second = assert(load(text)), assert(load(text))
    assert.are_not.equal(first.modules.rules, second.modules.rules)
    assert.is_nil(rawget(_G, "limit"))
    assert.is_nil(package.loaded.rules)
    assert.same({ folder .. "/app.lua", folder .. "/rules.lua" }, first.files)
  end)

  it("takes everything else from the host", function()
    local loaded = assert(load([[
      local sluice = require("sluice")
      local app = sluice.app()
      assert(require("cjson") and require("string") == string and sluice == require("sluice"))
      return app]]))
    assert.is_nil(loaded.modules.cjson)
  end)

  it("warns about globals that are set while loading, and raises in handlers", function()
    local t = rehearsal.load([[
      local app = require("sluice").app()
      if never_set then error("no") end
      setting = 1
      app:get("/set", function() count = 1 end)
      app:get("/get", function() return { count } end)
      app:get("/own", function() return { setting } end)
      return app]])
    assert.matches("app.lua:3: global 'setting' set while loading: use local", rehearsal.logged("warn")[1])
    assert.equal(500, t:get("/set").status)
    assert.equal(500, t:get("/get").status)
    assert.equal("[1]", t:get("/own").body)
    local lines = rehearsal.logged("error")
    assert.matches("app.lua:4: 'count' is not declared: use local, or app:state for what must survive", lines[1])
    assert.matches("app.lua:5: 'count' is not declared", lines[2])
  end)

  it("warns at a reload of what check warns of, a line for each", function()
    local t = rehearsal.serve([[
      local app = require("sluice").app()
      app:stream("/s", "pricse")
      app:post("/p", function() app:publish("prices", "e", {}) end)
      return app]])
    t.runtime.is_served = true
    local function told()
      local list = rehearsal.logged("warn")
      table.sort(list)
      return list
    end
    local wanted = { 'app.lua:2: "pricse" is subscribed here and published nowhere in these files, did you mean '
      .. "'prices'?", 'app.lua:3: "prices" is published here and no stream follows it, did you mean \'pricse\'?' }
    assert.is_true(t:reload().ok)
    for i, line in ipairs(told()) do assert.equal(wanted[i], line:match("app.lua.*")) end
    assert.equal(2, #told())
    assert.is_true(t:reload().ok) -- they are not said again
    assert.equal(2, #told())
  end)

  it("loads text only, also through load", function()
    file("binary.lua", string.dump(function() end))
    assert.equal("binary.lua: is compiled Lua (bytecode); only source text is loaded", failing('require("binary")'))
    assert.matches("attempt to load a binary chunk", failing('assert(load(string.dump(function() end)))'))
    assert.matches("binary.lua: attempt to load a binary chunk",
      failing(('assert(loadfile("%s/binary.lua"))'):format(folder)))
    assert.matches("binary.lua: attempt to load a binary chunk", failing(('dofile("%s/binary.lua")'):format(folder)))
    assert(load([[
      y = 5
      assert(load("return y")() == 5)
      assert(load("return y", "=x", "bt", {})() == nil)
      return require("sluice").app()]]))
  end)

  it("names a require cycle", function()
    file("a.lua", 'return require("b")')
    file("b.lua", 'return require("a")')
    assert.matches("%.lua:1: require cycle: a %-> b %-> a", failing('require("a")'))
  end)

  it("lets an app try a module that is not there, or is broken, twice", function()
    file("broken.lua", "error('early')")
    assert(load([[
      assert(not pcall(require, "nowhere"))
      local ok, message = pcall(require, "broken")
      assert(not ok and message:find("broken.lua:1: early"))
      ok, message = pcall(require, "broken")
      assert(not ok and message:find("broken.lua:1: early"))
      return require("sluice").app()]]))
  end)

  it("says which file has a syntax error, which is missing, and what a script must end with", function()
    file("rules.lua", "return {")
    assert.matches("rules.lua:1: unexpected symbol near <eof>", failing('require("rules")'))
    assert.matches("app.lua:1: syntax error near 'is'", failing("this is no Lua"))
    assert.equal("app.lua: the script must end with 'return app' (it returned nil)", failing("local x = 1"))
    assert.equal("app.lua: the script must end with 'return app' (it returned another table)", failing("return {}"))
    local _, problem = generation.load(1, folder .. "/none.lua")
    assert.matches("none.lua: there is no such file", problem.message)
  end)

  it("skips a first line for the shell and keeps line numbers", function()
    assert.equal("app.lua:2: x", failing("#!/usr/bin/env lua\nerror('x')"))
  end)

  it("gives one app to one load", function()
    assert.matches("app.lua:1: this generation has an app already",
      failing('local s = require("sluice") s.app() s.app()'))
  end)

  it("takes false, and nil with a message, from app:check for a no", function()
    for answer, message in pairs { ["false"] = "app.lua:%d+: the check says no$",
      ['nil, "no goals"'] = "app.lua:%d+: the check says no: no goals$" } do
      local problem = rehearsal.load_error(([[
        local app = require("sluice").app()
        app:check(function() return %s end)
        return app]]):format(answer))
      assert.matches(message, problem)
    end
  end)

  it("runs app:check before it goes live", function()
    assert.matches("no route for goals", rehearsal.load_error([[
      local app = require("sluice").app()
      app:check(function() error("no route for goals", 0) end)
      return app]]))
  end)

  it("leaves nothing loading after a failure", function()
    failing("error('x')")
    assert.is_nil(require("sluice.base.process").loading)
  end)
end)
