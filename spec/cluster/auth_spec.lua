--- auth:idempotent and limits that count over all nodes, on real servers around a real redis-server.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local socket = require("socket")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local auth = require("sluice.auth").new(app, { keys = {}, audit = false })
app:channel("ran", { history = 100 })
app:post("/orders", auth:idempotent(), function(req)
  app:publish("ran", "began", {})
  while #app:history("ran", { limit = 100 }) < 2 do sluice.sleep(0.02) end
  return 201, { by = app:stats().cluster.slot }
end)
app:post("/end", function() app:publish("ran", "ended", {}) return 204 end)
app:get("/ran", function() return { n = #app:history("ran", { limit = 100 }) } end)
app:post("/all", auth:limit("all", { rate = 4, per = 3600, counted = "cluster" }), function() return 204 end)
return app
]]

describe("auth over real nodes", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end

  local cluster, sockets
  before_each(function()
    sockets = {}
    cluster = nodes.start { n = 3, app = APP }
    cluster:wait_live()
  end)
  after_each(function()
    for _, s in ipairs(sockets) do s:close() end
    cluster:stop()
  end)

  local function ran(i) return json.decode(http.get(cluster[i].port, "/ran").body).n end

  -- A request whose answer is read later.
  local function send(i)
    local s = assert(socket.connect("127.0.0.1", cluster[i].port))
    sockets[#sockets + 1] = s
    s:settimeout(20)
    s:send("POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nIdempotency-Key: one\r\n"
      .. "Content-Length: 0\r\n\r\n")
    return s
  end

  it("runs a request once that comes to all of them at a time, and all get its answer", function()
    local all, bodies, replayed = {}, {}, 0
    for i = 1, 3 do all[i] = send(i) end
    deadline.eventually(function() return ran(1) == 1 end, 10, "it runs")
    assert.equal(204, http.post(cluster[2].port, "/end").status)
    for i = 1, 3 do
      local answer = assert(all[i]:receive("*a"))
      assert.truthy(answer:find("^HTTP/1.1 201"), answer)
      bodies[i] = answer:match("\r\n\r\n(.*)$")
      if answer:lower():find("idempotent-replayed: true", 1, true) then replayed = replayed + 1 end
    end
    assert.same({ bodies[1], bodies[1], 2 }, { bodies[2], bodies[3], replayed })
    assert.equal(2, ran(3))
  end)

  it("lets through what a limit of all nodes says, whichever is asked", function()
    for i = 1, 4 do
      assert.equal(204, http.post(cluster[i % 3 + 1].port, "/all").status)
      deadline.eventually(function() -- the others have heard it
        for n = 1, 3 do
          if select(2, cluster:state(n)).lag ~= 0 then return false end
        end
        return true
      end, 5, "all have read so far")
    end
    deadline.eventually(function()
      for n = 1, 3 do
        if http.post(cluster[n].port, "/all").status ~= 429 then return false end
      end
      return true
    end, 10, "each node refuses")
  end)
end)
