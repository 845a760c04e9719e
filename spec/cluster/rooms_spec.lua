--- sluice.rooms on a real redis-server and three processes: the members of a node that is killed, and of one that
--- is stopped and goes on; the node that leads is the first of them.
--- (All else in virtual time: spec/kit/nodes_rooms_spec.lua.)
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local nodes = require("spec.support.nodes")
local sse = require("spec.support.sse")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
app:guard("/room/**", function(req) req.user = { id = req.headers["x-user"] } return true end)
local rooms = require("sluice.rooms").new(app, { name = "doc", grace = 1 })
rooms:stream("/room/:id")
app:get("/who", function()
  local list = {}
  for i, m in ipairs(rooms:members("tea")) do list[i] = m.userId end
  table.sort(list)
  return { text = table.concat(list, " ") }
end)
return app
]]

describe("rooms over nodes, really", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  if not os.getenv("SLUICE_SPEC_FULL") then
    return it("takes a minute", function() pending("waits for seconds: full size only") end)
  end
  local cluster, alice, told

  local function enter(i, user)
    return sse.connect(cluster[i].port, "/room/tea", { headers = { ["X-User"] = user } })
  end
  local function who(i) return json.decode(http.get(cluster[i].port, "/who").body).text end
  local function becomes(i, text, seconds)
    deadline.eventually(function() return who(i) == text end, seconds, ("node %d has '%s'"):format(i, text))
  end

  -- What alice's page is told, up to an event of a user.
  local function up_to(event, user, seconds)
    repeat
      local e = alice:wait_for(event, seconds)
      local data = json.decode(e.data)
      told[#told + 1] = ("%s %s %d"):format(event, data.userId, data.activeUsers)
    until data.userId == user
  end

  setup(function()
    cluster, told = nodes.start { n = 3, app = APP }, {}
    cluster:wait_live()
    alice = enter(3, "alice")
  end)
  teardown(function()
    alice:close()
    cluster:stop()
  end)

  it("know who is there", function()
    enter(1, "bob")
    enter(2, "carol")
    for _, i in ipairs { 1, 2 } do enter(i, "dave") end
    for i = 1, 3 do becomes(i, "alice bob carol dave", 10) end
  end)

  it("have nobody of a node 15 s after its kill", function()
    cluster[1].signal("KILL")
    up_to("user-left", "bob", 15)
    for _, i in ipairs { 2, 3 } do becomes(i, "alice carol dave", 2) end
    assert.equal("user-left bob 3", told[#told])
  end)

  it("have no ghost of a node that is stopped, and its members when it goes on", function()
    cluster[2].signal("STOP")
    up_to("user-left", "carol", 17)
    becomes(3, "alice", 5)
    cluster[2].signal("CONT")
    for _, i in ipairs { 2, 3 } do becomes(i, "alice carol dave", 15) end
  end)
end)
