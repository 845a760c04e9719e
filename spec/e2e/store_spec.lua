--- app:store and durable tasks on a real server with a folder: killed while many write, started again, and asked
--- for all that it acknowledged.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local values, ran = app:store("values"), app:store("ran")
app:task("mark", function(id) assert(ran:set(id, (ran:get(id) or 0) + 1)) end)
app:post("/burst/:round", function(req)
  local round, known, left = tonumber(req.params.round), { values = {}, tasks = sluice.json.array() }, 64
  for i = 1, 32 do
    app:spawn(function()
      if values:set("k" .. i, round) then known.values["k" .. i] = round end
      left = left - 1
    end)
    app:spawn(function()
      local id = app:after(i % 4 * 0.3, "mark", round .. "-" .. i, { id = round .. "-" .. i, durable = true })
      if id then table.insert(known.tasks, id) end
      left = left - 1
    end)
  end
  while left > 0 do sluice.sleep(0.001) end
  return known
end)
app:post("/delete", function() return { values:delete("k1") } end)
app:get("/all", function()
  local all = { values = {}, ran = {} }
  for key, value in values:each() do all.values[key] = value end
  for key, value in ran:each() do all.ran[key] = value end
  return all
end)
return app
]]

describe("what an app keeps", function()
  local folder
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    server.stop_all()
    process.remove_dir(folder)
  end)
  local function start() return server.start { app = APP, args = { "--data", folder .. "/data", "--drain", "0.1" } } end
  local function post(s, path) return http.post(s.port, path, "{}", { ["Content-Type"] = "application/json" }) end
  local function all(s) return json.decode(http.get(s.port, "/all").body) end

  it("is there after kill -9, and what is due runs", function()
    local tasks, last = {}, {}
    for round = 1, 4 do
      local s = start()
      local known = json.decode(post(s, "/burst/" .. round).body)
      for key, value in pairs(known.values) do last[key] = value end
      for _, id in ipairs(known.tasks) do tasks[#tasks + 1] = id end
      assert.equal(32 * round, #tasks)
      local late = assert(http.connect(s.port)) -- not answered, perhaps: its values may be there
      late:send(http.request_text("POST", "/burst/1" .. round, { ["Content-Type"] = "application/json" }, "{}",
        late.host))
      if round % 2 == 1 then s.kill() else assert.equal(0, s.stop()) end
      late:close()
    end
    local s = start()
    for key, value in pairs(last) do
      local got = all(s).values[key]
      assert.is_true(got == value or got >= 10, key)
    end
    deadline.eventually(function()
      local ran = all(s).ran
      for _, id in ipairs(tasks) do
        if not ran[id] then return false end
      end
      return true
    end, 20, "every task that was acknowledged runs")
  end)

  it("begins with the first durable task of an app without a store", function()
    local app = [[
      local app = require("sluice").app()
      app:channel("log", { history = 10 })
      app:task("say", function(data) app:publish("log", "said", data) end)
      app:post("/after", function() return { id = app:after(0.5, "say", { n = 1 }, { durable = true, id = "x" }) } end)
      app:get("/history", function() return app:history("log") end)
      return app]]
    local options = { app = app, args = { "--data", folder .. "/data" } }
    local s = server.start(options)
    assert.is_nil(process.read_file(folder .. "/data/sluice.db"))
    assert.same({ id = "x" }, json.decode(post(s, "/after").body))
    s.kill()
    s = server.start(options)
    deadline.eventually(function()
      return #json.decode(http.get(s.port, "/history").body) > 0
    end, 10, "the task runs")
  end)

  it("survives a reload, a deletion does too, and a second process is refused", function()
    local s = start()
    post(s, "/burst/1")
    assert.same({ true }, json.decode(post(s, "/delete").body))
    process.write_file(s.folder .. "/app.lua", APP .. "-- changed")
    s.signal("HUP")
    s.wait_log("reload #2")
    assert.is_nil(all(s).values.k1)
    assert.equal(1, all(s).values.k2)
    local code, output = server.run_to_end { app = APP, args = { "--data", folder .. "/data" } }
    assert.equal(75, code, output)
  end)
end)
