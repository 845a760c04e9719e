--- sluice.jobs over the nodes of a cluster: started, seen and cancelled on any node, run on the one that leads, and
--- taken over at the last checkpoint when that dies.
local kit = require("spec.support.kit")
local testing = require("sluice.testing")

if not require("sluice.core").build().libraries.hiredis then
  describe("jobs over nodes", function() pending("built without hiredis") end)
  return
end

local FULL = os.getenv("SLUICE_SPEC_FULL")

local SOURCE = [[
local jobs = require("sluice.jobs").new(app, { durable = %s, concurrency = 2 })
app:channel("did", { history = 1000 })
jobs:define("count", function(job, args)
  for i = (job.saved or 0) + 1, args.n do
    sluice.sleep(1)
    app:publish("did", "item", { job = job.id, i = i }, { idempotency = job.id .. "/" .. i })
    job:progress(i)
    if i %% 2 == 0 then job:checkpoint(i) end
  end
  return { done = args.n, attempt = job.attempt }
end)
jobs:define("quick", function(job) job:progress(1) return { attempt = job.attempt } end)
jobs:define("bad", function() error("no such thing") end)
app:guard("/**", function(req) req.user = req.user or { id = "ann" } return true end)
jobs:stream("/s")
jobs:routes("/jobs")
app:post("/start/:kind/:id", function(req)
  local job, message, code, field = jobs:start(req.params.kind, { id = req.params.id, owner = "ann",
    args = { n = tonumber(req.query.n) or 6 }, total = tonumber(req.query.n) or 6 })
  if not job then return nil, message, code, field end
  return { id = job.id, status = job.status, n = job.args and job.args.n }
end)
local said = app:state("said", {})
app:post("/later/:id", function(req)
  app:spawn(function()
    local job, _, code = jobs:start("quick", { id = req.params.id, owner = "ann" })
    said()[req.params.id] = job and "started" or code
  end)
  return 202
end)
app:get("/leads", function() return app:stats().cluster end)
app:put("/attend/:id", { body = "stream", max = 1000000 }, function(req)
  return jobs:attend("upload", { id = req.params.id, owner = "ann", total = 10 }, function(job)
    local n, told = 0, 0
    job:step("takes")
    for piece in req:chunks() do
      n, told = n + #piece, told + 1
      if told <= 4 then job:progress(told) end
    end
    return { bytes = n }
  end)
end)
app:get("/did", function()
  local list = {}
  for i, e in ipairs(app:history("did", { limit = 1000 })) do list[i] = e.data.job .. e.data.i end
  return { list = list }
end)
]]

local t

local function start(durable, flags)
  t = testing.start({ source = kit.source(SOURCE:format(durable or "nil")) }, { nodes = 3, flags = flags })
  t:advance(12)
end

local function begin(n, id, kind, count)
  local answer = t:node(n):post(("/start/%s/%s?n=%d"):format(kind or "count", id, count or 6))
  assert.equal(200, answer.status, answer.body)
  return answer.json
end

local function show(n, id) return t:node(n):get("/jobs/" .. id).json end
local function status(n, id) return show(n, id).status end

