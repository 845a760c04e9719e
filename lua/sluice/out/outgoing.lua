--- What sluice.http and sluice.client have in common: header fields, redirects, URLs.
-- Keeps nothing in memory.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local json = require("sluice.json")
local query = require("sluice.base.query")
local show = require("sluice.base.show")
local trace = require("sluice.base.trace")
local transfer = require("sluice.out.transfer")

local outgoing = {}

-- The fields that may follow a redirect to another server: none that identifies the app.
local HARMLESS = { accept = true, ["accept-encoding"] = true, ["accept-language"] = true,
  ["cache-control"] = true, ["content-type"] = true, ["last-event-id"] = true,
  ["user-agent"] = true }
local KEEPS_METHOD = { [307] = true, [308] = true }
local IDEMPOTENT = { GET = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true,
  TRACE = true }
-- By these the receiver knows a request again.
local NAMES_REQUEST = { ["idempotency-key"] = true, ["webhook-id"] = true }
local REDIRECT = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

--- A URL for the log: without user, password and query.
-- @tparam string url
-- @treturn string
function outgoing.shown(url)
  return (url:gsub("[?#].*", ""):gsub("^(%a+://)[^/]*@", "%1"))
end

-- Why a request has failed that a redirect has sent elsewhere.
local function led_text(url, message)
  return ("%s, where a redirect led: %s"):format(outgoing.shown(url), message)
end

local function origin(url)
  return (url:match("^%a+://[^/?#]*") or url):lower():gsub("//.*@", "//")
end

local function check_fields(what, headers)
  if type(headers) ~= "table" then
    caller.raise("%s: headers is a table of names and values", what)
  end
  for name, value in pairs(headers) do
    local good = type(value) == "string" or type(value) == "number"
    if type(name) ~= "string" or not good then
      caller.raise("%s: headers is a table of names and values, not of %s", what,
        type(name) ~= "string" and "a list" or type(value) .. "s")
    end
  end
end

--- Copy header fields and add those that are missing, among them the trace of the request that this
-- is done for.
-- @tparam string what for messages
-- @tparam[opt] table given
-- @tparam table missing names in lower case
-- @treturn table
function outgoing.headers(what, given, missing)
  local all, has = {}, {}
  if given ~= nil then check_fields(what, given) end
  for name, value in pairs(given or {}) do
    all[name], has[name:lower()] = core.text_of(value), true
  end
  local current = transfer.runtime(what).scheduler.current
  missing.traceparent = trace.child(current and current.trace)
  local token = current and current.lease -- of who leads the cluster
  missing["sluice-fence"] = token and ("%d"):format(token)
  for name, value in pairs(missing) do
    if not has[name] then all[name] = value end
  end
  return all
end

--- Raise unless there is one body at most.
function outgoing.check_body(what, o)
  if o.body ~= nil and o.json ~= nil then caller.raise("%s: body or json, not both", what) end
  if o.body ~= nil and type(o.body) ~= "string" then
    caller.raise("%s: body is a string, not a %s; for a table there is json", what, type(o.body))
  end
end

--- Turn the field json into a body.
-- @tparam table o
-- @tparam table missing header fields to be added
-- @treturn boolean|nil true; or nil, message, code
function outgoing.put_json(o, missing)
  if o.json == nil then return true end
  local text, message, code = json.encode(o.json)
  if not text then return nil, message, code end
  o.body, o.json, missing["content-type"] = text, nil, "application/json"
  return true
end

--- The method and body of a stream that may be opened by POST; raises.
-- @tparam string what for messages
-- @tparam table o method, body, json
-- @tparam table missing header fields to be added
function outgoing.read_stream(what, o, missing)
  outgoing.check_body(what, o)
  local ok, message = outgoing.put_json(o, missing)
  if not ok then caller.raise("%s: json: %s", what, message) end
  o.method = o.method or o.body and "POST" or "GET"
  if o.method ~= "POST" and (o.method ~= "GET" or o.body) then
    caller.raise('%s: method is "GET", or "POST" with a body', what)
  end
  if o.method == "POST" then o.body = o.body or "" end
end

--- Whether a request may arrive twice: because it is said, by its method, or because the receiver
-- can tell.
-- @tparam table o method, headers, idempotent
function outgoing.is_idempotent(o)
  if o.idempotent ~= nil then return o.idempotent end
  if IDEMPOTENT[o.method] then return true end
  for name in pairs(o.headers) do
    if NAMES_REQUEST[name:lower()] then return true end
  end
  return false
end

--- Raise unless a URL is a string; its contents are checked by the core.
function outgoing.check_url(what, url)
  if type(url) ~= "string" then
    caller.raise("%s: the url is a string, not %s", what, show(url))
  end
end

