--- A rolling restart behind HAProxy as doc/limits.md has it: each node in turn is stopped and started again, while
--- pages publish over connections that are kept. None of the publishes fails, and none is there twice.
local deadline = require("spec.support.deadline")
local nodes = require("spec.support.nodes")
local process = require("spec.support.process")
local proxies = require("spec.support.proxies")
local server = require("spec.support.server")
local socket = require("socket")

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = 10 })
app:stream("/news", "news")
app:post("/publish", function(req)
  local id, message, code = app:publish("news", "message", { n = tonumber(req.query.n) })
  if not id then return nil, message, code end
  return 204
end)
return app
]]

local function block_of_page()
  return assert(assert(process.read_file("doc/limits.md")):match("```haproxy\n(frontend cluster.-)```"))
end

describe("a rolling restart", function()
  local problem = nodes.problem() or not proxies.installed("haproxy") and proxies.NAME
  if problem then return it("needs Redis and HAProxy", function() pending(problem) end) end

  it("fails no publish behind HAProxy", function()
    if not os.getenv("SLUICE_SPEC_FULL") then return end -- 15 s
    local cluster = nodes.start { app = APP, n = 2, drain = true, args = { "--drain", "1" } }
    local ports = { cluster[1].port, cluster[2].port }
    local block = "defaults\n mode http\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
      .. block_of_page()
    block = block:gsub("bind :80", "bind 127.0.0.1:$PORT"):gsub("10%.0%.0%.1:5121", "127.0.0.1:" .. ports[1])
      :gsub("10%.0%.0%.2:5121", "127.0.0.1:" .. ports[2])
    local front = proxies.start("haproxy", ports[1], { block = block })
    finally(function()
      front.stop()
      cluster:stop()
    end)
    cluster:wait_live()
    local pages, sent, bad = {}, 0, {}
    local function page(i)
      local one = pages[i]
      if not one then
        one = assert(socket.connect("127.0.0.1", front.port))
        one:settimeout(10 * deadline.scale)
        pages[i] = one
      end
      sent = sent + 1
      one:send(("POST /publish?n=%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"):format(sent))
      local status, line
      local length = 0
      repeat
        line = one:receive("*l") or ""
        status = status or line:match("^HTTP/1.1 (%d+)")
        length = tonumber(line:lower():match("^content%-length: (%d+)")) or length
      until line == "" or line == "\r"
      if length > 0 then one:receive(length) end
      if status ~= "204" then
        bad[#bad + 1] = sent .. " " .. tostring(status)
        one:close()
        pages[i] = nil
      end
    end
    local function all() for i = 1, 4 do page(i) end end
    for i = 1, 2 do
      local old = cluster[i]
      for _ = 1, 50 do all() end
      old.signal("TERM")
      deadline.eventually(function()
        all()
        return old.code()
      end, 30, "it ends")
      cluster[i] = server.start { app = APP, port = ports[i], tls = false, seconds = 20,
        env = { SLUICE_ADMIN_KEY = nodes.KEY }, args = { "--cluster", "redis://127.0.0.1:" .. cluster.redis.port,
          "--cluster-name", "test", "--drain", "1" } }
      cluster:wait_live()
      local since = deadline.now()
      deadline.eventually(function()
        all()
        return deadline.since(since) > 2.5 -- HAProxy has seen that it is back
      end, 20, "a while")
    end
    assert.same({}, bad)
    deadline.eventually(function() return select(2, cluster:state(1)).pos == sent end, 10, "each is there once")
  end)
end)
