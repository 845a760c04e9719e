--- sluice.jobs in virtual time: progress, ends, cancelling, limits, owners, reloads, crashes, a disk that fails;
--- what is refused. (Random acts against a model: jobs_random_spec.lua. A real server: spec/e2e/jobs_spec.lua.)
local kit = require("spec.support.kit")

local APP = [[
%s
local jobs = require("sluice.jobs").new(app, { %s })
app:guard("/api/**", function(req) return req.user and true or 401 end)
jobs:define("items", function(job, args)
  for i = (job.saved or 0) + 1, args.n do
    sluice.sleep(args.takes or 0.1)
    job:progress(i, { currentItem = "item " .. i })
    job:checkpoint(i)
  end
  return { done = args.n, attempt = job.attempt }
end)
%s
jobs:stream("/api/progress")
jobs:stream("/api/progress/:id")
jobs:routes("/api/jobs")
app:post("/api/start/:kind", function(req)
  local body = req:json()
  local job, message, code, field = jobs:start(req.params.kind, { id = body.id, args = body.args, total = body.total,
    owner = body.owner or req.user.id })
  if not job then return nil, message, code, field end
  return 202, { jobId = job.id, status = job.status }
end)
]]
local DURABLE = "durable = true"
local ADMIN = { id = "root", roles = { "Admin" } }

local t

local function source(kinds, options, above) return kit.source(APP:format(above or "", options or "", kinds or "")) end

local function start(kinds, options, more)
  t = kit.whole(source(kinds, options), more)
  return t
end

local function reload(kinds, options, above) assert(t:reload(source(kinds, options, above))) end

local function begin(kind, body, user)
  local answer = t:post("/api/start/" .. kind, { user = user or "ann", json = body or {} })
  assert.equal(202, answer.status, answer.body)
  return answer.json.jobId
end

local function items(n, body, user)
  body = body or {}
  body.args, body.total = { n = n, takes = body.takes }, n
  return begin("items", body, user)
end

local function look(id, user) return t:get("/api/jobs/" .. id, { user = user or "ann" }).json end
local function cancel(id, user) return t:delete("/api/jobs/" .. id, { user = user or "ann" }) end
local function follow(id, user) return t:connect("/api/progress/" .. id, { user = user or "ann" }) end

