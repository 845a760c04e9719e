--- What doc/cluster.md says to type is typed as it stands there, but for the ports, with the app of the page: each
--- server that a block starts is live.
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local nodes = require("spec.support.nodes")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local socket = require("socket")

local doc = markdown.read("doc/cluster.md")
local FULL = os.getenv("SLUICE_SPEC_FULL")
local ELSEWHERE = "10.0.0.5" -- a machine that is not this one

local function is_free(port)
  local s = socket.bind("127.0.0.1", port)
  return s and s:close()
end

-- The first digits of ports of which the next three are free: the page counts them on.
local function free_prefix()
  return deadline.eventually(function()
    local prefix = math.random(1100, 3100)
    for i = 1, 3 do if not is_free(prefix * 10 + i) then return nil end end
    return prefix
  end, 5, "free ports")
end

-- The block with ports that are free here; those of the servers that it runs.
local function with_free_ports(text)
  local ports, sentinels = {}, free_prefix()
  local function other(before, port)
    ports[port] = ports[port] or tostring(redis.free_port())
    return before .. ports[port]
  end
  text = text:gsub("port 2640%$i", "port " .. sentinels .. "$i"):gsub(":2640(%d)", ":" .. sentinels .. "%1")
  for _, before in ipairs { "(%-port )", "(127%.0%.0%.1[: ])", "(localhost:)" } do
    text = text:gsub(before .. "([56]%d%d%d)%f[%D]", other)
  end
  local servers = {}
  for port in text:gmatch("sluice run app%.lua [^\n]*%-%-port (%d+)") do servers[#servers + 1] = port end
  return text, servers
end

local function is_live(port)
  local answer = http.get(tonumber(port), "/-/cluster", { ["X-Admin-Key"] = nodes.KEY })
  return json.decode(answer.body).state == "live"
end

describe("what the page of clusters says to type", function()
  local problem = nodes.problem()
  if problem then return it("needs Redis", function() pending(problem) end) end
  local folder, shell

  before_each(function()
    local program, libraries = redis.program()
    folder = process.temp_dir()
    assert(lfs.mkdir(folder .. "/bin"))
    process.write_file(folder .. "/bin/redis-server", ("#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s \"$@\"\n"):format(
      libraries or "", program))
    process.write_file(folder .. "/bin/sluice", ("#!/bin/sh\nexec %s/build/bin/sluice \"$@\"\n"):format(
      lfs.currentdir()))
    assert(os.execute("chmod +x " .. folder .. "/bin/*"))
    for _, block in ipairs(doc.blocks) do
      if block.lang == "lua" then
        process.write_file(folder .. "/app.lua", block.text)
        break
      end
    end
  end)

  -- All that the shell has started, each by its number.
  after_each(function()
    for pid in (process.read_file(folder .. "/pids") or ""):gmatch("%d+") do os.execute("kill -9 " .. pid) end
    if shell then shell:wait(10) end -- for what it waits for
    shell = nil
    process.remove_dir(folder)
  end)

  local typed = 0
  for _, block in ipairs(doc.blocks) do
    if block.lang == "sh" and block.text:find("sluice run", 1, true) and not block.text:find(ELSEWHERE, 1, true) then
      typed = typed + 1
      it(("in line %d"):format(block.line), function()
        local waits = block.text:find("sentinel", 1, true) and not FULL -- for a replica
        if waits then return pending("full size only") end
        local text, servers = with_free_ports(block.text)
        shell = process.spawn({ "sh", "-c", text .. "jobs -p >pids\nwait\n" }, { dir = folder,
          env = { PATH = folder .. "/bin:" .. os.getenv("PATH"), SLUICE_ADMIN_KEY = nodes.KEY } })
        assert.is_true(#servers > 0)
        for _, port in ipairs(servers) do
          deadline.eventually(function() return is_live(port) end, 20, "it is live\n" .. shell:log())
        end
      end)
    end
  end

  it("is something", function() assert.is_true(typed >= 4) end)
end)
