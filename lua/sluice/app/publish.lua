--- app:publish: from an event to the sequencer.
-- The usual case is one table look-up, one call of the core, and a JSON text where the data is no
-- string; what a channel needs (key, transforms, hooks) is found once per channel and generation.
-- In memory: what was found, for at most 10,000 channels per generation.
local core = require("sluice.core")
local caller = require("sluice.base.caller")
local channels = require("sluice.app.channels")
local event_types = require("sluice.app.event_types")
local failure = require("sluice.base.failure")
local hooks = require("sluice.app.hooks")
local json = require("sluice.json")
local options = require("sluice.base.options")
local per = require("sluice.app.per")
local phase = require("sluice.app.phase")

local publish = {}

local KNOWN_MAX, IDEMPOTENCY_MAX = 10000, 1024 -- bytes of a key, of which 100,000 may be known
local WAITS = "app:publish() on a durable channel"
local NO_IDEMPOTENCY = "idempotency needs a shared channel, and '%s' is of this node alone"
local NO_KEY = "channel '%s' has no value of key '%s'"
local OPTIONS = { key = options.NONE, ttl = options.NUMBER, idempotency = options.STRING,
  remove = options.BOOLEAN, update = options.BOOLEAN, lease = options.BOOLEAN, wait = true }
local NO_OPTIONS = {}
local REMOVE_OPTIONS = { update = options.BOOLEAN, idempotency = options.STRING, wait = true }
local encode, type, text_of = json.encode, type, core.text_of

-- What a publish to this channel needs; nil, message, code for a bad name.
local function resolve(generation, channel)
  local good, message, code = channels.check(channel)
  if not good then return nil, message, code end
  local policy = generation.runtime.server:policy(channel)
  if not policy.shared then per.note_publish(generation.runtime, channel) end
  local transforms = hooks.matching(generation.transforms, channel)
  local published = hooks.of_published(generation, channel)
  local how = { key = policy.key, kind = policy.kind, shared = policy.shared,
    durable = policy.durable or generation.runtime.is_shared and policy.shared,
    transforms = transforms, published = published }
  how.simple = not (transforms or published or generation.runtime.pause)
  how.plain = how.simple and not how.key
  if generation.how_count >= KNOWN_MAX then generation.how, generation.how_count = {}, 0 end
  generation.how[channel], generation.how_count = how, generation.how_count + 1
  return how
end

-- The key as text; nil, message, code when the data has none.
local function read_key(channel, field, data)
  local key = type(data) == "table" and data[field]
  if type(key) == "string" then return key end
  if type(key) == "number" then return text_of(key) end
  if key == true then return "true" end
  local text = "the data has no field '%s', which is the key of channel '%s'"
  return nil, text:format(field, channel), "EKEY"
end

local function transform(runtime, list, event)
  local fiber = runtime.scheduler.current
  local before = fiber and fiber.no_wait
  for _, entry in ipairs(list) do
    if fiber then fiber.no_wait = "app:transform" end
    local ok, data, message, code = failure.part(entry.fn, event, entry.params)
    if fiber then fiber.no_wait = before end
    if not ok then
      runtime:report(fiber, data, "transform (" .. entry.where .. ")")
      return nil, ("the transform of channel '%s' failed: %s"):format(event.channel, data.message),
        "EINTERNAL"
    end
    if data == nil then return nil, message or "refused", code or "EDENIED" end
    event.data = data
  end
  return event.data
end

local function read_options(opts)
  local o = options("app:publish()", opts, OPTIONS)
  if o.key ~= nil and type(o.key) ~= "string" then
    if type(o.key) ~= "number" then
      caller.raise("app:publish(): key is a string, not a %s", type(o.key))
    end
    o.key = text_of(o.key)
  end
  if o.idempotency == "" then caller.raise("app:publish(): idempotency is empty") end
  if o.ttl ~= nil and not (o.ttl > 0 and o.ttl < math.huge) then
    caller.raise("app:publish(): ttl is a number of seconds above 0")
  end
  if o.ttl and o.remove then
    caller.raise("app:publish(): a removal has no ttl: give the value that it removes one")
  end
  return o
end

