--- The second server of `sluice demo`: the same app, started by a lab, so that a visitor may cut,
--- slow and end it. The app finds both in the environment; without them it has no second server.
--- All end with this process, however it ends. Keeps nothing in memory.
local core = require("sluice.core")
local myself = require("sluice.command.myself")

local second = {}

local END_SECONDS = 8

-- A port that is free now.
local function free_port()
  local listener, port = core.listener(0)
  if not listener then return nil, port end
  listener:shut()
  return port
end

local function append(list, ...)
  table.move({ ... }, 1, select("#", ...), #list + 1, list)
  return list
end

local function words_of(path, port, control, data)
  local words = append(myself(), "lab", "http://127.0.0.1:0/api/showcase", "--port", port,
    "--control", control, "--quiet", "--")
  for _, word in ipairs(myself()) do append(words, word) end
  return append(words, "run", path, "--demo", "--no-watch", "--drain", "0", "--io-threads", "1",
    "--log-level", "error", "--data", data)
end

-- The addresses of the page that may read its stream.
local function origins_of(host, port)
  local list = {}
  for _, name in ipairs({ "127.0.0.1", "localhost", "[::1]", host }) do
    list[#list + 1] = ("http://%s:%d"):format(name:find("^[%x:]+:[%x:]*$") and "[" .. name .. "]"
      or name, port)
  end
  return table.concat(list, " ")
end

local function start(path, host, port)
  local own, control, message
  own, message = free_port()
  if own then control, message = free_port() end
  if not control then return nil, message end
  local folder = core.runtime_dir() or "/tmp"
  core.setenv("SHOWCASE_ORIGINS", origins_of(host, port))
  local pid, why = core.spawn(words_of(path, tostring(own), tostring(control),
    ("%s/second-%d"):format(folder, own)))
  core.setenv("SHOWCASE_ORIGINS", "")
  if not pid then return nil, why end
  core.setenv("SHOWCASE_LAB", ("http://127.0.0.1:%d/api/showcase"):format(own))
  core.setenv("SHOWCASE_LAB_CONTROL", ("http://127.0.0.1:%d/lab"):format(control))
  return pid
end

--- Start it, when that is possible; else the log says why not.
-- @tparam string path the app's file
-- @tparam string host of the first server
-- @tparam integer port of the first server; 0: a free one is chosen here
-- @treturn function ends it
-- @treturn integer the port of the first server
function second.start(path, host, port)
  local own, pid, message = port, nil, nil
  if port == 0 then own, message = free_port() end
  if own then pid, message = start(path, host, own) end
  if not pid then
    core.log("warn", "there is no second server to break: " .. message)
    return function() end, port
  end
  return function()
    core.kill(pid, "TERM")
    core.ended(pid, END_SECONDS)
  end, own
end

return second
