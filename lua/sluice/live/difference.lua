--- The difference between what two generations register, in one line:
--   +on:published telemetry/*  ~every:metrics 5s→2s  -get:/x  state counters v1→v2
-- Keeps nothing in memory.
local arrays = require("sluice.base.arrays")
local core = require("sluice.core")
local limits = require("sluice.app.limits")

local difference = {}

local function text_of(value)
  if type(value) ~= "table" then return core.text_of(value) end
  local keys, out = {}, {}
  for k in pairs(value) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, k in ipairs(keys) do
    out[i] = (type(k) == "number" and "" or tostring(k) .. "=") .. text_of(value[k])
  end
  return "{" .. table.concat(out, " ") .. "}"
end

local function texts(row, ...)
  local out = {}
  for _, name in ipairs({ ... }) do
    if row[name] ~= nil and row[name] ~= false then out[name] = text_of(row[name]) end
  end
  return out
end

local function count(out, key)
  out[key] = out[key] or { [""] = "0" }
  out[key][""] = tostring(math.tointeger(tonumber(out[key][""])) + 1)
end

local function plan_text(checked)
  local names = {}
  for i, entry in ipairs(checked.channels) do
    local has_options = next(entry, next(entry)) ~= nil
    names[i] = text_of(has_options and entry or entry[1])
  end
  return table.concat(names, ",")
end

local function describe_routes(generation, out)
  for _, route in ipairs(generation.routes) do
    local kind = route.kind == "feed" and "durable_stream"
      or route.kind == "stream" and route.method == "GET" and "stream"
      or route.kind == "stream" and "stream " .. route.method or route.method:lower()
    local row = texts(route, "heartbeat", "compress")
    if route.checked then row.plan = plan_text(route.checked) end
    if #route.guards > 0 then row.guards = tostring(#route.guards) end
    out[kind .. ":" .. route.pattern] = row
  end
  for _, guards in ipairs(generation.guards) do
    for _ = 1, #guards do count(out, "guard:" .. guards.pattern) end
  end
  for _, static in ipairs(generation.statics) do
    out["static:" .. static.prefix .. "/"] = {}
  end
  for _, rule in ipairs(generation.cors) do
    out["cors:" .. rule.pattern] = texts(rule, "origins", "credentials", "max_age")
  end
end

local function describe_hooks(generation, out)
  for kind, list in pairs(generation.hooks) do
    for _, hook in ipairs(list) do
      count(out, "on:" .. kind .. (hook.pattern and " " .. hook.pattern or ""))
    end
  end
  for _, row in ipairs(generation.transforms) do count(out, "transform:" .. row.pattern) end
end

--- What a generation registers.
-- @tparam sluice.Generation generation
-- @treturn table key -> { option -> text }
function difference.describe(generation)
  local out = {}
  describe_routes(generation, out)
  describe_hooks(generation, out)
  for _, p in ipairs(generation.policies) do
    local row = texts(p, "history", "ttl", "key", "max_keys", "rewind", "slow", "durable",
      "max_rate", "batch", "budget")
    row.read = p.denies and "yes" or nil
    if p.ttl == false then row.ttl = "false" end
    if p.shared == false then row.shared = "false" end
    out["channel:" .. p.pattern] = row
  end
  if generation.limits then
    out.limits = texts(generation.limits, "exempt", table.unpack(limits.NAMES))
  end
  for _, timer in ipairs(generation.timers) do
    local row = texts(timer, "channel", "now")
    row[""] = core.text_of(timer.seconds) .. "s"
    out["every:" .. timer.name] = row
  end
  for name, task in pairs(generation.tasks) do out["task:" .. name] = texts(task, "restart") end
  for name in pairs(generation.services) do out["service:" .. name] = {} end
  for name in pairs(generation.event_types) do out["event_type:" .. name] = {} end
  for name in pairs(generation.stores) do out["store:" .. name] = {} end
  for name, row in pairs(generation.states) do
    out["state " .. name] = { [""] = "v" .. tostring(row.version) }
  end
  return out
end

local function changes(old, new)
  local names, list = {}, {}
  for name in pairs(old) do names[name] = true end
  for name in pairs(new) do names[name] = true end
  for name in pairs(names) do
    if old[name] ~= new[name] then
      list[#list + 1] = ("%s%s→%s"):format(name == "" and "" or name .. " ", old[name] or "none",
        new[name] or "none")
    end
  end
  table.sort(list)
  return list[1] and table.concat(list, ", ")
end

local function one(key, old, new)
  local is_state = key:find("^state ")
  if not old then return 1, "+" .. key end
  if not new then return 3, "-" .. key end
  local what = changes(old, new)
  if what then return is_state and 4 or 2, (is_state and "" or "~") .. key .. " " .. what end
end

--- Compare two descriptions.
-- @tparam table old from difference.describe
-- @tparam table new
-- @treturn string empty when nothing differs
function difference.between(old, new)
  local keys, list = {}, {}
  for key in pairs(old) do keys[key] = true end
  for key in pairs(new) do keys[key] = true end
  for key in pairs(keys) do
    local rank, text = one(key, old[key], new[key])
    if rank then list[#list + 1] = { rank = rank, text = text } end
  end
  table.sort(list, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.text < b.text
  end)
  for i, item in ipairs(list) do list[i] = item.text end
  return table.concat(list, "  ")
end

--- The files that made the difference: those whose text is another, and what was watched.
-- @tparam string root the app's folder: paths in it are relative
-- @tparam table touched by path
-- @tparam table before texts by path
-- @tparam table now
-- @treturn {string,...}
function difference.files(root, touched, before, now)
  local set, list = {}, {}
  local function relative(path)
    return path:sub(1, #root + 1) == root .. "/" and path:sub(#root + 2) or path
  end
  for path in pairs(touched) do set[relative(path)] = now[path] == nil or nil end
  for path, text in pairs(now) do
    if before[path] ~= text then set[relative(path)] = true end
  end
  for path in pairs(before) do
    if now[path] == nil then set[relative(path)] = true end
  end
  for path in pairs(set) do list[#list + 1] = path end
  table.sort(list)
  return arrays.mark(list)
end

--- Whether a generation was loaded from the same texts as one before. That one may have more:
-- what it required while it served.
-- @tparam table before texts by path
-- @tparam table now
-- @treturn boolean
function difference.is_none(before, now)
  for path, text in pairs(now) do
    if before[path] ~= text then return false end
  end
  return true
end

--- What a reload changed, for one line.
-- @tparam string text from difference.between
-- @tparam {string,...} files whose text is another than before
-- @tparam[opt] table certificates { ok, message }: what became of those on the disk
-- @treturn string
function difference.summary(text, files, certificates)
  local parts = {}
  if text ~= "" then parts[1] = text end
  if files[1] then parts[#parts + 1] = table.concat(files, " ") end
  if certificates and certificates.ok then parts[#parts + 1] = certificates.message end
  return parts[1] and table.concat(parts, "  ") or "nothing has changed"
end

return difference
