--- What happens to a connection of HTTP/2 over time: a poll takes it to the thread that knows its client, and a
--- client that says nothing is asked whether it is there.
local h2 = require("spec.support.h2")
local http = require("spec.support.http")
local json = require("cjson")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local came = app:state("came", { n = 0 })
app:channel("news", { history = 100 })
app:stream("/news", "news")
app:on("connect", function() came().n = came().n + 1 end)
app:get("/came", function() return 200, tostring(came().n) end)
app:post("/pub", function(req) app:publish("news", "text", req.body) return 204 end)
return app
]]

local ACCEPT = { accept = "application/json" }
local FULL = os.getenv("SLUICE_SPEC_FULL")
local PING = 30 -- seconds: H2_PING_MS

describe("a connection of HTTP/2", function()
  teardown(server.stop_all)

  local function start(options)
    options.app, options.tls, options.env = APP, false, { SLUICE_H2C = "yes" }
    return server.start(options)
  end

  --- How many descriptors several event loops of the process watch.
  local function watched_twice(pid)
    local by, n = {}, 0
    local folder = ("/proc/%d/fdinfo/"):format(pid)
    for name in lfs.dir(folder) do
      local ok, text = pcall(process.read_file, folder .. name)
      for fd in (ok and text or ""):gmatch("tfd: *(%d+)") do
        by[fd] = (by[fd] or 0) + 1
        if by[fd] == 2 then n = n + 1 end
      end
    end
    return n
  end

  it("follows its poll to the thread that knows the client, and stays one client", function()
    local s = start { io_threads = 3 }
    local token, cursor
    local twice = watched_twice(s.pid)
    for i = 1, 15 do
      local c = assert(h2.connect(s.port))
      local target = "/news?mode=poll" .. (token and ("&poll=%s&lastEventId=%s"):format(token, cursor) or "")
      local poll = c:open("GET", target, ACCEPT)
      assert(c:sync())
      assert.equal(204, http.post(s.port, "/pub", "number " .. i).status)
      assert.equal("end", poll:wait("end", 10))
      local answer = json.decode(poll.body)
      assert.same({ 1, "number " .. i }, { #answer.events, answer.events[1].data })
      token, cursor = answer.poll, answer.cursor
      assert.equal(twice, watched_twice(s.pid))
      assert.matches("^%d+$", c:get("/came").body) -- the connection goes on where it is
      c:close()
    end
    assert.equal("1", http.get(s.port, "/came").body)
  end);

  (FULL and it or pending)("is asked by a PING when it is silent, and given up", function()
    local s = start { args = { "--stall-timeout", 1 } }
    for _, silent in ipairs { true, false } do
      local c = assert(h2.connect(s.port, { silent = silent, credit = false }))
      if silent then c:frame("SETTINGS", h2.ACK, 0) end
      assert.equal(200, c:open("GET", "/news"):wait("head"))
      assert.is_truthy(c:wait_for(function() return c.pings end, PING + 5))
      local closed = c:wait_closed(5)
      assert.equal(silent, closed or false)
      c:close()
    end
  end)
end)