local function escape(text)
  return (text:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- A URL with lists added to its query, without its fragment.
-- @tparam string url
-- @tparam table lists name -> list of strings
-- @treturn string
function outgoing.with_query(url, lists)
  local parts = {}
  for name, list in pairs(lists) do
    local items = {}
    for i, item in ipairs(list) do items[i] = escape(item) end
    parts[#parts + 1] = name .. "=" .. table.concat(items, ",")
  end
  table.sort(parts)
  url = url:gsub("#.*", "")
  if #parts == 0 then return url end
  return url .. (url:find("?", 1, true) and "&" or "?") .. table.concat(parts, "&")
end

-- The request that a redirect asks for; nil and why not.
local function redirected(o, status, location)
  if o.url:find("^https:") and not location:find("^https:") then
    return nil, "a redirect leads from https to " .. outgoing.shown(location)
  end
  local go_on = { url = location, method = o.method, body = o.body, headers = {},
    idempotent = o.idempotent, acted = o.acted }
  local drop_body = status == 303 and o.method ~= "HEAD"
    or (status == 301 or status == 302) and o.method == "POST"
  if drop_body then go_on.method, go_on.body, go_on.acted = "GET", nil, true end
  local same = origin(location) == origin(o.url)
  for name, value in pairs(o.headers) do
    local low = name:lower()
    local of_body = low == "content-type" or low:find("^webhook%-")
    if (same or HARMLESS[low]) and not (drop_body and of_body) then
      go_on.headers[name] = value
    end
  end
  return go_on
end

-- A redirect whose place makes no sense is no answer that an app could use.
local function leads_nowhere(status, headers, location)
  local given = REDIRECT[status] and query.headers(headers).location
  if given and (given == "" or not location) then
    return ("a redirect leads to '%s', which is no place"):format(given:sub(1, 200))
  end
end

-- Begin a request, or go on with one that a coroutine which is closed has begun.
local function begin(runtime, what, o, held)
  if held.transfer then return held.transfer end
  local now, step = runtime.scheduler.now, held.step
  local left = o.deadline and math.max(0.001, o.deadline - now())
  local t, message, code = transfer.open(runtime, what, { url = step.url, method = step.method,
    headers = step.headers, body = step.body, timeout = left, idle = o.idle,
    max_bytes = o.max_bytes, verify = o.verify, fresh = not outgoing.is_idempotent(step) })
  if not t then return nil, message, code end
  held.transfer = t
  if o.head_by then t:expect_head(o.head_by) end
  return t
end

-- Whether a redirect is followed.
local function is_followed(step, o, status, location)
  if not (REDIRECT[status] and location) or o.redirects == 0 then return false end
  return not o.strict_redirects or KEEPS_METHOD[status] and origin(location) == origin(step.url)
end

-- The head of one answer: "answer", status, headers; "redirect"; or nil, message, code.
local function step_of(held, t, o)
  local status, headers, location = t:head()
  if not status then return nil, headers, location end
  local message = leads_nowhere(status, headers, location)
  if message then return nil, message, "EUPSTREAM" end
  if not is_followed(held.step, o, status, location) then
    return "answer", status, query.headers(headers)
  end
  held.step, message = redirected(held.step, status, location)
  if not held.step then return nil, message, "EUPSTREAM" end
  o.acted = held.step.acted
  return "redirect"
end

--- Send a request, follow redirects, wait for the head. Fields that identify the app are sent to
-- the first server only. The caller closes the transfer.
-- @tparam sluice.Runtime runtime
-- @tparam string what for messages
-- @tparam table o url, method, headers (a map), body, redirects, deadline (monotonic) or idle
--   (seconds), head_by (monotonic: of the head alone), max_bytes, verify, idempotent,
--   strict_redirects; `acted` becomes true when a redirect answered what was asked (the method
--   became GET): then the request was acted upon
-- @tparam[opt] table held given, the request outlives this coroutine: another call with the same
--   table goes on with it, and `held.transfer` is what there is to close
-- @treturn sluice.Transfer|nil or nil, message, code
-- @treturn integer status
-- @treturn table headers, whose names match in any case
function outgoing.ask(runtime, what, o, held)
  local own = not held and {} or nil
  held = held or own
  local _ <close> = own and setmetatable({}, { __close = function()
    if own.transfer then own.transfer:close() end
  end })
  held.step, held.redirects = held.step or o, held.redirects or 0
  while held.redirects <= o.redirects do
    local url = held.step.url
    local t, message, code = begin(runtime, what, o, held)
    local verdict, first, second
    if t then verdict, first, second = step_of(held, t, o) end
    if verdict == "answer" then
      held.transfer, held.step, held.redirects = nil, nil, nil
      return t, first, second
    end
    if t then t:close() end
    held.transfer, held.redirects = nil, held.redirects + 1
    if not verdict then
      local led = held.redirects > 1 and url or nil
      held.step, held.redirects = nil, nil
      if t then message, code = first, second end
      return nil, led and led_text(led, message) or message, code
    end
  end
  held.step, held.redirects = nil, nil
  return nil, ("more than %d redirects"):format(o.redirects), "EUPSTREAM"
end

return outgoing
