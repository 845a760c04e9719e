--- All commands, by the parser's own list: each says how it is used and what its exit codes mean, its
--- examples are words that it takes, and what it does not know is refused in the same way.
local cli = require("sluice.command.cli")
local rehearsal = require("spec.support.rehearsal")

local RAW = { test = true } -- its options are busted's
local NO_HELP = { help = true } -- it is argparse's own

-- { name = "store verify", command } of those that do something.
local function commands()
  local list = {}
  local function add(parser, before)
    for _, command in ipairs(parser._commands) do
      local name = before .. command._name
      if #command._commands > 0 then add(command, name .. " ") end
      if not NO_HELP[name] then list[#list + 1] = { name = name, command = command } end
    end
  end
  add(cli.parser(), "")
  return list
end

-- As a shell cuts them: what is quoted is one word.
local function words_of(text)
  local words = {}
  text = text:gsub("'([^']*)'", function(quoted) return (quoted:gsub(" ", "\0")) end)
  for word in text:gmatch("%S+") do words[#words + 1] = word:gsub("\0", " ") end
  return words
end

-- The lines that run sluice below "Example:" or "Examples:".
local function examples(text)
  local block = text:match("\nExamples?:\n(.-)\n\n")
  local list = {}
  for line in ((block or "") .. "\n"):gmatch("([^\n]*)\n") do
    local words = line:match("^  [%u_=%w ]-%f[%w]sluice (.*)$") or line:match("| sluice (.*)$")
    if words then list[#list + 1] = words:match("^[^|]-%f[|\0]"):gsub(" &$", "") end
  end
  return list
end

describe("every command", function()
  it("has a help with an example and its exit codes, and says what each option does", function()
    local seen = 0
    for _, row in ipairs(commands()) do
      local text = row.command:get_help()
      assert.matches("^Usage: sluice " .. row.name:gsub("%p", "%%%0"), text)
      local said = text:match("\nExit codes: ([^\n]+)%.$")
      assert(said, row.name .. " does not say what its exit codes mean")
      assert.matches("^0 [%l-]", said)
      assert.matches(", 2 wrong use of the command line$", said)
      local found = examples(text)
      assert.is_true(#found > 0, row.name .. " has no example")
      for _, words in ipairs(found) do
        assert.equal(row.name, words:sub(1, #row.name))
      end
      for _, option in ipairs(row.command._options) do
        local good = option._hidden or option._description
        assert.truthy(good, row.name .. " " .. option._aliases[1])
      end
      seen = seen + 1
    end
    assert.is_true(seen >= 15, seen .. " commands")
  end)

  it("takes the words of its examples", function()
    for _, row in ipairs(commands()) do
      for _, words in ipairs(RAW[row.name] and {} or examples(row.command:get_help())) do
        local ok, given = cli.parser():pparse(words_of(words))
        assert.is_true(ok, ("sluice %s: %s"):format(words, tostring(given)))
      end
    end
  end)

  it("refuses an option that it does not know with 2 and its use", function()
    for _, row in ipairs(commands()) do
      if not RAW[row.name] then
        local out, err, words = rehearsal.sink(), rehearsal.sink(), words_of(row.name)
        words[#words + 1] = "--no-such-option"
        assert.equal(2, cli.main(words, out, err), row.name)
        assert.equal("", out.text(), row.name)
        assert.matches("^Usage: sluice [^\n]*", err.text())
        assert.matches("\nError: unknown option '%-%-no%-such%-option'", err.text())
      end
    end
  end)
end)
