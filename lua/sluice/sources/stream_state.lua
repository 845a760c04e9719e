--- What a stream of Redis is at one moment, and whose it is. Keeps nothing in memory.
local stream_state = {}

--- Names and values in turn as a table by name.
-- @tparam table list
-- @treturn table
function stream_state.fields(list)
  local fields = {}
  for i = 1, #list, 2 do fields[list[i]] = list[i + 1] end
  return fields
end

--- Whether an id is behind another one.
-- @tparam string a
-- @tparam string b
-- @treturn boolean
function stream_state.is_after(a, b)
  local a_ms, a_n = a:match("^(%d+)%-(%d+)$")
  local b_ms, b_n = b:match("^(%d+)%-(%d+)$")
  local ms, other = math.tointeger(tonumber(a_ms)), math.tointeger(tonumber(b_ms))
  if ms ~= other then return (ms or 0) > (other or 0) end
  return (math.tointeger(tonumber(a_n)) or 0) > (math.tointeger(tonumber(b_n)) or 0)
end

local function error_of(reply) return type(reply) == "table" and reply.err or nil end

--- Which process this is, and which line its data are of: a replica that takes the place of another
-- one begins a new line.
-- @tparam sluice.sources.Connection c
-- @treturn string|nil false when this user may not ask; nil, message
function stream_state.run(c)
  local replies, why = c:ask_all { { "INFO", "server" }, { "INFO", "replication" } }
  if not replies then return nil, why end
  if error_of(replies[1]) or error_of(replies[2]) then return false end
  return (replies[1]:match("run_id:(%x+)") or "") .. "/"
    .. (replies[2]:match("master_replid:(%x+)") or "")
end

--- The command that reads a batch, and one entry more.
-- @tparam table of key and batch
-- @tparam string id the first
-- @treturn table
function stream_state.range(of, id)
  return { "XRANGE", of.key, id, "+", "COUNT", tostring(of.batch + 1) }
end

-- The same for a user who may not ask XINFO: what can be known.
local function look_less(c, of, id)
  local replies, why = c:ask_all { { "XREVRANGE", of.key, "+", "-", "COUNT", "1" },
    { "XREVRANGE", of.key, id, "-", "COUNT", "1" }, stream_state.range(of, id) }
  if not replies then return nil, why end
  for _, reply in ipairs(replies) do
    if error_of(reply) then return nil, reply.err end
  end
  local newest = replies[1][1]
  return { last = newest and newest[1] or id, has_below = replies[2][1] ~= nil, list = replies[3] }
end

--- What the stream is, in one step with what is at a place.
-- @tparam sluice.sources.Connection c
-- @tparam table of key and batch
-- @tparam string id
-- @treturn table|nil { length, added, last, deleted (the largest id that was), has_below, list
--   (from there on) }; false: there is no such key; nil, message
function stream_state.look(c, of, id)
  local replies, why = c:ask_all { { "MULTI" }, { "XINFO", "STREAM", of.key },
    { "XREVRANGE", of.key, id, "-", "COUNT", "1" }, stream_state.range(of, id), { "EXEC" } }
  if not replies then return nil, why end
  local refused, all = error_of(replies[1]) or error_of(replies[2]), replies[5]
  if refused and (refused:find("^NOPERM") or refused:find("unknown", 1, true)) then
    return look_less(c, of, id)
  end
  if error_of(all) then return nil, refused or error_of(replies[3]) or all.err end
  local info, below, list = all[1], all[2], all[3]
  if error_of(info) and info.err:find("no such key", 1, true) then return false end
  why = error_of(info) or error_of(below) or error_of(list)
  if why then return nil, why end
  local known = stream_state.fields(info)
  return { length = known.length, added = known["entries-added"], last = known["last-generated-id"],
    deleted = known["max-deleted-entry-id"], has_below = below[1] ~= nil, list = list }
end

return stream_state
