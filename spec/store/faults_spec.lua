--- csrc/store: a disk that fails, fills up or hangs. What is acknowledged is stored, what is refused
--- is not, and what is unknown is found out before anything else is said.
local stored = require("spec.support.stored")
local deadline = require("spec.support.deadline")
local testing_disk = require("sluice.core.testing_disk")

local POLICIES = { log = { durable = true, events = 40 } }
local disk, s, release

local function open(options)
  options = options or {}
  options.disk = disk
  return assert(stored.open(options, POLICIES))
end

local function advance(ms)
  stored.at(stored.now_us + ms * 1000)
  s.raw:tick(s.raw:head())
  s:run()
end

--- Answers of n publishes, one by one, by data.
local function publish(n, prefix)
  local answers = {}
  for i = 1, n do
    local id = s:event("log", prefix .. i)
    for _ = 1, 30 do
      s:run()
      if s.answers[id] then break end
      advance(200)
    end
    answers[prefix .. i] = s.answers[id] or "none"
  end
  return answers
end

--- After a power cut the last rows are those that were acknowledged.
local function compare(answers, what)
  s:drop()
  disk:set("cut")
  s = open()
  local there = {}
  for _, data in ipairs((s:history("log"))) do there[data] = true end
  for data, answer in pairs(answers) do
    assert.equal(answer == "stored", there[data] or false, ("%s: %s is answered '%s'"):format(what, data, answer))
  end
end

before_each(function()
  stored.at(1000000)
  disk = stored.disk(4)
  s = open { pages = 20 }
end)

after_each(function()
  disk:set("hang", 0)
  if release then release() end
  release = nil
  s:close()
  disk:close()
end)

describe("an I/O error", function()
  for _, what in ipairs { "write", "sync" } do
    it("at the k-th " .. what .. " loses nothing that was acknowledged", function()
      local stored_n = 0
      for k = 1, 40 do
        disk:set(what, k)
        local answers = publish(10, what .. k .. ".")
        disk:set(what, 0)
        for _, answer in pairs(answers) do stored_n = stored_n + (answer == "stored" and 1 or 0) end
        compare(answers, what .. " " .. k)
      end
      assert.is_true(stored_n >= 360, "only " .. stored_n)
    end)
  end

  it("that stays keeps the group's numbers and answers 'unknown', then what became of it", function()
    publish(1, "before")
    disk:set("sync", 1, true)
    local first = s:event("log", "a")
    s:run()
    local second = s:event("log", "b")
    s:run()
    assert.is_true(s.raw:stats().in_doubt)
    assert.equal("a commit failed", s.raw:stats().trouble)
    assert.is_nil(s.answers[first])
    assert.is_true(select(2, s:page("log")) ~= 0, "it is read while it is in doubt")
    assert.truthy(s.raw:memory())
    advance(5100)
    assert.is_true(s.late[first])
    assert.equal("failed", s.answers[second])
    disk:set("sync", 0)
    advance(200)
    assert.truthy(({ stored = 1, failed = 1 })[s.answers[first]], s.answers[first])
    assert.is_false(s.raw:stats().in_doubt)
    assert.equal("stored", publish(1, "after").after1)
    compare({ a = s.answers[first], b = "failed", after1 = "stored" }, "a sync that fails for ever")
  end)
end)

