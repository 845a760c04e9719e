--- A durable channel on a real server with a folder: killed at random while many publish, started
--- again, and asked for all that it acknowledged.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")
local sse = require("spec.support.sse")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:channel("log", { history = 100000, durable = true })
app:channel("values", { history = "latest", key = "k", durable = true })
app:stream("/log", "log")
app:post("/burst/:first", function(req)
  local done = {}
  for i = 0, 31 do
    app:spawn(function()
      local n = tonumber(req.params.first) + i
      local id, message = app:publish("log", "e", { n = n })
      done[#done + 1] = id and { n = n, id = id } or { message = message }
    end)
  end
  while #done < 32 do sluice.sleep(0.001) end
  return done
end)
app:post("/value", function() return { (app:publish("values", "v", { k = "a", at = 7 })) } end)
app:get("/value", function() return { (app:latest("values")) } end)
return app
]]

local function post(s, path)
  return http.post(s.port, path, "{}", { ["Content-Type"] = "application/json" })
end

describe("a durable channel", function()
  local folder
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    server.stop_all()
    process.remove_dir(folder)
  end)
  local function start(app)
    return server.start { app = app or APP, args = { "--data", folder .. "/data", "--drain", "0.1" } }
  end

  it("loses nothing that was answered, over kill -9", function()
    local known, n, begin = {}, 0, nil
    for round = 1, 4 do
      local s = start()
      for _ = 1, 3 do
        local rows = json.decode(post(s, "/burst/" .. n).body)
        for _, row in ipairs(rows) do known[#known + 1] = row end
        n = n + 32
      end
      local late = assert(http.connect(s.port)) -- not answered, perhaps: its numbers may be missing
      late:send(http.request_text("POST", "/burst/" .. 1000000 * round, { ["Content-Type"] = "application/json" },
        "{}", late.host))
      if round % 2 == 1 then s.kill() else assert.equal(0, s.stop()) end
      late:close()
      begin = begin or known[1].id:match("^%w+%-") .. "0"
    end
    local s = start()
    local c = sse.connect(s.port, "/log", { last_event_id = begin })
    local got, last, left = {}, 0, deadline.after(20)
    while not got[known[#known].id] do
      local event = assert(c:next_event(left()))
      assert.are_not.equal("reset", event.event)
      if event.event == "e" then
        local seq = math.tointeger(tonumber(event.id:match("%-(%d+)$")))
        assert.is_true(seq > last, "numbers rise")
        got[event.id], last = json.decode(event.data).n, seq
      end
    end
    for _, row in ipairs(known) do assert.equal(row.n, got[row.id]) end
    c:close()
  end)

  it("belongs to one server at a time", function()
    start()
    local code, output = server.run_to_end { app = APP, args = { "--data", folder .. "/data" } }
    assert.equal(75, code, output)
    assert.matches("another process", output)
  end)

  it("keeps a state, and says that it was closed", function()
    local s = start()
    assert.equal(200, post(s, "/value").status)
    assert.equal(0, s.stop())
    s = start()
    assert.same({ { k = "a", at = 7 } }, json.decode(http.get(s.port, "/value").body))
    assert.is_nil(s.log():find("did not close it", 1, true))
    s.kill()
    s = start()
    s.wait_log("did not close it")
  end)

  it("is deleted, with a warning, by a start with an app that does not declare it", function()
    local s = start()
    post(s, "/burst/0")
    post(s, "/value")
    s.kill()
    s = start((APP:gsub(", durable = true", "")))
    local line = s.log():match("warn[^\n]*deleted what was stored of[^\n]*")
    assert.matches("'log' (32 events)", line, 1, true)
    assert.matches("'values' (1 newest value)", line, 1, true)
    assert.matches("only a backup brings it back", line)
  end)
end)
