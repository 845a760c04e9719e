--- An app:store in a test: the handle that handlers have, whose methods wait as they do there.
-- Keeps nothing in memory: the server may be another one at each call.
local caller = require("sluice.base.caller")

local store = {}

local WAIT_SECONDS = 90 -- more than a commit can take

--- Make one.
-- @tparam sluice.testing.Test t
-- @tparam string name
-- @treturn table with the methods of a store
function store.new(t, name)
  t.place:store(name) -- raises when there is none
  local function call(method, ...)
    local handle = t.place:store(name)
    local done = t.place:run(("t:store(%q)"):format(name), handle[method], handle, ...)
    local results = t:wait(WAIT_SECONDS, done)
    if not results then caller.raise("t:store(): the disk has not answered") end
    if not results[1] then
      caller.raise(results[2] and results[2].message or "t:store() was ended")
    end
    return table.unpack(results, 2, results.n)
  end
  return setmetatable({}, { __name = "sluice.Store", __index = function(_, method)
    return function(_, ...) return call(method, ...) end
  end })
end

return store
