--- `sluice publish URL EVENT DATA`: posts one event, in the form that a hub of Sluice, a Mercure
--- hub or nchan takes, and prints its id. Keeps nothing in memory.
local forms = require("sluice.command.forms")
local headers = require("sluice.command.headers")
local help = require("sluice.command.help")
local http = require("sluice.http")
local json = require("sluice.json")
local terminal = require("sluice.command.terminal")
local trust = require("sluice.command.trust")
local work = require("sluice.command.work")

local publish = { name = "publish" }

local TIMEOUT, TIMEOUT_MOST, INTERRUPTED = 10, 86400, 130

--- Add the command to the parser.
-- @param parser of argparse
function publish.add(parser)
  local command = parser:command("publish", "Post one event to a hub of Sluice, or to a server of "
    .. "another kind, and print its id.")
  command:argument("url", "where it takes events: of a hub its /broadcast"):argname("<url>")
  command:argument("event", "the event's name"):argname("<event>")
  command:argument("data", "a text; where the server takes JSON, an object or list goes as that; "
    .. "-: what is on standard input (default: {})"):argname("<data>"):args("?")
  forms.add(command)
  command:flag("--private", "Mercure: only to those who may see it")
  command:option("--user", "of a hub: only to this user"):argname("<id>")
  command:option("--key", "for idempotency: the event of a key is published once"):argname("<key>")
  command:option("--timeout", ("seconds for all of it (default: %d)"):format(TIMEOUT))
    :argname("<s>")
  command:flag("--json", "print status, id and answer as JSON")
  headers.add(command)
  trust.add(command)
  help.add(command, {
    [[sluice publish http://127.0.0.1:5121/api/sse/broadcast news '{"text":"Hello"}']],
    "sluice publish --as mercure --topic news --header 'Authorization: Bearer T' "
      .. "http://127.0.0.1:3000/.well-known/mercure news Hello" },
    { { 0, "it was taken" }, { 1, "it was refused, or no answer came" },
      { INTERRUPTED, "interrupted" } })
end

local function print_taken(given, answer, value, out)
  local id = forms.id(given, answer, value)
  if given.json then
    local shown = value == nil and answer.body or value
    out:write(json.encode({ status = answer.status, id = id, answer = shown }), "\n")
  elseif id then
    out:write(terminal.safe(id), "\n")
  end
end

local function post(given, fields, out, err)
  local body = forms.body(given, given.event, given.data, fields)
  local answer, message = http.post(given.url, { headers = fields, body = body, redirects = 0,
    timeout = given.timeout, verify = not given.insecure }) -- a redirected POST is a GET
  if not answer then
    err:write("sluice: ", terminal.safe(trust.explain(message)), "\n")
    return 1
  end
  local value = answer.json()
  if answer.status // 100 ~= 2 then
    if given.json then
      out:write(json.encode({ status = answer.status, answer = value == nil and answer.body
        or value }), "\n")
    end
    err:write("sluice: ", terminal.safe(forms.refusal(given.url, answer)), "\n")
    return 1
  end
  print_taken(given, answer, value, out)
  return 0
end

-- What is wrong with the options, or nil.
local function fault(given)
  given.timeout = tonumber(given.timeout or TIMEOUT)
  if not (given.timeout and given.timeout >= 0.001 and given.timeout <= TIMEOUT_MOST) then
    return "--timeout: a number of seconds from 0.001 to 86400 is expected"
  elseif given.as ~= "mercure" and given.private then
    return "--private is for --as mercure"
  elseif given.as ~= "hub" and given.user then
    return "--user is for a hub of Sluice"
  elseif given.event == "" or given.event:find("%c") then
    return "the event's name is empty, or has control characters"
  elseif given.key and given.key:find("%c") then
    return "--key: a key without control characters is expected"
  end
  return forms.fault(given) or trust.fault(given)
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function publish.run(given, usage, out, err)
  local problem = fault(given)
  local fields, why = headers.read(given.header)
  if problem or not fields then return usage(problem or why) end
  local lower = {}
  for name, value in pairs(fields) do lower[name:lower()] = value end
  if given.key then lower["idempotency-key"] = given.key end
  if given.data == "-" then given.data = io.stdin:read("a") end
  given.data = given.data or "{}"
  problem = forms.data_fault(given, given.data)
  if problem then return usage(problem) end
  return work.run("publish", function() return post(given, lower, out, err) end, err) or INTERRUPTED
end

return publish
