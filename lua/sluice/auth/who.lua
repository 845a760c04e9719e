--- Who sends a request: what it brings, and what is answered when that is no good. The answer says
-- as little as it can; the log says why. Keeps nothing in memory.
local sluice = require("sluice")
local jwt = require("sluice.auth.jwt")
local limits = require("sluice.auth.limits")

local who = {}

local SIGN_IN = "sign in first"
local SIGN_IN_STREAM = "sign in first: an EventSource cannot send headers, so it needs the cookie "
  .. "of a session, or a ticket"
local REFUSED = "not accepted: it is unknown, over or revoked"

-- What a request brings: how to look it up, and whether the client chose to bring it (a browser
-- sends a cookie by itself, so one that is over is no mistake of anybody's).
local function credential(self, req)
  local bearer = (req.headers.authorization or ""):match("^[Bb][Ee][Aa][Rr][Ee][Rr] +(%S+)%s*$")
  if bearer and self.jwt and jwt.is_one(bearer) then
    return function() return self.jwt:find(bearer) end
  end
  local key = bearer or req.headers[self.header]
  if key and self.keys then return function() return self.keys:find(key) end end
  if bearer then return function() return nil, "there is nothing that it could be" end end
end

-- The user of a cookie, else of the query; nil, why not, whether it was chosen, and whether nobody
-- can say now.
local function by_page(self, req)
  local user, why
  if self.sessions then user, why = self.sessions:find(req) end
  if user then return user end
  if self.tickets and req.query.ticket then
    local busy
    user, why, busy = self.tickets:take(req.query.ticket)
    if user and self.keys then user, why = self.keys:again(user) end
    return user, why, true, busy
  end
  if self.query and self.keys and req.query[self.query] then
    user, why = self.keys:find(req.query[self.query])
    return user, why, true
  end
  return nil, why, false
end

local function look(self, req)
  local find = credential(self, req)
  local user, why, busy, chosen
  if find then
    user, why, busy = find()
    chosen = true
  else
    user, why, chosen, busy = by_page(self, req)
  end
  if user and user.expires and user.expires <= sluice.time() then user, why = nil, "it is over" end
  if user and self.revoked:has(user) then user, why = nil, "it was revoked" end
  return user, why, chosen, busy
end

-- What is answered when what the client brought is no good.
local function refuse(self, req, why, busy, chosen)
  sluice.log.info("not let in: " .. why, { path = req.path, ip = req.ip })
  if busy then return 503, "nobody can say now who this is: try again", { ["Retry-After"] = 5 } end
  if self.failures and chosen then
    local wait = self.limits:hit("failures", self.failures, limits.who(req, "ip"))
    if wait then return 429, "too many failures", { ["Retry-After"] = wait } end
  end
  return 401, REFUSED, { ["WWW-Authenticate"] = 'Bearer error="invalid_token"' }
end

--- Fill req.user.
-- @tparam sluice.Auth self
-- @tparam sluice.Request req
-- @tparam boolean needed whether a stranger is refused
-- @treturn integer|nil nil; or the refusal: status, body, headers
function who.identify(self, req, needed)
  if req.user then return nil end
  local user, why, chosen, busy = look(self, req)
  if user then
    req.user = user
    return nil
  end
  if why and (chosen or needed) then return refuse(self, req, why, busy, chosen) end
  if not needed then return nil end
  local accept = req.headers.accept or ""
  return 401, accept:find("text/event-stream", 1, true) and SIGN_IN_STREAM or SIGN_IN
end

return who
