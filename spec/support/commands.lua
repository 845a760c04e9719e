--- The commands of a page, run as a reader would run them, and what they show.
---
---   local show = commands.run(s, 'curl -N http://127.0.0.1:5121/news'); show() -> text so far
---   commands.expect(block, text, function() return what was shown end)
---
--- A stream (`curl -N`) stays open until process.stop_all("curl").
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")

local commands = {}

--- Where the programs of the pages are served, and their readers ask.
commands.ADDRESS = "http://127.0.0.1:5121"

-- `sluice explain` and its like ask that server.
local function real(line, s)
  if line:find("^sluice ") then
    return ("XDG_RUNTIME_DIR=%s %s/build/bin/%s --port %d"):format(s.folder, lfs.currentdir(), line, s.port)
  end
  return (line:gsub("^curl ", "curl -sS "):gsub(commands.ADDRESS:gsub("%p", "%%%0"), s.url))
end

--- Run one line in the folder of the app; returns a function that gives what it has shown so far.
function commands.run(s, line)
  line = real(line, s)
  if not line:find("%-N") then
    local _, output = process.run(line, { dir = s.app_folder })
    return function() return (output:gsub("\r\n", "\n")) .. "\n" end
  end
  local p = process.spawn({ "sh", "-c", "exec " .. line }, { kind = "curl", dir = s.app_folder })
  deadline.eventually(function() return p:log():find("^:ok\n.-\n\n") end, 5, line .. " opens")
  return function() return p:log() end
end

--- A page need not show the sync that ends the opening of a stream.
local function without_sync(text) return (text:gsub("event: sync\ndata: {}\nid: [^\n]+\n\n", "")) end

--- Wait until what is shown is what the page says.
function commands.expect(place, expected, shown)
  local text
  local ok = pcall(deadline.eventually, function()
    text = shown()
    return markdown.matches(expected, text) or markdown.matches(expected, without_sync(text))
  end, 4)
  if not ok then error(("%s announces\n%s\nand this came:\n%s"):format(place, expected, text), 0) end
end

--- Run the lines of a block, and expect this text of all of them.
function commands.play(s, block, expected)
  local outputs = {}
  for line in block.text:gmatch("[^\n]+") do outputs[#outputs + 1] = commands.run(s, line) end
  commands.expect(block.place, expected, function()
    local parts = {}
    for i, output in ipairs(outputs) do parts[i] = output() end
    return table.concat(parts, "\n")
  end)
end

return commands
