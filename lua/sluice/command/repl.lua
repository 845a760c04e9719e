--- `sluice repl`: Lua that runs in a server on this machine, line by line. Keeps nothing in memory.
local core = require("sluice.core")
local help = require("sluice.command.help")
local json = require("sluice.json")
local remote = require("sluice.command.remote")
local terminal = require("sluice.command.terminal")

local repl = { name = "repl" }

local STDIN = 0 -- its descriptor

--- Add the command to the parser.
-- @param parser of argparse
function repl.add(parser)
  local command = parser:command("repl", "Run Lua in a running server, over its Unix socket: lines "
    .. "from the terminal or from standard input, or what --eval says.")
  command:flag("--write", "everything that a handler may do; without it Lua only reads")
  command:option("-e --eval", "run this, print what it returns, and end"):argname("<lua>")
  command:flag("--json", "print JSON, an object for each that is run")
  remote.add(command)
  help.add(command, { "sluice repl", "sluice repl -e 'app:stats().streams'",
    [[sluice repl --write -e 'app:publish("news", "hello", {})']] },
    { { 0, "all of it ran" }, { 1, "some of it failed, or no server answers" },
      { 130, "interrupted" } })
end

-- What an answer has, as far as it is printed.
local function shape_of(out)
  if out.incomplete then return {} end
  return { ok = "boolean", ["printed?"] = "string", ["text?"] = "string",
    [out.ok and "message?" or "message"] = "string" }
end

-- Have the server run it: its answer, or nil and why there is none.
local function ask(self, code)
  local target = ("/-/repl?session=%s&line=%d%s%s"):format(self.session, self.line,
    self.write and "&write=1" or "",
    self.json and "&json=1" or "")
  local out, message = remote.ask(self.place, "POST", target, code, shape_of)
  if not out then return nil, message end
  if type(out.error) == "table" then return nil, out.error.message end
  return out
end

local function print_outcome(self, out)
  if self.json then
    self.out:write(json.encode({ ok = out.ok, printed = out.printed ~= "" and out.printed or nil,
      values = out.values, message = out.message }), "\n")
  elseif out.ok then
    if (out.printed or "") ~= "" then self.out:write(terminal.safe(out.printed), "\n") end
    if (out.text or "") ~= "" then self.out:write(terminal.safe(out.text), "\n") end
  else
    if (out.printed or "") ~= "" then self.out:write(terminal.safe(out.printed), "\n") end
    self.err:write("sluice: ", terminal.safe(out.message), "\n")
  end
  self.out:flush()
end

-- Run lines until they end. What is not whole waits for the next line.
local function run_lines(self, lines)
  local code, failed, n = "", false, 0
  self.prompt("> ")
  for line in lines do
    n = n + 1
    if code == "" and self.counts then self.line = n end
    code = code .. line .. "\n"
    if code:find("%S") then
      local out, message = ask(self, code)
      if not out then return nil, message end
      if out.incomplete and line:find("%S") then
        self.prompt(">> ")
      else
        print_outcome(self, out)
        failed, code = failed or not out.ok, ""
        self.prompt("> ")
      end
    else
      code = ""
      self.prompt("> ")
    end
  end
  if code == "" then return not failed end
  local out, message = ask(self, code)
  if out then print_outcome(self, out) end
  return out and not failed and out.ok, message
end

local function greet(self)
  local found, message = remote.ask(self.place, "GET", "/-/routes")
  if not found then return nil, message end
  self.out:write(("Lua in the server, generation %s, %s. Ctrl-D ends.\n"):format(
    tostring(found.generation), self.write and "reading and writing" or "only reading (--write)"))
  return true
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function repl.run(given, _, out, err)
  local self = { place = given, write = given.write, json = given.json, session = core.id(),
    line = 1, counts = not core.is_terminal(STDIN), out = out, err = err, prompt = function() end }
  local ok, message = true, nil
  if given.eval then
    local one = true
    ok, message = run_lines(self, function()
      if one then one = nil return given.eval end
    end)
  else
    if core.is_terminal(STDIN) and not given.json then
      ok, message = greet(self)
      local paint = terminal.painter(out)
      function self.prompt(text) out:write(paint("dim", text)):flush() end
    end
    if ok then ok, message = run_lines(self, io.stdin:lines()) end
    self.prompt("\n")
  end
  if message then err:write("sluice: ", message, "\n") end
  return ok and 0 or 1
end

return repl
