--- lua/sluice/meta/, for editors, lists the names that there are: no more, no fewer. (Options and fields:
--- spec/kit/meta_spec.lua.)
local sluice = require("sluice")
local tree = require("spec.support.tree")

local function listed(prefix)
  local names = {}
  local text = tree.meta()
  for name in text:gmatch("\nfunction " .. prefix .. "([%w_]+)%(") do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function functions_of(t)
  local names = {}
  for name, value in pairs(t) do
    if type(value) == "function" and name:sub(1, 2) ~= "__" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

describe("meta", function()
  it("lists the functions of sluice, sluice.log and sluice.json", function()
    assert.same(functions_of(sluice), listed("sluice%."))
    assert.same(functions_of(sluice.log), listed("sluice%.log%."))
    assert.same(functions_of(sluice.json), listed("sluice%.json%."))
  end)

  it("lists the methods of app, store, request and client", function()
    assert.same(functions_of(require("sluice.app.store").methods), listed("Store:"))
    assert.same(functions_of(getmetatable(sluice.app()).__index), listed("App:"))
    assert.same(functions_of(require("sluice.requests.request").methods), listed("Request:"))
    assert.same(functions_of(require("sluice.app.stream_handle").methods), listed("Client:"))
  end)

  it("lists the functions of the test kit, of a test and of its streams", function()
    local kit = require("sluice.testing")
    assert.same(functions_of(kit), listed("testing%."))
    assert.same(functions_of(require("sluice.testing.test").methods), listed("Test:"))
    assert.same(functions_of(require("sluice.testing.stream").methods), listed("Stream:"))
  end)

  it("lists what the modules without an app have", function()
    assert.same(functions_of(require("sluice.http")), listed("http%."))
    assert.same(functions_of(require("sluice.client")), listed("client%."))
    assert.same({ "close", "events", "resume_only" }, listed("Connection:"))
    assert.same(functions_of(require("sluice.crypto")), listed("crypto%."))
    local key = require("sluice.crypto").key("HS256", ("s"):rep(32))
    assert.same(functions_of(getmetatable(key).__index), listed("Key:"))
    assert.same(functions_of(require("sluice.sqlite")), listed("sqlite%."))
    assert.same({ "close", "query" }, listed("Database:"))
    assert.same(functions_of(require("sluice.system")), listed("system%."))
    assert.same(functions_of(require("sluice.auth")), listed("auth%."))
    assert.same({ "sample" }, listed("System:"))
    assert.same(functions_of(require("sluice.hub")), listed("hub%."))
    assert.same({ "alert", "data_update", "heartbeat", "maintenance", "notification", "routes", "send" },
      listed("Hub:"))
    assert.same(functions_of(require("sluice.datastar")), listed("datastar%."))
    assert.same(functions_of(require("sluice.htmx")), listed("htmx%."))
    assert.same(functions_of(require("sluice.eventstream")), listed("eventstream%."))
    assert.same({ "feed" }, listed("EventStream:"))
  end)

  it("is Lua that keeps to itself, a file for each module that users require", function()
    for _, path in ipairs(tree.files("^lua/sluice/meta/.*%.lua$")) do
      local name = path:match("([%w_]+)%.lua$")
      local module = tree.read(path):match("^%-%-%-@meta ([%w_.]+)\n")
      local text = tree.read(path)
      if module == "_" then
        assert.is_nil(text:match("\nreturn [^\n]*\n$"), path)
        assert.is_function(loadfile(path))
      else
        assert.equal(name == "init" and "sluice" or "sluice." .. name, module)
        assert.is_table(require(module))
        assert.is_table(assert(loadfile(path, "t", {}))())
      end
    end
  end)
end)
