--- Debian's HAProxy in front of a server, with the settings of doc/operating.md, on a free port.
---   local h = haproxy.start(server.port); h.port; h.stop()
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local socket = require("socket")

local haproxy = { NAME = "HAProxy" }

--- The program, and where its libraries are when it was unpacked.
local function program()
  for _, root in ipairs { "", lfs.currentdir() .. "/build/haproxy" } do
    local path = root .. "/usr/sbin/haproxy"
    local libraries = {}
    if lfs.attributes(path, "mode") == "file" then
      for name in lfs.dir(root .. "/usr/lib") do libraries[#libraries + 1] = root .. "/usr/lib/" .. name end
      return path, { LD_LIBRARY_PATH = root ~= "" and table.concat(libraries, ":") or nil }
    end
  end
end

function haproxy.installed() return program() ~= nil end

local function free_port()
  local s = assert(socket.bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  s:close()
  return math.floor(tonumber(port))
end

--- Put another value in place of what doc/operating.md says; it must be there.
local function put(text, from, to)
  local changed, n = text:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%")))
  assert(n > 0, from .. " is not in the block")
  return changed
end

function haproxy.start(upstream)
  local folder, doc, port = process.temp_dir(), markdown.read("doc/operating.md"), free_port()
  local conf = put(doc.block("haproxy").text, "bind :80", "bind 127.0.0.1:" .. port)
  conf = put(put(conf, "127.0.0.1:5121", "127.0.0.1:" .. upstream), "/etc/haproxy/", folder .. "/")
  process.write_file(folder .. "/conf", conf)
  process.write_file(folder .. "/away.http", doc.block("http").text)
  local path, env = program()
  assert(path, "no haproxy; .ci/setup test brings it")
  local p = process.spawn({ path, "-db", "-f", folder .. "/conf" }, { env = env, folders = { folder } })
  deadline.eventually(function()
    if p:code() then deadline.give_up("haproxy: " .. p:log()) end
    local s = socket.connect("127.0.0.1", port)
    return s and s:close()
  end, 5, "haproxy listens")
  return { port = port, log = function() return p:log() end, stop = function() return p:stop() end }
end

return haproxy
