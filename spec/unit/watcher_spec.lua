--- Files that change: which are watched, and when that is a reload.
local rehearsal = require("spec.support.rehearsal")
local watcher = require("sluice.live.watcher")

after_each(rehearsal.stop)

local function app(text) return 'local app = require("sluice").app()\n' .. (text or "") .. "\nreturn app\n" end

describe("the watcher", function()
  local t

  local function serve(files)
    t = rehearsal.serve(files)
    t.runtime.watcher = watcher.new(t.runtime)
    t.runtime:turn()
  end


  local function watched()
    local list = {}
    for i, path in ipairs(t.server.watched) do list[i] = path:sub(#t.folder + 2) end
    table.sort(list)
    return list
  end

  local function touch(name, text)
    if text then t:write { [name] = text } end
    t:call("changed", t.folder .. "/" .. name)
  end

  it("watches the entry, its modules, static folders and modules that were missing", function()
    serve { ["app.lua"] = app('require("rules") pcall(require, "later")\n'
      .. 'app:get("/", function() require("lazy") end)'), ["rules.lua"] = "", ["lazy.lua"] = "" }
    assert.same({ "app.lua", "later.lua", "rules.lua" }, watched())
    t:get("/")
    assert.same({ "app.lua", "later.lua", "lazy.lua", "rules.lua" }, watched())
    t:write { ["public/index.html"] = "", ["public/js/page.js"] = "" }
    t:change(app('app:static("/", "public")'))
    assert.same({ "app.lua", "public", "public/index.html", "public/js", "public/js/page.js" }, watched())
  end)

  it("takes what happens within 150 ms as one change", function()
    serve { ["app.lua"] = app("") }
    for i = 1, 5 do
      touch("app.lua", app("-- " .. i))
      t:advance(0.1)
    end
    assert.equal(1, t.runtime.generation.id)
    t:advance(0.1)
    assert.equal(2, t.runtime.generation.id)
    assert.equal("reload #2 in 0.0 ms: app.lua", rehearsal.logged("info")[1])
    t:advance(10)
    assert.equal(2, t.runtime.generation.id)
  end)

  it("loads what was saved when somebody has tried it meanwhile", function()
    serve { ["app.lua"] = app("") }
    touch("app.lua", app("-- new"))
    assert.is_true(t:reload("dry_run").ok)
    assert.equal(1, t.runtime.generation.id)
    t:advance(2)
    assert.equal(2, t.runtime.generation.id)
  end)

  it("waits with a file that the process cannot open for want of descriptors", function()
    serve { ["app.lua"] = app("") }
    touch("app.lua", app("-- new"))
    local open = io.open
    io.open = function(path) return nil, path .. ": Too many open files", 24 end -- luacheck: ignore
    t:advance(5)
    io.open = open -- luacheck: ignore
    assert.equal(1, t.runtime.generation.id)
    assert.same({ "a changed file waits: " .. t.folder .. "/app.lua: Too many open files" }, rehearsal.logged("warn"))
    t:advance(2)
    assert.equal(2, t.runtime.generation.id)
  end)

  it("tries again what the store refused when a file is saved, with the same text too", function()
    serve { ["app.lua"] = app("") }
    local configure = t.runtime.configure
    t.runtime.configure = function() return nil, "the disk is full", "ESTORE" end
    touch("app.lua", app("-- new"))
    t:advance(3)
    assert.equal("store", t.runtime.reloader.last.phase)
    t.runtime.configure = configure
    t:advance(3)
    assert.equal(1, t.runtime.generation.id)
    touch("app.lua")
    t:advance(1)
    assert.equal(2, t.runtime.generation.id)
    touch("app.lua")
    t:advance(3)
    assert.equal(2, t.runtime.generation.id)
  end)

  it("lets a file alone that was saved without a change", function()
    serve { ["app.lua"] = app("") }
    touch("app.lua", app(""))
    t:advance(1)
    assert.equal(1, t.runtime.generation.id)
    touch("app.lua", "broken")
    t:advance(1)
    touch("app.lua")
    t:advance(1)
    assert.equal(1, #rehearsal.logged("error"))
  end)

  it("reloads a broken file when it is mended, also a module that only the failed load needed", function()
    serve { ["app.lua"] = app("") }
    t:write { ["rules.lua"] = "return {" }
    touch("app.lua", app('require("rules")'))
    t:advance(1)
    assert.same({ "app.lua", "rules.lua" }, watched())
    touch("rules.lua", "return {}")
    t:advance(1)
    assert.equal(2, t.runtime.generation.id)
    touch("app.lua", app('require("new")'))
    t:advance(1)
    assert.same({ "app.lua", "new.lua", "rules.lua" }, watched())
    touch("new.lua", "return 1")
    t:advance(1)
    assert.equal(3, t.runtime.generation.id)
    assert.same({ "app.lua", "new.lua" }, watched())
  end)

  it("looks again a second later, since the core may miss a save within the same second", function()
    serve { ["app.lua"] = app("") }
    t:write(app("-- early")) -- and no word of it
    t:advance(1.2)
    assert.equal(2, t.runtime.generation.id)
    touch("app.lua", app("-- one"))
    t:advance(0.2)
    assert.equal(3, t.runtime.generation.id)
    t:write(app("-- two"))
    t:advance(1)
    assert.equal(4, t.runtime.generation.id)
  end)

  it("leaves a revision alone after a rollback, until a file changes", function()
    serve { ["app.lua"] = app("-- one") }
    touch("app.lua", app("-- two"))
    t:advance(0.2)
    assert.is_true(t:reload("rollback").ok)
    t:advance(10)
    assert.equal(3, t.runtime.generation.id)
    assert.matches("one", t.generation.sources[t.folder .. "/app.lua"])
    touch("app.lua", app("-- three"))
    t:advance(1)
    assert.equal(4, t.runtime.generation.id)
  end)

  it("names static files that changed", function()
    serve { ["app.lua"] = app("") }
    t:write { ["public/index.html"] = "" }
    t:change(app('app:static("/", "public")'))
    touch("public/index.html", nil)
    t:advance(1)
    local lines = rehearsal.logged("info")
    assert.equal("reload #3 in 0.0 ms: public/index.html", lines[#lines])
  end)
end)