-- The events of a stream but its control events, in order: their names, or a field of their data.
local function told(c, field)
  local list = {}
  for _, e in ipairs(c:events()) do
    if e.event:find("^job%-") or e.event == "progress" then
      list[#list + 1] = field and tostring(e.data[field]) or e.event
    end
  end
  return list
end

-- What becomes of a job of a kind with this body.
local function outcome(kind, seconds)
  local id = begin(kind)
  t:wait(seconds or 10, function() return look(id).ended end)
  return look(id)
end

describe("jobs", function()
  after_each(kit.stop_all)

  it("show whoever comes how far they are, at once, and their end, which ends the stream for good", function()
    start(nil, "concurrency = 1")
    local first, id = items(3, nil, "eve"), items(20)
    local c = follow(id)
    assert.same({ "progress" }, told(c))
    assert.same({ id, "items", "queued", 0, 20, 0 }, (function(d)
      return { d.jobId, d.kind, d.status, d.processed, d.total, d.percentage }
    end)(c:events("progress")[1].data))
    t:advance(1.35)
    local late = follow(id)
    local d = late:events("progress")[1].data
    assert.same({ "running", 10, 50, "item 10" }, { d.status, d.processed, d.percentage, d.currentItem })
    local done = c:wait_for("job-complete", 2).data
    assert.same({ "success", 20, 100, 20, 1 }, { done.status, done.processed, done.percentage, done.result.done,
      done.result.attempt })
    assert.equal(100, c:events("progress")[#c:events("progress")].data.percentage)
    for _, stream in ipairs { c, late } do
      assert.equal("stop", stream:wait_for("bye", 0).data.reason)
      assert.equal(204, stream:reconnect().status)
    end
    local after = follow(id)
    assert.same({ "job-complete" }, told(after))
    assert.equal("stop", after:wait_for("bye", 0).data.reason)
    assert.equal(204, after:reconnect().status)
    assert.equal("success", look(first, "eve").status)
  end)

  it("tell ten thousand items a second ten times a second, and the end at once", function()
    start [[
      jobs:define("fast", function(job)
        for i = 1, 20000 do
          job:progress(i)
          if i % 10 == 0 then sluice.sleep(0.001) end
        end
      end)]]
    local c = t:connect("/api/progress", { user = "ann" })
    begin("fast", { total = 20000 })
    local last, at = 0, {}
    local done = c:wait_for("job-complete", 30)
    for _, e in ipairs(c:events("progress")) do
      assert.is_true(e.data.percentage >= last)
      last, at[#at + 1] = e.data.percentage, e.at
    end
    assert.same({ 100, 20000 }, { last, c:events("progress")[#at].data.processed })
    assert.is_true(#at > 15, #at)
    for i = 11, #at - 1 do assert.is_true(at[i] - at[i - 10] >= 0.999, at[i] - at[i - 10]) end
    assert.is_true(done.at - at[#at] < 0.02)
  end)

  it("are nobody else's, who learns nothing of them, whatever rights become", function()
    start(nil, nil)
    local id = items(100)
    local mine, bob, root = t:connect("/api/progress", { user = "ann" }), t:connect("/api/progress", { user = "bob" }),
      follow(id, ADMIN)
    t:advance(1)
    assert.is_true(mine:count("progress") > 5)
    assert.is_true(root:count("progress") > 5)
    assert.equal(0, bob:count("progress"))
    local none = t:get("/api/jobs/none", { user = "bob" })
    for _, answer in ipairs { t:get("/api/jobs/" .. id, { user = "bob" }), cancel(id, "bob"), follow(id, "bob"),
      t:connect("/api/progress?jobId=" .. id, { user = "bob" }) } do
      assert.same({ 404, none.body }, { answer.status, answer.body })
    end
    for _, path in ipairs { "/api/progress", "/api/jobs", "/api/jobs/" .. id } do
      assert.equal(401, t:get(path).status)
      assert.equal(403, t:get(path, { user = "a/b" }).status)
    end
    assert.equal(403, t:get("/api/jobs?owner=ann", { user = "bob" }).status)
    assert.same({ total = 0, jobs = {} }, t:get("/api/jobs", { user = "bob" }).json)
    assert.equal(id, t:get("/api/jobs?owner=ann", { user = ADMIN }).json.jobs[1].jobId)
    assert.equal(1, t:get("/api/jobs?owner=*", { user = ADMIN }).json.total)
    reload(nil, 'admin = "Boss"')
    assert.equal("revoked", root:wait_for("bye", 2).data.reason)
    assert.equal(404, root:reconnect().status)
    assert.equal(404, cancel(id, ADMIN).status)
    assert.equal(202, cancel(id).status)
  end)

  it("without an owner are for the role only", function()
    start [[
      app:post("/lonely", function() return 200, jobs:start("items", { args = { n = 50 } }).id end)
      jobs:stream("/api/all")
      app:stream("/api/lonely", function() return jobs:channel() end)]]
    local id = t:post("/lonely").body
    assert.equal(404, t:get("/api/jobs/" .. id, { user = "nil" }).status)
    assert.equal(403, t:connect("/api/lonely", { user = "ann" }).status)
    assert.equal("progress", t:connect("/api/lonely", { user = ADMIN }):wait_for("progress", 1).event)
    assert.equal("running", look(id, ADMIN).status)
  end)

  it("wait in order for one of few places, and are refused when too many wait", function()
    start(nil, "concurrency = 2, queue = 3")
    local ids = {}
    for i = 1, 5 do ids[i] = items(10, { id = "j" .. i }) end
    local refused = t:post("/api/start/items", { user = "ann", json = { args = { n = 1 } } })
    assert.same({ 503, "EFULL" }, { refused.status, refused.json.error.code })
    assert.equal(ids[1], items(10, { id = "j1" })) -- which is there
    assert.equal(5, t:get("/api/jobs", { user = "ann" }).json.total)
    local function running()
      local list = {}
      for i, id in ipairs(ids) do
        if look(id).status == "running" then list[#list + 1] = i end
      end
      return list
    end
    t:advance(0.5)
    assert.same({ 1, 2 }, running())
    t:advance(1)
    assert.same({ 3, 4 }, running())
    items(1)
    t:advance(1)
    assert.equal("success", look(ids[4]).status)
    t:advance(1.2)
    assert.same({}, running())
  end)

  it("with the same id are the same job, of the same kind and owner", function()
    start('jobs:define("other", function() end)', DURABLE)
    local id = items(20, { id = "a" })
    t:advance(0.5)
    assert.equal(id, items(999, { id = "a" }))
    assert.equal(20, look("a").total)
    for _, try in ipairs { { "items", "bob" }, { "other", "ann" } } do
      local answer = t:post("/api/start/" .. try[1], { user = try[2], json = { id = "a" } })
      assert.same({ 422, "ECONFLICT", "id" }, { answer.status, answer.json.error.code, answer.json.error.field })
    end
    t:advance(3)
    assert.equal("success", look("a").status)
    items(999, { id = "a" })
    assert.equal("success", look("a").status)
  end)

  it("fail when their function raises, in whatever way, and say why", function()
    start [[
      jobs:define("text", function() error("no such file") end)
      jobs:define("table", function() error({ message = "quota", code = 7 }) end)
      jobs:define("odd", function() error() end)
      jobs:define("idiom", function() return nil, "refused", "EDENIED" end)
      jobs:define("bug", function() local x return x.y end)
      jobs:define("bytes", function() error("\xff\xfe" .. ("x"):rep(2000)) end)
      jobs:define("result", function() return { f = print } end)
      jobs:define("nan", function() return { 0 / 0 } end)
      jobs:define("large", function() return ("x"):rep(1 << 20) end)
      jobs:define("misuse", function(job) job:progress(-1) end)
      jobs:define("fields", function(job) job:progress(1, { f = print }) end)
      jobs:define("list", function(job) job:progress(1, { "a" }) end)
      jobs:define("set", function(job) job.processed = 5 end)
      jobs:define("typo", function(job) job:progres(5) end)
      jobs:define("point", function(job) job:checkpoint() end)
      jobs:define("loop", function() while true do pcall(function() while true do end end) end end)
      jobs:define("caught", function(job) pcall(error, "x") return true end)]]
    local expected = { text = "^no such file$", table = "^quota$", odd = "", idiom = "^refused$",
      bug = "index a nil value", bytes = "^%?%?x+$", result = "cannot be kept", nan = "cannot be kept",
      large = "more than 1048576",
      misuse = "a number from 0 is expected", fields = "f", list = "have names", set = "read only",
      typo = "did you mean job:progress", point = "is missing", loop = "without a pause" }
    for kind, pattern in pairs(expected) do
      local job = outcome(kind, 3)
      assert.equal("failed", job.status, kind)
      assert.matches(pattern, job.error)
      assert.is_true(#job.error <= 500)
      local c = follow(job.jobId)
      assert.equal(job.error, c:wait_for("job-failed", 0).data.error)
    end
    assert.same({ "success", true }, { outcome("caught").status, outcome("caught").result })
    assert.matches("no such file\nstack traceback", table.concat(t:log("error"), "\n"))
    assert.equal("success", outcome("caught").status) -- no place is lost
  end)

  it("return what fits in an event in it, and more in the answer", function()
    start('jobs:define("much", function() return { text = ("x"):rep(100000) } end)')
    local job = outcome("much")
    assert.equal(100000, #job.result.text)
    local done = follow(job.jobId):wait_for("job-complete", 0).data
    assert.same({ 100011, nil }, { done.resultBytes, done.result })
  end)

  it("are cancelled while they wait, at their next progress, step or checkpoint, and where they sleep", function()
    start([[
      jobs:define("sleeps", function(job)
        local _ <close> = setmetatable({}, { __close = function() sluice.log.warn("closed " .. job.id) end })
        job:step("sleep")
        sluice.sleep(3600)
      end)
      jobs:define("stubborn", function(job)
        for i = 1, 100 do pcall(job.progress, job, i) sluice.sleep(0.5) end
      end)
      jobs:define("steps", function(job) for i = 1, 100 do sluice.sleep(1) job:step("step " .. i) end end)
      jobs:define("ends", function(job) sluice.sleep(2) return "done" end)]], "concurrency = 4, " .. DURABLE)
    local ids = { begin("sleeps"), begin("stubborn"), begin("steps"), begin("ends") }
    ids[5] = items(5)
    local c = t:connect("/api/progress", { user = "ann" })
    t:advance(1.5)
    local answer = cancel(ids[5])
    assert.same({ 202, "queued" }, { answer.status, answer.json.status })
    t:advance(0.01)
    assert.equal("cancelled", look(ids[5]).status)
    for i = 1, 4 do assert.equal(202, cancel(ids[i]).status) end
    assert.equal(202, cancel(ids[1]).status) -- again
    t:advance(1)
    local function statuses()
      local list = {}
      for i, id in ipairs(ids) do list[i] = look(id).status:sub(1, 3) end
      return list
    end
    assert.same({ "run", "run", "can", "can", "can" }, statuses()) -- what was cancelled first is so at its end
    t:advance(5)
    assert.same({ "can", "can", "can", "can", "can" }, statuses())
    assert.same({ "closed " .. ids[1] }, t:log("warn"))
    assert.equal(5, c:count("job-cancelled"))
    assert.equal("cancelled", c:events("job-cancelled")[1].data.status)
    assert.equal(0, c:count("job-complete"))
    assert.equal(200, cancel(ids[1]).status)
    local before = c:count("progress")
    t:advance(60)
    assert.equal(before, c:count("progress"))
    local other = items(1)
    t:advance(1)
    assert.same({ 200, "success" }, { cancel(other).status, look(other).status })
  end)

  it("that end in the same instant as they are cancelled have one end", function()
    for n = 0, 8 do
      start('jobs:define("brief", function() sluice.sleep(1) return "done" end)', DURABLE)
      local c, id = t:connect("/api/progress", { user = "ann" }), begin("brief")
      t:advance(0.996 + n / 1000)
      local status = cancel(id).status
      t:advance(1)
      assert.equal(1, c:count("job-cancelled") + c:count("job-complete"))
      local is = look(id).status
      assert.equal(c:count("job-cancelled") == 1 and "cancelled" or "success", is)
      if is == "cancelled" then assert.equal(202, status) end
      t:kill()
      assert.equal(is, look(id).status)
      kit.stop_all()
    end
  end)

  it("go on at their last checkpoint after reloads and a kill, each item once", function()
    start([[
      app:channel("done", { history = 1000, rewind = "all", durable = true })
      app:stream("/done", "done")
      jobs:define("batch", function(job, args)
        for i = (job.saved and job.saved.i or 0) + 1, args.n do
          sluice.sleep(0.05)
          app:publish("done", "item", { i = i, attempt = job.attempt }, { idempotency = job.id .. "/" .. i })
          job:progress(i)
          job:checkpoint({ i = i })
        end
      end)]], DURABLE)
    local id = begin("batch", { args = { n = 100 }, total = 100 })
    for _ = 1, 4 do
      t:advance(0.52)
      assert(t:reload())
    end
    t:advance(0.23)
    t:kill()
    assert.is_true(look(id).processed >= 40)
    t:wait(10, function() return look(id).ended end)
    local list = t:connect("/done"):events("item")
    for i = 1, 100 do assert.equal(i, list[i].data.i) end
    assert.same({ 100, 6 }, { #list, list[100].data.attempt })
    assert.equal("success", look(id).status)
    t:kill() -- a job that has ended is remembered too
    assert.same({ "job-complete" }, told(follow(id)))
    assert.same({}, t:log("error"))
  end)

  it("in memory survive a reload and not a restart", function()
    start()
    local id = items(30)
    t:advance(1)
    reload()
    t:advance(0.5)
    assert.is_true(look(id).processed > 12)
    assert.equal(2, look(id).attempt)
    t:restart()
    assert.equal(404, t:get("/api/jobs/" .. id, { user = "ann" }).status)
  end)

  it("go on after a clean restart, and in order", function()
    start(nil, "concurrency = 1, " .. DURABLE)
    local ids = { items(10), items(10), items(10) }
    t:advance(0.5)
    t:restart()
    t:wait(10, function() return look(ids[1]).ended end)
    assert.same({ "running", "queued" }, { look(ids[2]).status, look(ids[3]).status })
    t:wait(10, function() return look(ids[3]).ended end)
    assert.is_true(look(ids[2]).ended < look(ids[3]).ended)
    assert.same({ "success", 10, 1 }, { look(ids[3]).status, look(ids[3]).result.done, look(ids[3]).attempt })
  end)

  it("of a kind that is no longer defined wait until it is, and can be cancelled", function()
    local KIND = 'jobs:define("gone", function(job) for i = (job.saved or 0) + 1, 50 do sluice.sleep(0.1) '
      .. 'job:checkpoint(i) end end)'
    start(KIND, "concurrency = 2, " .. DURABLE)
    local running, queued, third = begin("gone"), begin("gone"), begin("gone")
    t:advance(1)
    reload(nil, "concurrency = 2, " .. DURABLE)
    t:advance(0.2)
    assert.matches("3 of kind 'gone' wait", table.concat(t:log("warn"), "\n"))
    local other = items(3)
    t:advance(2)
    assert.equal("success", look(other).status)
    assert.same({ "queued", "queued" }, { look(running).status, look(queued).status })
    assert.equal(202, cancel(third).status)
    t:advance(0.1)
    assert.equal("cancelled", look(third).status)
    t:kill()
    t:advance(1)
    assert.equal("queued", look(running).status)
    reload(KIND, "concurrency = 2, " .. DURABLE)
    t:advance(4.5)
    assert.same({ "success", 2 }, { look(running).status, look(running).attempt })
    assert.equal("success", look(queued).status)
  end)

  it("go on when a version of the app that has none comes between", function()
    start(nil, DURABLE)
    local id, ended = items(20), items(1)
    t:advance(1.05)
    assert(t:reload(kit.source("")))
    t:advance(10)
    reload(nil, DURABLE)
    t:advance(1.2)
    assert.same({ "success", "success" }, { look(id).status, look(ended).status })
  end)

  it("move into a store that a reload brings, and stay when it takes it away", function()
    start()
    local id, ended = items(40), items(1)
    t:advance(1)
    reload(nil, DURABLE)
    t:advance(1)
    t:kill()
    assert.equal("success", look(ended).status)
    assert.is_true(look(id).processed >= 18)
    reload()
    t:advance(3)
    assert.equal("success", look(id).status)
    reload(nil, DURABLE)
    t:advance(0.1)
    t:kill()
    assert.equal("success", look(id).status)
    assert.same({}, t:log("error"))
  end)

  it("are remembered for a while, and then forgotten with all that was told", function()
    start(nil, "keep = 100, " .. DURABLE)
    local id = items(1, { id = "a" })
    t:advance(50)
    t:kill()
    assert.same({ "job-complete" }, told(t:connect("/api/progress", { user = "ann" })))
    t:advance(52)
    assert.equal(404, t:get("/api/jobs/" .. id, { user = "ann" }).status)
    assert.equal(404, follow(id).status)
    assert.same({}, told(t:connect("/api/progress", { user = "ann" })))
    local left = 0
    for _ in t:store("jobs"):each() do left = left + 1 end
    assert.equal(0, left)
    assert.equal("queued", t:post("/api/start/items", { user = "ann",
      json = { id = "a", args = { n = 1 } } }).json.status)
  end)

  it("are not started, and not there, when the disk refuses", function()
    start(nil, DURABLE)
    t:disk { full = true }
    local answer = t:post("/api/start/items", { user = "ann", json = { id = "a", args = { n = 1 } } })
    assert.same({ 503, "ESTORE" }, { answer.status, answer.json.error.code })
    assert.equal(0, t:get("/api/jobs", { user = "ann" }).json.total)
    t:disk { full = false }
    assert.same({}, told(t:connect("/api/progress", { user = "ann" })))
    items(1, { id = "a" })
    t:advance(1)
    assert.equal("success", look("a").status)
    t:kill()
    assert.equal(1, t:get("/api/jobs", { user = "ann" }).json.total)
  end)

  it("wait at a checkpoint, and with their end, until the disk takes it", function()
    start(nil, DURABLE)
    local id = items(10)
    local c = follow(id)
    t:advance(0.55)
    t:disk { full = true }
    t:advance(20)
    assert.is_true(look(id).processed <= 6)
    t:disk { full = false }
    t:advance(1.35)
    t:disk { full = true }
    t:advance(5)
    t:disk { full = false }
    c:wait_for("job-complete", 5)
    local brief = items(1)
    local b = follow(brief)
    t:advance(0.05)
    t:disk { hung = true }
    t:advance(20)
    assert.equal(0, b:count("job-complete"))
    t:kill()
    t:disk { hung = false }
    follow(brief):wait_for("job-complete", 5)
    assert.equal(10, look(id).result.done)
  end)

  it("of a removed user go on until somebody cancels them, and no later user with that id starts them again", function()
    start()
    local id = items(100, nil, "bob")
    assert.equal(1, t:get("/api/jobs?owner=bob", { user = ADMIN }).json.total)
    assert.equal(202, cancel(id, ADMIN).status)
    t:advance(1)
    assert.equal("cancelled", look(id, "bob").status)
  end)

  it("refuse what cannot be kept, by field", function()
    start(nil)
    local function refused(body)
      local answer = t:post("/api/start/items", { user = "ann", json = body })
      return { answer.status, answer.json.error.code, answer.json.error.field }
    end
    assert.same({ 422, "EBADFIELD", "id" }, refused { id = "a/b" })
    assert.same({ 422, "EBADFIELD", "id" }, refused { id = true })
    assert.same({ 422, "EBADFIELD", "owner" }, refused { owner = ("x"):rep(65) })
    assert.same({ 422, "EBADFIELD", "total" }, refused { total = -1 })
    assert.same({ 413, "ETOOBIG" }, refused { args = { text = ("x"):rep(1 << 20) } })
    assert.equal(0, t:get("/api/jobs", { user = "ann" }).json.total)
  end)

  it("work from Lua: get, list, cancel, fields, progress from elsewhere", function()
    start [[
      app:get("/lua", function()
        local out = {}
        local job = jobs:start("items", { id = "a", owner = 7, args = { n = 3 }, total = 3 })
        out.args, out.owner, out.saved, out.cancelled = job.args.n, job.owner, job.saved, job.cancelled
        out.same = jobs:get("a").id
        out.none = select(3, jobs:get("b"))
        out.cancel = select(3, jobs:cancel("b"))
        out.odd = select(3, jobs:get(nil))
        sluice.sleep(0.25)
        out.saved = job.saved
        out.ok = job:progress(2.0, { total = 4.0 })
        out.total, out.percentage = job.total, job.percentage
        out.back = job:progress(1) and job.processed
        sluice.sleep(0.3)
        out.status, out.result = job.status, job.result.done
        out.over = select(3, job:progress(5))
        out.late = select(3, job:cancel())
        out.listed = #jobs:list { owner = 7, status = "success" } + #jobs:list { status = "failed" }
        out.channel, out.bad = jobs:channel(7), select(4, jobs:channel("a b"))
        local _, why = pcall(jobs.start, jobs, "item")
        out.why = why
        local _, typo = pcall(function() return job.procesed end)
        out.typo = typo
        return out
      end)]]
    local out = t:get("/lua").json
    assert.matches('there is no jobs:define%("item"', out.why)
    assert.matches("did you mean job.processed", out.typo)
    out.why, out.typo = nil, nil
    assert.same({ args = 3, owner = "7", cancelled = false, same = "a", none = "ENOTFOUND", cancel = "ENOTFOUND",
      odd = "ENOTFOUND", saved = 2, ok = true, total = 4, percentage = 66, back = 2, status = "success", result = 3,
      over = "ECONFLICT", late = "ECONFLICT", listed = 1, channel = "jobs/7", bad = "owner" }, out)
  end)

  it("that a handler does itself end with it, whatever becomes of it", function()
    start([[
      app:post("/api/do/:what", function(req)
        return jobs:attend("hand", { id = req.params.what, owner = req.user.id, total = 4 }, function(job)
          for i = 1, 4 do
            sluice.sleep(1)
            job:progress(i)
            job:checkpoint(i)
            if req.params.what == "fails" then error("no more") end
            if req.params.what == "aborts" then req:abort(409, "taken") end
            if req.params.what == "idiom" then return nil, "not allowed", "EDENIED" end
          end
          return { sum = 10 }
        end)
      end)
      app:post("/api/later/:what", function(req)
        app:spawn(function()
          jobs:attend("hand", { id = req.params.what, owner = req.user.id }, function(job)
            for i = 1, 100 do sluice.sleep(1) job:progress(i) end
          end)
        end)
      end)]], DURABLE)
    local function act(what) return t:post("/api/do/" .. what, { user = "ann" }) end
    assert.same({ sum = 10 }, act("works").json)
    assert.same({ "success", 100, 10 }, { look("works").status, look("works").percentage, look("works").result.sum })
    assert.same({ 422, 500, 409, 403 }, { act("works").status, act("fails").status, act("aborts").status,
      act("idiom").status })
    t:advance(0.1)
    assert.same({ "no more", "not allowed" }, { look("fails").error, look("idiom").error })
    assert.equal("failed", look("aborts").status)
    t:post("/api/later/x", { user = "ann" })
    t:advance(2.5)
    assert.equal("running", look("x").status)
    assert.equal(202, cancel("x").status)
    t:advance(1)
    assert.equal("cancelled", look("x").status)
    t:post("/api/later/y", { user = "ann" })
    t:advance(2.5)
    reload(nil, DURABLE)
    t:advance(6)
    assert.matches("closed before its end", look("y").error)
    reload([[app:post("/api/later/:what", function(req)
      app:spawn(function()
        jobs:attend("hand", { id = req.params.what, owner = "ann" }, function() sluice.sleep(99) end)
      end)
    end)]], DURABLE)
    t:post("/api/later/z", { user = "ann" })
    t:advance(0.5)
    t:kill()
    t:advance(0.5)
    local z = look("z")
    assert.same({ 1, "failed", "the server ended before it" }, { z.attempt, z.status, z.error })
    local s = t:state("jobs")
    assert.same({ 0, 0 }, { s.open, s.flying })
  end)

  -- jobs:cancel from Lua, as { ok, code }.
  local CANCEL = [[
    jobs:define("sleep", function(job, args) sluice.sleep(args.s) return "done" end)
    jobs:define("nothing", function(job, args) sluice.sleep(args.s) end)
    app:post("/cancel/:id", function(req)
      local ok, _, code = jobs:cancel(req.params.id)
      return 200, { ok = ok, code = code }
    end)]]

  it("are cancelled when the disk has it and not before, however often it is tried", function()
    start(CANCEL, "concurrency = 1, " .. DURABLE)
    begin("sleep", { id = "runs", args = { s = 5 } })
    begin("sleep", { id = "waits", args = { s = 1 } })
    t:advance(1)
    t:disk { full = true }
    for _, id in ipairs { "runs", "waits", "runs", "waits" } do
      assert.same({ code = "ESTORE" }, t:post("/cancel/" .. id).json)
    end
    t:disk { full = false }
    t:advance(20)
    for _, id in ipairs { "runs", "waits" } do
      assert.same({ "success", "done" }, { look(id).status, look(id).result })
    end
    begin("sleep", { id = "later", args = { s = 100 } })
    t:advance(1)
    assert.same({ ok = true }, t:post("/cancel/later").json)
    assert.same({ ok = true }, t:post("/cancel/later").json)
    t:kill()
    t:advance(1)
    assert.same({ ok = true }, t:post("/cancel/later").json)
    assert.equal("cancelled", look("later").status)
  end)

  it("that have ended are not cancelled while the disk does not take their end", function()
    start(CANCEL, DURABLE)
    begin("sleep", { id = "a", args = { s = 1 } })
    t:advance(0.5)
    t:disk { full = true }
    t:advance(3)
    local answer = cancel("a")
    assert.same({ 503, "EBUSY" }, { answer.status, answer.json.error.code })
    t:disk { full = false }
    t:advance(3)
    assert.same({ 200, "success" }, { cancel("a").status, look("a").status })
  end)

  it("keep their end when the store is full, but for a result that has no room", function()
    local FILL = [[
      local fill = app:store("fill")
      app:post("/fill", function()
        local i = 0
        for _, size in ipairs { 8000000, 1000000, 100000, 10000, 1000, 100, 10, 1 } do
          while fill:set(("k%06d"):format(i), ("x"):rep(size)) do i = i + 1 end
        end
      end)
      app:post("/room/:bytes", function(req)
        for key, text in fill:each() do
          if #text > 900 and #text <= 1000 then
            return fill:set(key, text:sub(1, -1 - tonumber(req.params.bytes))) and 204
          end
        end
      end)
      app:post("/empty", function() for key in fill:each() do fill:delete(key) end end)]]
    start(CANCEL .. FILL, DURABLE)
    for id, kind in pairs { a = "nothing", b = "nothing", c = "sleep" } do
      begin(kind, { id = id, args = { s = 5 } })
    end
    t:advance(1)
    t:post("/fill")
    assert.equal(204, t:post("/room/5").status)
    assert.same({ code = "EFULL" }, t:post("/cancel/a").json)
    assert.equal(204, t:post("/room/15").status)
    assert.same({ ok = true }, t:post("/cancel/b").json)
    t:advance(10)
    t:post("/empty")
    t:advance(3)
    assert.same({ "success", "cancelled", "failed" }, { look("a").status, look("b").status, look("c").status })
    assert.matches("no room in the store", look("c").error)
  end)

  it("forget the oldest results, and none that came last, when there are 64 MiB", function()
    start([[
      jobs:define("much", function() return ("x"):rep((1 << 20) - 8) end)
      app:post("/many", function()
        for i = 1, 24 do jobs:start("much", { id = "m" .. i, owner = "ann" }) end
      end)
      app:post("/args", function()
        local n = 0
        while jobs:start("items", { id = "i" .. n, args = { n = 1, ("x"):rep(1000000) } }) do n = n + 1 end
        return 200, n
      end)
      app:get("/successes", function() return 200, #jobs:list { status = "success" } .. " of " .. #jobs:list() end)]],
      DURABLE .. ", keep = 600")
    local book = require("sluice.jobs.room")
    local most <close> = setmetatable({ book.BYTES_MAX }, { __close = function(old) book.BYTES_MAX = old[1] end })
    book.BYTES_MAX = most[1] // 4
    t:post("/many")
    t:advance(5)
    local s = t:state("jobs")
    assert.is_true(s.bytes <= book.BYTES_MAX and s.bytes > book.BYTES_MAX // 2, s.bytes)
    assert.same({ 404, "success" }, { t:get("/api/jobs/m1", { user = "ann" }).status, look("m24").status })
    assert.equal("16 of 16", t:get("/successes").body)
    assert.equal("16", t:post("/args").body) -- what has ended makes room for what begins
    t:advance(700)
    assert.same({ 0, 0 }, { s.bytes, s.open })
  end)

  it("have one value each in the state, and beyond a number the oldest ended ones are forgotten", function()
    start([[
      jobs:define("brief", function(job) job:progress(1) end)
      app:get("/values", function() return 200, #app:newest("jobs/ann", { limit = 1000 }) end)]],
      "concurrency = 30, " .. DURABLE)
    local book = require("sluice.jobs.room")
    local most <close> = setmetatable({ book.ENDED_MAX }, { __close = function(old) book.ENDED_MAX = old[1] end })
    assert.equal(10000, most[1])
    book.ENDED_MAX = 5
    local long = items(1000)
    local c = t:connect("/api/progress", { user = "ann" })
    for i = 1, 20 do
      begin("brief", { id = "b" .. i })
      t:advance(0.1)
    end
    t:advance(2)
    assert.equal("6", t:get("/values").body)
    assert.same({ 15, 20 }, { c:count("removed"), c:count("job-complete") })
    assert.equal("b1", c:events("removed")[1].data.key)
    assert.same({ 404, "success" }, { t:get("/api/jobs/b15", { user = "ann" }).status, look("b16").status })
    t:kill()
    assert.same({ "job-complete" }, told(follow("b20")))
    local late = t:connect("/api/progress", { user = "ann" })
    t:advance(1)
    local ids = {}
    for _, e in ipairs(late:events("job-complete")) do ids[#ids + 1] = e.data.jobId end
    table.sort(ids)
    assert.same({ "b16", "b17", "b18", "b19", "b20" }, ids)
    assert.equal(long, late:wait_for("progress", 1).data.jobId)
    assert.equal("6", t:get("/values").body)
  end)

  it("tell again after a start what had ended, in that order", function()
    start([[jobs:define("brief", function(job, args) sluice.sleep(args.s) end)]], "concurrency = 30, " .. DURABLE)
    for i = 1, 20 do begin("brief", { id = "b" .. i, args = { s = 21 - i } }) end
    t:advance(30)
    t:kill()
    t:advance(1)
    local ids = told(t:connect("/api/progress", { user = "ann" }), "jobId")
    for i = 1, 20 do assert.equal("b" .. 21 - i, ids[i]) end
  end)

  it("tell their end without the result when fields and result are too much for an event together", function()
    start [[
      jobs:define("much", function(job)
        job:progress(1, { f = ("x"):rep(16300) })
        return ("r"):rep(32700)
      end)
      app:post("/much", function()
        jobs:start("much", { id = "a", owner = "ann", fields = { g = ("y"):rep(16300) } })
      end)]]
    local c = t:connect("/api/progress", { user = "ann" })
    t:post("/much")
    local data = c:wait_for("job-complete", 2).data
    assert.same({ 32702, nil, 16300 }, { data.resultBytes, data.result, #data.f })
    assert.equal(32700, #look("a").result)
    assert.same({}, t:log("error"))
  end)

  it("say why they failed without the place in the code, whatever its file is called", function()
    start([[
      local lib = require("a b: c")
      jobs:define("far", lib.fail)
      jobs:define("again", function() local ok, why = pcall(lib.fail) error(why, 0) end)
      jobs:define("twice", function() local ok, why = pcall(lib.fail) error(why) end)
      jobs:define("host", function() error("db:5432: refused", 0) end)]], nil,
      { files = { ["a b: c.lua"] = 'return { fail = function() error("no room") end }' } })
    for _, kind in ipairs { "far", "again", "twice" } do assert.equal("no room", outcome(kind).error) end
    assert.equal("db:5432: refused", outcome("host").error)
  end)

  it("whose kind is gone say that they wait, and are the same job for whoever starts them again", function()
    start(CANCEL, DURABLE)
    local id = begin("sleep", { id = "a", args = { s = 100 } })
    t:advance(1)
    local c = follow(id)
    assert.equal("running", c:events("progress")[1].data.status)
    reload(nil, DURABLE)
    t:advance(10)
    assert.equal("queued", c:events("progress")[c:count("progress")].data.status)
    assert.equal(id, begin("sleep", { id = "a", args = { s = 100 } }))
    assert.equal(422, t:post("/api/start/sleep", { user = "bob", json = { id = "a" } }).status)
    assert.equal(500, t:post("/api/start/sleep", { user = "ann", json = { id = "b" } }).status)
  end)

  it("refuse fields without names", function()
    start [[app:post("/list", function()
      local _, _, code, field = jobs:start("items", { fields = { "a" } })
      return 200, { code, field }
    end)]]
    assert.same({ "EBADFIELD", "fields" }, t:post("/list").json)
  end)

  it("of two modules with names of their own have nothing in common", function()
    start [[
      local more = require("sluice.jobs").new(app, { name = "more" })
      more:define("items", function() return "other" end)
      more:routes("/api/more")
      app:post("/more", function() return 200, more:start("items", { id = "a", owner = "ann" }).id end)]]
    items(1, { id = "a" })
    t:post("/more")
    t:advance(1)
    assert.same({ "other", 1 }, { t:get("/api/more/a", { user = "ann" }).json.result, look("a").result.done })
  end)

  it("say at load what is wrong", function()
    start()
    local function refused(text)
      local ok, message = t:reload(kit.source('local J = require("sluice.jobs")\n' .. text))
      assert.is_nil(ok)
      return message
    end
    assert.matches("did you mean 'concurrency'", refused("J.new(app, { concurency = 1 })"))
    assert.matches("concurrency is an integer from 1", refused("J.new(app, { concurrency = 0 })"))
    assert.matches("max_rate is a number", refused("J.new(app, { max_rate = 0 })"))
    assert.matches("name 'a b'", refused('J.new(app, { name = "a b" })'))
    assert.matches("defined already", refused('local j = J.new(app) j:define("a", print) j:define("a", print)'))
    assert.matches("fn is a function, not a nil", refused('J.new(app):define("a")'))
    assert.matches("declared twice", refused("J.new(app) J.new(app)"))
    assert.matches("jobs.new stands above", refused('J.new(app) app:store("x")'))
    assert.matches("did you mean jobs:start", refused('local j = J.new(app) j:strt("a")'))
  end)
end)
