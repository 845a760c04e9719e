--- Which declaration decided: for each option of a channel's policy the pattern that won, and the
-- line where it stands. Keeps nothing in memory.
local core = require("sluice.core")

local rules = {}

local OPTIONS = { "history", "ttl", "key", "max_keys", "rewind", "slow", "durable", "max_rate",
  "batch", "budget" }

--- The declared patterns that match a channel, the most specific last, as the core merges them.
-- @tparam sluice.Generation generation
-- @tparam string channel
-- @treturn {table,...} rows of generation.policies
function rules.matching(generation, channel)
  local list, order = {}, {}
  for i, row in ipairs(generation.policies) do
    if core.match(row.pattern, channel) then
      list[#list + 1], order[row] = row, i
    end
  end
  table.sort(list, function(a, b)
    local x, y = core.weight(a.pattern), core.weight(b.pattern)
    if x ~= y then return x < y end
    return order[a] < order[b]
  end)
  return list
end

--- What decides each option of a channel.
-- @tparam sluice.Generation generation
-- @tparam string channel
-- @treturn table option -> { option, value, pattern, where }; those without one have the default
function rules.of(generation, channel)
  local out = {}
  for _, row in ipairs(rules.matching(generation, channel)) do
    for _, name in ipairs(OPTIONS) do
      if row[name] ~= nil then
        out[name] = { option = name, value = row[name], pattern = row.pattern, where = row.where }
      end
    end
  end
  return out
end

local function value_text(value)
  if type(value) == "string" then return ('"%s"'):format(value) end
  if type(value) ~= "table" then return core.text_of(value) end
  local parts = {}
  for _, name in ipairs({ "count", "bytes" }) do
    if value[name] then parts[#parts + 1] = ("%s = %d"):format(name, value[name]) end
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- A rule in words: `history = 100 of 'news/*' (app.lua:4)`.
-- @tparam table|nil rule of rules.of
-- @tparam string absent the words when nothing was declared
function rules.text(rule, absent)
  if not rule then return absent end
  return ("%s = %s of '%s' (%s)"):format(rule.option, value_text(rule.value), rule.pattern,
    rule.where)
end

--- What an answer has of a rule.
function rules.shown(rule)
  if not rule then return nil end
  return { option = rule.option, value = value_text(rule.value), pattern = rule.pattern,
    where = rule.where }
end

return rules
