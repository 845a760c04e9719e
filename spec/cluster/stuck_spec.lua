--- A node whose script is stuck while others publish: its streams get all, it keeps no more for its app than it may,
--- and what the app reads is whole again when it goes on.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local sse = require("spec.support.sse")

local EVENTS, BYTES = 300, 60000 -- more than OWN_BYTES_MAX

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 1000 })
app:stream("/news", { channels = { "news" } })
app:get("/stuck", function(req)
  os.execute('until [ -e "' .. req.query.file .. '" ]; do sleep 0.01; done')
  return {}
end)
app:post("/many", function(req)
  local text = ("x"):rep(%d)
  for n = 1, tonumber(req.query.n) do app:publish("news", "message", { n = n, text = text }) end
  return {}
end)
app:get("/read", function() return { n = app:latest("news").n } end)
return app
]]

describe("a node whose script is stuck", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end

  it("keeps a part of what comes, and loads all again", function()
    local cluster, file = nodes.start { app = APP:format(BYTES), config = { appendonly = "no" } }, os.tmpname()
    os.remove(file)
    finally(function()
      io.open(file, "w"):close()
      cluster:stop()
      os.remove(file)
    end)
    cluster:wait_live()
    local client = sse.connect(cluster[1].port, "/news")
    assert.equal("hello", client:next_event(5).event)
    http.post(cluster[2].port, "/many?n=1")
    deadline.eventually(function() return http.get(cluster[1].port, "/read").status == 200 end, 10, "it is read")
    local stuck = http.connect(cluster[1].port)
    stuck:send(http.request_text("GET", "/stuck?file=" .. file, nil, nil, stuck.host))
    assert.equal(200, http.post(cluster[2].port, "/many?n=" .. EVENTS).status)
    local last, resets = nil, 0
    deadline.eventually(function()
      local event = client:next_event(1)
      if event and event.event == "reset" then resets = resets + 1 end
      if event and event.event == "message" then last = json.decode(event.data).n end
      return last == EVENTS
    end, 20, "its stream gets the last")
    assert(io.open(file, "w")):close()
    assert.equal(200, stuck:response(10).status)
    stuck:close()
    deadline.eventually(function()
      local r = http.get(cluster[1].port, "/read")
      return r.status == 200 and json.decode(r.body).n == EVENTS
    end, 10, "the app reads the newest")
    deadline.eventually(function() return cluster[1].log():find("events came while the app was stuck", 1, true) end,
      10, "the log says so")
    client:close()
    assert.equal(0, resets)
  end)
end)
