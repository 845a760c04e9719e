--- A server in a process of its own: `sluice run` on a free port, its log in a file. In memory:
-- the process id. The folder with app and log is removed at the end.
local file = require("sluice.base.file")

local child = {}

---@class sluice.testing.Child
local Child = {}
Child.__index = Child

local UP_SECONDS, POLL_SECONDS = 10, 0.02

local function quote(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

local function write(path, text)
  local handle <close> = assert(io.open(path, "wb"))
  assert(handle:write(text))
end

-- The interpreter that runs this test, or the one that $SLUICE_LUA names.
local function interpreter()
  local first = 0
  while arg and arg[first - 1] do first = first - 1 end
  return os.getenv("SLUICE_LUA") or first < 0 and arg[first] or "lua5.4"
end

--- Prepare one.
-- @param target a path or { source, files, path }
-- @tparam table options of testing.start
-- @tparam string key admin key
function child.new(target, options, key)
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir -m 700 " .. quote(folder)))
  local self = setmetatable({ folder = folder, options = options, key = key, pid = nil, port = 0 },
    Child)
  if type(target) == "string" then
    self.path = target
    return self
  end
  self.path, self.own = folder .. "/" .. (target.path or "app.lua"), true
  for name, text in pairs(target.files or {}) do
    local sub = name:match("^(.*)/")
    if sub then os.execute("mkdir -p " .. quote(folder .. "/" .. sub)) end
    write(folder .. "/" .. name, text)
  end
  write(self.path, target.source)
  return self
end

local function command(self)
  local main = assert(package.searchpath("sluice.main", package.path))
  local env = { LUA_PATH = package.path, LUA_CPATH = package.cpath, XDG_RUNTIME_DIR = self.folder,
    SLUICE_ADMIN_KEY = self.key }
  for name, value in pairs(self.options.env or {}) do env[name] = value end
  local words = { "exec env" }
  for name, value in pairs(env) do words[#words + 1] = quote(name .. "=" .. value) end
  for _, word in ipairs({ interpreter(), main, "run", self.path, "--no-watch", "--port", self.port,
    "--log-format", "text", "--log-level", "debug" }) do
    words[#words + 1] = quote(word)
  end
  if not (self.options.flags or {}).data then
    words[#words + 1] = "--data " .. quote(self.folder .. "/data")
  end
  for name, value in pairs(self.options.flags or {}) do
    local flag = quote("--" .. name:gsub("_", "-"))
    if value == true then value = "" else value = " " .. quote(value) end
    words[#words + 1] = flag .. value
  end
  return table.concat(words, " ")
end

--- Start it and wait until it listens.
-- @tparam function sleep
-- @treturn integer its port, which it keeps when it is started again
function Child:start(sleep)
  local before = #self:text()
  os.remove(self.folder .. "/pid")
  local line = ("(sh -c %s >>%s 2>&1 </dev/null) & wait"):format(
    quote("echo $$ >" .. quote(self.folder .. "/pid") .. "; " .. command(self)),
    quote(self.folder .. "/log"))
  assert(os.execute(("sh -c %s >/dev/null 2>&1 &"):format(quote(line))))
  for _ = 1, UP_SECONDS / POLL_SECONDS do
    sleep(POLL_SECONDS)
    local news = self:text():sub(before + 1)
    local port = news:match("serving [^\n]* on http://[^\n]-:(%d+)")
    if port then
      self.port = math.tointeger(tonumber(port))
      self.pid = self:read("pid"):match("^(%d+)\n")
      return self.port
    end
    self.pid = self.pid or self:read("pid"):match("^(%d+)\n")
    if self.pid and not self:is_running() then break end
  end
  self:finish()
  error("the server is not up; its log:\n" .. self:text(), 0)
end

function Child:read(name)
  return file.read(self.folder .. "/" .. name) or ""
end

--- All that it wrote.
function Child:text() return self:read("log") end

--- The lines of its log.
function Child:lines(level)
  local out = {}
  for line in self:text():gmatch("[^\n]+") do
    local found, message = line:match("^%S+ +(%l+) +(.*)$")
    if found and (not level or level == found) then out[#out + 1] = message end
  end
  return out
end

function Child:signal(name)
  return self.pid and os.execute(("kill -%s %s 2>/dev/null"):format(name, self.pid)) == true
end

function Child:is_running() return self:signal("0") end

--- Write another source into the app's file.
function Child:change(source)
  if not source then return end
  if not self.own then
    error("t:reload(source) would write into your file: change it yourself", 0)
  end
  write(self.path .. ".new", source)
  assert(os.rename(self.path .. ".new", self.path))
end

--- End it now, when it runs still.
function Child:finish()
  if self.pid and self:is_running() then self:signal("KILL") end
  self.pid = nil
end

function Child:remove()
  if self.removed then return end
  self.removed = true
  self:finish()
  os.execute("rm -rf " .. quote(self.folder))
end

Child.__gc = Child.remove -- a test that was never stopped leaves no server behind

return child
