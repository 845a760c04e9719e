--- app:state: handles, copies, versions, migrations.
local rehearsal = require("spec.support.rehearsal")
local generation = require("sluice.live.generation")

after_each(rehearsal.stop)

local function load(text)
  return rehearsal.load('local app = require("sluice").app()\n' .. text .. "\nreturn app")
end

local function next_generation(t, text)
  text = 'local app = require("sluice").app()\n' .. text .. "\nreturn app"
  local new = assert(generation.load(2, "app.lua", text))
  local prepared, problem = t.runtime:prepare(new)
  if not prepared then return nil, problem end
  local old = t.runtime.generation
  assert(t.runtime:swap(prepared))
  return old
end

describe("state", function()
  it("is a handle: the live table in handlers, an error at load and in place of the call", function()
    local t = load([[
      local docs = app:state("docs", { n = 1 })
      app:get("/ok", function() docs().n = docs().n + 1 return docs() end)
      app:get("/field", function() return { docs.n } end)
      app:get("/write", function() docs.n = 1 end)
      app:get("/len", function() return { #docs } end)]])
    assert.equal('{"n":2}', t:get("/ok").body)
    assert.equal('{"n":3}', t:get("/ok").body)
    for i, path in ipairs({ "/field", "/write", "/len" }) do
      t:get(path)
      assert.matches("app.lua:%d: a state is a handle: write docs%(%).field", rehearsal.logged("error")[i])
    end
    assert.matches("app.lua:2: state 'docs' is not there while the app is loading: use it in a handler",
      rehearsal.load_error('local app = require("sluice").app()\nlocal d = app:state("docs", {})()'))
  end)

  it("keeps the same table within a version and migrates a copy between versions", function()
    local t = load([[app:state("s", { list = { 1 } })]])
    local before = t.runtime.states.s.data
    assert(next_generation(t, [[app:state("s", { list = {} })]]))
    assert.equal(before, t.runtime.states.s.data)
    assert(next_generation(t, [[app:state("s", {}, { version = 2, migrate = function(old, version)
      old.list[2] = version
      return old
    end })]]))
    assert.same({ list = { 1, 1 } }, t.runtime.states.s.data)
    assert.same({ list = { 1 } }, before)
  end)

  it("refuses a new version without a migration, and a migration that fails", function()
    local t = load([[app:state("s", { 1 })]])
    local before = t.runtime.states.s.data
    local cases = {
      ["app.lua:2: state 's' is at version 1, the app says 2 and has no migrate function"] = "{ version = 2 }",
      ["app.lua:2: no"] = "{ version = 2, migrate = function() error('no') end }",
      ["app.lua:2: state 's': migrate returned a nil"] = "{ version = 2, migrate = function() end }",
      ["app.lua:2: state 's': migrate: s.f is a function"] =
        "{ version = 2, migrate = function() return { f = print } end }",
    }
    for message, options in pairs(cases) do
      local ok, problem = next_generation(t, ('app:state("s", {}, %s)'):format(options))
      assert.is_nil(ok)
      assert.equal(message, problem.message)
      assert.equal("migrate", problem.phase)
    end
    assert.equal(before, t.runtime.states.s.data)
    assert.equal("live", t.generation.phase)
  end)

  it("raises in a retired generation", function()
    local t = load([[
      local s = app:state("s", {})
      app:get("/", function() return { s = s() } end)]])
    local old = assert(next_generation(t, ""))
    old.phase = "retired"
    local ok, message = pcall(old.routes[1].handler, {})
    assert.is_false(ok)
    assert.matches("generation 1 is retired", message)
    ok, message = pcall(old.app.publish, old.app, "a", "x", {})
    assert.is_false(ok)
    assert.matches("generation 1 is retired", message)
  end)

  it("refuses what cannot survive, and a name used twice", function()
    local app = 'local app = require("sluice").app()\n'
    assert.matches("app.lua:2: state 's': s.f is a function: only plain data survives a reload",
      rehearsal.load_error(app .. 'app:state("s", { f = print })'))
    assert.matches("state 's' is declared twice %(app.lua:2%)",
      rehearsal.load_error(app .. 'app:state("s", {})\napp:state("s", {})'))
    assert.matches("the first value is a table, not a number", rehearsal.load_error(app .. 'app:state("s", 5)'))
    assert.matches("unknown option 'versoin'", rehearsal.load_error(app .. 'app:state("s", {}, { versoin = 2 })'))
  end)
end)
