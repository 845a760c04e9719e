--- Which file may use which. C: a folder includes only folders below it, spelled from csrc/,
--- and only bind/ knows Lua. Lua: a folder requires only what its row names.
local process = require("spec.support.process")
local tree = require("spec.support.tree")

--- What a file in a folder of csrc/ may include beside its own folder.
local C_LAYERS = {
  base = {},
  run = { "base" },
  net = { "run", "base" },
  fan = { "run", "base" },
  store = { "run", "base" },
  crypto = { "base" },
  edge = { "fan", "run", "base" },
  cluster = { "net", "fan", "run", "base" },
  lab = { "net", "run", "base" },
  crowd = { "net", "run", "base" },
  serve = { "cluster", "store", "crypto", "net", "fan", "run", "base" }, -- what both threads share
  ["serve/io"] = { "serve", "cluster", "net", "fan", "run", "base" },
  ["serve/app"] = { "serve/io", "serve", "cluster", "store", "net", "fan", "run", "base" },
  bind = { "serve/app", "serve", "store", "lab", "crowd", "edge", "cluster", "crypto", "net", "fan", "run", "base" },
}

--- What a file in a folder of lua/sluice may require beside its own folder: folders, and modules
--- that stand at the top because users require them.
local LUA_LAYERS = {
  base = { "core", "json" },
  app = { "base/", "core", "json", "eventstream" },
  requests = { "app/", "base/", "core", "json" },
  explain = { "base/", "core", "json" },
  console = { "base/", "core", "json" },
  out = { "base/", "core", "json" },
  live = { "app", "requests/", "explain/", "console/", "app/", "base/", "core", "json" },
  command = { "live/", "requests/", "app/", "base/", "core", "json", "test", "client", "http", "eventstream" },
  meta = {},
  testing = { "live/", "sources/", "base/", "core", "json", "eventstream" },
}

--- The same for the modules at the top.
local LUA_TOP = {
  main = { "command/", "base/" },
  init = { "live/", "base/", "core", "json" },
  app = { "app/", "base/", "core" },
  http = { "out/", "app/", "base/", "core", "json" },
  mail = { "out/", "base/", "core" },
  crypto = { "base/", "core" },
  client = { "out/", "base/", "core", "json", "eventstream" },
  sqlite = { "out/", "base/", "core", "json" },
  testing = { "testing/", "base/" },
  test = { "base/" },
  json = { "base/", "core" },
  eventstream = { "base/" },
  datastar = { "base/", "json" },
  htmx = { "base/" },
}

--- The kit stands on the public API alone, so that a user can copy a file and change it;
--- system asks the core for what /proc does not tell.
local KIT = { "rooms", "jobs", "runs", "inbox", "alerts", "changes", "system", "demo", "hub", "auth",
  "outbox", "postgres", "redis", "sources" }
local KIT_MAY_USE = { init = true, json = true, ["base.names"] = true, ["base.options"] = true,
  ["base.segment"] = true, ["base.keeper"] = true }
local KIT_EXTRA = { jobs = { ["base.owned"] = true, ["base.leader"] = true },
  alerts = { ["base.leader"] = true }, runs = { ["base.owned"] = true },
  auth = { crypto = true, http = true, ["base.handlers_only"] = true },
  changes = { sqlite = true },
  demo = { ["base.recording"] = true }, inbox = { crypto = true, http = true, mail = true },
  postgres = { ["sources.feed"] = true, ["sources.outbox"] = true },
  redis = { ["sources.connection"] = true, ["sources.feed"] = true, ["sources.stream"] = true },
  sources = { crypto = true, ["base.process"] = true, ["live.cluster"] = true,
    ["out.transfer"] = true },
  outbox = { ["base.leader"] = true, http = true, mail = true, ["out.retry"] = true, ["out.signature"] = true },
  system = { core = true, ["base.procfs"] = true, ["base.cgroup"] = true, ["base.file"] = true, ["out.reach"] = true } }

local function set(list)
  local s = {}
  for _, name in ipairs(list) do s[name] = true end
  return s
end

