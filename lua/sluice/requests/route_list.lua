--- What an app serves, as a list for people and programs: `sluice routes`, GET /-/routes. Keeps
--- nothing in memory.
local arrays = require("sluice.base.arrays")
local router = require("sluice.requests.router")
local routes = require("sluice.app.routes")

local route_list = {}

-- Who answers: the I/O threads by a constant plan, or Lua.
local function plan_of(generation, route)
  if not route.checked then return "function" end
  return routes.is_constant(generation, route) and "constant" or "table"
end

local function channels_of(checked)
  local list = arrays.mark({})
  for i, entry in ipairs(checked and checked.channels or {}) do list[i] = entry[1] end
  return list
end

local KINDS = { stream = "stream", feed = "durable_stream" }

local function guards_of(generation, route)
  local list = arrays.mark({})
  for i, guard in ipairs(router.guards_of(generation, route)) do
    list[i] = { where = guard.where, pattern = guard.pattern }
  end
  return list
end

local function row_of(generation, route)
  local kind = KINDS[route.kind] or route.body_max and "upload" or "handler"
  local streams = KINDS[kind == "durable_stream" and "feed" or kind] ~= nil
  return { method = route.method, path = route.pattern, kind = kind,
    plan = streams and plan_of(generation, route) or nil,
    channels = streams and route.checked and channels_of(route.checked) or nil,
    guards = guards_of(generation, route), where = route.where }
end

local function file_row(generation, static)
  local route = { pattern = static.prefix .. "/**", guards = {} }
  return { method = "GET", path = route.pattern, kind = "files", folder = static.folder,
    guards = guards_of(generation, route), where = generation.static_named[static.prefix] }
end

--- The list, in the order in which routes are tried.
-- @tparam sluice.Generation generation that was prepared
-- @treturn {table,...} { method, path, kind ("handler", "upload", "stream", "durable_stream",
--   "files"), plan ("constant": answered without Lua, "table", "function"), channels, guards,
--   where, folder }
function route_list.of(generation)
  local list = arrays.mark({})
  for _, route in ipairs(generation.sorted_routes) do
    list[#list + 1] = row_of(generation, route)
  end
  local statics = table.move(generation.statics, 1, #generation.statics, 1, {})
  table.sort(statics, function(a, b) return #a.prefix > #b.prefix end)
  for _, static in ipairs(statics) do list[#list + 1] = file_row(generation, static) end
  return list
end

return route_list
