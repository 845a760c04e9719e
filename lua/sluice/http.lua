--- Ask other servers: one request, and its whole answer. The coroutine waits; nothing else
--- does.
---
---   local answer, message, code = http.post("https://example.org/hook", { json = { id = 7 } })
---
--- Takes no app: it registers nothing. In memory: the answer, at most `max_bytes`; of one that is
--- read while it comes, what was received and not taken (see sluice.out.transfer).
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local inflated = require("sluice.out.inflated")
local json = require("sluice.json")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local outgoing = require("sluice.out.outgoing")
local retry = require("sluice.out.retry")
local returning = require("sluice.out.returning")
local show = require("sluice.base.show")
local signature = require("sluice.out.signature")
local transfer = require("sluice.out.transfer")

---@class sluice.Http
local http = {}

local KNOWN = { url = options.NONE, method = options.STRING, headers = options.NONE,
  body = options.NONE, json = options.NONE, timeout = 10, retries = 0, max_bytes = 1 << 20,
  redirects = 5, strict_redirects = false, verify = true, sign = options.NONE,
  deadline = options.NUMBER, idempotent = options.BOOLEAN }
local STREAM_KNOWN = { url = options.NONE, method = options.STRING, headers = options.NONE,
  body = options.NONE, json = options.NONE, timeout = 10, idle = 60, redirects = 5,
  strict_redirects = false, verify = true, sign = options.NONE, idempotent = options.BOOLEAN,
  compress = true }
-- What may pass: the same request may succeed later. Of these, what says that the request was not
-- acted upon may be repeated whatever it is, unless a redirect said otherwise before; the rest only
-- when it does no harm twice.
local PASSING_CODE = { ECONNECT = true, EUPSTREAM = true, ETIMEOUT = true }
local PASSING_STATUS = { [408] = true, [425] = true, [429] = true, [500] = true, [502] = true,
  [503] = true, [504] = true }
local UNTOUCHED = { ECONNECT = true, [425] = true, [429] = true, [503] = true }
local PAUSE_FIRST, PAUSE_MAX = 1, 30
local WITH_BODY = { POST = true, PUT = true, PATCH = true }

-- json() is the body as a value, or nil, message, code.
local function response(status, headers, body)
  return { status = status, headers = headers, body = body,
    json = function() return json.decode(body) end }
end

local function check_number(what, o, name, least, most, whole)
  local n = o[name]
  local good = type(n) == "number" and n >= least and n <= most
    and (not whole or math.tointeger(n) ~= nil)
  if not good then
    caller.raise("%s: %s is a %s from %s to %s, not %s", what, name,
      whole and "whole number" or "number", core.text_of(least), core.text_of(most),
      show(n))
  end
end

local function check(what, given, known)
  local o = options(what, given, known)
  o.sign = signature.check(what, o.sign)
  outgoing.check_url(what, o.url)
  check_number(what, o, "timeout", 0.001, 86400)
  check_number(what, o, "redirects", 0, 20, true)
  outgoing.check_body(what, o)
  return o
end

-- Fill in what follows from the rest; nil, message, code when the value is no JSON.
local function prepare(what, o)
  local missing = { accept = "*/*" }
  local ok, message, code = outgoing.put_json(o, missing)
  if not ok then return nil, message, code end
  o.method = o.method and o.method:upper() or o.body and "POST" or "GET"
  if WITH_BODY[o.method] and not o.body then o.body = "" end
  o.compress = o.compress and inflated.ask(missing, o.headers)
  o.headers = outgoing.headers(what, o.headers, missing)
  return o
end