describe("csrc", function()
  local function each_include(visit)
    for _, path in ipairs(tree.files("^csrc/.*%.[ch]$")) do
      for n, line in tree.lines(path) do
        local form, name = line:match('^%s*#%s*include%s*([<"])([^>"]+)')
        if form then visit(path, n, form, name) end
      end
    end
  end

  it("has every file in a known folder, and a folder includes only folders below it", function()
    local wrong, seen = {}, 0
    each_include(function(path, n, form, name)
      local folder = path:match("^csrc/(%w[%w/]*)/[%w_]+%.[ch]$")
      local allowed = folder and C_LAYERS[folder]
      assert.truthy(allowed, path .. " is in no known folder")
      if form == '"' then
        seen = seen + 1
        local target = name:match("^(%w[%w/]*)/[%w_]+%.h$")
        if not (target and (target == folder or set(allowed)[target])) then
          wrong[#wrong + 1] = ("%s:%d includes %s"):format(path, n, name)
        end
      end
    end)
    assert.same({}, wrong)
    assert.is_true(seen > 0)
  end)

  it("knows Lua only in bind/", function()
    local wrong = {}
    each_include(function(path, n, _, name)
      if name:find("^lua") or name:find("lauxlib") then
        if not path:find("^csrc/bind/") then wrong[#wrong + 1] = ("%s:%d includes %s"):format(path, n, name) end
      end
    end)
    assert.same({}, wrong)
  end)

  it("includes a file's own header first", function()
    local first, wrong = {}, {}
    each_include(function(path, _, _, name) first[path] = first[path] or name end)
    for path, name in pairs(first) do
      local own = path:gsub("^csrc/", ""):gsub("%.c$", ".h")
      local has_own = path:find("%.c$") and io.open("csrc/" .. own)
      if has_own then
        has_own:close()
        if name ~= own then wrong[#wrong + 1] = path .. " includes " .. name .. " first" end
      end
    end
    assert.same({}, wrong)
  end)

  it("has headers that compile alone", function()
    local _, flags = process.run("pkg-config --cflags lua5.4")
    local command = { "for h in" }
    for _, path in ipairs(tree.files("^csrc/.*%.h$")) do command[#command + 1] = path end
    command[#command + 1] = ("; do gcc -std=gnu11 -D_GNU_SOURCE -Icsrc %s -fsyntax-only -Werror -Wall -x c $h "
      .. "-Wno-unused-function || echo FAILED $h; done"):format(flags:gsub("\n", ""))
    local _, output = process.run(table.concat(command, " "), { seconds = 60 })
    assert.equal("", output)
  end)
end)

describe("lua/sluice", function()
  local requires = {}
  for _, path in ipairs(tree.files("^lua/sluice/.*%.lua$")) do
    local name = path:match("^lua/sluice/(.*)%.lua$"):gsub("/", ".")
    requires[name] = {}
    for _, line in tree.lines(path) do
      local code = line:gsub("%-%-.*", "")
      for target in code:gmatch('require%("sluice%.?([%w_.]*)"%)') do
        requires[name][target == "" and "init" or target] = true
      end
    end
  end

  local kit = {} -- a module, and the folder of its parts
  for _, name in ipairs(KIT) do
    kit[name] = name
    for part in pairs(requires) do
      if part:sub(1, #name + 1) == name .. "." then kit[part] = name end
    end
  end

  it("has every module in a known folder or among those that users require", function()
    local unknown = {}
    for name in pairs(requires) do
      local folder = name:match("^(.-)%.")
      local known = folder and LUA_LAYERS[folder] or not folder and LUA_TOP[name] or kit[name]
      if not known then unknown[#unknown + 1] = name end
    end
    assert.same({}, unknown)
  end)

  it("requires only what its folder may", function()
    local wrong = {}
    for name, targets in pairs(requires) do
      local folder = name:match("^(.-)%.")
      local allowed = set(folder and LUA_LAYERS[folder] or LUA_TOP[name] or {})
      for target in pairs(targets) do
        local place = target:match("^(.-)%.")
        if place == "core" then place, target = nil, "core" end
        local fine = place and (place == folder or allowed[place .. "/"]) or allowed[target]
        if not kit[name] and not fine then wrong[#wrong + 1] = name .. " requires " .. target end
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("keeps the kit on the public API", function()
    local wrong = {}
    for name, targets in pairs(requires) do
      for target in pairs(targets) do
        local allowed = KIT_MAY_USE[target] or (KIT_EXTRA[kit[name]] or {})[target]
          or kit[target] == kit[name]
        if kit[name] and not allowed then wrong[#wrong + 1] = name .. " requires " .. target end
      end
    end
    assert.same({}, wrong)
  end)

  it("has no circles", function()
    local state = {}
    local function visit(name, trail)
      assert.not_equal("open", state[name], trail .. " > " .. name)
      if state[name] then return end
      state[name] = "open"
      for target in pairs(requires[name] or {}) do visit(target, trail .. " > " .. name) end
      state[name] = "done"
    end
    for name in pairs(requires) do visit(name, "") end
  end)

  it("spells require in one way, which these specs can read", function()
    local wrong = {}
    for _, path in ipairs(tree.files("^lua/.*%.lua$")) do
      for n, line in tree.lines(path) do
        if line:find("^[^-]*require%s*[\"'{%[]") or line:find("^[^-]*require%('") then
          wrong[#wrong + 1] = path .. ":" .. n
        end
      end
    end
    assert.same({}, wrong)
  end)
end)
