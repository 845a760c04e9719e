--- Requests a reload when a file of the app has changed: its entry, what it required from its
-- folder, and its static folders. Editors save in many ways (in place, by a new file under
-- the old name, twice), so what happens within 150 ms is one change, and text that is the
-- same as before is none. The core sees times in whole seconds, so a second save of the same
-- length within one is looked for a little later. A link and what it leads to are both watched.
-- In memory: the list of paths.
local core = require("sluice.core")
local file = require("sluice.base.file")

local watcher = {}

---@class sluice.Watcher
local Watcher = {}
Watcher.__index = Watcher

local DEBOUNCE_SECONDS = 0.15
local AGAIN_SECONDS = 1.1
local LACKS = { [12] = true, [23] = true, [24] = true } -- ENOMEM, ENFILE, EMFILE
local PATHS_MAX = core.limits.WATCHED_FILES_MAX -- the log says when there are more

--- Watch the files of a runtime's app.
-- @tparam sluice.Runtime runtime with a reloader
-- @treturn sluice.Watcher
function watcher.new(runtime)
  local self = setmetatable({ runtime = runtime, touched = {}, links = {}, known = "",
    entry = nil }, Watcher)
  self:update()
  return self
end

local function add(list, path)
  if list.seen[path] then return end
  list.seen[path] = true
  list[#list + 1] = path
end

-- What a path is a link to; nil when it is none.
local function link_target(path)
  local real, folder = core.real_path(path), core.real_path(path:match("^(.*)/[^/]*$") or ".")
  if real and folder and real ~= folder .. "/" .. path:match("[^/]*$") then return real end
end

local function add_generation(list, generation)
  for _, path in ipairs(generation.files) do
    local target = link_target(path)
    add(list, path)
    if target then
      add(list, target)
      list.links[target] = path
    end
  end
  for _, path in ipairs(generation.missing) do add(list, path) end
  for _, static in ipairs(generation.statics) do
    add(list, static.folder)
    for _, name in ipairs(core.list_files(static.folder) or {}) do
      -- a folder changes when a file is added or removed
      local folder = name:match("^(.*)/[^/]*$")
      if folder then add(list, static.folder .. "/" .. folder) end
      add(list, static.folder .. "/" .. name)
    end
  end
end

-- The text; or nil and, when the process has run out of something, the reason.
local function read(path)
  local text, message, code = file.read(path)
  return text, LACKS[code] and message or nil
end

-- Whether a path differs from what was loaded, or tried, last; nil and why when that cannot be
-- known now.
local function differs(self, path)
  local text, lack = read(path)
  if lack then return nil, lack end
  local before = self.runtime.reloader.tried[path]
  return before == nil -- a static file, a folder, a module that was missing
    or text ~= before
end

-- Look at all sources again in a while.
local function look_later(self)
  local scheduler = self.runtime.scheduler
  if self.again then scheduler:drop(self.again) end
  self.again = scheduler:at(scheduler.now() + AGAIN_SECONDS, function()
    self.again = nil
    local reloader, any = self.runtime.reloader, false
    for path in pairs(reloader.tried) do
      if differs(self, path) then any = true end
    end
    if not any or reloader.rolled_back then return end
    reloader:request("reload")
    look_later(self)
  end)
end

--- Watch what the app is made of now, and what the last attempt to load it was made of.
function Watcher:update()
  local list = { seen = {}, links = {} }
  add_generation(list, self.runtime.generation)
  local tried = self.runtime.reloader and self.runtime.reloader.attempt
  if tried then add_generation(list, tried) end
  self.links, list.links, list.seen = list.links, nil, nil
  if #list > PATHS_MAX then
    core.log("warn", ("%d files are too many to watch: the first %d are"):format(#list, PATHS_MAX))
    for i = #list, PATHS_MAX + 1, -1 do list[i] = nil end
  end
  local text = table.concat(list, "\0")
  if text == self.known then return end
  self.known = text
  local ok, message = self.runtime.server:watch(list)
  if not ok then core.log("warn", "the app's files cannot be watched: " .. tostring(message)) end
  look_later(self)
end

local act

local function act_in(self, seconds)
  local scheduler = self.runtime.scheduler
  if self.entry then scheduler:drop(self.entry) end
  self.entry = scheduler:at(scheduler.now() + seconds, function() act(self) end)
end

-- A file that cannot be read because descriptors are used up has not gone: it is read again until
-- that works.
function act(self)
  local touched = self.touched
  self.touched, self.entry = {}, nil
  local reloader, any, lack = self.runtime.reloader, false, nil
  for path in pairs(touched) do
    local differ, why = differs(self, path)
    if differ or differ == false and reloader.refused then -- the text is not what was wrong
      reloader.touched[path], any = true, true
    elseif why then
      self.touched[path], lack = true, why
    end
  end
  if any then reloader:request("reload") end
  if lack and not self.lacking then core.log("warn", "a changed file waits: " .. lack) end
  self.lacking = lack ~= nil
  if lack then act_in(self, AGAIN_SECONDS) end
end

--- The core's "changed".
function Watcher:changed(path)
  self.touched[self.links[path] or path] = true
  look_later(self)
  act_in(self, DEBOUNCE_SECONDS)
end

return watcher
