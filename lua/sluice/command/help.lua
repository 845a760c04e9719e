--- What stands below the options of a command in its --help: how it is used, and its exit codes.
-- Keeps nothing in memory.
local help = {}

--- Add it.
-- @param command of argparse
-- @tparam {string,...} examples lines; those of a comment begin with #
-- @tparam {table,...} codes { number, what it means }, beside 2, which is wrong use everywhere
-- @tparam[opt] string before a text that stands first
-- @return command
function help.add(command, examples, codes, before)
  local parts = {}
  for i, row in ipairs(codes) do parts[i] = ("%d %s"):format(row[1], row[2]) end
  table.insert(parts, "2 wrong use of the command line")
  return command:epilog(("%s%s:\n  %s\n\nExit codes: %s."):format(before and before .. "\n\n" or "",
    #examples > 1 and "Examples" or "Example", table.concat(examples, "\n  "),
    table.concat(parts, ", ")))
end

return help
