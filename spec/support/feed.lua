--- The feed of a cluster, as Redis keeps it, read by other means than the product's.
local feed = {}

local LINE = "^(%d+) (~?%d+) (%d+) (%d+) (%a*) ([^.]*)%.(%S*) ([^\0]*)\0([^\0]*)\0([^\0]*)\0(.*)$"

--- The events among some entries of a stream, in their order; a mark and an epoch are none.
-- @tparam table entries as XRANGE answers: { id, { field, value, ... } }
-- @tparam[opt] string kind only these: log, keyed or state
function feed.events(entries, kind)
  local out = {}
  for _, entry in ipairs(entries) do
    local name, line = entry[2][1], entry[2][2]
    if (name == "log" or name == "keyed" or name == "state") and (not kind or name == kind) then
      local e = { kind = name }
      e.seq, e.prior, e.time, e.expires, e.flags, e.slot, e.token, e.channel, e.event, e.key, e.data = line:match(LINE)
      assert(e.seq == entry[1]:match("^0%-(%d+)$"), "a line with another number than its entry")
      e.seq = math.tointeger(tonumber(e.seq))
      out[#out + 1] = e
    end
  end
  return out
end

--- Of an answer to XREAD of one stream, which may be none.
function feed.read(reply, kind) return feed.events(reply and reply[1][2] or {}, kind) end

return feed