-- Why an update is refused at once, or nil. Of a durable channel the store judges, in the order
-- of commits.
local function update_fault(runtime, how, channel, key)
  if how.kind == "log" then
    return ("channel '%s' is a log: an update needs a channel that keeps the newest of each key")
      :format(channel), "EINVAL"
  end
  if not key then return "an update needs a key", "EKEY" end
  local judged_later = how.durable and not runtime.is_shared
  if not judged_later then
    local here, message, code = runtime.stored:need_here(channel)
    if not here then return message, code end
  end
  if judged_later or runtime.server:latest(channel, key) then return nil end
  return NO_KEY:format(channel, key), "ENOTFOUND"
end

local function pass_on(runtime, published, id, text, fiber)
  if not published then return end
  published.id = id ~= true and id or nil
  hooks.published(runtime, published, text, fiber)
end

-- What was queued for a durable channel, and is published in memory since the channel is that now:
-- the answer when its idempotency key is known, or it updates nothing; else nothing.
local function judge(runtime, channel, key, o)
  local known = o.idempotency and runtime.idempotency:find(channel, o.idempotency)
  if known then return true, known, runtime.server:subscribers(channel), true end
  if o.update and not runtime.server:latest(channel, key) then return false, "", "ENOTFOUND" end
end

-- What becomes of a commit, also long after the caller got ETIMEOUT, is of use to others: hooks, a
-- key, the log.
local function finish(runtime, ticket, published, channel, text, key, o, waits, leased)
  local fiber = runtime.scheduler.current
  local what = ("an event of channel '%s'"):format(channel)
  return runtime.stored:finish(ticket, waits, what, function(good, number, code, is_old)
    if leased then leased(good, number, code, is_old) end
    if not good or is_old then return end
    if o.idempotency then runtime.idempotency:remember(channel, o.idempotency, number) end
    pass_on(runtime, published, number, text, fiber)
  end, function() return judge(runtime, channel, key, o) end)
end

-- Publish on a durable channel: wait until it is on the disk, unless wait = false.
local function commit(runtime, published, channel, event, text, key, o)
  local stored, waits = runtime.stored, o.wait ~= false
  if waits and runtime.is_shared then waits = runtime.scheduler:can_wait()
  elseif waits then stored:need_wait(WAITS) end
  local ticket, message, code = runtime.server:commit_event(channel, event, text, key, o.remove,
    o.ttl, o.update, o.idempotency, runtime.scheduler:token(), false, nil, o.lease)
  if not ticket then return nil, message, code end
  local leased = key and runtime.leases:begin(channel, event, text, key, o)
  local ok, id, subscribers, again
  if waits and not (published or o.idempotency or o.update or leased) then
    ok, id, subscribers, again = stored:await(ticket)
  else
    ok, id, subscribers, again = finish(runtime, ticket, published, channel, text, key, o, waits,
      leased)
  end
  if not waits then return true, runtime.server:subscribers(channel), false end
  if ok then return id, subscribers, again end
  message, code = id, subscribers
  return nil, code == "ENOTFOUND" and NO_KEY:format(channel, key) or message, code
end

-- The usual case of commit; nothing: it is another. The core commits, and waits with its caller.
local function commit_text(generation, channel, event, data)
  local scheduler = generation.runtime.scheduler
  local fiber = scheduler.current
  if not fiber or fiber.no_wait or fiber.lease or scheduler.closing then return end
  return generation.server:commit_text(channel, event, data, fiber)
end

-- In a test with `waits`: let others run, as a durable channel would. Their publish may have had
-- the same idempotency key.
local function pause(runtime, channel, o)
  if o.wait ~= false then runtime.pause() end
  return o.idempotency and runtime.idempotency:find(channel, o.idempotency)
end

