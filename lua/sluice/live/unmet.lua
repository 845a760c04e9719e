--- Names without a counterpart: a channel that is published and not followed, a timer that waits
-- for subscribers that cannot come, a guard without a route. Found in what an app registers and,
-- where names stand in functions, in its text: what cannot be read causes no warning.
-- Keeps nothing in memory.
local options = require("sluice.base.options")
local patterns = require("sluice.base.patterns")
local sources = require("sluice.live.sources")

local unmet = {}

-- A name is { name, open, where }: a pattern, or the beginning of something when it is open.
local function overlap(a, b)
  if not (a.open or b.open) then return patterns.may_overlap(a.name, b.name) end
  local x, y = a.name:match("^[^:*]*"), b.name:match("^[^:*]*")
  local n = math.min(#x, #y)
  return x:sub(1, n) == y:sub(1, n)
end

local function overlaps_some(item, list)
  for _, other in ipairs(list) do
    if overlap(item, other) then return true end
  end
  return false
end

-- ", did you mean 'prices'?", of the names in some lists.
local function meant(item, ...)
  local names = {}
  for _, list in ipairs({ ... }) do
    for _, other in ipairs(list) do
      if other.name ~= item.name then names[#names + 1] = other.name end
    end
  end
  local near = options.nearest(item.name, names)
  return near and (", did you mean '%s'?"):format(near) or ""
end

-- ---- What streams follow -------------------------------------------------------------------

-- The names in { "a", { "b", keys = … }, "c/" .. id }.
local function read_list(list, text, where)
  text = text:sub(2, -2):gsub("%b{}", function(inner) return inner:match("^{%s*([^,}]*)") end)
  for part in (text .. ","):gmatch("%s*(.-)%s*,") do
    local item = sources.name_of(part)
    if item then item.where = where end
    list.unread = list.unread or part ~= "" and not item
    list[#list + 1] = item
  end
end

-- What a plan function returns: names, a table of a plan, a status; or nothing, when it writes.
local function read_plan(list, text, where)
  for from in text:gmatch("%f[%w_]return%f[^%w_]%s*()") do
    local value = text:sub(from)
    local item = sources.name_of(value)
    local channels = (value:match("^%b{}") or ""):match("%f[%w_]channels%s*=%s*(%b{})")
    if item then
      item.where = where
      list[#list + 1] = item
    elseif channels then
      read_list(list, channels, where)
    elseif not (value:find("^%d") or value:find("^nil%f[^%w_]") or value:find("^end%f[^%w_]")) then
      list.unread = true
    end
  end
end

local function followers(generation)
  local list = sources.calls(generation, "subscribe")
  for _, route in ipairs(generation.routes) do
    for _, entry in ipairs(route.checked and route.checked.channels or {}) do
      list[#list + 1] = { name = entry[1], where = route.where, constant = true }
    end
    if type(route.plan) == "function" then
      local text = sources.body_of(generation, route.plan)
      if text then read_plan(list, text, route.where) else list.unread = true end
    end
  end
  return list
end

-- ---- What is declared --------------------------------------------------------------------

local function hooked(generation, kind)
  local list = {}
  for _, hook in ipairs(generation.hooks[kind] or {}) do
    list[#list + 1] = { name = hook.pattern, where = hook.where, is_module = hook.module ~= nil }
  end
  return list
end

-- Channels of the app's, and those of modules of Sluice's, which publish on them.
local function declared(generation)
  local list, modules = {}, {}
  for _, policy in ipairs(generation.policies) do
    local item = { name = policy.pattern, where = policy.where,
      is_internal = policy.is_module and policy.denies and not policy.pattern:find("[:*]") }
    list[#list + 1] = item
    if policy.is_module then modules[#modules + 1] = item end
  end
  return list, modules
end

-- What uses published events: streams, hooks, and code that reads what a channel holds.
local function takers(generation, follow)
  local list = { unread = follow.unread }
  local reading = { sources.calls(generation, "latest"), sources.calls(generation, "history") }
  for _, some in ipairs({ follow, hooked(generation, "published"), table.unpack(reading) }) do
    list.unread = list.unread or some.unread
    table.move(some, 1, #some, #list + 1, list)
  end
  return list
end

local function channels(generation, say)
  local follow, publish = followers(generation), sources.calls(generation, "publish")
  publish.unread = publish.unread or next(generation.feeds) ~= nil -- what a source's map returns
  local known, modules = declared(generation)
  local take = takers(generation, follow)
  for _, item in ipairs(follow) do
    if item.constant and not publish.unread and not overlaps_some(item, publish)
      and not overlaps_some(item, modules) then
      say('%s: "%s" is subscribed here and published nowhere in these files%s', item.where,
        item.name, meant(item, publish))
    end
  end
  local reported = {}
  for _, item in ipairs(publish) do
    if not take.unread and not overlaps_some(item, take) then
      say('%s: "%s" is published here and no stream follows it%s', item.where, item.name,
        meant(item, take))
      reported[#reported + 1] = item
    end
  end
  for _, item in ipairs(known) do
    if not take.unread and not item.is_internal and not overlaps_some(item, take)
      and not overlaps_some(item, reported) then
      say('%s: channel "%s" is declared here and no stream follows it%s', item.where, item.name,
        meant(item, take))
    end
  end
  return follow, publish, known, modules
end

-- A timer that waits for subscribers of a channel that nothing else names, or no stream follows.
local function timers(generation, say, follow, publish, known)
  for _, timer in ipairs(generation.timers) do
    local item = { name = timer.channel, where = timer.where }
    if timer.channel and not overlaps_some(item, follow) then
      local named = overlaps_some(item, known) or overlaps_some(item, publish)
      if not (follow.unread and named) then
        say('%s: while_subscribed = "%s": no stream follows that channel: it never runs%s',
          item.where, item.name, meant(item, follow, known, publish))
      end
    end
  end
end

local function hooks(generation, say, follow, publish, modules)
  local published = table.move(publish, 1, #publish, 1, { unread = publish.unread })
  table.move(modules, 1, #modules, #published + 1, published)
  local function judge(what, list, others)
    for _, item in ipairs(list) do
      if not (others.unread or item.is_module or overlaps_some(item, others)) then
        say('%s: %s "%s" matches no channel of this app%s', item.where, what, item.name,
          meant(item, others))
      end
    end
  end
  judge("the subscribe hook", hooked(generation, "subscribe"), follow)
  judge("the unsubscribe hook", hooked(generation, "unsubscribe"), follow)
  judge("the published hook", hooked(generation, "published"), published)
  local list = {}
  for _, row in ipairs(generation.transforms) do
    list[#list + 1] = { name = row.pattern, where = row.where }
  end
  judge("the transform", list, published)
end

-- A guard without a route protects nothing.
local function paths(generation, say)
  local routes = {}
  for _, route in ipairs(generation.routes) do routes[#routes + 1] = { name = route.pattern } end
  for _, row in ipairs(generation.statics) do
    routes[#routes + 1] = { name = row.prefix .. "/**" }
  end
  for _, what in ipairs({ "guard", "cors" }) do
    for _, row in ipairs(what == "guard" and generation.guards or generation.cors) do
      local item = { name = row.pattern }
      if not overlaps_some(item, routes) then
        say('%s: app:%s("%s") matches no route%s', row.where or generation.path, what, row.pattern,
          meant(item, routes))
      end
    end
  end
end

local function tasks(generation, say)
  local known = {}
  for name in pairs(generation.tasks) do known[#known + 1] = { name = name } end
  for _, method in ipairs({ "after", "at" }) do
    for _, item in ipairs(sources.calls(generation, method, "[^,()]*,")) do
      if not item.open and not generation.tasks[item.name] then
        say("%s: there is no app:task('%s')%s", item.where, item.name, meant(item, known))
      end
    end
  end
end

--- The warnings about a generation.
-- @tparam sluice.Generation generation
-- @tparam function say called with a format and its values
function unmet.warn(generation, say)
  local follow, publish, known, modules = channels(generation, say)
  timers(generation, say, follow, publish, known)
  hooks(generation, say, follow, publish, modules)
  paths(generation, say)
  tasks(generation, say)
end

return unmet