local function attempt(runtime, what, o)
  if o.sign then signature.put(o.headers, o.sign, o.body or "") end
  local by = math.min(runtime.scheduler.now() + o.timeout, o.till)
  local asked = { url = o.url, method = o.method, headers = o.headers, body = o.body,
    redirects = o.redirects, strict_redirects = o.strict_redirects, deadline = by,
    max_bytes = o.max_bytes, verify = o.verify, idempotent = o.idempotent }
  local t, status, headers = outgoing.ask(runtime, what, asked)
  o.acted = o.acted or asked.acted
  if not t then return nil, status, headers end
  local _ <close> = t
  local parts = {}
  while true do
    local part, message, code = t:read()
    if not part then
      if message then return nil, message, code end
      return response(status, headers, table.concat(parts))
    end
    parts[#parts + 1] = part
  end
end

-- How long to wait before the next attempt; nil when another attempt makes no sense.
local function pause(o, n, answer, code)
  local result = answer and answer.status or code
  if not (answer and PASSING_STATUS or PASSING_CODE)[result] then return nil end
  if not (UNTOUCHED[result] and not o.acted or outgoing.is_idempotent(o)) then return nil end
  return answer and retry.after(answer.headers, PAUSE_MAX)
    or retry.pause(n, PAUSE_FIRST, PAUSE_MAX)
end

local function perform(what, given)
  local runtime = transfer.runtime(what)
  local o = check(what, given, KNOWN)
  check_number(what, o, "retries", 0, 100, true)
  if o.deadline then check_number(what, o, "deadline", 0.001, 86400) end
  check_number(what, o, "max_bytes", 1, 1 << 30, true)
  local ready, message, code = prepare(what, o)
  if not ready then return nil, message, code end
  local now, answer = runtime.scheduler.now, nil
  o.till = now() + (o.deadline or math.huge)
  for n = 1, o.retries + 1 do
    answer, message, code = attempt(runtime, what, o)
    local wait = n <= o.retries and pause(o, n, answer, code)
    if not wait or now() + wait >= o.till then break end
    runtime.scheduler:sleep(wait, what)
  end
  if answer then return answer end
  return nil, message, code
end

--- Send a request and wait for the whole answer, of whatever status.
-- @tparam table o `url`, `method` (GET, or POST with a body), `headers` (a map), `body` (string)
--   or `json` (a value), `timeout` (seconds for one attempt, 10), `retries` (0: further attempts
--   where the failure may pass, and where the request may arrive more than once or was not acted
--   upon), `idempotent` (whether it may: by method, signature and Idempotency-Key), `deadline`
--   (seconds for all attempts), `max_bytes` (of the answer, 1 MiB), `redirects` (5),
--   `strict_redirects` (follow only what keeps method, body and server), `verify` (the certificate,
--   true), `sign` ({ secret =, id = }: fields by which the server knows that it is yours, see
--   sluice.out.signature)
-- @treturn table|nil { status, headers, body, json() }, or nil, message, code: "ECONNECT",
--   "EUPSTREAM", "ETIMEOUT", "ETOOBIG", "EINVAL", "EBADFIELD", "EFULL"
function http.request(o)
  return perform("http.request()", o)
end

local function with(what, method, url, given)
  if given ~= nil and type(given) ~= "table" then
    caller.raise("%s: options are a table, not a %s", what, type(given))
  end
  local o = { url = url, method = method }
  for name, value in pairs(given or {}) do
    if o[name] ~= nil then caller.raise("%s: %s is given already", what, name) end
    o[name] = value
  end
  return perform(what, o)
end

--- GET a URL; as http.request.
-- @tparam string url
-- @tparam[opt] table o
function http.get(url, o)
  return with("http.get()", "GET", url, o)
end

--- POST to a URL; as http.request.
-- @tparam string url
-- @tparam[opt] table o with `body` or `json`
function http.post(url, o)
  return with("http.post()", "POST", url, o)
end

-- ---- An answer while it comes --------------------------------------------------------------

---@class sluice.HttpStream
local HttpStream = {}
HttpStream.__index = HttpStream
HttpStream.__name = "sluice.HttpStream"

--- Iterate over the body's pieces as they come, strings of any size. What is not taken stays with
-- the server, which waits. Leaving the loop closes the request. When the answer breaks off the
-- loop ends, and `answer.problem` and `answer.code` say why.
-- @return what `for piece in …` wants
function HttpStream:chunks() return self, nil, nil, self end

-- The next piece, for a loop.
function HttpStream:__call()
  local piece, message, code = self.transfer:read()
  if not piece and not self.closed then self.problem, self.code = message, code end
  return piece
end

--- End the request; closing twice does no harm.
function HttpStream:close()
  self.closed = true
  self.transfer:close()
end

-- What a run hands over stays open when its function is closed.
function HttpStream:__close()
  if not self.is_kept then self:close() end
end

--- Send a request, and return when the head of its answer is there; the body is read while it
-- comes. Declare the answer `<close>`, or read it in a loop: the request ends with that.
-- @tparam table o as http.request, without `retries`, `deadline` and `max_bytes`;
--   `timeout` is for the head, `idle` (60) the seconds without a byte after which the answer is
--   given up; `compress` (true) asks for gzip
-- @treturn sluice.HttpStream|nil with `status` and `headers`; or nil, message, code
function http.stream(o)
  local what = "http.stream()"
  local runtime = transfer.runtime(what)
  local given = check(what, o, STREAM_KNOWN)
  check_number(what, given, "idle", 0.1, 86400)
  local ready, message, code = prepare(what, given)
  if not ready then return nil, message, code end
  local handed = returning.handed(given)
  if handed then return handed end
  if given.sign then signature.put(given.headers, given.sign, given.body or "") end
  local limit = runtime.scheduler.now() + given.timeout
  local t, status, headers = outgoing.ask(runtime, what, { url = given.url, method = given.method,
    headers = given.headers, body = given.body, redirects = given.redirects,
    strict_redirects = given.strict_redirects, idle = given.idle, head_by = limit,
    verify = given.verify, idempotent = given.idempotent })
  if not t then return nil, status, headers end
  local body = given.compress and inflated.body(t, headers) or t
  return setmetatable({ transfer = body, status = status, headers = headers,
    asked = { url = given.url, method = given.method, body = given.body } }, HttpStream)
end

HttpStream.hand_over, HttpStream.for_readers = returning.hand_over, returning.told

names.lenient(HttpStream, "answer", { chunks = HttpStream.chunks, close = HttpStream.close },
  { "status", "headers", "problem", "code" })
return names.strict(http, "http", ".")
