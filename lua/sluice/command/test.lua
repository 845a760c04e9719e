--- `sluice test`: the words behind it are busted's, see sluice.test. With --watch the specs run
--- again whenever a file below this folder has changed. In memory: the files' times and sizes, and
--- the text of those that have just been written.
local core = require("sluice.core")
local file = require("sluice.base.file")
local help = require("sluice.command.help")
local myself = require("sluice.command.myself")
local specs = require("sluice.test")
local terminal = require("sluice.command.terminal")

local test = { name = "test", is_raw = true } -- raw: its words are not parsed here

local LOOK_SECONDS, SETTLE_SECONDS = 0.3, 0.1
local YOUNG_SECONDS = 3 -- times are whole seconds: one that is younger may change unseen
local PASSED_OVER = { ["sluice-data"] = true, node_modules = true }
local INTERRUPTED = 130

--- Add the command to the parser, for its help alone.
-- @param parser of argparse
function test.add(parser)
  local command = parser:command("test", "Run specs with busted: those named, or *_spec.lua here "
    .. "and in spec/. Other options are busted's.")
  command:argument("file", "spec files and folders"):argname("<file>"):args("*")
  command:flag("--watch", "run them again whenever a file below this folder changes, until Ctrl-C")
  help.add(command, { "sluice test", "sluice test app_spec.lua --filter=goal",
    "sluice test --watch" }, { { 0, "all passed" }, { 1, "one did not, or busted is not there" },
      { INTERRUPTED, "interrupted" } })
end

-- ---- What has changed ----------------------------------------------------------------------

local function is_of_interest(name)
  for part in name:gmatch("[^/]+") do
    if PASSED_OVER[part] then return false end
  end
  return true
end

local function identity(a) return a.dev .. ":" .. a.ino end

-- What we write into ourselves is no change: `sluice test --watch >log` in the app's folder.
local function outputs(lfs)
  local own = {}
  for fd = 1, 2 do
    local a = lfs.attributes("/dev/fd/" .. fd)
    if a then own[identity(a)] = true end
  end
  return own
end

-- What a file looks like from outside; with its text while it is young.
local function look_at(name, lfs, own)
  local a = lfs.attributes(name)
  if not a or own[identity(a)] then return nil end
  local seen = { mark = ("%d:%d:%d"):format(a.modification, a.size, a.ino) }
  if os.time() - a.modification < YOUNG_SECONDS then seen.text = file.read(name) end
  return seen
end

local function look(lfs)
  local names, message = core.list_files(".")
  if not names then return nil, message end
  local files, own = {}, outputs(lfs)
  for _, name in ipairs(names) do
    if is_of_interest(name) then files[name] = look_at(name, lfs, own) end
  end
  return files
end

-- The first file that differs, or nil. A text that was kept is compared until its file is old.
local function change(before, now)
  for name, seen in pairs(now) do
    local old = before[name]
    if not old or old.mark ~= seen.mark then return name end
    if old.text then
      local text = seen.text or file.read(name)
      if text ~= old.text then return name end
      seen.text = seen.text and old.text
    end
  end
  for name in pairs(before) do
    if not now[name] then return name end
  end
end

-- Wait for a change, and until nothing more changes for a moment.
local function wait(before, lfs)
  local name
  while true do
    core.pause(name and SETTLE_SECONDS or LOOK_SECONDS)
    local now, message = look(lfs)
    if not now then return nil, message end
    local changed = change(before, now)
    if name and not changed then return name end
    name, before = changed or name, now
  end
end

-- ---- Again and again -----------------------------------------------------------------------

local function command_line(words)
  local list = myself()
  list[#list + 1] = "test"
  table.move(words, 1, #words, #list + 1, list)
  for i, word in ipairs(list) do list[i] = "'" .. word:gsub("'", "'\\''") .. "'" end
  return table.concat(list, " ")
end

local function watch(words, out, err)
  specs.add_local_tree()
  local found, lfs = pcall(require, "lfs") -- busted brings it
  if not found then return specs.run(words, err) end -- which says what is missing
  local line = command_line(words)
  local paint = terminal.painter(out)
  while true do
    local before, message = look(lfs)
    local name
    if before then
      local _, how, code = os.execute(line)
      if how == "signal" and code == 2 then return INTERRUPTED end -- the system keeps it from us
      out:write(paint("dim", "waiting for a change; Ctrl-C ends"), "\n")
      out:flush()
      name, message = wait(before, lfs)
    end
    if not name then
      err:write("sluice: --watch: ", message, "\n")
      return 1
    end
    out:write(paint("bold", terminal.safe(name) .. " has changed"), "\n")
    out:flush()
  end
end

--- Run it.
-- @tparam {string,...} words
-- @treturn integer exit code
function test.run(words, _, out, err)
  local rest = {}
  for _, word in ipairs(words) do
    if word ~= "--watch" then rest[#rest + 1] = word end
  end
  if #rest == #words then return specs.run(words, err) end
  return watch(rest, out, err)
end

return test
