--- `sluice explain client ID | channel NAME | reset ID`: why a running server did what it did.
-- Keeps nothing in memory.
local help = require("sluice.command.help")
local json = require("sluice.json")
local remote = require("sluice.command.remote")
local terminal = require("sluice.command.terminal")

local explain = { name = "explain" }

--- Add the command to the parser.
-- @param parser of argparse
function explain.add(parser)
  local command = parser:command("explain", "Ask a running server why: what a client waits for, "
    .. "why it was reset, refused or closed, how a channel stands, and which rule decided.")
  command:argument("kind", "client, channel or reset"):choices({ "client", "channel", "reset" })
  command:argument("id", "a client's id (or a user, an address, a path, a trace); a channel's "
    .. "name; the id that a reset carried or has in 'from' (or a client's)"):argname("<id>")
  command:flag("--json", "print JSON")
  remote.add(command)
  help.add(command, { "sluice explain client 2xk7m3q5w4tjzb6a", "sluice explain channel news",
    "sluice explain reset uz7qk3mw5bt2x-1041 --json" },
    { { 0, "printed" }, { 1, "nothing is known, or no server answers" } })
end

-- What an answer has, as far as it is printed.
local SHAPE = { found = "string", subject = { kind = "string", id = "string" },
  because = { { text = "string", ["advice?"] = "string", ["rule?"] = { where = "string" } } },
  timeline = { { time = "number", text = "string" } }, ["since?"] = "number",
  ["client?"] = { open_s = "number" }, ["policy?"] = { { option = "string" } },
  ["channel?"] = { kind = "string", subscribers = "number", published = "number",
    held = "number" } }

-- One line; what stands in an answer may be a client's text.
local function plain(text)
  return (terminal.safe(tostring(text)):gsub("[\n\t]", " "))
end

local function clock(time) return os.date("!%H:%M:%S", math.floor(time)) end

-- Lines of at most so many characters, the later ones indented.
local WIDTH = 96

local function wrap(text, indent)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    if line ~= "" and #indent + #line + 1 + #word > WIDTH then
      lines[#lines + 1], line = line, ""
    end
    line = line == "" and word or line .. " " .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. indent)
end

local function print_cause(out, one)
  out:write("  ", wrap(plain(one.text), "  "), "\n")
  local rule = one.rule
  local is_said = rule and one.text:find(rule.where, 1, true)
  if rule and rule.option and rule.pattern and not is_said then
    out:write("    rule: ", plain(("%s = %s of '%s' (%s)"):format(rule.option, rule.value or "?",
      rule.pattern, rule.where)), "\n")
  end
  if one.advice then out:write("    ", wrap("-> " .. plain(one.advice), "       "), "\n") end
end

local HEADS = {}

function HEADS.client(answer)
  local c = answer.client
  if not c then return "" end
  local parts = { c.route or c.path, c.ip, c.user and "user " .. c.user }
  return (" open for %.0f s, %s"):format(c.open_s, table.concat(parts, ", "))
end

function HEADS.channel(answer)
  local c = answer.channel
  return (" a %s, %d subscriber%s, %d event%s published, %d held"):format(c.kind, c.subscribers,
    c.subscribers == 1 and "" or "s", c.published, c.published == 1 and "" or "s", c.held)
end

function HEADS.reset(answer)
  return answer.because[1].clients and (" %d of them noted"):format(#answer.timeline) or ""
end

local function print_policy(out, policy)
  if not policy then return end
  out:write("  policy\n")
  for _, row in ipairs(policy) do
    out:write(("    %-9s %-10s %s\n"):format(row.option, plain(row.value),
      row.where and plain(("of '%s' (%s)"):format(row.pattern, row.where)) or "by default"))
  end
end

local function print_answer(out, answer)
  local kind = answer.subject.kind
  out:write(plain(("%s %s:%s"):format(kind, answer.subject.id, HEADS[kind](answer))), "\n")
  for _, one in ipairs(answer.because) do print_cause(out, one) end
  print_policy(out, answer.policy)
  if #answer.timeline > 0 then out:write("  what was noted (UTC)\n") end
  for _, row in ipairs(answer.timeline) do
    out:write("    ", clock(row.time), "  ", wrap(plain(row.text), (" "):rep(14)), "\n")
  end
  if answer.since then
    out:write("  What was noted reaches back to ", clock(answer.since), ".\n")
  end
end

local function encode(text)
  return (text:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- Run the command.
-- @tparam table given what the parser found
-- @treturn integer exit code
function explain.run(given, _, out, err)
  local answer, status = remote.ask(given, "GET",
    ("/-/explain?%s=%s"):format(given.kind, encode(given.id)), nil, SHAPE)
  local problem = not answer and status or answer.error and answer.error.message
  if problem then
    err:write("sluice: ", plain(problem), "\n")
    return 1
  end
  if given.json then out:write(json.encode(answer), "\n") else print_answer(out, answer) end
  return answer.found == "none" and 1 or 0
end

return explain