describe("a full disk", function()
  it("without room for the whole log is used as far as there is", function()
    s:close()
    disk:set("limit", #disk:read("sluice.db") + 200000)
    s = open { reserves = true } -- 8 MB
    assert.is_true(#disk:read("sluice.db-wal") < 100000)
    local answers = publish(5, "few")
    for _, answer in pairs(answers) do assert.equal("stored", answer) end
    disk:set("limit", 0)
    compare(answers, "a log without its room")
  end)

  it("takes no start, which says what to do, and one as soon as there is room", function()
    local answers = publish(10, "before")
    s:drop()
    disk:set("kill")
    disk:set("limit", 1)
    local none, why = stored.open({ disk = disk }, POLICIES)
    disk:set("limit", 0)
    s = open()
    assert.same({ nil, "the store cannot be opened: the disk is full: make room" }, { none, why })
    compare(answers, "a start without room")
  end)

  it("to which a checkpoint that a reader holds up cannot copy loses nothing", function()
    s:close()
    s = open { pages = 50, reserves = true }
    local first = publish(3, ("x"):rep(20000)) -- not copied yet
    release = assert(testing_disk.hold(disk))
    disk:set("limit", #disk:read("sluice.db") + #disk:read("sluice.db-wal") + 60000)
    for _, answer in pairs(publish(3, ("y"):rep(20000))) do assert.equal("stored", answer) end
    assert.equal("the log cannot be copied into the file", s.raw:stats().trouble)
    disk:set("limit", 0)
    release()
    publish(20, ("z"):rep(20000)) -- the log begins anew
    assert.is_nil(s.raw:stats().trouble)
    compare(first, "a log that was copied in part")
  end)

  it("refuses until there is room again, without a restart", function()
    disk:set("limit", #disk:read("sluice.db") + #disk:read("sluice.db-wal") + 60000)
    local answers, refused = publish(60, "full"), 0
    for _, answer in pairs(answers) do
      assert.truthy(({ stored = 1, failed = 1 })[answer], answer)
      refused = refused + (answer == "failed" and 1 or 0)
    end
    assert.is_true(refused > 0)
    assert.is_false(s.raw:stats().in_doubt)
    disk:set("limit", 0)
    assert.equal("stored", publish(1, "again").again1)
    for data in pairs(answers) do
      if #data < 6 then answers[data] = nil end -- trimmed perhaps
    end
    s:drop()
    disk:set("cut")
    s = open()
    local there = {}
    for _, data in ipairs((s:history("log"))) do there[data] = true end
    assert.is_true(there.again1)
    for data, answer in pairs(answers) do
      if answer == "failed" then assert.is_nil(there[data]) end
    end
  end)
end)

describe("trouble", function()
  it("is over when there is room again, without a publish, and is not looked at all the time", function()
    stored.at(nil)
    s:close()
    s = open { threads = true }
    local before = s.raw:stats().head
    disk:set("limit", 1)
    local id = s:event("log", "a")
    deadline.eventually(function()
      s:collect()
      return s.answers[id] == "failed"
    end, 5)
    assert.equal("a commit failed", s.raw:stats().trouble)
    s.raw:tick(before + (1 << 40)) -- the head row is to be written, too
    deadline.eventually(function() return s.raw:stats().failed > 1 end, 10)
    disk:set("limit", 0)
    deadline.eventually(function() return not s.raw:stats().trouble end, 10)
    local figures = s.raw:stats()
    assert.is_true(figures.failed < 50, figures.failed) -- one each 2 s
    assert.equal(before + (1 << 40), figures.head)
  end)
end)

describe("a commit that hangs", function()
  it("is answered 'unknown' after five seconds, holds its keys, and comes out when it is done", function()
    s.raw:pace(8000000)
    local first = s:event("log", "a", { idempotency = "k" })
    s:run()
    advance(1000)
    local twin = s:event("log", "a again", { idempotency = "k" })
    local other = s:event("log", "b")
    advance(3900)
    assert.same({}, s.late)
    advance(200)
    assert.same({ [first] = true }, s.late)
    advance(1000)
    assert.is_true(s.late[twin])
    assert.equal("failed", s.answers[other])
    s.raw:pace(0)
    advance(1500)
    advance(1000)
    assert.same({ "stored", "duplicate" }, { s.answers[first], s.answers[twin] })
    assert.same({ "a" }, s:history("log"))
  end)

  it("stops no other thread", function()
    stored.at(nil)
    s:close()
    s = open { threads = true }
    disk:set("hang", 1)
    local first = s:event("log", "a")
    deadline.eventually(function() return s.raw:stats().in_flight == 1 end, 5)
    for _ = 1, 100 do assert.truthy(s.raw:memory()) end
    local ok, _, code = s.raw:close(50)
    assert.same({ false, "ETIMEOUT" }, { ok ~= nil, code })
    disk:set("hang", 0)
    deadline.eventually(function()
      s:collect()
      return s.answers[first] == "stored"
    end, 5)
  end)
end)