local function ends(c)
  local list = {}
  for _, e in ipairs(c:events()) do
    if e.event:find("^job%-") then list[#list + 1] = e.event .. " " .. e.data.jobId end
  end
  table.sort(list)
  return list
end

describe("jobs over nodes", function()
  after_each(function()
    if t then t:stop() end
    t = nil
  end)

  it("begin and end, each, though app:after returns when their task has run", function()
    local slow = [[
local after = app.after
rawset(app, "after", function(...)
  local id, message, code = after(...)
  sluice.sleep(0.5)
  return id, message, code
end)
]]
    t = testing.start({ source = kit.source(slow .. SOURCE:format("nil")) }, { nodes = 3 })
    t:advance(12)
    for i = 1, 12 do begin(i % 3 + 1, "q" .. i, "quick", 1) end
    t:advance(60)
    for i = 1, 12 do assert.same({ "success", 1 }, { status(1, "q" .. i), show(1, "q" .. i).result.attempt }) end
    begin(1, "last", "count", 6)
    t:advance(2.2)
    assert.is_true(show(2, "last").percentage >= 16)
    t:advance(20)
    assert.equal("success", status(3, "last"))
  end)

  it("are kept as --cluster-durable says where they are durable", function()
    start("true", { cluster_durable = "aof" })
    begin(1, "a", "count", 6)
    t:redis { fsync = "everysec" }
    t:advance(2)
    for n = 1, 3 do
      local r = t:node(n):post("/start/count/b")
      assert.same({ 503, "ESTORE" }, { r.status, r.json.error.code })
      assert.equal(404, t:node(n):get("/jobs/b").status)
    end
    t:redis { fsync = "always" }
    t:advance(2)
    begin(2, "b", "count", 2)
    t:redis { restart = 1 }
    for n = 1, 3 do t:node(n):crash() end
    for n = 1, 3 do t:node(n):restart() end
    t:advance(60)
    for n = 1, 3 do assert.same({ "success", "success" }, { status(n, "a"), status(n, "b") }) end
  end)

  for _, durable in ipairs { "nil", "true" } do
    it("are started, seen and at their end on any node, durable = " .. durable, function()
      start(durable)
      local c = t:node(3):connect("/s")
      for n = 1, 3 do assert.same({ id = "j" .. n, status = "queued", n = 6 }, begin(n, "j" .. n)) end
      assert.equal("j1", begin(2, "j1").id) -- it is the same job
      t:advance(3.5)
      for n = 1, 3 do
        assert.equal("running", status(n, "j1"))
        assert.equal(50, show(n, "j1").percentage)
        assert.equal("queued", status(n, "j3"))
        assert.equal(3, t:node(n):get("/jobs").json.total)
      end
      t:advance(12)
      assert.same({ "job-complete j1", "job-complete j2", "job-complete j3" }, ends(c))
      for n = 1, 3 do
        assert.same({ done = 6, attempt = 1 }, show(n, "j3").result)
        assert.equal(404, t:node(n):get("/jobs/none").status)
      end
      begin(2, "b", "bad")
      t:advance(1)
      assert.equal("no such thing", show(3, "b").error)
    end)

    for dead = 1, 3 do
      it(("go on at the last checkpoint when node %d dies, durable = %s"):format(dead, durable), function()
        start(durable)
        local alive = dead % 3 + 1
        local c = t:node(alive):connect("/s")
        begin(dead, "a", "count", 20)
        begin(alive, "b", "count", 20)
        begin(alive, "c", "count", 3)
        t:advance(5.2)
        t:node(dead):crash()
        t:advance(45)
        assert.same({ "job-complete a", "job-complete b", "job-complete c" }, ends(c))
        for _, id in ipairs { "a", "b" } do
          local result = show(alive, id).result
          assert.equal(20, result.done)
          assert.is_true(result.attempt <= 2)
        end
        local n = 0
        for _ in ipairs(t:node(alive):get("/did").json.list) do n = n + 1 end
        assert.equal(43, n) -- each item once, by its idempotency key
      end)
    end
  end

  it("are cancelled from any node, and their streams end everywhere", function()
    start()
    for n = 1, 3 do
      local id = "j" .. n
      begin(n % 3 + 1, id, "count", 100)
      local c = t:node(n):connect("/s?jobId=" .. id)
      t:advance(2.5)
      assert.equal(202, t:node(n):delete("/jobs/" .. id).status)
      t:advance(2)
      assert.equal("job-cancelled", c:wait_for("job-cancelled", 0).event)
      assert.equal("stop", c:wait_for("bye", 0).data.reason)
      for k = 1, 3 do assert.equal("cancelled", status(k, id)) end
      assert.equal(200, t:node(n):delete("/jobs/" .. id).status)
    end
  end)

  -- Pieces that come once in a second; after the third something happens.
  local function pieces(count, act, size)
    local i = 0
    return function()
      i = i + 1
      if i == 8 and act then act() end
      if i > 2 * count then return nil end
      return i % 2 == 1 and ("x"):rep(size or 1) or 1
    end
  end

  it("are attended where their request is", function()
    start()
    for n = 1, 3 do
      local answer = t:node(n):put("/attend/u" .. n, { body = pieces(10) })
      assert.same({ bytes = 10 }, answer.json)
      for k = 1, 3 do assert.same({ bytes = 10 }, show(k, "u" .. n).result) end
      assert.equal(422, t:node(n % 3 + 1):put("/attend/u" .. n, { body = "x" }).status)
    end
  end)

  for n = 1, 3 do
    it("that are attended go on when another node dies, and fail when theirs does: node " .. n, function()
      start()
      local other, third = n % 3 + 1, (n + 1) % 3 + 1
      local answer = t:node(n):put("/attend/u", { body = pieces(20, function() t:node(other):crash() end, 4000) })
      assert.same({ bytes = 80000 }, answer.json)
      assert.same({ bytes = 80000 }, show(third, "u").result)
      local answered = pcall(function()
        t:node(n):put("/attend/v", { body = pieces(20, function() t:node(n):crash() end, 4000) })
      end)
      assert.is_false(answered)
      t:advance(25)
      assert.equal("failed", status(third, "v"))
      assert.matches("ended before it", show(third, "v").error)
    end)
  end

  it("that are attended are shown alike on all nodes, also when the one that led is dead", function()
    start()
    local lead = kit.leaders(t, { 1, 2, 3 }, "/leads")[1]
    local other, third = lead % 3 + 1, (lead + 1) % 3 + 1
    local function seen(n, id)
      local job = show(n, id)
      return { job.attempt, job.status, job.processed, job.total, job.percentage, job.step }
    end
    local function attend(n, id, body)
      local answer
      local ok = pcall(function() answer = t:node(n):put("/attend/" .. id, { body = body }) end)
      return ok and answer
    end
    local on_its_way = { 1, "running", 4, 10, 40, "takes" }
    for n = 1, 3 do
      local found = {}
      local body = pieces(8, function() for k = 1, 3 do found[k] = seen(k, "all" .. n) end end)
      local answer = attend(n, "all" .. n, body)
      assert.same({ bytes = 8 }, answer.json)
      assert.same({ on_its_way, on_its_way, on_its_way }, found)
      for k = 1, 3 do assert.same({ 1, "success", 4, 10, 100, "takes" }, seen(k, "all" .. n)) end
    end
    local found, waited = {}, 0
    local body = pieces(20, function() t:node(lead):crash() end, 16000)
    local answer = attend(other, "goes-on", function()
      local piece = body()
      if piece or found[2] then return piece end
      waited = waited + 1 -- nothing comes for a while
      if waited == 8 then for i, k in ipairs { other, third } do found[i] = seen(k, "goes-on") end end
      return 1
    end)
    assert.same({ bytes = 320000 }, answer.json)
    assert.same({ on_its_way, on_its_way }, found)
    t:node(lead):restart()
    t:advance(12)
    lead = kit.leaders(t, { 1, 2, 3 }, "/leads")[1]
    assert.is_false(attend(lead, "ends", pieces(8, function() t:node(lead):crash() end)))
    t:advance(25)
    for k = 1, 3 do
      if k ~= lead then assert.same({ 1, "failed", 4, 10, 40, "takes" }, seen(k, "ends")) end
    end
  end)

  it("go on over a reload of each node", function()
    start()
    local c = t:node(2):connect("/s")
    begin(1, "a", "count", 12)
    for n = 1, 3 do
      t:advance(2)
      assert(t:node(n):reload())
    end
    t:advance(20)
    assert.same({ "job-complete a" }, ends(c))
  end)

  for _, durable in ipairs { "nil", "true" } do
    it("that a stopped node was about to store stay what the next one made of them, durable = " .. durable, function()
      start(durable)
      for round = 1, FULL and 48 or 12 do
        local lead = kit.leaders(t, { 1, 2, 3 }, "/leads")[1]
        local id, asked = "q" .. round, (lead + round) % 3 + 1 -- the one that leads, or another one
        t:redis { latency = 0.4 }
        t:node(asked):post("/later/" .. id)
        t:advance(0.2 + (round - 1) % 12 * 0.15)
        t:redis { latency = 0 }
        t:node(lead):freeze(12)
        t:advance(30)
        local said = t:node(asked):state("said")[id]
        local is = said == "started" and "success" or status(asked, id)
        assert.truthy(said == "started" or said == "EBUSY" and (is == "success" or is == nil), said)
        for n = 1, 3 do assert.equal(is, status(n, id), ("round %d, node %d"):format(round, n)) end
      end
    end)
  end

  it("are not run twice after the node that led was stopped", function()
    start()
    local c = t:node(3):connect("/s")
    begin(3, "a", "count", 30)
    t:advance(4)
    for n = 1, 2 do
      t:node(n):freeze(12)
      t:advance(20)
    end
    t:advance(60)
    assert.same({ "job-complete a" }, ends(c))
    assert.equal(30, #t:node(3):get("/did").json.list)
  end)
end)
