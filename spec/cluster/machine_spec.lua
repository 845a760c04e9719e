--- A node of a cluster (csrc/cluster/machine.h): drawn worlds with every fault of networks and servers (world.lua),
--- with streams as small as can be and with those of csrc/fan, judged by what clients read and publishers were told
--- (judge.lua); and by hand what these worlds have no room for. SEEDS=10000 runs more of them, SEED=n repeats one.
local fans = require("spec.cluster.fans")
local run = require("spec.cluster.run")
local testing = require("sluice.core.testing_cluster")

local FULL = os.getenv("SLUICE_SPEC_FULL")

-- The same ones in `make test`; whoever asks for more hunts where nobody was.
local function hold(few, many, kind)
  local seed, wanted = tonumber(os.getenv("SEED")), tonumber(os.getenv("SEEDS"))
  local n = seed and 1 or wanted or FULL and many or few
  local first = seed or (n > few) and os.time() % 1000000 * 1000 or 1
  local problems, totals = run.seeds(testing, first, first + n - 1, 1, kind)
  assert.is_nil(problems[1] and problems[1] .. "\nrepeat it with SEED=" .. problems[1]:match("seed (%d+)"))
  return totals
end

describe("a node in drawn worlds", function()
  it("loses nothing without a word, repeats nothing, stores nothing twice", function()
    local before = testing.alive()
    local totals = hold(100, 10000)
    for _, name in ipairs { "holes", "epochs", "marks", "resent", "unknown", "cold" } do
      if not os.getenv("SEED") then assert.is_true(totals[name] > 0, name) end
    end
    assert.equal(before, testing.alive())
  end)

  it("tells of no loss while the server never fails", function()
    local totals = hold(50, 1000, { calm = true })
    assert.equal(0, totals.epochs)
  end)
end)

describe("a node and its streams in drawn worlds", function()
  it("lose nothing without a word, repeat nothing", function() hold(60, 5000, { streams = fans }) end)

  it("tell of no loss while the server never fails", function() hold(40, 1000, { streams = fans, calm = true }) end)

  it("lose nothing of histories that come in pages, and repeat nothing", function()
    local totals = hold(60, 5000, { streams = fans, long = true })
    assert.is_true(totals.pages > 0)
  end)

  it("tell of no loss of those while the server never fails", function()
    hold(30, 1000, { streams = fans, long = true, calm = true })
  end)

  it("keep what is of one node apart from it", function()
    local totals = hold(60, 5000, { streams = fans, owns = true })
    assert.is_true(totals.own > 0)
  end)
end)

-- ---- By hand ----------------------------------------------------------------------------------

local EPOCH = ("a"):rep(13)

