--- `sluice completion SHELL`: what bash, zsh or fish load to complete the command's words; made
-- from the same description that reads the command line. Keeps nothing in memory.
local help = require("sluice.command.help")

local completion = { name = "completion" }

local SHELLS = { "bash", "zsh", "fish" }

--- Add the command to the parser.
-- @param parser of argparse
function completion.add(parser)
  local command = parser:command("completion",
    "Print what a shell loads to complete this command's words.")
  command:argument("shell", "bash, zsh or fish"):choices(SHELLS)
  help.add(command, { "sluice completion bash", "sluice completion zsh" }, { { 0, "always" } },
    "bash: source <(sluice completion bash), in ~/.bashrc.")
end

-- The words that "<on|off>" names; nil: it stands for something else.
local function choices_of(argname)
  local words = {}
  for word in (argname:match("^<([%w|]+)>$") or ""):gmatch("[^|]+") do words[#words + 1] = word end
  return #words > 1 and words or nil
end

-- An option whose place holder lists its words has these: they are checked elsewhere. One that is
-- not offered is not completed.
local function add_choices(parser)
  for i = #parser._options, 1, -1 do
    if parser._options[i]._hidden then table.remove(parser._options, i) end
  end
  for _, option in ipairs(parser._options) do
    local argname = type(option._argname) == "table" and option._argname[1] or option._argname
    local words = type(argname) == "string" and choices_of(argname)
    if words then option:choices(words) end
  end
  for _, command in ipairs(parser._commands) do add_choices(command) end
end

--- Run it.
-- @tparam table given { shell } from the command line
-- @param parser of all commands
-- @treturn integer exit code
function completion.run(given, _, out, _, parser)
  add_choices(parser)
  out:write((parser["get_" .. given.shell .. "_complete"](parser)))
  return 0
end

return completion
