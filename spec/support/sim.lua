--- Short words for specs of the cursor core: a sim with its policies in place, and what its
--- streams received.
local eventstream = require("sluice.eventstream")
local testing = require("sluice.core.testing")

local sim = {}

--- A sim of `threads` (1) threads that hold these policies.
function sim.new(policies, threads)
  local s = testing.sim(threads or 1)
  s:policies(policies or {})
  for i = 1, threads or 1 do s:drain(i) end
  return s
end

--- Every thread takes its commands and sends what it can.
function sim.run(s, threads)
  for i = 1, threads or 1 do
    s:drain(i)
    for _ = 1, 10000 do if not s:flush(i) then break end end
  end
end

--- What the stream received since the last call, as events; and how it ended.
function sim.events(stream)
  local bytes, ended = stream:take()
  return eventstream.new():feed(bytes), ended, bytes
end

local opening = setmetatable({}, { __mode = "k" }) -- streams whose hello was seen, and no sync yet

--- Whether an event is the sync that ends the opening of a stream.
function sim.is_opened(stream, event)
  if event.event == "hello" and not event.data:find('"channels":0', 1, true) then opening[stream] = true end
  if event.event ~= "sync" or not opening[stream] then return false end
  opening[stream] = nil
  return true
end

--- The same in one line: "hello@0 a@1=x reset@1 …", ids without their epoch, data of plain
--- events only. The sync that ends an opening is an "opened" when it is asked for.
function sim.line(stream, with_opened)
  local events, ended = sim.events(stream)
  local words, last = {}, ""
  for _, event in ipairs(events) do
    local opened = sim.is_opened(stream, event)
    if opened and not with_opened then goto continue end
    local id = event.id ~= last and "@" .. (event.id:match("%-(%d+)$") or event.id) or ""
    last = event.id
    local control = ({ hello = 1, reset = 1, sync = 1, bye = 1 })[event.event]
    words[#words + 1] = (opened and "opened" or event.event) .. id .. (control and "" or "=" .. event.data)
    ::continue::
  end
  if ended then words[#words + 1] = ended end
  return table.concat(words, " ")
end

--- What is alive now; call it again with the result to assert that nothing is left.
function sim.alive(before)
  collectgarbage()
  local now = testing.alive()
  if before then assert(now.memory == before.memory and now.frames == before.frames
    and now.blocks == before.blocks, "something is left alive") end
  return now
end

return sim
