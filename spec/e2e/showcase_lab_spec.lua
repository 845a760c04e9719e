--- The second server of the showcase, behind a lab: where it is, what a visitor may do to it and what not, and what a
--- reader of its stream sees then.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lab = require("spec.support.lab")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local PATH = "examples/showcase/app.lua"
local PAGE = "http://page.example"

local function post(s, what, body)
  return http.post(s.port, "/api/lab/" .. what, body and json.encode(body) or "",
    body and { ["Content-Type"] = "application/json" } or {})
end

-- Both servers, and the lab.
local function start()
  local l = lab.start("http://127.0.0.1:0/api/showcase", { "--", lab.SLUICE, "run", lfs.currentdir() .. "/" .. PATH,
    "--demo", "--no-watch", "--drain", "0", "--io-threads", "1" }, { SHOWCASE_ORIGINS = PAGE .. " http://b.example" })
  local s = server.start { path = PATH, args = { "--demo" }, env = { SHOWCASE_LAB = l.url,
    SHOWCASE_LAB_CONTROL = ("http://127.0.0.1:%d/lab"):format(l.control) } }
  return s, l
end

describe("the second server of the showcase", function()
  after_each(function() process.stop_all() end)

  it("sends the same stream to the page of the first; a visitor may cut it, slow it, and take its memory", function()
    local s, l = start()
    local answer = deadline.eventually(function()
      local got = http.get(s.port, "/api/lab")
      return got.status == 200 and got
    end, 10)
    local url = json.decode(answer.body).url
    local path = url:match("^http://127.0.0.1:" .. l.port .. "(/api/showcase%?.*)$")
    assert.truthy(path, url)

    local function connect(id)
      return deadline.eventually(function()
        local ok, c = pcall(sse.connect, l.port, path, { headers = { Origin = PAGE }, last_event_id = id })
        return ok and c.is_stream and c
      end, 20)
    end
    local function hello(c) return json.decode(assert(c:wait_for("hello", 10)).data) end

    local c = connect()
    assert.equal(PAGE, c.headers["access-control-allow-origin"])
    local first = hello(c)
    for _, name in ipairs({ "metrics-update", "system-metrics", "price-update", "telemetry" }) do -- it lives
      assert(c:wait_for(name, 20))
    end

    assert.equal(204, post(s, "slow", { bytesPerSecond = 100000, seconds = 1 }).status)
    assert.equal(100000, l.wait_said("slow").bytesPerSecond)
    assert.equal(204, post(s, "cut").status)
    assert.equal("closed", c:wait_end(10))
    c = connect(c.last_id)
    local second = hello(c)
    assert.same({ true, first.epoch }, { second.resumed, second.epoch })

    assert.equal(204, post(s, "epoch").status)
    assert.equal(429, post(s, "epoch").status)
    assert.equal("closed", c:wait_end(10))
    c = connect(c.last_id)
    local third = hello(c)
    assert.same({ false, true }, { third.resumed, third.epoch ~= first.epoch })
    assert.equal("epoch", json.decode(assert(c:wait_for("reset")).data).reason)
    assert.equal(1, l.state().happened.cut)
  end)

  it("is 404 without one, and when it does not run; the log says why", function()
    local s = server.start { path = PATH, args = { "--demo" } }
    for _, got in ipairs({ http.get(s.port, "/api/lab"), post(s, "cut"), post(s, "epoch"),
      post(s, "slow", { bytesPerSecond = 200, seconds = 10 }) }) do
      assert.equal(404, got.status)
      assert.truthy(json.decode(got.body).error.message:find("sluice demo"))
    end
    local c = sse.connect(s.port, "/api/showcase", { headers = { Origin = PAGE } })
    assert.is_nil(c.headers["access-control-allow-origin"])
    s = server.start { path = PATH, args = { "--demo" }, env = { SHOWCASE_LAB = "http://127.0.0.1:9/api/showcase",
      SHOWCASE_LAB_CONTROL = "http://127.0.0.1:9/lab" } }
    assert.equal(404, http.get(s.port, "/api/lab").status)
    s.wait_log("there is no second server to break: ")
  end)

  it("is not slowed for long, and not to nothing", function()
    local s = server.start { path = PATH, args = { "--demo" } }
    for _, body in ipairs({ { bytesPerSecond = 0, seconds = 1 }, { bytesPerSecond = 1e9 // 1, seconds = 1 },
      { bytesPerSecond = 1, seconds = 61 }, { bytesPerSecond = 1, seconds = 0 }, { seconds = 1 } }) do
      assert.equal(422, post(s, "slow", body).status)
    end
  end)
end)

describe("sluice demo", function()
  after_each(function() process.stop_all() end)

  -- Programs that this one has started.
  local function children(pid)
    return process.read_file(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  end

  it("starts a second server behind a lab, and leaves neither behind, not even when it is killed", function()
    for _, way in ipairs({ "stop", "kill" }) do
      local p = process.spawn({ lab.SLUICE, "demo", "--port", "0", "--no-watch" }, {})
      local port = deadline.eventually(function()
        return p:log():match("serving [^\n]* on http://127.0.0.1:(%d+)")
      end, 20)
      local url = deadline.eventually(function()
        local got = http.get(tonumber(port) // 1 | 0, "/api/lab")
        return got.status == 200 and json.decode(got.body).url
      end, 30)
      local own, path = url:match("^http://127.0.0.1:(%d+)(/.*)$")
      local c = deadline.eventually(function()
        local ok, got = pcall(sse.connect, tonumber(own) // 1 | 0, path, { headers = {
          Origin = "http://localhost:" .. port } })
        return ok and got.is_stream and got
      end, 30)
      assert.equal("http://localhost:" .. port, c.headers["access-control-allow-origin"])
      assert(c:wait_for("metrics-update", 20))
      local pids = {}
      for pid in children(p.pid):gmatch("%d+") do
        pids[#pids + 1] = pid
        for more in children(tonumber(pid) // 1 | 0):gmatch("%d+") do pids[#pids + 1] = more end
      end
      assert.equal(2, #pids)
      p[way](p)
      for _, pid in ipairs(pids) do
        deadline.eventually(function() return not process.read_file("/proc/" .. pid .. "/status") end, 15)
      end
      c:close()
    end
  end)
end)
