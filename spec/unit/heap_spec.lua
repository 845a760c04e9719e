--- The allocator of the Lua heap: a program of its own, so that no other spec runs in pools.
local process = require("spec.support.process")

local PROGRAM = [=[
local core = require("sluice.core")
core.pool_heap()
core.pool_heap() -- the second time changes nothing
math.randomseed(7)

-- What an object must hold, by what it was made from.
local function make(n, size)
  if n % 3 == 0 then return ("%d "):format(n):rep(size // 4 + 1) end
  local list = {}
  for i = 1, size // 16 do list[i] = n + i end
  for i = #list, #list // 2, -1 do list[i] = nil end
  for i = 1, size // 64 do list["k" .. i] = n end
  return list
end
local function check(n, size, object)
  local wanted = make(n, size)
  if type(wanted) == "string" then return object == wanted end
  for key, value in pairs(wanted) do if object[key] ~= value then return false end end
  for key in pairs(object) do if wanted[key] == nil then return false end end
  return true
end

local kept, most = {}, 0
for n = 1, 30000 do
  local at, size = math.random(15000), math.random(40) == 1 and math.random(20000) or math.random(1500)
  local old = kept[at]
  if old then assert(check(old.n, old.size, old.object), "object " .. old.n .. " is not what it was") end
  kept[at] = { n = n, size = size, object = make(n, size) }
  if n % 50 == 0 then
    local co = coroutine.wrap(function(depth)
      local function deep(d) return d == 0 and 0 or 1 + deep(d - 1) end
      return deep(depth)
    end)
    assert(co(n // 50) == n // 50)
  end
  most = math.max(most, core.heap())
end
for _, old in pairs(kept) do assert(check(old.n, old.size, old.object), "object " .. old.n) end
assert(most > 24 * 1024 * 1024, "all of it fits into the pools: " .. most)
kept = nil
collectgarbage() collectgarbage()
io.write(("left %d of %d\n"):format(core.heap() // 1024, most // 1024))
]=]

describe("the allocator of the Lua heap", function()
  it("keeps what Lua put into it, in the pools and beyond them", function()
    local dir = process.temp_dir()
    process.write_file(dir .. "/program.lua", PROGRAM)
    local code, text = process.run { "env", "LUA_CPATH_5_4=" .. package.cpath, ".ci/lua", dir .. "/program.lua" }
    assert.matches("^left %d+ of %d+\n$", text)
    assert.equal(0, code)
    process.remove_dir(dir)
  end)
end)