--- A node that has joined at number `head`, and what it did since.
local function joined(head)
  local node = testing.machine("slot", 1)
  local one = { node = node, now = 1000 }
  function one.acts(what)
    local found = {}
    for _, action in ipairs(node:take() or {}) do
      if not what or action.what == what then found[#found + 1] = action end
    end
    return found
  end
  function one.wait(ms)
    one.now = one.now + ms
    node:clock(one.now)
  end
  --- The answer to the only call since.
  function one.reply(reply)
    local calls = one.acts("call")
    assert.equal(1, #calls)
    node:reply(calls[1].tag, reply)
    return calls[1]
  end
  function one.join()
    node:dialled()
    one.reply { epoch = EPOCH, seq = head, fence = "1", replid = "replid" }
  end
  one.wait(0)
  one.join()
  one.acts()
  return one
end

local function event(seq, channel, before)
  return { kind = "event", seq = seq, channel = channel, before = before, id = seq }
end

describe("a node", function()
  it("shows what was loaded when it has read so far", function()
    local one = joined(10)
    assert.is_false(one.node:warm("a"))
    one.reply { results = { { upto = 12, last = 9, fill = 7 } } }
    assert.same({}, one.acts("fill"))
    assert.equal("taken", one.node:entry(event(11, "b", 0)))
    assert.equal("taken", one.node:entry(event(12, "c", 0)))
    local fill = one.acts("fill")[1]
    assert.same({ "a", 7, false, false }, { fill.channel, fill.fill, fill.lost, fill.more })
    assert.equal("taken", one.node:entry(event(13, "a", 9)))
    assert.equal(13, one.acts("release")[1].seq)
  end)

  it("loads a channel again, and says so, when an event of it is not the one that was there before", function()
    local one = joined(10)
    one.node:warm("a")
    one.reply { results = { { upto = 10, last = 9, fill = 7 } } }
    one.acts()
    assert.equal("later", one.node:entry(event(11, "a", 8)))
    assert.equal("a", one.reply({ results = { { upto = 11, last = 11, fill = 8 } } }).channels[1])
    assert.equal("taken", one.node:entry(event(11, "a", 8)))
    local fill = one.acts("fill")[1]
    assert.same({ 8, true }, { fill.fill, fill.lost })
  end)

  it("asks for what it had asked for before a hole once more", function()
    local one = joined(10)
    one.node:warm("a")
    local load = one.acts("call")[1]
    assert.equal("stop", one.node:entry(event(20, "b", 0)))
    one.reply { seq = 25 }
    assert.equal(25, (select(3, one.node:look())))
    one.node:reply(load.tag, { results = { { upto = 20, last = 9, fill = 7 } } })
    assert.equal(7, one.acts("drop")[1].fill)
  end)

  it("says which number it knows of", function()
    local one = joined(10)
    one.node:entry(event(11, "a", 0))
    one.node:publish("a", 1)
    local call = one.acts("call")[1]
    assert.same({ "publish", EPOCH, "1", "replid", 11 }, { call.kind, call.epoch, call.fence, call.replid, call.known })
  end)

  it("answers a publish when it has read it, or a second after its number", function()
    local one = joined(10)
    one.node:publish("a", 1)
    one.node:publish("a", 2)
    for _, call in ipairs(one.acts("call")) do
      one.node:reply(call.tag, { results = { { seq = call.publishes[1].id + 10 } } })
    end
    assert.same({}, one.acts("answer"))
    one.node:entry { kind = "event", seq = 11, channel = "a", slot = "slot", token = 1, id = 1 }
    assert.equal(1, one.acts("answer")[1].id)
    one.wait(1000)
    local answer = one.acts("answer")[1]
    assert.same({ 2, 12 }, { answer.id, answer.seq })
  end)

  for refused, code in pairs { full = "EFULL", replicas = "EBUSY", other = "ESTORE" } do
    it("tells a publisher that nothing is stored: " .. refused, function()
      local one = joined(10)
      one.node:publish("a", 1)
      one.reply { refused = refused }
      assert.equal(code, one.node:take()[1].code)
      assert.equal("live", one.node:look())
    end)
  end

  -- What it has called for until now, of all but publishes, and the publishes of each call.
  local function said(one)
    local others, publishes = {}, {}
    for _, call in ipairs(one.acts("call")) do
      local ids = {}
      for i, publish in ipairs(call.publishes or {}) do ids[i] = publish.id end
      if call.kind == "publish" then publishes[#publishes + 1] = ids else others[#others + 1] = call.kind end
    end
    return others, publishes
  end

  it("asks whether there is memory again, and lets nothing pass what is in doubt meanwhile", function()
    local one = joined(10)
    one.node:publish("a", 1)
    one.reply { refused = "full" }
    one.node:publish("a", 2)
    one.node:broken()
    one.node:publish("a", 3)
    one.wait(75)
    one.acts()
    one.node:dialled()
    one.reply { epoch = EPOCH, seq = 12, fence = "2", replid = "replid" }
    one.wait(1000)
    assert.same({ { "beat" }, {} }, { said(one) })
    one.node:entry(event(11, "b", 0))
    one.node:entry(event(12, "b", 11))
    assert.same({ {}, { { 2, 3 } } }, { said(one) })
  end)

  it("asks for memory by a batch without an event when nothing waits", function()
    local one = joined(10)
    one.node:publish("a", 1)
    one.reply { refused = "full" }
    one.wait(1000)
    assert.same({ { "beat" }, { {} } }, { said(one) })
  end)

  it("lets publishers wait for five seconds while the server is away", function()
    local one = joined(10)
    one.node:publish("a", 1)
    one.node:broken()
    one.node:publish("a", 2)
    one.acts()
    one.wait(2500)
    one.node:broken()
    assert.same({}, one.acts("answer"))
    one.wait(2500)
    local codes = {}
    for _, answer in ipairs(one.acts("answer")) do codes[answer.id] = answer.code end
    assert.same({ "ETIMEOUT", "EBUSY" }, codes)
    one.node:publish("a", 3)
    assert.equal("EBUSY", one.acts("answer")[1].code)
  end)

  it("refuses more publishes than may wait", function()
    local one = joined(10)
    for id = 1, 4097 do one.node:publish("a", id) end
    local answers = one.acts("answer")
    assert.equal(1, #answers)
    assert.same({ 4097, "EBUSY" }, { answers[1].id, answers[1].code })
  end)

  it("dials anew when the feed, or an answer, is silent for three seconds", function()
    local one = joined(10)
    for _ = 1, 3 do
      one.wait(900)
      for _, call in ipairs(one.acts("call")) do one.node:reply(call.tag, { seq = 10 }) end
    end
    assert.equal("live", one.node:look())
    one.wait(900)
    assert.equal("away", one.node:look())
    assert.equal(1, #one.acts("hang_up"))
    one.wait(75)
    assert.equal(1, #one.acts("dial"))
    one.join()
    one.wait(1000)
    for _ = 1, 3 do
      one.node:idle()
      one.wait(1000)
    end
    assert.equal("away", one.node:look())
  end)

  it("joins again when it has slept, before it gives out what it reads", function()
    local one = joined(10)
    one.node:warm("a")
    one.reply { results = { { upto = 10, last = 0, fill = 1 } } }
    one.acts()
    one.wait(30000)
    assert.equal("stop", one.node:entry(event(11, "a", 0)))
    assert.same({}, one.acts("release"))
  end)

  -- The marks that a node makes which has read so many channels, and joins an epoch of that age 75 ms after it left.
  local function marks_of(n, age)
    local one = joined(10)
    for i = 1, n do one.node:entry(event(10 + i, "c" .. i, 0)) end
    one.node:broken()
    one.wait(75)
    one.acts()
    one.node:dialled()
    one.reply { epoch = ("b"):rep(13), seq = 5000, fence = "2", lineage = EPOCH .. ":10", age = age }
    for _, call in ipairs(one.acts("call")) do if call.kind == "mark" then return #call.channels end end
  end

  it("marks a loss in each channel that it has read, and one for all when these are too many", function()
    assert.equal(3, marks_of(3, 75))
    assert.equal(0, marks_of(1001, 75))
  end)

  it("marks nothing when it had left the server before the epoch began, of which all are told", function()
    assert.is_nil(marks_of(3, 74))
  end)
end)
