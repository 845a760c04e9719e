--- Steps of an escalation: what they may say, and doing them. What a page is told of a failure is
--- one word or a status; the log has the rest, which may name addresses. Keeps nothing in memory.
local http = require("sluice.http")
local mail = require("sluice.mail")
local options = require("sluice.base.options")
local sluice = require("sluice")

local steps = {}

local NONE = options.NONE
local STEP = { after = NONE, via = NONE }
local BY_VIA = {
  webhook = { url = options.STRING, headers = options.TABLE, sign = options.TABLE, timeout = 10,
    retries = 3, deadline = 60 },
  email = { to = options.NONE, from = options.NONE, subject = options.STRING, timeout = 30,
    retries = 3, deadline = 60 },
  ["function"] = {},
}
local SECONDS_MAX, STEPS_MAX, SECRET_MIN, LINE_MAX = 366 * 86400, 100, 24, 120

-- ---- At load -------------------------------------------------------------------------------

local function webhook_fault(step)
  if not (step.url and step.url:find("^https?://[^/]")) then
    return "url is an address that begins with http:// or https://"
  end
  local secret = step.sign and options("sign", step.sign, { secret = "" }).secret
  if secret and #secret < SECRET_MIN then
    return ("sign.secret is a text of at least %d bytes"):format(SECRET_MIN)
  end
end

-- What a mail needs beside its recipient.
local function letter(step, to, subject, text)
  return { to = to, from = step.from, subject = subject, text = text, timeout = step.timeout,
    retries = step.retries, deadline = step.deadline }
end

local function email_fault(step)
  if step.to == nil then return "to is missing: an address, a list, or a function of the user" end
  local to = type(step.to) == "function" and "nobody@localhost" or step.to
  local ran, ok, message = pcall(mail.check, letter(step, to, step.subject or "x", "x"))
  if not ran then return (tostring(ok):gsub("^[^\n]-:%d+: ", "")) end
  if not ok then return message end
end

local FAULT = { webhook = webhook_fault, email = email_fault, ["function"] = function() end }

local function read_step(what, given)
  if type(given) ~= "table" then options.raise(what .. " is a table, as { after =, via = }") end
  local name = type(given.via) == "function" and "function" or given.via
  local more = BY_VIA[name]
  if not more then options.raise(what .. ': via is "webhook", "email" or a function') end
  local known = {}
  for _, list in ipairs({ STEP, more }) do
    for key, default in pairs(list) do known[key] = default end
  end
  local step = options(what, given, known)
  step.name = name
  local fine = type(step.after) == "number" and step.after >= 0 and step.after <= SECONDS_MAX
  local fault = not fine and ("after is a number of seconds from 0 to %d"):format(SECONDS_MAX)
    or FAULT[name](step)
  if fault then options.raise("%s: %s", what, fault) end
  return step
end

--- Check the rules; raises.
-- @tparam table|nil given { severity = { step, … } }
-- @tparam table severities the names that there are
-- @treturn table { severity = { step, … } }
function steps.check(given, severities)
  local rules = {}
  for severity, list in pairs(given or {}) do
    if not severities[severity] then
      options.raise("inbox.new: escalate: '%s' is no severity: info, warning, high, critical",
        tostring(severity))
    end
    local what = "inbox.new: escalate." .. severity
    local fault = options.list_fault(list, "steps")
    if fault then options.raise("%s %s", what, fault) end
    if #list > STEPS_MAX then options.raise("%s: at most %d steps", what, STEPS_MAX) end
    local own = {}
    for i, step in ipairs(list) do
      own[i] = read_step(("%s[%d]"):format(what, i), step)
      if i > 1 and own[i].after < own[i - 1].after then
        options.raise("%s[%d]: after counts from when it was sent, and is less than that of the "
          .. "step before", what, i)
      end
    end
    if #own > 0 then rules[severity] = own end
  end
  return rules
end

-- ---- Doing ---------------------------------------------------------------------------------

-- What names one step of one item to a receiver, equal over retries: an id that an idempotency
-- text gave may come again after a day, for another item.
local function once_of(item, n)
  return ("%s-%s-%d"):format(item.id, (item.timestamp:gsub("%D", "")), n)
end

local function webhook(step, item, n)
  local once = once_of(item, n)
  local headers = { ["Idempotency-Key"] = once }
  for name, value in pairs(step.headers or {}) do headers[name] = value end
  local answer, message, code = http.request({ method = "POST", url = step.url, headers = headers,
    json = { user = item.to, step = n, notification = item }, timeout = step.timeout,
    retries = step.retries, deadline = step.deadline,
    sign = step.sign and { secret = step.sign.secret, id = once } or nil })
  if not answer then return false, code, message end
  if answer.status >= 200 and answer.status < 300 then return true end
  local text = ("answered %d"):format(answer.status)
  return false, text, text
end

local function copy_of(item)
  local copy = {}
  for name, value in pairs(item) do copy[name] = value end
  return copy
end

-- One line that fits into a subject.
local function line_of(text)
  local line = text:gsub("%c+", " ")
  return line:sub(1, (utf8.offset(line, LINE_MAX + 1) or #line + 1) - 1)
end

local function text_of(item)
  local lines = { item.message, "", "To: " .. item.to }
  for _, field in ipairs({ "from", "type", "severity", "url", "timestamp" }) do
    local name = field:sub(1, 1):upper() .. field:sub(2)
    if item[field] then lines[#lines + 1] = ("%s: %s"):format(name, item[field]) end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function email(step, item, n)
  local to = step.to
  if type(to) == "function" then to = to(item.to, copy_of(item)) end
  if to == nil or to == false then return false, "no address", "no address" end
  local subject = step.subject
    or ("[%s] %s"):format(item.severity, line_of(item.title or item.message))
  local o = letter(step, to, subject, text_of(item))
  o.id = once_of(item, n)
  local sent, message, code = mail.send(o)
  if sent then return true end
  return false, code, message
end

local function call(step, item)
  local ok, answer, message = pcall(step.via, item.to, copy_of(item))
  if not ok then return false, "failed", answer end
  if answer == false or answer == nil and message ~= nil then return false, "failed", message end
  return true
end

local RUN = { webhook = webhook, email = email, ["function"] = call }

--- Do a step. Waits for whom it asks.
-- @treturn boolean whether it was done
-- @treturn string|nil why not, in a word
function steps.run(step, item, n)
  local done, ok, why, more = pcall(RUN[step.name], step, item, n)
  if not done then ok, why, more = false, "failed", ok end
  if ok then return true end
  sluice.log.error(("inbox: step %d of the escalation of '%s' by %s failed: %s"):format(n, item.id,
    step.name, tostring(more)))
  return false, why
end

return steps
