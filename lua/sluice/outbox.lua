--- An outbox: webhooks and mails that are delivered at least once, over failures, reloads and
--- restarts, and the dead letters: those that were given up, to be replayed or dropped.
---
---   local outbox = require("sluice.outbox").new(app, { secret = sluice.env("WEBHOOK_SECRET") })
---   outbox:webhook { url = "https://example.org/hook", json = { order = 7 } }
---   outbox:mail { to = "ann@example.org", subject = "Order 7", text = "It is on its way." }
---
--- Kept in the store when the app has one, else in memory. In memory: a row for each letter.
local book = require("sluice.outbox.book")
local dead = require("sluice.outbox.dead")
local letters = require("sluice.outbox.letters")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local pages = require("sluice.outbox.pages")

---@class sluice.OutboxModule
local outbox = {}

---@class sluice.Outbox
local Outbox = {}
Outbox.__index = Outbox
Outbox.__name = "sluice.Outbox"

local KNOWN = { name = "outbox", durable = options.BOOLEAN, retries = 12, backoff = 5,
  backoff_max = 6 * 3600, concurrency = 8, max = 10000, max_bytes = 16 << 20, max_dead = 1000,
  keep = 30 * 86400, secret = options.NONE, webhook = options.TABLE, mail = options.TABLE,
  on_end = options.FUNCTION, read = options.FUNCTION }
local LIST = { limit = 100 }
local CALLS = { replay = dead.replay, drop = dead.drop,
  add = function(kept, letter) return kept:add(letter) end,
  stats = function(kept) return kept:stats() end }

--- Deliver a webhook. Returns when it is kept: on the disk, when the app has a store.
-- @tparam table o `url`, `json` or `body`, `headers` (a map, kept with it), `method` ("POST"), `id`
--   (default random; a letter that is there already is not added again), `data` (plain data for
--   `on_end`)
-- @treturn string|nil the id, which the receiver gets as webhook-id; or nil, message, code
-- @treturn boolean whether there was one with this id
function Outbox:webhook(o)
  local letter, message, code = letters.webhook("outbox:webhook()", o)
  if not letter then return nil, message, code end
  return self.book.lead:call("add", letter)
end

--- Deliver a mail. Returns when it is kept.
-- @tparam table o as mail.send, without what is about the server and about attempts; `id`, `data`
-- @treturn string|nil the id; or nil, message, code
-- @treturn boolean whether there was one with this id
function Outbox:mail(o)
  local letter, message, code = letters.mail("outbox:mail()", o, self.book.o.mail)
  if not letter then return nil, message, code end
  return self.book.lead:call("add", letter)
end

--- The dead letters, the newest first.
-- @tparam[opt] table given { limit = 100 }
-- @treturn {table,...} { id, via, target, subject, attempts, error, code, created, died, data }
function Outbox:list(given)
  local list = dead.list(self.book, options("outbox:list()", given, LIST).limit)
  return list
end

--- Deliver a dead letter after all, with the same id.
-- @tparam[opt] string id without it: all of them
-- @treturn integer|nil how many; or nil, message, code
function Outbox:replay(id)
  return self.book.lead:call("replay", id)
end

--- Give a letter up, dead or not yet delivered.
-- @tparam string id
-- @treturn boolean|nil true, or nil, message, code
function Outbox:drop(id)
  return self.book.lead:call("drop", id)
end

--- What there is: { pending, dead }, and since the server started { delivered, retried, died,
-- dropped }.
-- @treturn table
function Outbox:stats()
  return self.book.lead:call("stats")
end

local function option_fault(o)
  if not o.name:find("^[%w_][%w_.-]*$") then
    return ("name '%s' may hold letters, digits and _ . - only"):format(o.name)
  end
  local whole = { retries = 0, concurrency = 1, max = 1, max_bytes = 1, max_dead = 1 }
  for name, least in pairs(whole) do
    if not math.tointeger(o[name]) or o[name] < least or o[name] > 1 << 40 then
      return ("%s is an integer from %d"):format(name, least)
    end
  end
  for name, least in pairs({ backoff = 0.1, backoff_max = 0.1, keep = 1 }) do
    if not (o[name] >= least and o[name] <= 1e9) then
      return ("%s is a number of seconds from %s"):format(name, least)
    end
  end
  local kind = type(o.secret)
  if kind ~= "nil" and kind ~= "string" and kind ~= "function" then
    return "secret is a text, or fn(letter) that returns one"
  end
end

-- Where letters are kept is decided when outbox.new runs: the app may say more below.
local function check_order(app)
  app:check(function()
    if not app:has_store() then return true end
    return false, "outbox.new stands above the stores and durable channels of this app: put it "
      .. "below them, or say durable = true or false"
  end)
end

--- Make an outbox. At the top level of an app, once per name.
-- @tparam sluice.App app
-- @tparam[opt] table given `name` ("outbox": of its state, store and channel), `durable` (whether
--   the app has a store), `retries` (12), `backoff` (5 seconds; doubles up to `backoff_max`, 6
--   hours), `concurrency` (8; half of them for one server), `max` (10000 letters), `max_bytes`
--   (16 MiB), `max_dead` (1000), `keep` (30 days: dead letters), `secret` (of signatures: a text,
--   or fn(letter)), `webhook` (headers, timeout, redirects, verify of all), `mail` (options of
--   mail.send for all), `on_end` (fn(letter, ok): it was delivered, or has died), `read` (who may
--   read the channel)
-- @treturn sluice.Outbox
function outbox.new(app, given)
  local o = options("outbox.new", given, KNOWN)
  local fault = option_fault(o)
  if fault then error("outbox.new: " .. fault, 2) end
  letters.check_defaults("outbox.new", o)
  if o.durable == nil then
    o.durable = app:has_store()
    if not o.durable then check_order(app) end
  end
  app:channel(o.name, { history = 200, read = o.read })
  return setmetatable({ app = app, book = book.new(app, o, CALLS), name = o.name }, Outbox)
end

Outbox.routes, Outbox.stream = pages.routes, pages.stream
names.lenient(Outbox, "outbox", Outbox, { "app", "book", "name" })
return names.strict(outbox, "sluice.outbox", ".")
