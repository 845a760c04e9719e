--- What the client of a stream asked for, kept for another run of its plan, and made a request
-- again. Keeps nothing in memory.
local request = require("sluice.requests.request")

local asked = {}

local KEPT = { "method", "path", "headers", "header_text", "body", "ip", "host", "secure", "params",
  "user" }

--- What another run of the plan of a stream by POST needs; nil of others.
-- @tparam table session
function asked.keep(session)
  if session.req.method ~= "POST" or session.route.checked then return nil end
  local kept = { query_text = rawget(session.req, "query_text") }
  for _, name in ipairs(KEPT) do kept[name] = rawget(session.req, name) end
  return kept
end

--- The request of a stream for another run of its plan, without fields that the old code added.
-- Of a stream by GET whose plan has returned only the path is known.
function asked.again(req, info, params)
  local raw = { method = "GET", path = info.path, ip = info.ip, body = "" }
  for _, name in ipairs(KEPT) do raw[name] = req and rawget(req, name) or raw[name] end
  raw.query_text, raw.params = req and rawget(req, "query_text") or nil, raw.params or params
  return request.new(raw)
end

return asked
