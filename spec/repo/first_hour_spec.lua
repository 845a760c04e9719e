--- doc/first-hour.md is one story, and this reads it as a newcomer does: it saves the files into an
--- empty folder while the server watches it, runs the commands in order, leaves streams open, and
--- finds each announced text in what the server, a stream or the last command has shown since.
local commands = require("spec.support.commands")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local server = require("spec.support.server")
local story = require("spec.support.story")

-- A folder, the app in it, and what has been shown but not been read on.
local function new_reader()
  local folder = process.temp_dir()
  local self = { folder = folder, shown = {}, read = {} }

  local function save(name, text) process.write_file(folder .. "/" .. name, text) end

  -- Save the app when it was edited; a server that runs loads it.
  local function save_app(place)
    if self.saved == self.app then return end
    local s, text = self.server, self.app
    self.saved = text
    local before = s and select(2, s.log():gsub("reload [#f]", ""))
    save("app.lua", text)
    if s then
      deadline.eventually(function() return select(2, s.log():gsub("reload [#f]", "")) > before end, 5,
        place .. " is loaded")
    end
  end

  local function start()
    self.server = server.start { path = folder .. "/app.lua", watch = true, args = { "--log-format", "text" } }
    self.server.app_folder = folder
    self.shown = { self.server.log }
  end

  -- One line of a terminal. What a stream shows may be announced later too.
  local function type_line(line)
    if line == "sluice run app.lua" then return start() end
    local root = lfs.currentdir()
    if line:find("^sluice ") then
      local s = self.server -- which is found at another port here, and in a runtime folder of its own
      line = line:gsub("^sluice reload", "%0 --port " .. s.port)
      local command = ("XDG_RUNTIME_DIR=%s %s/build/bin/%s"):format(s.folder, root, line)
      local _, output = process.run(command, { dir = folder })
      return function() return output end
    end
    if line:find("^curl ") then return commands.run(self.server, line) end
  end

  local act = {}

  function act.lua(block)
    if markdown.is_test(block) then save("app_spec.lua", block.text) end
    self.app = story.edit(self.app, block) or self.app
  end
  act.diff = act.lua

  function act.html(block)
    lfs.mkdir(folder .. "/public")
    save("public/index.html", block.text)
  end

  function act.sh(block)
    local outputs = {}
    for line in block.text:gmatch("[^\n]+") do outputs[#outputs + 1] = type_line(line) end
    if #outputs == 0 then return end
    self.shown[#self.shown + 1] = function()
      local parts = {}
      for i, output in ipairs(outputs) do parts[i] = output() end
      return table.concat(parts, "\n")
    end
  end

  function act.text(block)
    local expected = block.text:gsub(commands.ADDRESS:gsub("%p", "%%%0"), self.server.url)
    local all
    local ok = pcall(deadline.eventually, function()
      all = {}
      for i, shown in ipairs(self.shown) do
        local text = shown()
        local new = text:sub((self.read[i] or 0) + 1)
        all[i] = new
        if markdown.matches(expected, new) then
          self.read[i] = #text
          return true
        end
      end
    end, 6)
    assert.is_true(ok, ("%s announces\n%s\nand these came:\n%s"):format(block.place, expected,
      table.concat(all, "\n-- and:\n")))
  end

  function self.follow(block)
    if block.lang == "sh" or block.lang == "text" then save_app(block.place) end
    assert(act[block.lang], block.place .. " is of an unknown kind")(block)
  end

  return self
end

describe("the first hour", function()
  after_each(function() process.stop_all() end)

  it("goes as the page says", function()
    local reader = new_reader()
    for _, block in ipairs(story.blocks()) do reader.follow(block) end
    local page = http.get(reader.server.port, "/")
    assert.same({ 200, true }, { page.status, page.body:find("<title>Room 7</title>", 1, true) ~= nil })
    assert.falsy(reader.server.log():find("error GET", 1, true), reader.server.log())
    assert.equal(1, select(2, reader.server.log():gsub("reload failed", "")))
    process.remove_dir(reader.folder)
  end)
end)
