--- What keeps plain data by key: a store of the app, or memory until the process ends.
--- Both say `get`, `set`, `delete` and `each`; memory outlives a reload and refuses nothing.
local Memory = {}
Memory.__index = Memory
function Memory:get(key) return self.state()[key] end
function Memory:delete(key) self.state()[key] = nil return true end
function Memory:set(key, value) self.state()[key] = value return true end
function Memory:each() return pairs(self.state()) end

-- At the top level of an app, which declares the store or the state of that name.
return function(app, name, durable)
  if durable then return app:store(name) end
  return setmetatable({ state = app:state(name, {}) }, Memory)
end
