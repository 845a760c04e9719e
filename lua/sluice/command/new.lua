--- `sluice new NAME`: a folder with an app that runs, its page, its spec and a README, from one of
--- the templates in examples/templates. Keeps nothing in memory.
local core = require("sluice.core")
local file = require("sluice.base.file")
local help = require("sluice.command.help")
local options = require("sluice.base.options")
local places = require("sluice.command.places")

local new = { name = "new" }

local WORD = "NAME" -- stands for the name in the templates
local TEMPLATES = {
  { "feed", "news for everybody, posted with a key; the template when none is named" },
  { "chat", "rooms, with who is here" },
  { "jobs", "long work with bars, which can be stopped" },
  { "alerts", "rules over figures, acknowledged on the page" },
  { "htmx", "a list that the server writes as HTML; the page has no script" },
}
local NAMES, LINES = {}, {}
for i, row in ipairs(TEMPLATES) do
  NAMES[i], LINES[i] = row[1], ("  %-8s %s"):format(row[1], row[2])
end

--- Add the command to the parser.
-- @param parser of argparse
function new.add(parser)
  local command = parser:command("new", "Make a folder with an app that runs at once, its page, "
    .. "its spec and a README.")
  command:argument("folder", "to be made; its last part is the app's name"):argname("<name>")
  command:option("--template", "which, see below (default: feed)"):argname("<template>")
    :default("feed"):show_default(false)
  help.add(command, { "sluice new board --template chat", "cd board && sluice run app.lua" },
    { { 0, "made" }, { 1, "it is there already, or cannot be written" } },
    "Templates:\n" .. table.concat(LINES, "\n"))
end

-- The files of a template: their paths and texts. Not what a run has left.
local function read_template(name, app)
  local folder = places.find("examples/templates/" .. name .. "/app.lua")
  if not folder then return nil, "the templates are not installed" end
  folder = folder:gsub("/app%.lua$", "")
  local names, message = core.list_files(folder)
  if not names then return nil, message end
  local files = {}
  for _, path in ipairs(names) do
    local text
    text, message = file.read(folder .. "/" .. path)
    if not text then return nil, message end
    if not path:find("^sluice%-data/") then
      files[path] = text:gsub("%f[%w]" .. WORD .. "%f[%W]", (app:gsub("%%", "%%%%")))
    end
  end
  return files
end

local function write(path, text)
  local ok, message = core.make_folder(path:match("^(.*)/"))
  if not ok then return nil, message end
  local handle
  handle, message = io.open(path, "wb")
  if not handle then return nil, message end
  ok, message = handle:write(text)
  local closed, why = handle:close()
  return ok and closed, message or why
end

-- Take away what was written, and the folders that are empty then.
local function clean(folder, files)
  for path in pairs(files) do
    path = folder .. "/" .. path
    repeat
      os.remove(path)
      path = path:match("^(.*)/")
    until #path < #folder
  end
end

-- All of it or nothing: while it is not whole it has another name.
local function write_all(folder, files)
  local part = ("%s.part-%s"):format(folder, core.id():sub(1, 6))
  for path, text in pairs(files) do
    local ok, message = write(part .. "/" .. path, text)
    if not ok then
      clean(part, files)
      return nil, message
    end
  end
  local ok, message = os.rename(part, folder)
  if not ok then clean(part, files) end
  return ok, message
end

local function make(given)
  local folder = given.folder:gsub("(.)/+$", "%1")
  local name = folder:match("[^/]*$")
  if not name:find("^[%w_][%w_ .-]*$") then
    return nil, ("'%s' is no name for a folder: letters, digits and . _ - are"):format(name)
  end
  if core.real_path(folder) then return nil, folder .. " is there already" end
  local files, message = read_template(given.template, name)
  if not files then return nil, message end
  local ok
  ok, message = write_all(folder, files)
  if not ok then return nil, ("%s cannot be made: %s"):format(folder, message) end
  return folder
end

local function template_fault(name)
  for _, known in ipairs(NAMES) do
    if name == known then return nil end
  end
  local near = options.nearest(name, NAMES)
  return ("--template: there is no '%s'%s (there are: %s)"):format(name,
    near and (", did you mean '%s'?"):format(near) or "", table.concat(NAMES, ", "))
end

--- Run it.
-- @tparam table given what the parser found
-- @tparam function usage called with a message when the use is wrong; returns the exit code
-- @treturn integer exit code
function new.run(given, usage, out, err)
  local wrong = template_fault(given.template)
  if wrong then return usage(wrong) end
  local folder, message = make(given)
  if not folder then
    err:write("sluice: ", message, "\n")
    return 1
  end
  local quoted = folder:find("[^%w/._-]") and "'" .. folder .. "'" or folder
  local command = places.command()
  out:write(("%s: made from the template %s. Next:\n  cd %s\n  %s run app.lua      # and open "
    .. "http://127.0.0.1:5121/\n  %s test --watch     # in another terminal\n")
    :format(folder, given.template, quoted, command, command))
  return 0
end

return new
