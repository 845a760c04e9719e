--- What other policies of channels delete from the store, in words: before it is done, and after.
-- A count is what memory knows: "or more" when the store has older events. Keeps nothing in memory.
local core = require("sluice.core")

local losses = {}

local NAMED_MAX = 20 -- channels that a sentence names

local function count(n, what, more)
  if n == 0 then return more and "more " .. what .. "s than memory has" or nil end
  return ("%d %s%s%s"):format(n, what, n == 1 and "" or "s", more and " or more" or "")
end

local function show(row)
  local parts = {}
  parts[1] = count(row.events, "event", row.more)
  parts[#parts + 1] = count(row.values, "newest value")
  return ("'%s' (%s)"):format(row.channel, table.concat(parts, ", "))
end

-- Those with most events first.
local function sort(rows)
  table.sort(rows, function(a, b)
    if a.events ~= b.events then return a.events > b.events end
    return a.channel < b.channel
  end)
end

--- The sentence, or nil when nothing is deleted.
-- @tparam {table,...} rows as of server:stored
-- @tparam integer left_out how many rows are missing
-- @tparam boolean is_done it has happened
function losses.text(rows, left_out, is_done)
  if not rows[1] then return nil end
  sort(rows)
  local list = {}
  for i = 1, math.min(#rows, NAMED_MAX) do list[i] = show(rows[i]) end
  local rest = #rows - #list + left_out
  return ("%s of %s%s: not durable any more, or of another kind; only a backup brings it back")
    :format(is_done and "deleted what was stored" or "would delete what is stored",
      table.concat(list, ", "), rest > 0 and (" and %d channels more"):format(rest) or "")
end

--- What a server would delete with other policies.
-- @param server of the core
-- @tparam {table,...} policies of a generation
-- @treturn table for losses.note
function losses.find(server, policies)
  local rows, left_out = server:stored(policies)
  return { rows = rows, left_out = left_out }
end

--- Add the sentence about what was found to a list.
function losses.note(notes, found, is_done)
  notes[#notes + 1] = losses.text(found.rows, found.left_out, is_done)
end

--- Those rows of server:stored() that policies would delete.
-- @tparam {table,...} rows
-- @tparam {table,...} policies of a generation
-- @treturn {table,...}
function losses.among(rows, policies)
  local list = {}
  for _, row in ipairs(rows) do
    local kind, _, durable = core.merge(policies, row.channel)
    if not durable or (kind == "state") ~= (row.kind == "state") then list[#list + 1] = row end
  end
  return list
end

return losses