-- A publish with options, hooks, transforms or a declared event type.
local function full(generation, how, channel, event, data, o)
  local runtime = generation.runtime
  if o.idempotency then
    if not how.shared then return nil, NO_IDEMPOTENCY:format(channel), "EINVAL" end
    if #o.idempotency > IDEMPOTENCY_MAX then
      return nil, ("an idempotency key of more than %d bytes"):format(IDEMPOTENCY_MAX), "ETOOBIG"
    end
    local id = not runtime.is_shared and runtime.idempotency:find(channel, o.idempotency)
    if id then return id, runtime.server:subscribers(channel), true end
  end
  local message, code, key, wrong
  if how.published then
    message, code = hooks.refusal(runtime, channel)
    if message then return nil, message, code end
  end
  if how.transforms then
    data, message, code = transform(runtime, how.transforms,
      { channel = channel, event = event, data = data, key = o.key, time = core.time() })
    if data == nil then return nil, message, code end
  end
  local fields = generation.typed[event]
  if fields and type(data) == "table" and not o.remove then
    data, message, code, wrong = event_types.check_fields(event, fields, data)
    if not data then return nil, message, code, wrong end
  end
  local text = data
  if type(data) ~= "string" then
    text, message, code = encode(data)
    if not text then return nil, message, code end
  end
  key = o.key
  if how.key and not key then
    key, message, code = read_key(channel, how.key, data)
    if not key then return nil, message, code, how.key end
  end
  local again = runtime.pause and not how.durable and pause(runtime, channel, o)
  if again then return again, runtime.server:subscribers(channel), true end
  if o.lease then
    message, code = runtime.leases:fault(how, channel, key)
    if message then return nil, message, code end
  end
  if o.update then
    message, code = update_fault(runtime, how, channel, key)
    if message then return nil, message, code end
  end
  local published = how.published
    and { channel = channel, event = event, key = key, time = core.time(), own = true,
      removed = o.remove or false }
  if how.durable then return commit(runtime, published, channel, event, text, key, o) end
  local id, subscribers, third = runtime.server:publish(channel, event, text, key, o.remove, o.ttl)
  if not id then return nil, subscribers, third end
  if o.idempotency then runtime.idempotency:remember(channel, o.idempotency, id) end
  pass_on(runtime, published, id, text, runtime.scheduler.current)
  return id, subscribers, false
end

--- Publish an event to all streams that follow a channel. On a durable channel it waits until the
-- event is on the disk.
-- @function App:publish
-- @tparam string channel
-- @tparam[opt="message"] string event
-- @param data a string, or what becomes JSON
-- @tparam[opt] table opts { key, ttl, idempotency, remove, update, lease, wait }; lease: in a
--   cluster this value goes when this node dies; ttl: seconds after which
--   this event is withdrawn, so that no client gets it late; update: only while its key is there,
--   also with remove; wait = false: do not wait on a durable channel (then the id is true)
-- @return id (true for a state channel), number of subscribers, whether it is a duplicate;
--   or nil, message, code, and the field when one of the data is missing or wrong
function publish.publish(self, channel, event, data, opts)
  local generation = self and self._generation -- absent when called as app.publish(…)
  if not generation or generation.phase ~= "live" then
    generation = phase.running(self, "publish")
  end
  local how, message, code = generation.how[channel]
  if not how then
    how, message, code = resolve(generation, channel)
    if not how then return nil, message, code end
  end
  if event == nil then event = "message" end
  if how.plain and not (opts or generation.typed[event]) then -- the usual case
    local id, subscribers, third
    if how.durable then id, subscribers, third = commit_text(generation, channel, event, data)
    else id, subscribers, third = generation.server:publish_text(channel, event, data) end
    if id or subscribers then return id, subscribers, third end
  end
  if type(event) ~= "string" then
    event_types.check_name("app:publish(channel, event, data)", event, data,
      ("app:publish(%q, "):format(channel))
  end
  if data == nil then data = {} end
  if opts or not how.simple or generation.typed[event] then
    return full(generation, how, channel, event, data, opts and read_options(opts) or NO_OPTIONS)
  end
  local text, key = data, nil
  if type(data) ~= "string" then
    text, message, code = encode(data)
    if not text then return nil, message, code end
  end
  if how.key then
    key, message, code = read_key(channel, how.key, data)
    if not key then return nil, message, code, how.key end
  end
  if how.durable then
    return commit(generation.runtime, nil, channel, event, text, key, NO_OPTIONS)
  end
  return generation.server:publish(channel, event, text, key)
end

--- Take a key out of a channel: an event "removed" that also removes.
-- @function App:remove
-- @tparam string channel
-- @tparam string key
-- @tparam[opt] table opts { update, idempotency, wait } as of publish; update: only when the key is
--   there, else nil, message, "ENOTFOUND"
-- @return as publish
function publish.remove(self, channel, key, opts)
  phase.running(self, "remove")
  if type(key) ~= "string" and type(key) ~= "number" then
    caller.raise("app:remove(channel, key): the key is a string, not a %s", type(key))
  end
  local o = options("app:remove()", opts, REMOVE_OPTIONS)
  return publish.publish(self, channel, "removed", { key = key }, { key = key, remove = true,
    update = o.update, idempotency = o.idempotency, wait = o.wait })
end

return publish
