--- sluice.system in a server of its own: a stall of the app shows, and a service of another machine (here: an
--- address that is none of localhost's names) is found and lost, while the app goes on.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local server = require("spec.support.server")
local socket = require("socket")
local source = require("spec.support.source")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local system = require("sluice.system").new(app, { interval = 1, disks = { "/", "/no/such/place" },
  services = { { name = "near", tcp = "127.0.0.1:%d" }, { name = "far", tcp = "127.0.0.2:%d" },
    { name = "nowhere", tcp = "no-such-host.invalid:1" } } })
app:get("/sample", function() return system:sample() end)
app:get("/stall", function()
  local stop = sluice.now() + 0.2
  while sluice.now() < stop do end
end)
return app
]]

describe("sluice.system in a server", function()
  local from
  after_each(function()
    server.stop_all()
    source.close_all()
  end)

  it("tells a stall for ten seconds, and services that come and go", function()
    from = source.listen()
    from:close() -- a server that is started later would inherit it
    local s = server.start { app = APP:format(from.port, from.port) }
    local function sample() return assert(json.decode(http.get(s.port, "/sample").body)) end
    local function status(i) return sample().services[i].status end
    local function becomes(i, wanted)
      local left = deadline.after(20)
      while status(i) ~= wanted do assert(left() > 0, i .. " is " .. status(i)) end
    end
    assert.equal("stopped", status(1))
    becomes(2, "stopped")
    becomes(3, "stopped")
    from = source.listen(from.port)
    becomes(1, "running")
    from:close()
    becomes(1, "stopped")
    local far = assert(socket.bind("127.0.0.2", from.port))
    finally(function() far:close() end)
    becomes(2, "running")
    assert.equal("stopped", status(1)) -- another address of this machine is not localhost
    http.get(s.port, "/stall")
    local figures = sample()
    assert.is_true(figures.loopLagMs >= 190, figures.loopLagMs)
    assert.equal("No such file or directory", figures.disks[2].reason)
    assert.is_number(figures.disks[1].percent)
  end)
end)
