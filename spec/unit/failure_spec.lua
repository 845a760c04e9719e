--- What is said of an error: of any value that a program may raise, with the line that raised it.
local rehearsal = require("spec.support.rehearsal")
local failure = require("sluice.base.failure")
local show = require("sluice.base.show")

after_each(rehearsal.stop)

local HERE = "spec/unit/failure_spec.lua:"

local function message(fn) return select(2, failure.try(fn)).message end

describe("an error", function()
  it("that is a text says what it says", function()
    assert.equal("x", message(function() error("x", 0) end))
    assert.matches("^" .. HERE .. "%d+: x$", message(function() error("x") end))
  end)

  it("that is something else shows what it is, behind its place", function()
    for shown, raised in pairs { ["{ a = 1 }"] = { a = 1 }, ["{}"] = {}, ["7 items"] = { message = "7 items" },
      ["true"] = true, ["a function"] = print, ["{ code = 5, list = { 1, 2 } }"] = { code = 5, list = { 1, 2 } },
      ["text"] = setmetatable({}, { __tostring = function() return "text" end }) } do
      local text = message(function() error(raised) end)
      assert.equal(shown, text:match("^" .. HERE .. "%d+: (.*)$"), text)
    end
    assert.matches(HERE .. "%d+: nil$", message(function() error() end))
  end)

  it("whose __tostring fails shows what it is, too", function()
    local object = setmetatable({ a = 1 }, { __tostring = function() error("no") end })
    assert.matches("{ a = 1 }$", message(function() error(object) end))
    object = setmetatable({ a = 1 }, { __tostring = function() return {} end })
    assert.matches("{ a = 1 }$", message(function() error(object) end))
  end)

  it("of a part ends the whole when the budget is used up", function()
    rehearsal.stub("tripped", function() return false end)
    local function fail() error("x", 0) end
    local ok, problem = failure.part(fail)
    assert.same({ false, "x" }, { ok, problem.message })
    assert.same({ true, 1, 2 }, { failure.part(function() return 1, 2 end) })
    rehearsal.stub("tripped", function() return true end)
    ok, problem = pcall(failure.part, fail)
    assert.same({ false, "x" }, { ok, problem.message })
  end)
end)

describe("a value in one line", function()
  it("is short, and says where it was cut", function()
    assert.equal('{ "a", b = { c = { d = { e = { ... } } } } }', show({ "a", b = { c = { d = { e = { f = 1 } } } } }))
    assert.equal('{ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, ... }',
      show({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21 }))
    local text = show(("\u{e4}"):rep(200))
    assert.is_true(#text <= 210 and utf8.len(text) ~= nil and text:sub(-4) == '..."')
    local many = {}
    for i = 1, 100 do many["k" .. i] = i end
    assert.is_true(#show(many) < 400)
  end)

  it("is what becomes of a table in the log, as a message and as a field", function()
    rehearsal.keep_log()
    local log, said = require("sluice").log, setmetatable({}, { __tostring = function() return "said" end })
    log.info({ a = 1 }, { list = { 1, 2 }, [7] = said, yes = true, n = 1.5 })
    log.warn(said)
    local lines = rehearsal.lines()
    local last, before = lines[#lines], lines[#lines - 1]
    assert.same({ "said", "{ a = 1 }" }, { last.message, before.message })
    assert.same({ list = "{ 1, 2 }", ["7"] = "said", yes = true, n = 1.5 }, before.fields)
  end)

  it("copes with cycles, odd keys and metatables", function()
    local t = { [true] = 1, ["a b"] = 2 }
    t.t = t
    assert.equal('{ [true] = 1, ["a b"] = 2, t = { (itself) } }', show(t))
    assert.equal("{}", show(setmetatable({}, { __index = error, __len = error, __pairs = error })))
    assert.equal('"say \\"hi\\" \\\\"', show('say "hi" \\'))
  end)
end)
