--- A mail server for specs whose every reply is the spec's: it says what it is told to, and keeps
--- what it heard.
---
---   local s = smtp.listen()       s.url
---   local c = s:accept()          says 220, once a client is there
---   c:serve { rcpt = { "550 no" }, data = "451 later" }   a conversation until QUIT or the end; a
---     step (helo, auth, mail, rcpt, data, text) is a reply, a list of them, or fn(c, line) -> reply | nil
---   c.from, c.to, c.text, c.heard (all lines)
local deadline = require("spec.support.deadline")
local socket = require("socket")

local smtp = {}

local Server, Connection = {}, {}
Server.__index, Connection.__index = Server, Connection

local open = {}

function smtp.listen()
  local sock = assert(socket.bind("127.0.0.1", 0))
  local _, port = sock:getsockname()
  local self = setmetatable({ sock = sock, port = math.tointeger(tonumber(port)) }, Server)
  self.url = ("smtp://127.0.0.1:%d"):format(self.port)
  open[sock] = true
  return self
end

function smtp.close_all()
  for sock in pairs(open) do sock:close() end
  open = {}
end

--- The next connection.
-- @tparam[opt="220 mail.test ready"] string|boolean greeting false: none
function Server:accept(greeting, seconds)
  self.sock:settimeout(deadline.after(seconds or 5)())
  local sock = assert(self.sock:accept(), "no connection came")
  open[sock] = true
  sock:setoption("tcp-nodelay", true)
  local c = setmetatable({ sock = sock, heard = {}, to = {} }, Connection)
  if greeting ~= false then c:say(greeting or "220 mail.test ready") end
  return c
end

function Connection:say(line) return self.sock:send(line .. "\r\n") end

--- The next line; nil when the client has gone.
function Connection:line(seconds)
  self.sock:settimeout(deadline.after(seconds or 5)())
  local line, problem = self.sock:receive("*l")
  assert(line or problem == "closed", problem)
  if line then self.heard[#self.heard + 1] = line end
  return line
end

function Connection:close()
  open[self.sock] = nil
  self.sock:close()
end

local function reply_of(c, steps, name, line, ok)
  local step = steps[name]
  if step == nil then return ok end
  if type(step) == "table" then return table.remove(step, 1) or ok end
  if type(step) == "function" then return step(c, line) end
  return step
end

-- The text, without the dots that stand for others.
local function read_text(c)
  local lines = {}
  for line in function() return c:line() end do
    line = line:gsub("\r$", "")
    if line == "." then
      c.text = table.concat(lines, "\n") .. "\n"
      return true
    end
    lines[#lines + 1] = line:gsub("^%.", "")
  end
end

local ANSWER = {}
function ANSWER.EHLO(c, steps, line) return reply_of(c, steps, "helo", line, "250 mail.test") end
ANSWER.HELO = ANSWER.EHLO
function ANSWER.AUTH(c, steps, line)
  c:say("334 ")
  c:line()
  return reply_of(c, steps, "auth", line, "235 in")
end
function ANSWER.MAIL(c, steps, line)
  c.from = line:match("<(.*)>")
  return reply_of(c, steps, "mail", line, "250 fine")
end
function ANSWER.RCPT(c, steps, line)
  c.to[#c.to + 1] = line:match("<(.*)>")
  return reply_of(c, steps, "rcpt", line, "250 fine")
end
function ANSWER.DATA(c, steps, line)
  local reply = reply_of(c, steps, "data", line, "354 go on")
  if not reply or not reply:find("^354") then return reply end
  c:say(reply)
  return read_text(c) and reply_of(c, steps, "text", line, "250 taken")
end
function ANSWER.QUIT(c, steps, line)
  c.quit = true
  return reply_of(c, steps, "quit", line, "221 bye")
end

--- Go on until the client says QUIT or has gone, or a step has no reply: then it is closed.
-- @treturn boolean whether the client said QUIT
function Connection:serve(steps)
  steps = steps or {}
  for line in function() return self:line() end do
    local answer = ANSWER[line:sub(1, 4):upper()]
    local reply = "502 what?"
    if answer then reply = answer(self, steps, line) end
    if not reply then break end
    self:say(reply)
    if self.quit then break end
  end
  self:close()
  return self.quit or false
end

return smtp
