--- The option --header of commands that ask other servers. Keeps nothing in memory.
local headers = {}

--- Add the option.
-- @param command of argparse
function headers.add(command)
  command:option("--header", "a field of the requests, as 'X-API-Key: k'; may be repeated")
    :argname("<field>"):count("*")
end

--- Read the values of --header.
-- @tparam {string,...} list
-- @treturn table|nil name -> value, or nil and what is wrong
function headers.read(list)
  local fields = {}
  for _, text in ipairs(list or {}) do
    local name, value = text:match("^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$")
    if not name or value:find("%c") then
      return nil, ("--header: 'Name: value' is expected, not '%s'"):format(text)
    end
    fields[name] = value
  end
  return fields
end

return headers
