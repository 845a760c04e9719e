--- Values that go with their node (lease = true), on a real redis-server: a node that is killed, and one that is
--- stopped and goes on.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")

local APP = [[
local app = require("sluice").app()
app:channel("who", { history = "latest", key = "id", ttl = false })
app:channel("room", { history = 100, key = "id", rewind = "latest" })
app:post("/join", function(req)
  for _, c in ipairs { "who", "room" } do
    local ok, message, code = app:publish(c, "joined", { id = req.query.id }, { lease = true })
    if not ok then return nil, message, code end
  end
  return {}
end)
app:get("/who", function(req)
  local out = {}
  for i, c in ipairs { "who", "room" } do
    local list = {}
    for k, e in ipairs(app:newest(c)) do list[k] = e.key end
    table.sort(list)
    out[i] = table.concat(list, " ")
  end
  return { text = table.concat(out, "|") }
end)
return app
]]

describe("values that go with their node, really", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  if not os.getenv("SLUICE_SPEC_FULL") then
    return it("takes a minute", function() pending("waits for seconds: full size only") end)
  end
  local cluster

  setup(function()
    cluster = nodes.start { n = 3, app = APP }
    cluster:wait_live()
  end)
  teardown(function() cluster:stop() end)

  local function who(i) return json.decode(http.get(cluster[i].port, "/who").body).text end

  local function becomes(i, text, seconds)
    local what = ("node %d has '%s'"):format(i, text)
    deadline.eventually(function() return who(i) == text .. "|" .. text end, seconds, what)
  end

  it("are gone 15 s after a kill, wherever the lead was", function()
    for i = 1, 3 do assert.equal(200, http.post(cluster[i].port, '/join?id=m%22' .. i).status) end
    becomes(3, 'm"1 m"2 m"3', 5)
    cluster[1].signal("KILL")
    becomes(3, 'm"2 m"3', 15)
    becomes(2, 'm"2 m"3', 5)
    local found = 0
    for i = 2, 3 do found = found + select(2, cluster:state(i)).reaped end
    assert.equal(1, found)
    deadline.eventually(function()
      return (cluster[2].log() .. cluster[3].log()):find("1 of the nodes silent for 10 s, and taken for dead;", 1, true)
    end, 5, "the log says so")
  end)

  it("come back when a stopped node goes on", function()
    cluster[2].signal("STOP")
    becomes(3, 'm"3', 17)
    cluster[2].signal("CONT")
    becomes(3, 'm"2 m"3', 10)
    becomes(2, 'm"2 m"3', 5)
  end)
end)
