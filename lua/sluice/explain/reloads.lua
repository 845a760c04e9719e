--- Reloads that explain something: which one changed a channel or a route. Keeps nothing in memory.
local core = require("sluice.core")
local words = require("sluice.explain.words")

local reloads = {}

-- The parts of a difference: "~channel:news history 100→10", "-stream:/x".
local function parts(difference)
  local list = {}
  for part in ((difference or "") .. "  "):gmatch("(.-)  ") do
    if part ~= "" then list[#list + 1] = part end
  end
  return list
end

-- What a part is about: the kind without the sign, and a pattern.
local function subject(part)
  return part:match("^[+~-]([%a_ ]+):(%S+)")
end

--- The parts of a reload's difference that are about a name.
-- @tparam table row of the recorder
-- @tparam string kind "channel" or "stream"
-- @tparam string name
-- @treturn {string,...}
function reloads.about(row, kind, name)
  local list = {}
  for _, part in ipairs(parts(row.difference)) do
    local what, pattern = subject(part)
    local same = what == kind or kind == "stream" and what == "durable_stream"
    if same and core.match(pattern, name) then list[#list + 1] = part end
  end
  return list
end

--- The last successful reload that changed something about a channel, at a time or before.
-- @tparam sluice.Runtime runtime
-- @tparam number|nil time
-- @tparam string name
-- @tparam[opt="channel"] string kind
-- @treturn table|nil its row, and the parts
function reloads.before(runtime, time, name, kind)
  local list = runtime.recorder:list("reloads")
  for i = #list, 1, -1 do
    local row = list[i]
    local found = row.ok and (not time or row.time <= time + 1)
      and reloads.about(row, kind or "channel", name)
    if found and #found > 0 then return row, found end
  end
end

--- `Reload #3 at 13:05:09: ~channel:news history 100→10`
function reloads.text(row)
  local name = row.kind == "rollback" and "The rollback to" or "Reload"
  local head = ("%s #%d at %s"):format(name, row.generation, words.clock(row.time))
  if not row.ok then
    return ("%s failed in %s: %s"):format(head, row.phase or "?", row.text or "?")
  end
  if row.difference == "" then return head .. ": nothing that is registered changed" end
  return ("%s: %s"):format(head, row.difference)
end

return reloads
