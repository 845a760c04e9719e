--- What `make cluster` starts (.ci/cluster): the showcase on three nodes behind nginx, with a redis-server. Both are
--- Debian's (spec.support.proxies, spec.support.redis). With the full size alone.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local lfs = require("lfs")
local nodes = require("spec.support.nodes")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local socket = require("socket")
local sse = require("spec.support.sse")
local tree = require("spec.support.tree")

local FULL = os.getenv("SLUICE_SPEC_FULL")

-- Four free ports in a row.
local function free_ports()
  while true do
    local first, held = redis.free_port(), {}
    for i = 0, 3 do held[#held + 1] = socket.bind("127.0.0.1", first + i) end
    for _, s in ipairs(held) do s:close() end
    if #held == 4 then return first end
  end
end

local function notify(port, message)
  local r = http.request(port, "POST", "/api/sse/notification", { ["X-API-Key"] = "your-api-key",
    ["Content-Type"] = "application/json" }, ('{"message":"%s"}'):format(message))
  return r.status
end

describe("make cluster", function()
  it("is a target of the Makefile", function()
    assert.matches("\nreact cluster: ; @%.ci/setup %$@ && %$%(MAKE%) all && exec %.ci/%$@ ", tree.read("Makefile"))
  end)

  local problem = nodes.problem() or not FULL and "full size only"
  if problem then return it("starts three nodes behind nginx", function() pending(problem) end) end

  it("starts three nodes behind nginx; when one is killed pages go on at another", function()
    local port = free_ports()
    local p = process.spawn({ lfs.currentdir() .. "/.ci/cluster", port }, {})
    finally(function() if not p:code() then p:stop(20) end end)
    deadline.eventually(function()
      if p:code() then deadline.give_up(p:log()) end
      return select(2, p:log():gsub('"serving ', "")) == 3 and socket.connect("127.0.0.1", port)
    end, 30, "three nodes serve")
    local clients = {}
    for i = 0, 3 do clients[i] = sse.connect(port + i, "/api/showcase") end
    assert.equal(202, notify(port, "first"))
    local ids = {}
    for i = 0, 3 do
      ids[i] = assert(clients[i]:wait_for("notification", 10, function(e) return e.data:find("first", 1, true) end)).id
    end
    assert.same({ ids[1], ids[1], ids[1] }, { ids[0], ids[2], ids[3] })
    assert(os.execute("kill -KILL " .. assert(p:log():match("node1 is process (%d+)"))))
    assert.equal("closed", clients[1]:wait_end(10))
    local again = sse.connect(port, "/api/showcase", { last_event_id = clients[1].last_id })
    assert.truthy(assert(again:wait_for("hello")).data:find('"resumed":true', 1, true))
    assert.equal(202, notify(port, "second"))
    for _, c in ipairs { clients[2], clients[3], again } do
      assert(c:wait_for("notification", 10, function(e) return e.data:find("second", 1, true) end))
    end
    assert.equal(0, p:stop(20))
    assert.is_nil(socket.connect("127.0.0.1", port + 2))
  end)
end)
