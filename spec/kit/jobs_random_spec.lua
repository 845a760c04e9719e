--- Random starts, cancels, reloads, kills, full queues and faults of the disk, also while saves are in flight. A
--- checker that knows nothing of the module goes by what was answered, what streams were sent and which items were
--- done: each job has one end, the one that was promised; no item is left out, and none is done twice but the one in
--- work when the process died; nothing runs that was refused, nothing is lost that was accepted. Mistakes that are
--- planted into the module are all found. SEED= repeats one world.
local kit = require("spec.support.kit")
local worlds = require("spec.support.worlds")

local STEPS, CONCURRENCY, QUEUE = 60, 2, 4
local ENDS = { ["job-complete"] = "success", ["job-failed"] = "failed", ["job-cancelled"] = "cancelled" }
local USER = { user = "ann" }

local function chance(n) return math.random(n) == 1 end
local function pick(list) return list[math.random(#list)] end

local APP = [[
  app:channel("done", { history = 100000, rewind = "all", durable = %s })
  local jobs = require(%q).new(app, { concurrency = %d, queue = %d, durable = %s })
  local seen = app:state("seen", { running = 0, most = 0, begun = {} })
  local function begin(job)
    local s = seen()
    s.running = s.running + 1
    s.most = math.max(s.most, s.running)
    if job.attempt == 1 then s.begun[#s.begun + 1] = job.id end
    return setmetatable({}, { __close = function() s.running = s.running - 1 end })
  end
  local function finish(item)
    local once = ("%%s %%d %%d"):format(item.job, item.i, item.attempt)
    while not app:publish("done", "item", item, { idempotency = once }) do sluice.sleep(0.5) end
  end
  jobs:define("batch", function(job, args)
    local _ <close> = begin(job)
    for i = (job.saved and job.saved.i or 0) + 1, args.n do
      sluice.sleep(args.takes)
      finish({ job = job.id, i = i, attempt = job.attempt })
      job:progress(math.max(0, i - math.random(0, 2)))
      job:checkpoint({ i = i })
    end
    if args.fails then error("as it was told") end
    return { n = args.n }
  end)
  jobs:define("deaf", function(job)
    local _ <close> = begin(job)
    sluice.sleep(30)
  end)
  %s
  app:stream("/done", "done")
  jobs:stream("/mine")
  jobs:stream("/one/:id")
  jobs:routes("/jobs")
  app:post("/start/:id", function(req)
    local body = req:json()
    local function start()
      return jobs:start(body.kind, { id = req.params.id, args = body, owner = "ann", total = body.n })
    end
    if body.later then return app:spawn(start) and 204 end
    local job, message, code, field = start()
    if not job then return nil, message, code, field end
    return 202, { jobId = job.id }
  end)
  app:post("/cancel/:id", function(req) app:spawn(function() jobs:cancel(req.params.id) end) end)]]
local EXTRA = [[jobs:define("extra", function(job) local _ <close> = begin(job) sluice.sleep(1) end)]]

local function source_of(world)
  return kit.source(APP:format(world.durable, world.module, CONCURRENCY, QUEUE, world.durable,
    world.has_extra and EXTRA or ""))
end

-- ---- What is seen ------------------------------------------------------------------------

local function wrong(world, text, ...)
  world.wrong = world.wrong or text:format(...)
end

-- The events of a stream: never back, nothing behind an end, one end for ever.
local function watch(world, c)
  local before, over = {}, {}
  for _, e in ipairs(c:events()) do
    local id, status = e.data.jobId, ENDS[e.event]
    if status then
      if over[id] then wrong(world, "two ends in a stream: %s", id) end
      if (world.told[id] or status) ~= status then wrong(world, "%s was told as %s", id, world.told[id]) end
      over[id], world.told[id] = true, status
    elseif e.event == "progress" then
      if over[id] then wrong(world, "progress behind the end: %s", id) end
      if e.data.processed < (before[id] or 0) then wrong(world, "progress goes back: %s", id) end
      before[id] = e.data.processed
    end
  end
end

local function look(t, id) return t:get("/jobs/" .. id, USER).json end

local function open_stream(t, world) world.stream = t:connect("/mine", USER) end

local function leave_life(t, world)
  t:settle()
  watch(world, world.stream)
  local s = t:state("seen")
  if s.most > CONCURRENCY then wrong(world, "%d ran at a time", s.most) end
  local last = 0
  for _, id in ipairs(s.begun) do
    local nth = tonumber(id:match("%d+"))
    if world.jobs[id].is_there and not world.jobs[id].is_extra then
      if nth < last and world.faults == 0 then wrong(world, "%s began late", id) end
      last = nth
    end
  end
end

-- ---- Acts --------------------------------------------------------------------------------

local function start_job(t, world)
  world.n = world.n + 1
  local id = "j" .. world.n
  local kind = pick { "batch", "batch", "batch", "batch", "deaf", world.has_extra and "extra" or "batch" }
  local body = { kind = kind, n = kind == "batch" and math.random(0, 12) or nil, takes = pick { 0.01, 0.1, 0.7 },
    fails = chance(5), later = chance(4) }
  local job = { id = id, kind = kind, n = body.n, fails = kind == "batch" and body.fails, is_later = body.later,
    is_extra = kind == "extra" }
  world.jobs[id] = job
  local status = t:post("/start/" .. id, { json = body }).status
  if body.later then return end
  if status == 202 and chance(4) then -- a request that is repeated is the same job
    if t:post("/start/" .. id, { json = body }).status > 503 then return end
  end
  job.is_there, job.is_refused = status == 202, status == 503
  if status == 202 and world.is_calm then
    local open = 0
    for _, row in ipairs(t:get("/jobs", USER).json.jobs) do open = open + (row.ended and 0 or 1) end
    if open > CONCURRENCY + QUEUE then wrong(world, "%d wait", open) end
  end
end

local function cancel(t, world, id)
  local job = world.jobs[id]
  local answer = t:delete("/jobs/" .. id, USER)
  if answer.status == 202 then
    job.is_cancelled = true
  elseif answer.status == 200 then
    job.promised = answer.json.status
  elseif answer.status == 404 then
    if job.is_there then wrong(world, "%s is lost", id) end
  else
    job.may_be_cancelled = true
  end
end

local function cancel_job(t, world)
  if world.n == 0 then return end
  local id = "j" .. math.random(math.max(1, world.n - 5), world.n)
  if not chance(4) then return cancel(t, world, id) end
  world.jobs[id].may_be_cancelled = true
  t:post("/cancel/" .. id)
end

local function reload(t, world)
  if chance(3) then world.has_extra = not world.has_extra end
  assert(t:reload(source_of(world)))
end

local function kill(t, world)
  leave_life(t, world)
  world.kills = world.kills + 1
  t:kill()
  open_stream(t, world)
end

local function fault(t, world)
  local name = pick { "full", "hung" }
  world.is_calm, world.faults = false, world.faults + 1
  t:disk { [name] = true }
  for _ = 1, 3 do pick { start_job, cancel_job }(t, world) end
  if chance(2) then t:advance(pick { 0, 1, 7 }) end
  local dies = chance(3)
  if not dies and chance(2) then reload(t, world) end
  t:disk { [name] = false }
  if dies then kill(t, world) else t:advance(12) end
  world.is_calm = true
end

local function step(t, world)
  local what = math.random(20)
  if what <= 9 then
    start_job(t, world)
  elseif what <= 13 then
    cancel_job(t, world)
  elseif what <= 15 then
    reload(t, world)
  elseif what == 16 and world.durable then
    kill(t, world)
  elseif what == 17 and world.durable then
    fault(t, world)
  elseif what == 18 and world.durable then
    t:disk { commit = pick { 0, 0.001, 0.01, 0.3 } }
  end
  t:advance(pick { 0, 0, 0.05, 0.3, 1, 4 })
end

-- ---- At the end --------------------------------------------------------------------------

-- The items of each job, in the order in which they were done.
local function check_items(t, world)
  local last, tries = {}, {}
  for _, e in ipairs(t:connect("/done"):events("item")) do
    local id, i = e.data.job, e.data.i
    local again = i == last[id] and e.data.attempt > tries[id] and world.kills + world.faults > 0
    if i ~= (last[id] or 0) + 1 and not again then wrong(world, "%s: item %d after %s (attempt %d, %s)", id, i,
      tostring(last[id]), e.data.attempt, tostring(tries[id])) end
    last[id], tries[id] = i, e.data.attempt
    if world.jobs[id].is_refused then wrong(world, "%s was refused, and runs", id) end
  end
  return last
end

local function check_job(t, world, job, done)
  local row = look(t, job.id)
  if not row.status then
    if job.is_there then wrong(world, "%s is lost", job.id) end
    return
  end
  if job.is_refused then return wrong(world, "%s was refused, and is there", job.id) end
  local status = row.status
  if not row.ended then return wrong(world, "%s does not end: %s", job.id, status) end
  if job.is_cancelled and status ~= "cancelled" then wrong(world, "%s was cancelled: %s", job.id, status) end
  if job.promised and status ~= job.promised then wrong(world, "%s was %s: %s", job.id, job.promised, status) end
  if world.told[job.id] and world.told[job.id] ~= status then wrong(world, "%s was told otherwise", job.id) end
  if not (job.is_cancelled or job.may_be_cancelled) then
    if job.promised ~= "cancelled" and status ~= (job.fails and "failed" or "success") then
      wrong(world, "%s ended as %s", job.id, status)
    end
  end
  if job.n and status ~= "cancelled" and (done[job.id] or 0) ~= job.n then
    wrong(world, "%s: %s of %d items", job.id, tostring(done[job.id]), job.n)
  end
  local one = t:connect("/one/" .. job.id, USER)
  one:wait_for("bye", 1)
  local last = one:events()[#one:events() - 1]
  local n = status == "success" and job.n or nil
  if ENDS[last.event] ~= status or n ~= (last.data.result and last.data.result.n) then
    wrong(world, "the stream of %s does not tell its end", job.id)
  end
end

--- Also one whose start was not answered: it may be known again after a kill only.
local function wait_ended(t, world)
  t:wait(400, function()
    for id in pairs(world.jobs) do
      local row = look(t, id)
      if row.status and not row.ended then return false end
    end
    return true
  end)
end

local function finish(t, world)
  t:disk { commit = 0.002 }
  for _, row in ipairs(t:get("/jobs", USER).json.jobs) do
    if row.status == "running" and row.kind == "deaf" then cancel(t, world, row.jobId) end
  end
  t:advance(9) -- what is cancelled is closed
  for _, job in pairs(world.jobs) do
    local row = job.is_cancelled and look(t, job.id)
    if row and row.status and not row.ended then wrong(world, "%s is cancelled and goes on", job.id) end
  end
  world.has_extra = true
  assert(t:reload(source_of(world)))
  local list = {}
  for _, job in pairs(world.jobs) do list[#list + 1] = job end
  table.sort(list, function(a, b) return a.id < b.id end)
  for round = 1, world.durable and 2 or 1 do
    wait_ended(t, world)
    local done = check_items(t, world)
    for _, job in ipairs(list) do check_job(t, world, job, done) end
    leave_life(t, world)
    local s = t:state("jobs")
    if s.open ~= 0 or s.flying ~= 0 then wrong(world, "%d open, %d flying", s.open, s.flying) end
    if round == 1 and world.durable then
      t:kill()
      open_stream(t, world)
    end
  end
end

-- Nil when all was as it has to be, else what was not.
local function play(seed, files, module)
  math.randomseed(seed)
  local world = { durable = seed % 4 ~= 0, module = module or "sluice.jobs", has_extra = true, n = 0, jobs = {},
    told = {}, kills = 0, faults = 0, is_calm = true }
  local t = kit.whole(source_of(world), { files = files, seed = seed, waits = seed % 2 == 0 })
  open_stream(t, world)
  for _ = 1, STEPS do
    step(t, world)
    if world.wrong then break end
  end
  if not world.wrong then finish(t, world) end
  kit.stop_all()
  return world.wrong
end

-- ---- Mistakes ----------------------------------------------------------------------------

local MISTAKES = {
  { "ends", 'if row.cancel then outcome = { status = "cancelled" } end', "" },
  { "ends", "  return self.book:save(copy)\nend", "  return true\nend", seed = 14 },
  { "ends", "if not row.ended and not save_end(self, row) then return end",
    "telling.finish(self, ended_row(row))\n  if not row.ended and not save_end(self, row) then return end" },
  { "work", "if row.flying then s.flying = s.flying - 1 end", "" },
  { "work", "row.flying, s.flying = true, s.flying + 1", "row.flying = true" },
  { "work", "self.app:cancel(ends.task_of(self, \"run\", data.id), { running = true })", "" },
  { "work", "if row.outcome then land(self, row) end", "land(self, row)" },
  { "work", "for id in pairs(s.unsettled) do ends.settle_soon(self, id) end", "", seed = 5 },
  { "job", "  save(self, row)\n", "", seed = 6 },
  { "job", "  jobs_book:change(row, { saved = text })\n", "" },
  { "job", "row.processed = math.max(row.processed, whole(processed))", "row.processed = whole(processed)" },
  { "book", "  if ok and row.unsaved then", "  if row.unsaved then" },
  { "book", "    if row.unsaved and row.saving == 0 then self:remove(row) end\n", "", seed = 5 },
  { "book", "  table.sort(list, by_nth)\n", "", seed = 8 },
  { "book", "  self:requeue()\n  if is_new", "  if is_new" },
  { "asked", "if s.open >= self.o.concurrency + self.o.queue then", "if false then" },
  { "telling", "if row.dirty and not row.outcome then", "if true then" },
  { "telling", 'if row.result and', 'if false and' },
  { "pages", "if row and row.ended then client:stop() end", "" },
}

describe("random jobs", function()
  after_each(kit.stop_all)

  it("end once, as they were promised, with each item done", function() worlds.hold(play, 10, 1000) end)

  it("show each mistake that is planted into the module", function()
    worlds.show(play, MISTAKES, worlds.copies("jobs"))
  end)
end)
