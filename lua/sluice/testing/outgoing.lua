--- Other servers, as an app under test sees them: answers that the test gave, by URL. A URL
-- that it gave none for fails the test at its next step. In memory: the last requests.
local arguments = require("sluice.testing.arguments")
local arrays = require("sluice.base.arrays")
local caller = require("sluice.base.caller")
local core = require("sluice.core")
local json = require("sluice.json")

local outgoing = {}

local RETRY_MS = 500 -- how soon a client of an event stream comes back
local SENT_MAX = 10000

---@class sluice.testing.Outgoing
local Outgoing = {}
Outgoing.__index = Outgoing

-- An event stream that ends: its events after the id that the asker has. They are numbered, so
-- that a client that comes back gets what was added meanwhile.
local function event_stream(list, last_id)
  local parts = { ("retry: %d\n\n"):format(RETRY_MS) }
  for i = (math.tointeger(tonumber(last_id)) or 0) + 1, #list do
    local data = list[i].data
    if type(data) ~= "string" then data = assert(json.encode(data)) end
    parts[#parts + 1] = ("event: %s\ndata: %s\nid: %d\n\n"):format(
      list[i].event or "message", (data:gsub("\n", "\ndata: ")), i)
  end
  return table.concat(parts)
end

-- An answer as sluice.http hands it to the app.
local function complete(response, request)
  local headers, body = {}, response.body
  if response.events then
    body = event_stream(response.events, request.headers["last-event-id"])
    headers["content-type"] = "text/event-stream"
  end
  for name, value in pairs(response.headers or {}) do
    headers[name:lower()] = core.text_of(value)
  end
  if response.json ~= nil then
    body = assert(json.encode(response.json))
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  return { status = response.status or 200, headers = headers, body = body or "" }
end

-- ---- Mail ----------------------------------------------------------------------------------

-- What a mail server says to each recipient and last, as sluice.out.smtp reads it.
local function replies(answer, to)
  local fields, taken = { reply = "250 taken" }, 0
  for i, address in ipairs(to) do
    local refusal = (answer.refused or {})[address]
    fields[tostring(i)] = refusal or "250 fine"
    if not refusal then taken = taken + 1 end
  end
  local last = fields[tostring(#to)]
  if taken == 0 then fields.reply, fields["of-recipient"] = last, "yes" end
  if (answer.status or 250) >= 400 then
    fields["of-recipient"] = nil
    fields.reply = ("%d %s"):format(answer.status, answer.message or "")
  end
  local status = math.tointeger(tonumber(fields.reply:sub(1, 3)))
  return { status = status, headers = fields, body = "" }, status >= 400 and fields.reply or nil
end

local function take(self, request)
  local source = request.mail.source
  local row = { url = request.url, from = request.mail.from, to = { table.unpack(request.mail.to) },
    user = request.mail.user, subject = source.subject, text = source.text, html = source.html,
    headers = source.headers or {}, id = source.id, raw = request.body, at = self.place:time() }
  if #self.mails >= SENT_MAX then table.remove(self.mails, 1) end
  self.mails[#self.mails + 1] = row
  local answer, message, code = self.mail_answer, nil, nil
  if type(answer) == "function" then answer, message, code = answer(row) end
  if not answer then return nil, message or "no answer", code or "ECONNECT" end
  local response, problem = replies(type(answer) == "table" and answer or {}, row.to)
  return response, problem, problem and "EUPSTREAM"
end

-- ---- HTTP ----------------------------------------------------------------------------------

local function serve(self, request)
  if request.mail then return take(self, request) end
  local body, headers = request.body, {} -- a copy: the next attempt may have others
  for name, value in pairs(request.headers or {}) do headers[name] = value end
  local row = { method = request.method or "GET", url = request.url, headers = headers, body = body,
    json = body and json.decode(body) or nil, at = self.place:time() }
  if #self.sent >= SENT_MAX then table.remove(self.sent, 1) end
  self.sent[#self.sent + 1] = row
  local answer = self.answers[request.url]
  if answer == nil then
    self.problem = ("the app asked for %s %s, and the test has no answer for it: t:http(%q, …)")
      :format(row.method, row.url, row.url)
    return nil, self.problem, "ECLOSED"
  end
  local message, code
  if type(answer) == "function" then answer, message, code = answer(row) end
  if not answer then return nil, message or "no answer", code or "ECLOSED" end
  return complete(answer, row)
end

function outgoing.new(place)
  local self = setmetatable({ place = place, answers = {}, sent = arrays.mark({}),
    mails = arrays.mark({}), mail_answer = {}, problem = nil }, Outgoing)
  place.world:answer_with(function(request) return serve(self, request) end)
  return self
end

--- Answer for a URL from here on.
-- @tparam string url
-- @tparam table|function response
function Outgoing:answer(url, response)
  if type(response) ~= "table" and type(response) ~= "function" then
    caller.raise("t:http(url, answer): { status, headers, json | body | events } or a function")
  end
  self.answers[url] = response
end

--- Answer for the mail server from here on.
-- @tparam table|function response
function Outgoing:answer_mail(response)
  if type(response) ~= "table" and type(response) ~= "function" then
    caller.raise("t:mail(answer): { status, message, refused = { [address] = \"550 why\" } } or a "
      .. "function")
  end
  self.mail_answer = response
end

--- Raise when an app sent a request that the test has no answer for.
function Outgoing:check()
  if not self.problem then return end
  local problem = self.problem
  self.problem = nil
  error(problem, 0)
end

-- ---- For a test ------------------------------------------------------------------------------

-- Give a test its methods.
-- @tparam table Test the class
-- @tparam function need_inside raises where the app is in another process
function outgoing.extend(Test, need_inside)
  --- Answer for another server, from here on: { status =, headers =, json = | body = | events = },
  -- or fn(request) that returns such a table or nil, message, code. `events` is a list of
  -- { event =, data = } that the test may add to.
  function Test:http(url, response)
    need_inside(self, "http")
    arguments.check("t:http(url, answer)", url, "text")
    self.outgoing:answer(url, response)
  end

  --- The requests that the app sent to other servers: { method, url, headers, body, json, at }.
  function Test:requests()
    need_inside(self, "requests")
    return self.outgoing.sent
  end

  --- Answer for the mail server, from here on; without it every mail is taken: { status =,
  -- message }, { refused = { [address] = "550 why" } }, or fn(mail): one of these, or nil, message,
  -- code.
  function Test:mail(response)
    need_inside(self, "mail")
    self.outgoing:answer_mail(response)
  end

  --- The mails that the app sent, each attempt: { from, to, subject, text, html, headers, id, url,
  -- user, raw, at }.
  function Test:mails()
    need_inside(self, "mails")
    return self.outgoing.mails
  end
end

return outgoing
