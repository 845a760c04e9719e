--- Other servers, as an app under test sees them: answers that the test gave, by URL. A URL
-- that it gave none for fails the test at its next step. In memory: the requests.
local json = require("sluice.json")

local outgoing = {}

---@class sluice.testing.Outgoing
local Outgoing = {}
Outgoing.__index = Outgoing

-- An answer as sluice.http hands it to the app.
local function complete(response)
  local headers, body = {}, response.body
  for name, value in pairs(response.headers or {}) do headers[name:lower()] = tostring(value) end
  if response.json ~= nil then
    body = assert(json.encode(response.json))
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  return { status = response.status or 200, headers = headers, body = body or "" }
end

local function serve(self, request)
  local body = request.body
  local row = { method = request.method or "GET", url = request.url,
    headers = request.headers or {}, body = body, json = body and json.decode(body) or nil,
    at = self.place:time() }
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
  return complete(answer)
end

function outgoing.new(place)
  local self = setmetatable({ place = place, answers = {}, sent = {}, problem = nil }, Outgoing)
  place.world:answer_with(function(request) return serve(self, request) end)
  return self
end

--- Answer for a URL from here on.
-- @tparam string url
-- @tparam table|function response
function Outgoing:answer(url, response)
  if type(response) ~= "table" and type(response) ~= "function" then
    error("t:http(url, response): a table { status, json | body, headers } or a function", 3)
  end
  self.answers[url] = response
end

--- Raise when the app asked for what nobody answers.
function Outgoing:check()
  if not self.problem then return end
  local problem = self.problem
  self.problem = nil
  error(problem, 0)
end

return outgoing
