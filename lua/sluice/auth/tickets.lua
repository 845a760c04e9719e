--- Tickets: each opens one connection, within some seconds. For clients that can send neither
-- headers nor cookies. In a cluster they are in a channel that no client can follow, so that each
-- node knows those of all. In memory: those that were not used yet, at most 100,000.
local keeper = require("sluice.base.keeper")
local options = require("sluice.base.options")
local sluice = require("sluice")
local users = require("sluice.auth.users")

local tickets = {}

---@class sluice.auth.Tickets
local Tickets = {}
Tickets.__index = Tickets

local TICKETS_MAX = 100000
local TTL_MAX = 3600
local LENGTH_MAX = 64 -- of what may be one

function tickets.new(app, name, given)
  local o = options("auth.new: tickets", given ~= true and given or nil, { ttl = 30 })
  if not (o.ttl >= 1 and o.ttl <= TTL_MAX) then
    options.raise("auth.new: tickets.ttl is a number of seconds from 1 to %d", TTL_MAX)
  end
  return setmetatable({ ttl = o.ttl, all = keeper.shared(app, name .. ".tickets"),
    state = app:state(name .. ".tickets", { rows = {}, order = {}, first = 1, last = 0 }) },
    Tickets)
end

-- All live equally long, unless a reload has changed that: the oldest end first, or wait for it.
local function forget_old(state, now)
  while state.first <= state.last do
    local entry = state.order[state.first]
    if entry.till > now then return end
    state.order[state.first], state.rows[entry.ticket] = nil, nil
    state.first = state.first + 1
  end
  state.first, state.last = 1, 0
end

local function issue_for_all(self, user)
  local ticket, till = sluice.id(), sluice.time() + self.ttl
  local ok, message, code = self.all:lend(ticket, { user = users.plain(user), till = till },
    self.ttl)
  if not ok then return nil, message, code end
  return ticket
end

--- A ticket for a user. In a cluster it waits until the other nodes can know it.
-- @treturn string|nil or nil, message, code
function Tickets:issue(user)
  if keeper.is_shared() then return issue_for_all(self, user) end
  local state, now = self.state(), sluice.time()
  forget_old(state, now)
  if state.last - state.first + 1 >= TICKETS_MAX then
    return nil, "too many tickets are unused", "EFULL"
  end
  local ticket, till = sluice.id(), now + self.ttl
  state.rows[ticket] = { user = users.plain(user), till = till }
  state.last = state.last + 1
  state.order[state.last] = { ticket = ticket, till = till }
  return ticket
end

--- Whose ticket it is: once.
-- @treturn table|nil the user; or nil and why not, for the log, and whether nobody can say now
function Tickets:take(ticket)
  local row, why, code
  if not keeper.is_shared() then
    row, self.state().rows[ticket] = self.state().rows[ticket], nil
  elseif ticket:find("^[%w_-]+$") and #ticket <= LENGTH_MAX then
    row, why, code = self.all:take(ticket)
  end
  if code then return nil, why, true end
  if not row then return nil, why or "the ticket is unknown, used or over" end
  if row.till <= sluice.time() then return nil, "the ticket is over" end
  return users.new(row.user, "ticket", users.known_by(row.user))
end

return tickets
