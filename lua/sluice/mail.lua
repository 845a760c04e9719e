--- Send mail by SMTP. The coroutine waits; nothing else does.
---
---   local sent, message, code = mail.send { to = "ann@example.org", subject = "Disk full",
---     text = "web1: 97 %" }
---
--- Takes no app: it registers nothing. In memory: the mails that are being sent.
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local mime = require("sluice.out.mime")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local process = require("sluice.base.process")
local retry = require("sluice.out.retry")
local smtp = require("sluice.out.smtp")
local transfer = require("sluice.out.transfer")

---@class sluice.Mail
local mail = {}

local NONE, STRING, TABLE = options.NONE, options.STRING, options.TABLE
local KNOWN = { url = STRING, user = STRING, password = STRING, tls = STRING, verify = true,
  timeout = 30, retries = 0, deadline = options.NUMBER, from = NONE, to = NONE, cc = NONE,
  bcc = NONE, reply_to = NONE, subject = STRING, text = STRING, html = STRING, headers = TABLE,
  id = STRING, date = options.NUMBER, recipients = TABLE }
local BYTES_MAX, TO_MAX = 10 << 20, core.limits.MAIL_TO_MAX
local PAUSE_FIRST, PAUSE_MAX = 1, 60
local PASSING = { ECONNECT = true, EUPSTREAM = true, ETIMEOUT = true, EFULL = true }

local function check_numbers(what, o)
  local function check(name, least, most, whole)
    local n = o[name]
    if n == nil or n >= least and n <= most and (not whole or math.tointeger(n)) then return end
    caller.raise("%s: %s is a %s from %s to %s, not %s", what, name,
      whole and "whole number" or "number", core.text_of(least), core.text_of(most),
      core.text_of(n))
  end
  check("timeout", 0.001, 86400)
  check("deadline", 0.001, 86400)
  check("retries", 0, 100, true)
  check("date", 0, 1e11)
end

-- Settings that a deployment gives.
local function from_environment(o)
  local get = process.os.getenv
  o.url, o.from = o.url or get("SMTP_URL"), o.from or get("SMTP_FROM")
  o.user, o.password = o.user or get("SMTP_USER"), o.password or get("SMTP_PASSWORD")
end

-- Read what is to be sent. A wrong option raises; what may come from a user is returned.
local function read(what, given)
  local o = options(what, given, KNOWN)
  check_numbers(what, o)
  from_environment(o)
  if not o.url then caller.raise("%s: url is missing, or the variable SMTP_URL", what) end
  if o.from == nil then caller.raise("%s: from is missing, or the variable SMTP_FROM", what) end
  if not (o.text or o.html) then caller.raise("%s: text or html is missing", what) end
  local server = smtp.server(what, o)
  o.id, o.date, o.subject = o.id or core.id(), o.date or core.time(), o.subject or ""
  if #(o.text or "") + #(o.html or "") > BYTES_MAX then
    return nil, ("%s: a mail has at most %d MiB"):format(what, BYTES_MAX >> 20), "ETOOBIG"
  end
  local written, message = mime.compose(o)
  if not written then return nil, ("%s: %s"):format(what, message), "EBADFIELD" end
  if o.recipients then
    local fault = options.list_fault(o.recipients, "addresses", "string")
    if fault then caller.raise("%s: recipients %s", what, fault) end
    written.to = o.recipients
  end
  if #written.to == 0 then return nil, what .. ": to: there is no recipient", "EBADFIELD" end
  if #written.to > TO_MAX then
    return nil, ("%s: a mail has at most %d recipients"):format(what, TO_MAX), "ETOOBIG"
  end
  return o, server, written
end

local function addresses_of(list)
  local out = {}
  for i, one in ipairs(list) do out[i] = one.address end
  return out
end

local function add(list, more) table.move(more, 1, #more, #list + 1, list) end

-- Attempt it until everybody has an answer that is final.
local function deliver(runtime, what, server, o, written)
  local now, all = runtime.scheduler.now, { id = written.id, accepted = {}, refused = {} }
  local till = o.deadline and now() + o.deadline or math.huge
  local to, message, code, deferred = written.to, nil, nil, nil
  for n = 1, o.retries + 1 do
    local out
    out, message, code = smtp.attempt(runtime, what, server, { from = written.from, to = to,
      text = written.text, timeout = math.max(0.001, math.min(o.timeout, till - now())),
      verify = o.verify, source = o })
    if out then
      add(all.accepted, out.accepted)
      add(all.refused, out.refused)
      deferred = out.deferred
      to = addresses_of(deferred)
    end
    local wait = n <= o.retries and #to > 0 and (not code or PASSING[code])
      and retry.pause(n, PAUSE_FIRST, PAUSE_MAX)
    if not wait or now() + wait >= till then break end
    runtime.scheduler:sleep(wait, what)
  end
  add(all.refused, deferred or {})
  return all, message, code
end

--- Send a mail. It is sent once a server has taken it for at least one recipient.
-- @tparam table o `to`, `cc`, `bcc` ("name@domain", "Name <name@domain>", { name =, address = }, or
--   a list), `from` (SMTP_FROM), `reply_to`, `subject`, `text` and/or `html`, `headers` (a map),
--   `id` (of the message, default random: the same for each attempt), `date`; `url` (SMTP_URL:
--   "smtp://host:587" or "smtps://host"), `user`, `password` (SMTP_USER, SMTP_PASSWORD), `tls`
--   ("starttls", "tls" or "none"; default "starttls", and "none" to this machine), `verify` (the
--   certificate, true), `timeout` (seconds for one attempt, 30), `retries` (0), `deadline` (seconds
--   for all of them), `recipients` (addresses instead of those of to, cc and bcc)
-- @treturn table|nil { id (of the message), accepted = { address,... }, refused = { { address,
--   status, message },... } }; or nil, message, code, refused: "EREFUSED" (for good), "EUPSTREAM"
--   (for now), "ECONNECT", "ETIMEOUT", "EBADFIELD", "ETOOBIG", "EFULL"
function mail.send(o)
  local what = "mail.send()"
  local runtime = transfer.runtime(what)
  local checked, server, written = read(what, o)
  if not checked then return nil, server, written end
  local all, message, code = deliver(runtime, what, server, checked, written)
  if #all.accepted > 0 then return all end
  local first = all.refused[1]
  if not message then
    message = ("%s: %d %s"):format(first.address, first.status, first.message)
    code = first.status >= 500 and "EREFUSED" or "EUPSTREAM"
  end
  return nil, message, code, all.refused
end

--- Check what mail.send would be given, and send nothing.
-- @treturn boolean|nil true; or nil, message, code
function mail.check(o)
  local checked, message, code = read("mail.check()", o)
  if not checked then return nil, message, code end
  return true
end

return names.strict(mail, "mail", ".")
