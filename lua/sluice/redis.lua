--- Sources in Redis: what other programs add to a stream becomes events, each once.
---
---   local redis = require("sluice.redis")
---   redis.stream(app, "redis://127.0.0.1", "orders", { map = function(entry)
---     return "orders", entry.fields.event, entry.fields
---   end })
---
--- One connection for all who watch. In memory: one batch of entries.
local connection = require("sluice.sources.connection")
local feed = require("sluice.sources.feed")
local names = require("sluice.base.names")
local options = require("sluice.base.options")
local stream = require("sluice.sources.stream")

---@class sluice.Redis
local redis = {}

---@class sluice.RedisStream
local RedisStream = {}
RedisStream.__index = RedisStream
RedisStream.__name = "sluice.RedisStream"

local WHAT = "redis.stream()"
local KNOWN = { password = options.STRING, tls = options.TABLE }
local TLS = { ca = options.STRING, cert = options.STRING, key = options.STRING,
  sni = options.STRING }
for name, default in pairs(feed.KNOWN) do KNOWN[name] = default end

--- How it goes: { connected, read, published, left_out, gaps, cursor }, since this version of the
-- app was loaded.
-- @treturn table
function RedisStream:stats()
  local out = {}
  for name, value in pairs(self.feed.figures) do out[name] = value end
  out.cursor = out.cursor and out.cursor.id
  return out
end

local function check(url, key, given)
  if type(url) ~= "string" then options.raise("%s: url is a string, not a %s", WHAT, type(url)) end
  local to, why = connection.read(url)
  if not to then options.raise("%s: %s", WHAT, why) end
  if type(key) ~= "string" or key == "" then
    options.raise("%s: key is the name of a stream in Redis, not %s", WHAT,
      key == "" and "an empty text" or "a " .. type(key))
  end
  local o = options(WHAT, given, KNOWN)
  o.name = o.name or key:gsub("[^%w_./-]", "_")
  if o.password and to.password and not to.sentinels then
    options.raise("%s: password: the url has one already; leave one of them out", WHAT)
  end
  to.password = o.password or to.password
  if o.tls and not to.tls then
    options.raise("%s: tls: the url begins with rediss:// then", WHAT)
  end
  if to.tls then to.tls = options(WHAT .. ": tls", o.tls, TLS) end
  if o.start ~= "end" and o.start ~= "begin" and not o.start:find("^%d+%-%d+$") then
    options.raise('%s: start is "end", "begin" or the id of an entry, like "1700000000000-0"', WHAT)
  end
  return to, o
end

--- Publish what is added to a stream of Redis. At the top level of an app, which it gives a service
-- and a store; in tests t:source(name) is what it reads.
-- @tparam sluice.App app
-- @tparam string url redis://user:password@host:port/database, rediss://…, unix:///path, or
--   redis+sentinel://host,host/NAME
-- @tparam string key of the stream
-- @tparam table given `map` (fn(entry): returns channel, event, data, key; nothing: no event. entry
--   is { id, fields, list }), `name` (the key: of its store and in the log), `start` ("end",
--   "begin" or an id: where it begins the first time), `batch` (128), `errors` ("stop" or "skip" at
--   an entry that cannot become an event), `durable` (true: the cursor outlives the process),
--   `password` (in place of the url's), `tls` ({ ca, cert, key, sni } of rediss://: files), `gap`
--   (fn({ reason, lost }): entries were lost)
-- @treturn sluice.RedisStream
function redis.stream(app, url, key, given)
  local to, o = check(url, key, given)
  local self = setmetatable({ feed = feed.new(WHAT, app, o) }, RedisStream)
  local source = stream.new(self.feed, to, key, o)
  app:service(self.feed.what, function() source:run() end)
  return self
end

names.strict(RedisStream, "stream", ":", { "feed" })
return names.strict(redis, "sluice.redis", ".")
