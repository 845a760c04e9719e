--- A second kit module of a kind needs a name of its own. Without one the app does not load, and the message says
--- what to do; with one both are there. What the user's own code takes twice gets no such advice.
local kit = require("spec.support.kit")
local tree = require("spec.support.tree")

local ADVICE = "app%.lua:4: .* %(app%.lua:3%); give one of them a name: { name = … }"
local LEAST = 11 -- kit modules: the list below is read from the sources
local NEEDS = { auth = 'keys = function() end' }

-- Those whose new(app) says that there is a name.
local function modules()
  local list = {}
  for _, path in ipairs(tree.files("^lua/sluice/%l+%.lua$")) do
    local name = path:match("^lua/sluice/(%l+)%.lua$")
    local text = name and tree.read(path) or ""
    if text:find("\nfunction %l+%.new%(app, ") then list[#list + 1] = name end
  end
  return list
end

local function twice(name, second)
  local line = ('require("sluice.%s").new(app, { %s %%s })'):format(name, NEEDS[name] and NEEDS[name] .. "," or "")
  return kit.start(line:format("") .. "\n" .. line:format(second))
end

describe("a second kit module of a kind", function()
  after_each(kit.stop_all)

  it("is all of those that are there", function() assert.is_true(#modules() >= LEAST, table.concat(modules(), " ")) end)

  for _, name in ipairs(modules()) do
    it("is told that it needs a name: " .. name, function()
      local started, problem = pcall(twice, name, "")
      assert.is_false(started)
      assert.matches(ADVICE, tostring(problem))
      twice(name, 'name = "second"')
    end)
  end

  it("is no advice for what the app itself has twice", function()
    for _, text in ipairs { 'app:state("a", {})', 'app:channel("a", {})', 'app:task("a", print)',
      'app:service("a", print)', 'app:store("a")', 'app:every(1, { name = "a" }, print)' } do
      local started, problem = pcall(kit.start, text .. "\n" .. text)
      assert.is_false(started, text)
      assert.matches("app%.lua:4: .* %(app%.lua:3%)", tostring(problem))
      assert.is_nil(tostring(problem):find("give one", 1, true), text)
    end
  end)
end)
