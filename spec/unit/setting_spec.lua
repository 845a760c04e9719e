--- Settings that several pages change (examples/look/setting.js), two of one thing, in seeded worlds of late, lost and
--- reordered saves, answers and events (spec/support/setting_world.mjs). At rest all pages show what the server has, a
--- failure is said, and no step of a page that alone changes one of the two is lost, taken back or said to be
--- another's.
--- SEED=n repeats what fails; planted bugs are found.
local process = require("spec.support.process")
local tree = require("spec.support.tree")

local MODULE = "examples/look/setting.js"
local WORLDS = os.getenv("SLUICE_SPEC_FULL") and 100000 or 2000

local BUGS = {
  { "an echo of an older save is shown", "if (now <= version) return false;", "" },
  { "others are shown while a wish waits", "|| wish) return;", ") return;" },
  { "an answer ends a newer wish", "if (wish !== sent) return;", "" },
  { "saves overtake each other", "if (saving) return;", "" },
  { "what waits behind a save is forgotten", "while (wish && !wish.held)", "if (wish && !wish.held)" },
  { "what is dragged is saved as it goes", "while (wish && !wish.held)", "while (wish)" },
  { "a refused wish stays", "wish = null;\n    show(known);",
    "if (problem) return;\n    wish = null;\n    show(known);" },
  { "a failure is not said", [[how = "failed";]], [[how = "saved";]] },
  { "what is said of others is not shown", "show(known);\n      if", "if" },
  { "an answer is not the newest that is known", "const answer = await save(sent.value);\n",
    "const answer = await save(sent.value);\n      known = answer.value;\n" },
  { "another field that was changed is taken for this one", "!same(answer.value, known)", "answer.version < version" },
  { "a server that counts anew is not heard", "version = -Infinity; },", "}," },
}

describe("a setting of several pages", function()
  local folder

  setup(function()
    folder = process.temp_dir()
    process.write_file(folder .. "/package.json", '{ "type": "module" }')
  end)
  teardown(function() process.remove_dir(folder) end)

  local function run(text, seed, count)
    process.write_file(folder .. "/setting.js", text)
    return process.run { "node", "spec/support/setting_world.mjs", folder .. "/setting.js", tostring(seed),
      tostring(count) }
  end

  it("ends on all pages with what the server has, and loses no step", function()
    local seed = tonumber(os.getenv("SEED"))
    local code, said = run(tree.read(MODULE), seed or 1, seed and 1 or WORLDS)
    assert.equal(0, code, said)
  end)

  for _, bug in ipairs(BUGS) do
    it("is found when " .. bug[1], function()
      local text = tree.read(MODULE)
      local at, till = text:find(bug[2], 1, true)
      assert(at, "no place for: " .. bug[2])
      local code, said = run(text:sub(1, at - 1) .. bug[3] .. text:sub(till + 1), 1, WORLDS)
      assert.equal(1, code)
      assert.matches("^seed %d+: ", said)
    end)
  end
end)
