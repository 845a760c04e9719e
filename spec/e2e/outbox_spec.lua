--- An outbox on a real server with a folder: killed at random while letters are added and the other
--- server is down, then asked for every letter that it took.
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")

local APP = [[
local ends = app:store("ends")
local outbox = require("sluice.outbox").new(app, { durable = true, retries = 100, backoff = 0.1, backoff_max = 1,
  on_end = function(letter) ends:set(letter.id, true) end })
app:post("/add", function(req)
  local o = req:json()
  local done = {}
  for n = o.first, o.first + 15 do
    app:spawn(function()
      local id = outbox:webhook { url = o.url, id = "m" .. n, json = { n = n } }
      done[#done + 1] = id and n or 0
    end)
  end
  while #done < 16 do sluice.sleep(0.001) end
  return done
end)
app:get("/ended/:id", function(req) return { ended = ends:get(req.params.id) } end)
app:get("/stats", function() return outbox:stats() end)
]]

describe("an outbox", function()
  local folder
  before_each(function() folder = process.temp_dir() end)
  after_each(function()
    server.stop_all()
    source.close_all()
    process.remove_dir(folder)
  end)
  local function start() return live.start(APP, { args = { "--data", folder .. "/data", "--drain", "0.1" } }) end
  local function stats(s) return json.decode(s.get("/stats").body) end

  it("delivers all that it took, over kill -9, each under its id", function()
    local from, taken, arrived = source.listen(), {}, {}
    -- answers what comes until there is nothing for so many seconds; where all is slow there always is
    local function serve(status, seconds)
      for _ = 1, 100 do
        local c = from:try_accept(seconds)
        if not c then return end
        local n = json.decode(c.body).n
        assert.equal("m" .. n, c.headers["webhook-id"])
        if status == 200 then arrived[n] = (arrived[n] or 0) + 1 end
        c:finish(status)
      end
    end
    for round = 1, 4 do
      local s = start()
      local c = live.post_later(s, "/add", json.encode { url = from.url, first = 100 * round })
      serve(round % 2 == 1 and 503 or 200, 0.05)
      for _, n in ipairs(json.decode(assert(c:response(10)).body)) do taken[#taken + 1] = n end
      c:close()
      s.kill()
    end
    assert.equal(64, #taken)
    local s = start()
    deadline.eventually(function()
      serve(200, 0.05)
      return stats(s).pending == 0
    end, 30, "all delivered")
    for _, n in ipairs(taken) do
      assert.is_true(n > 0 and arrived[n] ~= nil, "lost: " .. n)
      assert.is_true(json.decode(s.get("/ended/m" .. n).body).ended, "not told: " .. n)
    end
    s.kill()
    s = start()
    assert.same({ 0, 0 }, { stats(s).pending, stats(s).dead })
    assert.is_nil(from:try_accept(0.2))
  end)
end)
