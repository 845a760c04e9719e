--- What the scripts of a cluster do inside a real redis-server: numbers, histories and newest values, refusals
--- that change nothing, epochs after each way to lose data.
local deadline = require("spec.support.deadline")
local redis = require("spec.support.redis")
local resp = require("spec.support.resp")
local scripts = require("sluice.core.testing_scripts")

if not redis.installed() then
  describe("scripts of a cluster", function() pending(redis.NAME) end)
  return
end

local KEYS = "sluice:{test}:"

local server, shared, shas -- shared: by all that need nothing special, and emptied before each

local function load_scripts()
  shas = {}
  for name, text in pairs(scripts.texts()) do
    shas[name] = server:call("SCRIPT", "LOAD", text)
    assert.equal("string", type(shas[name]), type(shas[name]) == "table" and shas[name].err)
  end
end

local function start(config)
  if config then
    server = redis.start { config = config }
  else
    shared = shared or redis.start()
    server = shared
    server:call("FLUSHALL")
    server:call("CONFIG", "RESETSTAT")
  end
  load_scripts()
end

local function leave()
  if server and server ~= shared then server:stop() end
  server = nil
end

local function leave_all()
  if shared then shared:stop() end
  shared = nil
end

local function ask(what, args, proof)
  local bytes = scripts.command("test", shas, what, args, proof)
  return scripts.answer(what, resp.reply(server:send(bytes)), #args)
end

local joins = 0

-- Join, and return the proof for what follows.
local function join(slot, from)
  joins = joins + 1
  local j = ask("join", { slot = slot, new_epoch = "E" .. joins, label = "here", epoch = from and from.epoch,
    known = from and from.known, safe = from and from.safe })
  if j.answer ~= "OK" then return j end
  return { epoch = j.epoch, fence = j.fence, replid = j.replid, slot = slot, known = j.seq, joined = j }
end

local function event(channel, data, more)
  local e = { kind = "l", channel = channel, event = "said", data = data, history = 3, ttl = 600, keys_max = 100,
    token = "1" }
  for name, value in pairs(more or {}) do e[name] = value end
  return e
end

local function load_one(proof, kind, channel, more)
  local row = { kind = kind, channel = channel, ttl = 600 }
  for name, value in pairs(more or {}) do row[name] = value end
  local a = ask("load", { row }, proof)
  assert.equal("OK", a.answer)
  return a[1], a
end

local function feed(after)
  return ask("follow", { after = after or 0, count = 100, block = 1 })
end

-- A field of each item.
local function column(list, name)
  local out = {}
  for i, item in ipairs(list) do out[i] = item[name] end
  return out
end

-- All that is stored, as text.
local function everything()
  local keys = server:call("KEYS", "*")
  table.sort(keys)
  local out = {}
  for _, key in ipairs(keys) do out[#out + 1] = key .. " " .. tostring(server:call("DUMP", key)) end
  return table.concat(out, "\n")
end

describe("scripts of a cluster", function()
  after_each(leave)
  teardown(leave_all)

  it("write a feed whose lines are read as a whole or not at all", function()
    local good = { "7 ~3 1700000000000 5 i slot.12 chat\0m\0k\0da\0ta", "log" }
    local function read(line, name, id)
      local function text(s) return ("$%d\r\n%s\r\n"):format(#s, s) end
      local function list(...) return ("*%d\r\n"):format(select("#", ...)) .. table.concat { ... } end
      local entry = list(text(id or "0-7"), list(text(name or "log"), text(line), text("later"), text("x")))
      return scripts.answer("follow", list(list(text("f"), list(entry))))[1]
    end
    local e = read(table.unpack(good))
    assert.same({ "l", 7, 3, true, "slot", "12", "chat", "m", "k", "da\0ta", 5, 1700000000000, false },
      { e.kind, e.seq, e.prior, e.is_bound, e.slot, e.token, e.channel, e.event, e.key, e.data, e.expires, e.time,
        e.remove })
    assert.same({ "k", "s", true }, { read(good[1], "keyed").kind, read(good[1], "state").kind,
      read((good[1]:gsub(" i ", " r ")), "keyed").remove })
    for at = 1, #good[1] - #"da\0ta" do -- cut off before its data
      assert.equal("EINVAL", read(good[1]:sub(1, at - 1)).wrong, "cut at " .. at)
    end
    for _, line in ipairs { "8" .. good[1]:sub(2), "x" .. good[1], (good[1]:gsub("~3", "~")),
      (good[1]:gsub("slot", "")), (good[1]:gsub("chat", "")),
      (good[1]:gsub("chat", ("c"):rep(300))), (good[1]:gsub(" 5 ", " -5 ")) } do
      assert.equal("EINVAL", read(line).wrong, line)
    end
    assert.equal("x", read(good[1], "new").kind)
  end)

  it("number all events in one order, with the one before them in their channel", function()
    start()
    local p = join("a")
    assert.is_true(p.joined.took)
    assert.same({ 1, 2, 3, 4 }, column(ask("pub", { event("x", "1"), event("y", "1"),
      event("s", "1", { kind = "s" }), event("x", "2") }, p), "seq"))
    assert.same({ 5 }, column(ask("pub", { event("x", "3") }, p), "seq"))
    local f = feed()
    assert.same({ 1, 2, 3, 4, 5 }, column(f, "seq"))
    assert.same({ "x", "y", "s", "x", "x" }, column(f, "channel"))
    assert.same({ 0, 0, 0, 1, 4 }, column(f, "prior"))
    assert.same({ true, true, false, false, false }, column(f, "is_bound"))
    assert.same({ "a", "1" }, { f[5].slot, f[5].token })
    assert.same({ 4, 5 }, column(feed(3), "seq"))
    assert.same({ "5" }, { server:call("HGET", KEYS .. "m", "seq") })
  end)

  it("keep a history and say from where on nothing is missing", function()
    start()
    local p = join("a")
    for i = 1, 5 do ask("pub", { event("x", "d" .. i), event("y", "other") }, p) end
    local x, all = load_one(p, "l", "x")
    assert.same({ "d3", "d4", "d5" }, column(x.history, "data"))
    assert.same({ 5, 7, 9 }, column(x.history, "seq"))
    assert.same({ 3, 9, 0, 10 }, { x.floor, x.last, x.before, all.seq })
  end)

  it("give bytes back as they came", function()
    start()
    local p = join("a")
    local data, key = "a b\0c\r\nd ~1 \255", "k k"
    ask("pub", { event("x", data, { kind = "k", key = key, event = "e-1", expires = 1234567890123 }) }, p)
    local x = load_one(p, "k", "x")
    for _, e in ipairs { x.history[1], x.values[1], feed()[1] } do
      assert.same({ data, key, "e-1", 1234567890123 }, { e.data, e.key, e.event, e.expires })
    end
  end)

  it("keep the newest values of a keyed log for longer than its ttl, and nothing of one that is empty", function()
    start()
    local p = join("a")
    for _, kind in ipairs { "k", "s" } do
      ask("pub", { event(kind, "1", { kind = kind, key = "a", ttl = 600 }) }, p)
      ask("pub", { event(kind, "2", { kind = kind, key = "b", ttl = 600 }) }, p)
    end
    local function left(key) return server:call("TTL", KEYS .. key) end
    assert.same({ true, true, true }, { left("s:k") > 1e6, left("l:k") <= 660, left("s:s") <= 660 })
    for _, key in ipairs { "a", "b" } do
      ask("pub", { event("k", "", { kind = "k", key = key, ttl = 600, remove = true }) }, p)
    end
    assert.same({ -2, -2 }, { left("s:k"), left("e:k") })
  end)

  it("keep the newest value of each key, and none of one that was removed", function()
    start()
    local p = join("a")
    ask("pub", { event("r", "1", { kind = "k", key = "a" }), event("r", "2", { kind = "k", key = "b" }),
      event("r", "3", { kind = "k", key = "a" }), event("r", "", { kind = "k", key = "b", remove = true }) }, p)
    local r = load_one(p, "k", "r")
    assert.same({ "3" }, column(r.values, "data"))
    assert.same({ 3 }, column(r.values, "seq"))
    assert.same({ false, false, true }, column(r.history, "remove"))
  end)

  it("drop the oldest key above the limit, and say which", function()
    start()
    local p = join("a")
    for i = 1, 5 do ask("pub", { event("s", "v", { kind = "s", key = "k" .. i, keys_max = 3 }) }, p) end
    local kept = column(load_one(p, "s", "s").values, "key")
    table.sort(kept)
    assert.same({ "k3", "k4", "k5" }, kept)
    assert.same({ "", "", "", "said\0k1", "said\0k2" }, column(feed(), "evicted"))
    ask("pub", { event("s", "v", { kind = "s", key = "k4", keys_max = 3 }) }, p) -- one that is there needs no room
    assert.equal("", feed(5)[1].evicted)
  end)

  it("answer an idempotency key with its event, also within a batch, and what was asked then", function()
    start()
    local p = join("a")
    local once = { idempotency = "k9", crc = 77 }
    local first = ask("pub", { event("pay", "x", once), event("pay", "x", once) }, p)
    assert.same({ { seq = 1 }, { seq = 1, epoch = p.epoch, crc = 77 }, answer = "OK" }, first)
    assert.same({ { seq = 1, epoch = p.epoch, crc = 77 }, answer = "OK" },
      ask("pub", { event("pay", "other", { idempotency = "k9", crc = 5 }) }, p))
    assert.equal(1, #feed())
    -- a channel's name and a key do not run into each other
    ask("pub", { event("a:b", "x", { idempotency = "c" }) }, p)
    assert.same({ 3 }, column(ask("pub", { event("a", "x", { idempotency = "b:c" }) }, p), "seq"))
  end)

  it("keep no data where the history is 0, but the number", function()
    start()
    local p = join("a")
    ask("pub", { event("x", "1", { history = 0 }), event("x", "2", { history = 0 }) }, p)
    local x = load_one(p, "l", "x")
    assert.same({ {}, 2, 2 }, { x.history, x.floor, x.last })
    assert.equal(1, feed()[2].prior)
    ask("pub", { event("x", "3") }, p) -- it keeps some from here on
    x = load_one(p, "l", "x")
    assert.same({ { "3" }, 2, 3 }, { column(x.history, "data"), x.floor, x.last })
  end)

  it("say of a channel without a history only what its ttl allows", function()
    start()
    local p = join("a")
    local now = tonumber(server:call("TIME")[1])
    for _ = 1, 8 do ask("pub", { event("z", "x") }, p) end
    server:call("DEL", KEYS .. "t")
    assert.equal(8, load_one(p, "l", "x").floor) -- nothing is known of the time: nothing is promised
    server:call("ZADD", KEYS .. "t", now - 5000, 3)
    server:call("ZADD", KEYS .. "t", now - 400, 5)
    server:call("ZADD", KEYS .. "t", now - 10, 7)
    assert.equal(5, load_one(p, "l", "x", { ttl = 600 }).floor) -- 3 is older than its ttl: it may have gone since
    assert.equal(7, load_one(p, "l", "x", { ttl = 60 }).floor)
    assert.equal(3, load_one(p, "l", "x", { ttl = 86400 }).floor)
    ask("pub", { event("x", "1") }, p)
    assert.same({ 5, true }, { feed(8)[1].prior, feed(8)[1].is_bound })
  end)

  it("are not sure of what came before the rules were others: a ttl may have been shorter", function()
    start()
    local p = join("a")
    assert.equal("OK", ask("beat", { label = "here", rules = "one" }, p).answer)
    local now = tonumber(server:call("TIME")[1])
    for _ = 1, 8 do ask("pub", { event("x", "x", { ttl = 60 }) }, p) end
    server:call("ZADD", KEYS .. "t", now - 650, 4)
    server:call("DEL", KEYS .. "l:x") -- as if its ttl had passed
    server:call("ZADD", KEYS .. "t", now - 10, 7)
    assert.equal(4, load_one(p, "l", "x", { ttl = 600 }).floor)
    assert.equal("OK", ask("beat", { label = "here", rules = "one" }, p).answer)
    assert.equal(4, load_one(p, "l", "x", { ttl = 600 }).floor)
    assert.equal("OK", ask("beat", { label = "here", rules = "other" }, p).answer)
    assert.equal(8, load_one(p, "l", "x", { ttl = 600 }).floor)
    for _ = 1, 2 do ask("pub", { event("y", "y") }, p) end
    assert.equal(8, load_one(p, "l", "x", { ttl = 600 }).floor) -- that is long enough ago
    ask("join", { slot = "b", new_epoch = "En", label = "here", rules = "third" })
    assert.equal(10, load_one(p, "l", "x", { ttl = 600 }).floor)
  end)

  it("load what is large in pages that meet", function()
    start()
    local p = join("a")
    local data = ("x"):rep(60000)
    for _ = 1, 4 do
      local batch = {}
      for i = 1, 25 do batch[i] = event("big", data, { history = 90, kind = "k", key = "k" .. #feed() .. i }) end
      ask("pub", batch, p)
    end
    local seqs, before, pages = {}, 0, 0
    local page
    repeat
      page = load_one(p, "l", "big", { before = before })
      for i = #page.history, 1, -1 do table.insert(seqs, 1, page.history[i].seq) end
      before, pages = page.before, pages + 1
    until before == 0
    assert.is_true(pages > 1)
    local expected = {}
    for i = 1, 90 do expected[i] = i + 10 end
    assert.same(expected, seqs)
    assert.equal(10, page.floor)
    -- channels behind a large one are left for the next load
    local a = ask("load", { { kind = "l", channel = "big", ttl = 600 }, { kind = "l", channel = "x", ttl = 600 } }, p)
    assert.same({ "OK", 1 }, { a.answer, #a })
    local cursor, values = "0", {}
    repeat
      page = load_one(p, "k", "big", { before = 1, cursor = cursor })
      assert.same({}, page.history)
      for _, value in ipairs(page.values) do values[value.key] = true end
      cursor = page.cursor
    until cursor == "0"
    local n = 0
    for _ in pairs(values) do n = n + 1 end
    assert.equal(server:call("HLEN", KEYS .. "s:big"), n)
  end)

  it("give a part of a history, and say from the same moment what is gone", function()
    start()
    local p = join("A")
    for n = 1, 20 do
      ask("pub", { event("long", "d" .. n, { history = 12 }), event("other", "x", { history = 12 }) }, p)
    end
    local function page(more)
      local args = { channel = "long", above = 0, upto = 39, joined = 40, newest = 0, events = 5, bytes = 100000 }
      for name, value in pairs(more or {}) do args[name] = value end
      local a = ask("page", args, p)
      assert.equal("OK", a.answer)
      return { a.floor, a.above, a.given, table.concat(column(a.history, "seq"), " ") }
    end
    assert.same({ 15, 0, 25, "17 19 21 23 25" }, page())
    assert.same({ 15, 25, 35, "27 29 31 33 35" }, page { above = 25 })
    assert.same({ 15, 30, 33, "31 33" }, page { above = 30, upto = 33 })
    assert.same({ 15, 31, 34, "33" }, page { above = 31, upto = 34 })
    assert.same({ 15, 0, 17, "17" }, page { bytes = 1 })
    assert.same({ 15, 15, 25, "17 19 21 23 25" }, page { newest = 0xffffffff })
    assert.same({ 15, 15, 25, "17 19 21 23 25" }, page { newest = 12 })
    assert.same({ 15, 33, 39, "35 37 39" }, page { newest = 3 })
    assert.same({ 15, 31, 39, "33 35 37 39" }, page { newest = 2, joined = 36 })
    assert.same({ 39, 0, 39, "" }, page { channel = "none" })
    assert.same({ 39, 40, 39, "" }, page { channel = "none", newest = 3 })
    p.epoch = "other"
    assert.equal("EPOCH", ask("page", { channel = "long" }, p).answer)
  end)

  it("mark a log once, and all of them", function()
    start()
    local p = join("a")
    ask("pub", { event("x", "1"), event("x", "2") }, p)
    local row = { channel = "x", history = 3, ttl = 600, since = 60000 }
    assert.equal(3, ask("mark", { row }, p).seq)
    assert.equal(3, ask("mark", { row }, p).seq) -- it is marked
    local x = load_one(p, "l", "x")
    assert.same({ "l", "l", "v" }, column(x.history, "kind"))
    assert.same({ "v", "x", 2 }, { feed(2)[1].kind, feed(2)[1].channel, feed(2)[1].prior })
    ask("pub", { event("x", "3") }, p)
    assert.equal(5, ask("mark", { row }, p).seq)
    assert.equal(6, ask("mark", { { channel = "none", history = 0, ttl = 600 } }, p).seq)
    assert.same({ {}, 6 }, { load_one(p, "l", "none").history, load_one(p, "l", "none").floor })
    assert.same({ "OK", 7 }, { ask("mark", {}, p).answer, ask("head", {}, p).mark })
    assert.same({ "v", "" }, { feed(6)[1].kind, feed(6)[1].channel })
  end)

  it("mark a log again for a loss that is younger than its mark", function()
    start()
    local p = join("a")
    local row = { channel = "x", history = 3, ttl = 600, since = 0 }
    ask("mark", { row }, p)
    local marked = tonumber(feed(0)[1].time)
    require("spec.support.deadline").eventually(function()
      local now = server:call("TIME")
      return now[1] * 1000 + now[2] // 1000 > marked
    end, 5, "a millisecond has passed")
    assert.equal(2, ask("mark", { row }, p).seq)
    row.since = 60000
    assert.equal(2, ask("mark", { row }, p).seq)
  end)

  it("beat: the nodes, the feed's length, whether a restart is safe", function()
    start()
    local p = join("a")
    join("b")
    local b = ask("beat", { label = "here", safe = "yes", feed_events = 5 }, p)
    assert.same({ "OK", 2 }, { b.answer, b.nodes })
    assert.same({ "1000", "1" }, server:call("HMGET", KEYS .. "m", "feedmax", "safe"))
    assert.equal("OK", ask("beat", { label = "here", safe = "no", feed_events = 10000000 }, p).answer)
    assert.same({ "100000", "0" }, server:call("HMGET", KEYS .. "m", "feedmax", "safe"))
    assert.equal("OK", ask("beat", { label = "here" }, p).answer)
    assert.same({ "100000", "0" }, server:call("HMGET", KEYS .. "m", "feedmax", "safe"))
  end)

  it("beat: what a dead node has is removed to its last, however much it was", function()
    start()
    local p = join("a")
    local own, values = KEYS .. "own:dead", 20000
    for from = 1, values, 1000 do
      local words = { "HSET", own }
      for i = from, from + 999 do
        words[#words + 1], words[#words + 2] = ("who\0joined\0m%d"):format(i), ("%d s 0 600"):format(i)
      end
      server:call(table.unpack(words))
    end
    server:call("HSET", KEYS .. "n", "dead", "1 here")
    local beats, left = 0, values
    local before
    repeat
      local beat = ask("beat", { label = "here", reaps = true }, p)
      assert.same({ "OK", beats == 0 and 1 or 0 }, { beat.answer, beat.reaped })
      beats, before, left = beats + 1, left, server:call("HLEN", own)
    until left == 0 or left == before
    assert.equal(0, left)
    assert.is_true(beats >= values / 1200, "a beat does a bounded part of it")
  end)

  -- A dead node has "joined" of a key, and two that live have other names under it; and 'more' of its channel.
  local function reap_beside(more)
    start()
    local dead, p, b = join("dead"), join("a"), join("b")
    local function put(proof, name, key, other)
      local e = event("x", name .. " of " .. proof.slot, { kind = more.kind, history = more.history, event = name,
        key = key, owned = true })
      for field, value in pairs(other or {}) do e[field] = value end
      local answer = ask("pub", { e }, proof)
      assert.equal("OK", answer.answer)
      return answer
    end
    put(dead, "joined", "k")
    put(dead, "left", "k")
    put(b, "busy", "k")
    put(b, "said", "k", { owned = false })
    put(b, "joined", "other")
    server:call("HSET", KEYS .. "n", "dead", "1 here")
    assert.equal(1, ask("beat", { label = "here", reaps = true }, p).reaped)
    return b, put
  end

  for _, more in ipairs { { kind = "s", history = 0 }, { kind = "k", history = 100 }, { kind = "k", history = 0 } } do
    it(("beat: what others have under the key of a dead node is there again: %s %d"):format(more.kind, more.history),
      function()
        local b, put = reap_beside(more)
        assert.equal(0, server:call("EXISTS", KEYS .. "own:dead"))
        local values = {}
        for _, v in ipairs(load_one(b, more.kind, "x").values) do
          values[v.event .. " " .. v.key] = v.data
        end
        assert.same({ ["busy k"] = "busy of b", ["said k"] = "said of b", ["joined other"] = "joined of b" }, values)
        assert.is_true(server:call("TTL", KEYS .. "s:x") > 0)
        local told = feed(5)
        assert.equal("removed", told[1].event)
        local names = { told[2].event, told[3].event }
        table.sort(names)
        assert.same({ "busy", "said" }, names)
        assert.equal(3, #told)
        local before = told[3].seq
        put(b, "busy", "k") -- it is b's: b may remove it, and the order goes on
        if more.kind == "k" then assert.equal(before, feed(before)[1].prior) end
        assert.equal(before + 2, put(b, "removed", "k", { remove = true })[1].seq)
      end)
  end

  it("beat: who has a value under the key of a dead node may remove it, as nobody else", function()
    local b, put = reap_beside { kind = "s", history = 0 }
    local function removed(proof) return put(proof, "removed", "k", { remove = true })[1] end
    assert.equal(0, removed(join("c")).seq)
    assert.equal(9, removed(b).seq)
  end)

  it("forget nodes that nobody has heard of for a day", function()
    start()
    join("old")
    server:call("HSET", KEYS .. "n", "old", "1 here")
    join("a")
    assert.same({ "a" }, server:call("HKEYS", KEYS .. "n"))
    assert.equal(0, server:call("HEXISTS", KEYS .. "m", "fence:old"))
  end)

  describe("refuse, and nothing has changed:", function()
    local p

    before_each(function()
      start()
      p = join("a")
      ask("pub", { event("x", "1"), event("r", "1", { kind = "k", key = "a" }) }, p)
    end)

    after_each(function()
      for name, value in pairs { maxmemory = 0, ["maxmemory-policy"] = "noeviction", ["min-replicas-to-write"] = 0 } do
        assert.equal("OK", server:call("CONFIG", "SET", name, value))
      end
    end)

    local function refused(why, change, calls)
      local proof = {}
      for name, value in pairs(p) do proof[name] = value end
      for name, value in pairs(change or {}) do proof[name] = value end
      local before = everything()
      for what, args in pairs(calls or { pub = { event("x", "2") }, load = { { kind = "l", channel = "x", ttl = 600 } },
        mark = { { channel = "x", history = 3, ttl = 600 } }, head = {}, beat = { label = "here" } }) do
        assert.equal(why, ask(what, args, proof).answer, what)
      end
      assert.equal(before, everything())
    end

    it("another epoch", function() refused("EPOCH", { epoch = "E0" }) end)
    it("an earlier connection's fence", function() refused("FENCE", { fence = "0" }) end)
    it("a node without a fence", function() refused("FENCE", { slot = "b" }) end)
    it("a server that knows less than this node", function() refused("BACK", { known = 99 }) end)
    it("another history", function() refused("REPLID", { replid = ("0"):rep(40) }) end)

    it("a key of another type, anywhere in a batch", function()
      server:call("SET", KEYS .. "l:bad", "text")
      server:call("SET", KEYS .. "s:bad2", "text")
      server:call("LPUSH", KEYS .. "i:pay\0k", "text")
      local good = event("x", "2")
      refused("WRONGTYPE", nil, { pub = { good, event("bad", "1") } })
      refused("WRONGTYPE", nil, { pub = { good, event("bad2", "1", { kind = "s" }) } })
      refused("WRONGTYPE", nil, { pub = { good, event("pay", "1", { idempotency = "k" }) } })
      refused("WRONGTYPE", nil, { mark = { { channel = "x", history = 3, ttl = 600 },
        { channel = "bad", history = 3, ttl = 600 } } })
    end)

    it("a feed that is further than its head", function()
      server:call("XADD", KEYS .. "f", "0-50", "k", "l")
      refused("FAILED", nil, { pub = { event("x", "2") } })
      assert.equal(50 + 2 ^ 20, join("a", p).joined.seq) -- which a join finds and mends
    end)

    it("no memory; what must go on goes on", function()
      server:call("CONFIG", "SET", "maxmemory", "1")
      refused("OOM", nil, { pub = { event("x", "2") } })
      for what, args in pairs { load = { { kind = "l", channel = "x", ttl = 600 } }, head = {},
        mark = { { channel = "x", history = 3, ttl = 600 } }, beat = { label = "here" } } do
        assert.equal("OK", ask(what, args, p).answer, what)
      end
      assert.equal("2", join("a", p).fence)
    end)

    it("too few replicas", function()
      server:call("CONFIG", "SET", "min-replicas-to-write", "1")
      refused("NOREPLICAS", nil, { pub = { event("x", "2") }, beat = { label = "here" } })
      assert.equal("NOREPLICAS", join("a", p).answer)
      assert.equal("OK", ask("head", {}, p).answer)
    end)

    it("a script that was forgotten", function()
      server:call("SCRIPT", "FLUSH")
      refused("NOSCRIPT")
    end)

    it("keys of a newer version, and of an older one", function()
      local form = math.tointeger(server:call("HGET", KEYS .. "m", "fmt"))
      for answer, other in pairs { NEWER = form + 1, OLDER = form - 1 } do
        server:call("HSET", KEYS .. "m", "fmt", other)
        local before = server:call("HGETALL", KEYS .. "m")
        assert.equal(answer, join("a", p).answer)
        assert.same(before, server:call("HGETALL", KEYS .. "m"))
      end
      server:call("HSET", KEYS .. "m", "fmt", form)
      assert.equal(p.epoch, join("a", p).epoch)
    end)

    it("a server that has deleted keys", function()
      server:call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
      server:call("SET", "victim", ("x"):rep(1000))
      server:call("HSET", KEYS .. "m", "evicted", "-1") -- as if one had gone since
      refused("EVICTED", nil, { beat = { label = "here" } })
      assert.is_true(join("a", p).joined.took)
    end)
  end)
end)

describe("an epoch", function()
  after_each(leave)
  teardown(leave_all)

  local function publish(p, n)
    for i = 1, n do
      local a = ask("pub", { event("x", "d" .. i) }, p)
      assert.equal("OK", a.answer)
      p.known = a[1].seq
    end
  end

  -- While it writes to the disk each second, and the disk is slow, what comes waits in its memory for up to two more.
  local function restart()
    deadline.eventually(function()
      local waits = server:call("INFO", "persistence"):match("aof_buffer_length:(%d+)")
      return not waits or waits == "0"
    end, 20, "all is in its file")
    server:kill()
    server:again()
    load_scripts()
  end

  it("goes on while the process does, for each node, with a fence of its own for each connection", function()
    start()
    local a, b = join("a"), join("b")
    assert.same({ a.epoch, false, "1" }, { b.epoch, b.joined.took, b.fence })
    local again = join("a", a)
    assert.same({ a.epoch, false, "2" }, { again.epoch, again.joined.took, again.fence })
    assert.equal("FENCE", ask("pub", { event("x", "late") }, a).answer)
    assert.equal("OK", ask("pub", { event("x", "1") }, again).answer)
    assert.equal("OK", ask("pub", { event("x", "2") }, b).answer)
  end)

  it("ends with a restart that may have lost something; the next begins far above", function()
    start { appendonly = "yes", appendfsync = "everysec" }
    local a = join("a")
    publish(a, 9)
    restart()
    local b = join("b", a)
    assert.is_true(b.joined.took)
    assert.equal(a.epoch .. ":9", b.joined.lineage)
    assert.equal(9 + 2 ^ 20, b.joined.seq)
    local entry = feed(9)[1]
    assert.same({ "E", 9 + 2 ^ 20, 9, b.epoch, a.epoch },
      { entry.kind, entry.seq, entry.prior, entry.event, entry.key })
    assert.equal("EPOCH", ask("pub", { event("x", "late") }, { epoch = a.epoch, slot = "a", fence = "1", known = 0,
      replid = b.replid }).answer)
    publish(b, 1)
    assert.same({ "d8", "d9", "d1" }, column(load_one(b, "l", "x").history, "data"))
    assert.is_false(join("a", a).joined.took) -- the second to come finds it
  end)

  it("ends with a power cut: numbers that were lost are not given again", function()
    start { appendonly = "yes", appendfsync = "everysec" }
    local a = join("a")
    publish(a, 20)
    server:kill()
    server:lose(1500)
    server:again()
    load_scripts()
    local left = tonumber(server:call("HGET", KEYS .. "m", "seq"))
    assert.is_true(left < 20, left)
    local b = join("a", a)
    assert.same({ true, a.epoch .. ":" .. left, 20 + 2 ^ 20 }, { b.joined.took, b.joined.lineage, b.joined.seq })
  end)

  it("goes on over a restart when every write was on the disk", function()
    start { appendonly = "yes", appendfsync = "always" }
    local a = join("a", { safe = "yes" })
    publish(a, 5)
    restart()
    a.safe = "yes"
    local b = join("a", a)
    assert.same({ a.epoch, false, 5 }, { b.epoch, b.joined.took, b.joined.seq })
    assert.not_equal(a.replid, b.replid)
    assert.equal("REPLID", ask("pub", { event("x", "1") }, a).answer)
    publish(b, 1)
    -- but not when this node knows more than there is
    restart()
    assert.is_true(join("a", { epoch = b.epoch, known = 99, safe = "yes" }).joined.took)
  end)

  it("has an age", function()
    start()
    local a = join("a")
    assert.equal(0, a.joined.age)
    server:call("HSET", KEYS .. "m", "began", "1")
    local at = join("b").joined
    assert.equal(at.now - 1, at.age)
    server:call("HDEL", KEYS .. "m", "began")
    at = join("b").joined
    assert.equal(at.now, at.age)
  end)

  it("ends with FLUSHALL, and numbers begin anew", function()
    start()
    local a = join("a")
    publish(a, 5)
    server:call("FLUSHALL")
    assert.equal("EPOCH", ask("pub", { event("x", "1") }, a).answer)
    local b = join("a", a)
    assert.same({ true, a.epoch .. ":0", 0 }, { b.joined.took, b.joined.lineage, b.joined.seq })
    publish(b, 1)
    server:call("FLUSHALL")
    local newcomer = join("c")
    assert.same({ true, "" }, { newcomer.joined.took, newcomer.joined.lineage })
  end)

  it("ends when the head was deleted and the feed was not", function()
    start()
    local a = join("a")
    publish(a, 5)
    server:call("DEL", KEYS .. "m")
    local b = join("b")
    assert.same({ true, "", 5 + 2 ^ 20 }, { b.joined.took, b.joined.lineage, b.joined.seq })
    assert.same({ "E", 5 }, { feed(5)[1].kind, feed(5)[1].prior })
  end)

  it("goes on densely when the feed was deleted and the head was not", function()
    start()
    local a = join("a")
    publish(a, 5)
    server:call("DEL", KEYS .. "f")
    publish(a, 1)
    assert.same({ 6 }, column(feed(), "seq"))
  end)

  it("keeps sixteen ancestors", function()
    start()
    local p = join("a")
    for _ = 1, 20 do
      server:call("HSET", KEYS .. "m", "run", "x")
      p = join("a", p)
    end
    local _, commas = p.joined.lineage:gsub(",", "")
    assert.equal(15, commas)
    assert.truthy(p.joined.lineage:find("^E" .. joins - 1 .. ":"))
  end)

  describe("on two servers", function()
    local master, replica

    before_each(function()
      master = redis.start { tcp = true, config = { ["repl-diskless-sync-delay"] = "0" } }
      replica = redis.start { tcp = true, config = { replicaof = "127.0.0.1 " .. master.port,
        ["repl-diskless-sync-delay"] = "0" } }
      server = master
      load_scripts()
    end)

    after_each(function()
      master:stop()
      replica:stop()
      server = nil
    end)

    local function replicated()
      assert.equal(1, master:call("WAIT", 1, 10000))
    end

    local function offset(s)
      return tonumber(s:call("INFO", "replication"):match("master_repl_offset:(%d+)"))
    end

    -- A process that is ready to be asked, as a master.
    local function turn_to(s)
      server = s
      load_scripts()
    end

    local function synced()
      require("spec.support.deadline").eventually(function()
        return replica:call("INFO", "replication"):find("master_link_status:up", 1, true)
          and offset(replica) == offset(master)
      end, 20, "the replica has caught up")
    end

    it("ends with a promotion, also of one that writes at once; a replica is no server for us", function()
      synced()
      local a = join("a", { safe = "yes" })
      a.safe = "yes"
      publish(a, 3)
      replicated()
      turn_to(replica)
      assert.equal("REPLICA", join("a", a).answer)
      replica:call("REPLICAOF", "NO", "ONE")
      turn_to(replica)
      local b = join("a", a)
      assert.same({ true, a.epoch .. ":3", 3 + 2 ^ 20 }, { b.joined.took, b.joined.lineage, b.joined.seq })
      publish(b, 1)
    end)

    it("is not fooled by a master that is demoted and promoted again under open connections", function()
      synced()
      local a = join("a", { safe = "yes" })
      a.safe = "yes"
      publish(a, 3)
      replicated()
      replica:call("REPLICAOF", "NO", "ONE")
      master:call("REPLICAOF", "127.0.0.1", replica.port)
      assert.equal("REPLICA", ask("pub", { event("x", "late") }, a).answer)
      require("spec.support.deadline").eventually(function()
        return master:call("INFO", "replication"):find("master_link_status:up", 1, true)
      end, 20, "the old master follows the new one")
      assert.equal("REPLICA", ask("load", { { kind = "l", channel = "x", ttl = 600 } }, a).answer)
      master:call("REPLICAOF", "NO", "ONE")
      assert.equal("REPLID", ask("pub", { event("x", "late") }, a).answer)
      assert.equal(3, #feed())
      assert.is_true(join("a", a).joined.took)
    end)
  end)
end)
