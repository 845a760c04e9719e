--- The simulated Redis is the real one, as far as the scripts of a cluster can tell: the same random commands,
--- the same answers, the same keys at the end.
local redis = require("spec.support.redis")
local resp = require("spec.support.resp")
local scripts = require("sluice.core.testing_scripts")
local served = require("sluice.testing.resp")
local sim_redis = require("sluice.testing.redis")

local KEYS = "sluice:{test}:"
local FULL = os.getenv("SLUICE_SPEC_FULL")
local SEEDS, STEPS = FULL and 300 or 12, 120

if not redis.installed() then
  describe("a simulated Redis", function() pending(redis.NAME) end)
  return
end

-- ---- Both servers --------------------------------------------------------------------------

local Side = {}
Side.__index = Side

-- A command as its bytes, to the one in this process, too.
function sim_redis.Sim:send(bytes) return self:call(table.unpack((served.words(bytes)))) end

local function side(server, now)
  return setmetatable({ server = server, proofs = {}, now = now }, Side)
end

function Side:load_scripts()
  self.shas = {}
  for name, text in pairs(scripts.texts()) do self.shas[name] = self.server:call("SCRIPT", "LOAD", text) end
end

function Side:ask(what, args, proof)
  local reply = self.server:send(scripts.command("test", self.shas, what, args, proof))
  return scripts.answer(what, resp.reply(reply), #args)
end

local SECRET = { run = true, replid = true, now = true, time = true, left = true, age = true, began = true } -- differ

-- Without times and names of processes, values in one order.
local function same_form(answer)
  if type(answer) ~= "table" then return answer end
  local out = {}
  for name, value in pairs(answer) do
    if not SECRET[name] then out[name] = same_form(value) end
  end
  if out.values then
    table.sort(out.values, function(a, b) return a.event .. "\0" .. a.key < b.event .. "\0" .. b.key end)
  end
  return out
end

local READ = {
  string = function(s, key) return { s:call("GET", key) } end,
  list = function(s, key) return s:call("LRANGE", key, 0, -1) end,
  stream = function(s, key)
    local r = s:call("XREAD", "COUNT", 1000000, "STREAMS", key, "0-0")
    local lines = {}
    for i, entry in ipairs(r and r[1][2] or {}) do lines[i] = entry[1] .. " " .. table.concat(entry[2], " ") end
    return lines
  end,
  zset = function(s, key) return s:call("ZRANGEBYSCORE", key, "-inf", "+inf") end,
  hash = function(s, key)
    local all, rows = s:call("HGETALL", key), {}
    for i = 1, #all, 2 do
      if not SECRET[all[i]] then rows[#rows + 1] = all[i] .. "=" .. all[i + 1] end
    end
    table.sort(rows)
    return rows
  end,
}

-- All keys as one text, without times.
local function contents(server)
  local names, out = server:call("KEYS", "*"), {}
  table.sort(names)
  for _, name in ipairs(names) do
    local kind = server:call("TYPE", name)
    out[#out + 1] = name .. " " .. kind .. " " .. table.concat(READ[kind](server, name), "\n  ")
  end
  return (table.concat(out, "\n"):gsub("%f[%d]1[6-9]%d%d%d%d%d%d%d%d%d%d%d%f[%D]", "TIME"))
end

-- ---- What is done --------------------------------------------------------------------------

local CHANNELS, KINDS = { "a", "b", "c:d" }, { a = "l", b = "k", ["c:d"] = "s" }

local function pick(list) return list[math.random(#list)] end

local function some_events()
  local events = {}
  for i = 1, math.random(4) do
    local channel = pick(CHANNELS)
    local kind = math.random(12) == 1 and pick { "l", "k", "s" } or KINDS[channel]
    local is_keyed, is_once = kind ~= "l", math.random(5) == 1
    events[i] = { kind = kind, channel = channel, event = pick { "e", "f" },
      key = is_keyed and "k" .. math.random(6) or "", remove = is_keyed and math.random(6) == 1,
      data = ("d"):rep(math.random(0, 5)) .. pick { "", "\0", " ~", "\n" }, token = tostring(i),
      history = pick { 0, 1, 3, 5 }, ttl = pick { 60, 600 }, keys_max = math.random(2, 5), expires = pick { 0, 0, 99 },
      crc = math.random(99), idempotency = is_once and "i" .. math.random(4) or "" }
  end
  return events
end

local function some_channels()
  local rows = {}
  for i = 1, math.random(3) do
    local channel = pick(CHANNELS)
    rows[i] = { kind = KINDS[channel], channel = channel, ttl = pick { 60, 600 }, history = pick { 0, 3 },
      before = pick { 0, 0, 0, 1, 5, 20 }, cursor = pick { "0", "0", "none" }, since = 1000000 }
  end
  return rows
end

-- A change from outside, as words.
local function some_words(now_s)
  local channel = pick(CHANNELS)
  return pick {
    { "DEL", KEYS .. "l:" .. channel }, { "DEL", KEYS .. "s:" .. channel }, { "DEL", KEYS .. "t" },
    { "DEL", KEYS .. "f" }, { "DEL", KEYS .. "m" }, { "FLUSHALL" }, { "SCRIPT", "FLUSH" },
    { "SET", KEYS .. "l:" .. channel, "text" }, { "SET", KEYS .. "s:" .. channel, "text" },
    { "RPUSH", KEYS .. "l:" .. channel, "nothing of ours" }, { "HSET", KEYS .. "m", "run", "f00" },
    { "HSET", KEYS .. "m", "feedmax", math.random(3, 30) }, { "HSET", KEYS .. "m", "safe", "1" },
    { "ZADD", KEYS .. "t", now_s - math.random(20, 2000), math.random(1, 40) },
    { "EXPIRE", KEYS .. "s:" .. channel, -1 }, { "XADD", KEYS .. "f", "0-5000000", "k", "later" },
    { "HSET", KEYS .. "m", "fmt", pick { 2, 2, 1, 3 } }, { "HSET", KEYS .. "n", "old", "5 gone" },
  }
end

local function proof_of(own, step)
  local p = own.proofs[step.node] or { epoch = "", fence = "", replid = "", known = 0 }
  return { epoch = p.epoch,
    fence = step.stale and "0" or p.fence, replid = p.replid, slot = step.node, known = p.known + step.ahead }
end

local ARGS = {
  pub = some_events,
  load = some_channels,
  mark = function() return math.random(5) == 1 and {} or some_channels() end,
  beat = function()
    return { label = "here", safe = pick { "yes", "no", "" }, feed_events = pick { 0, 7 },
      rules = pick { "", "1", "2" } }
  end,
  follow = function() return { after = math.random(0, 60), count = math.random(20), block = 1 } end,
  head = function() return {} end,
  probe = function() return {} end,
}

-- What is done, and up to which of a hundred numbers.
local DICE = { { "pub", 45 }, { "load", 60 }, { "mark", 66 }, { "beat", 70 }, { "head", 74 }, { "follow", 80 },
  { "probe", 82 }, { "join", 91 }, { "words", 97 }, { "memory", 100 } }

local function draw(n, now_s)
  local step, number = { n = n, node = pick { "n1", "n2" }, safe = pick { "yes", "no", "" },
    rules = pick { "", "1", "2" } }, math.random(100)
  step.ahead, step.stale = math.random(30) == 1 and 5 or 0, math.random(20) == 1
  for i = #DICE, 1, -1 do
    if number <= DICE[i][2] then step.what = DICE[i][1] end
  end
  if step.what == "words" then step.words = some_words(now_s) end
  if step.what == "memory" then step.full = math.random(3) == 1 end
  step.args = ARGS[step.what] and ARGS[step.what]()
  return step
end

local function join(own, step)
  local p = own.proofs[step.node]
  local j = own:ask("join", { slot = step.node, epoch = p and p.epoch, known = p and p.known + step.ahead,
    new_epoch = "E" .. step.n, safe = step.safe, label = "here", rules = step.rules })
  if j.answer == "OK" then
    own.proofs[step.node] = { epoch = j.epoch, fence = j.fence, replid = j.replid, known = j.seq }
  end
  return j
end

local function carry_out(own, step)
  if step.what == "join" then return join(own, step) end
  if step.what == "memory" then return own.fill_memory(step.full) end
  if step.words then
    local reply = own.server:call(table.unpack(step.words))
    if step.words[1] == "SCRIPT" then own:load_scripts() end
    return reply
  end
  return own:ask(step.what, step.args, proof_of(own, step))
end

-- ---- One seed ------------------------------------------------------------------------------

local real, ours

local function clock()
  local t = real.server:call("TIME")
  return tonumber(t[1]), tonumber(t[1]) * 1000 + tonumber(t[2]) // 1000
end

local function begin(seed)
  real.server:call("FLUSHALL")
  real.server:call("CONFIG", "SET", "maxmemory", 0)
  local sim = sim_redis.new { seed = seed }
  real.fill_memory = function(full) return real.server:call("CONFIG", "SET", "maxmemory", full and 1 or 0) end
  ours = side(sim)
  ours.fill_memory = function(full)
    sim.out_of_memory = full
    return "OK"
  end
  for _, own in ipairs { real, ours } do
    own.proofs = {}
    own:load_scripts()
  end
end

--- A step, and whether both saw the same second.
local function both(step)
  local before, ms = clock()
  ours.server.now_ms = ms
  local theirs, mine = carry_out(real, step), carry_out(ours, step)
  return clock() == before, same_form(theirs), same_form(mine)
end

local function describe_step(seed, step)
  return ("seed %d, step %d: %s"):format(seed, step.n, step.words and table.concat(step.words, " ") or step.what)
end

local answers = {} -- how often which came

-- Of an error, the word that tells what it is.
local function first_word(reply)
  return type(reply) == "table" and reply.err and reply.err:match("^%u+") or reply
end

-- True: all was the same; nil: a second passed at a bad moment.
local function play(seed)
  begin(seed)
  math.randomseed(seed)
  for n = 1, STEPS do
    local step = n == 1 and { what = "join", node = "n1", ahead = 0, n = 1 } or draw(n, (clock()))
    local is_sure, theirs, mine = both(step)
    if not is_sure then return nil end
    assert.same(first_word(theirs), first_word(mine), describe_step(seed, step))
    local answer = type(theirs) == "table" and theirs.answer
    if answer then answers[answer] = (answers[answer] or 0) + 1 end
  end
  assert.equal(contents(real.server), contents(ours.server), "seed " .. seed)
  return true
end

describe("a simulated Redis", function()
  setup(function()
    real = side(redis.start { config = { ["stream-node-max-entries"] = "1", ["proto-max-bulk-len"] = "1mb" } })
  end)

  teardown(function() real.server:stop() end)

  it("answers as the real one, and holds the same", function()
    local first = tonumber(os.getenv("SEED")) or FULL and os.time() or 1
    local last = os.getenv("SEED") and first or first + SEEDS - 1
    local sure = 0
    for seed = first, last do
      if play(seed) or play(seed) then sure = sure + 1 end
    end
    assert.is_true(sure * 2 > last - first, "seconds pass too quickly here")
    if os.getenv("SEED") then return end
    for _, answer in ipairs { "OK", "EPOCH", "FENCE", "BACK", "OOM", "WRONGTYPE", "FAILED", "NEWER", "OLDER" } do
      assert.is_true((answers[answer] or 0) > 0, "never seen: " .. answer)
    end
  end)

  it("is another one when it differs: a comparison that finds nothing is none", function()
    local commands = require("sluice.testing.redis_lists").commands
    local ltrim = commands.LTRIM
    finally(function() commands.LTRIM = ltrim end)
    commands.LTRIM = function() return { ok = "OK" } end
    assert.is_false(pcall(function()
      for seed = 1, 5 do play(seed) end
    end))
  end)

  it("loses the last writes, each whole, and is another process then", function()
    local sim = sim_redis.new { seed = 7 }
    local own = side(sim)
    own:load_scripts()
    local states = { [0] = contents(sim) }
    for n = 1, 30 do
      math.randomseed(n)
      if n % 10 == 1 then join(own, { node = "n1", ahead = 0, n = n }) end
      own:ask("pub", some_events(), proof_of(own, { node = "n1", ahead = 0 }))
      states[#sim.done] = contents(sim)
    end
    local run, n = sim.run, #sim.done
    assert.is_true(n > 20)
    for left = n - 1, n - 15, -1 do
      sim:lose(1)
      if states[left] then assert.equal(states[left], contents(sim)) end
    end
    sim:restart { lose = 3 }
    assert.equal(states[n - 18], contents(sim))
    assert.not_equal(run, sim.run)
    assert.equal("NOSCRIPT", own:ask("head", {}, proof_of(own, { node = "n1", ahead = 0 })).answer)
    own:load_scripts()
    assert.is_true(join(own, { node = "n1", ahead = 0, n = 99 }).took)
  end)

  it("holds a reader until there is something, or its time is over; and all while it is paused", function()
    local sim = sim_redis.new()
    local c, other = sim:connect(), sim:connect()
    c:send({ "XREAD", "COUNT", "5", "BLOCK", "1000", "STREAMS", "f", "0-0" }, "read")
    c:send({ "PING" }, "behind")
    assert.same({}, c:step())
    sim.paused = true
    other:send({ "XADD", "f", "0-1", "k", "v" }, "write")
    assert.same({}, other:step())
    assert.same({}, c:step())
    sim.paused = false
    assert.same({ { "write", "0-1" } }, other:step())
    assert.same({ { "read", { { "f", { { "0-1", { "k", "v" } } } } } }, { "behind", "PONG" } }, c:step())
    c:send({ "XREAD", "BLOCK", "1000", "STREAMS", "f", "0-1" }, "late")
    assert.same({}, c:step())
    sim.now_ms = sim.now_ms + 1000
    assert.same({ { "late", false } }, c:step())
    sim:restart()
    assert.is_true(c.broken)
  end)

  it("refuses as a replica, while it loads, without memory and with too few replicas", function()
    local sim = sim_redis.new()
    local own = side(sim)
    own:load_scripts()
    join(own, { node = "n1", ahead = 0, n = 1 })
    local proof = proof_of(own, { node = "n1", ahead = 0 })
    for name, why in pairs { is_replica = "REPLICA", out_of_memory = "OOM", few_replicas = "NOREPLICAS",
      is_loading = "REPLICA" } do
      local before = contents(sim)
      sim[name] = true
      assert.equal(why, own:ask("pub", some_events(), proof).answer, name)
      sim[name] = false
      assert.equal(before, contents(sim))
    end
  end)
end)
