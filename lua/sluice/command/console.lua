--- `sluice console`: prints the link that opens the console of a running server, with the key in
-- it. Keeps nothing in memory.
local help = require("sluice.command.help")
local remote = require("sluice.command.remote")

local console = { name = "console" }

--- Add the command to the parser.
-- @param parser of argparse
function console.add(parser)
  local command = parser:command("console", "Print the link to the console of a running server. It "
    .. "has the admin key in it, behind '#', which browsers do not send: give it to nobody.")
  command:option("--url", "where the server is reached, when that is not its own address")
    :argname("<url>")
  remote.add(command)
  help.add(command, { "sluice console", "sluice console --url https://example.com" },
    { { 0, "printed" }, { 1, "no server answers, or it has no admin key" } })
end

--- Run the command.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function console.run(given, usage, out, err)
  if given.url and not given.url:find("^https?://[^/%s#?]+[^%s#?]*$") then
    return usage("--url: http://NAME or https://NAME is expected, not '" .. given.url .. "'")
  end
  local answer, why = remote.ask(given, "GET", "/-/console/link")
  local problem = not answer and why or answer.error and answer.error.message
  if problem then
    err:write("sluice: ", problem, "\n")
    return 1
  end
  local url = given.url and given.url:gsub("/+$", "") or answer.url
  out:write(url, answer.path, "\n")
  return 0
end

return console
