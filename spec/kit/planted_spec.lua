--- Mistakes that are easily made, planted into small apps: specs written with the kit find each
--- of them, and pass without it. A check is what a user's spec would say, in a few lines.
local kit = require("spec.support.kit")
local process = require("spec.support.process")
local testing = require("sluice.testing")

-- The app as it stands, without its page, and with a part of it replaced.
local function source_of(path, from, to)
  local text = process.read_file(path):gsub("app:static%b()\n", "")
  if not from then return text end
  local at, stop = text:find(from, 1, true)
  assert(at, path .. " does not hold " .. from)
  return text:sub(1, at - 1) .. to .. text:sub(stop + 1)
end

local function run(check, source, env)
  local t = testing.start({ source = source }, { env = env })
  local ok, problem = pcall(check, t)
  t:stop()
  if ok then return true end
  return false, type(problem) == "table" and tostring(problem.message) or tostring(problem)
end

-- The check passes on the good source and fails on the other, with words that help.
local function finds(check, path, from, to, words, env)
  assert.same({ true }, { run(check, source_of(path), env) })
  local ok, message = run(check, source_of(path, from, to), env)
  assert.is_false(ok, "the mistake was not found")
  assert.truthy(message:find(words, 1, true), message)
end

describe("a spec on the kit finds", function()
  after_each(kit.stop_all)

  local PROGRESS = "spec/support/progress.lua"
  local MATCH, DESK = "examples/match/app.lua", { DESK_KEY = "k" }

  local function begin(t, user)
    return t:post("/api/jobs", { user = user, json = { items = { "a", "b" } } }).json.jobId
  end

  it("an event that goes to the wrong channel", function()
    finds(function(t)
      local alice = t:connect("/api/job-progress", { user = "alice" })
      local id = begin(t, "alice")
      alice:wait_for("progress", 1, { jobId = id })
    end, PROGRESS, '"jobs/" .. job.owner', '"jobs/" .. id', "no 'progress' that fits within 1 seconds")
  end)

  it("an event that goes to everybody", function()
    finds(function(t)
      local bob = t:connect("/api/job-progress", { user = "bob" })
      begin(t, "alice")
      bob:expect_none("progress", 2)
    end, PROGRESS, [[app:stream("/api/job-progress", function(req) return "jobs/" .. req.user.id end)

local function report(event, id, job)
  app:publish("jobs/" .. job.owner, event, {]], [[app:channel("all", { history = 10 })
app:stream("/api/job-progress", "all")

local function report(event, id, job)
  app:publish("all", event, {]], "unexpected 'progress'")
  end)

  it("a missing owner check", function()
    local function check(t)
      local id = begin(t, "alice")
      assert.equal(404, t:delete("/api/jobs/" .. id, { user = "bob" }).status)
    end
    finds(check, PROGRESS, "if not job or job.owner ~= req.user.id then", "if not job then", "404")
  end)

  it("a read rule that lets everybody in", function()
    local function check(t)
      assert.equal(403, t:connect("/jobs/alice", { user = "bob" }).status)
      assert.equal(200, t:connect("/jobs/alice", { user = "alice" }).status)
    end
    local BY_PATH = 'app:stream("/jobs/:owner", "jobs/:owner")\nreturn app'
    local good = source_of(PROGRESS, "return app", BY_PATH)
    local bad, n = good:gsub("user.id == p.owner", "p.owner ~= nil")
    assert.equal(1, n)
    assert.same({ true }, { run(check, good) })
    assert.is_false((run(check, bad)))
  end)

  it("a timer that runs twice after a reload", function()
    local GOOD = [[
      app:stream("/ticks", "ticks")
      app:every(1, function() app:publish("ticks", "tick", {}) end)]]
    local BAD = [[
      app:stream("/ticks", "ticks")
      app:task("tick", function()
        app:publish("ticks", "tick", {})
        app:after(1, "tick")
      end)
      app:on("start", function() app:after(1, "tick") end)
      app:on("reload", function() app:after(1, "tick") end)]]
    local function check(t)
      local c = t:connect("/ticks")
      t:advance(5)
      assert(t:reload())
      local before = c:count("tick")
      t:advance(10)
      assert.equal(10, c:count("tick") - before)
    end
    assert.same({ true }, { run(check, kit.source(GOOD)) })
    local ok, message = run(check, kit.source(BAD))
    assert.is_false(ok)
    assert.truthy(message:find("20", 1, true), message)
  end)

  it("an event that is lost at a reconnect", function()
    finds(function(t)
      local H = { ["X-API-Key"] = "k" }
      t:put("/api/matches/7", { headers = H })
      local c = t:connect("/api/live-match/7")
      t:post("/api/matches/7/commentary", { headers = H, json = { text = "one" } })
      c:wait_for("commentary")
      c:drop()
      t:post("/api/matches/7/commentary", { headers = H, json = { text = "two" } })
      c:reconnect():wait_for("commentary", 1, { text = "two" })
    end, MATCH, '"match/:id/commentary", { history = 100, rewind = "all"', '"match/:id/commentary", { history = 0',
      "no 'commentary' that fits", DESK)
  end)

  it("an event that falls between a snapshot and its subscription", function()
    local GOOD = [[
      app:channel("score", { history = "latest" })
      app:stream("/score", "score")]]
    local BAD = [[
      app:stream("/score", function(req, client)
        client:send("score", { home = 0 })
        sluice.sleep(0.02) -- asks a database who may see it
        client:subscribe("score")
        sluice.sleep(3600)
      end)]]
    local function check(t)
      local c = t:connect("/score")
      t:publish("score", "score", { home = 1 })
      c:wait_for("score", 1, { home = 1 })
    end
    assert.same({ true }, { run(check, kit.source(GOOD)) })
    local ok, message = run(check, kit.source(BAD))
    assert.is_false(ok)
    assert.truthy(message:find("no 'score' that fits within 1 seconds on /score (status 200); received:", 1, true),
      message)
  end)

  it("a guard that forgets to answer, and a plan that raises", function()
    finds(function(t)
      assert.equal(200, t:connect("/api/job-progress", { user = "alice" }).status)
    end, PROGRESS, "return req.user and true or 401", "local _ = req.user", "returned nil: return true to go on")
    finds(function(t)
      assert.equal(401, t:connect("/api/job-progress").status)
    end, PROGRESS, "return req.user and true or 401", "return true", "attempt to index a nil value (field 'user')")
  end)
end)
