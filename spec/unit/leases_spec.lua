--- How many values of a node may go with it, and how many tasks of a cluster may be pending: what is refused, and that
--- room comes again.
local core = require("sluice.core")
local leases = require("sluice.live.leases")
local shared_tasks = require("sluice.live.shared_tasks")

describe("values with a lease", function()
  local LEASED = { lease = true }

  local function set(all, key, o) all:begin("who", "joined", "{}", key, o or LEASED)(true, "1-1", 0, false) end

  it("are a hundred thousand of a node; the next is refused, with what to do, until one is removed", function()
    local all = leases.new({ is_shared = true })
    local how = { kind = "state", shared = true }
    assert.equal(100000, core.limits.LEASES_MAX)
    for i = 1, core.limits.LEASES_MAX do set(all, "k" .. i) end
    local message, code = all:fault(how, "who", "one more")
    assert.equal("EFULL", code)
    assert.equal("this node has 100000 values with lease = true already, which is the most: remove those that are over",
      message)
    assert.is_nil(all:fault(how, "who", "k7")) -- said anew
    set(all, "k7", { remove = true })
    assert.is_nil(all:fault(how, "who", "one more"))
    set(all, "one more")
    assert.equal("EFULL", select(2, all:fault(how, "who", "yet another")))
  end)

  it("that are set without one are none any more", function()
    local all = leases.new({ is_shared = true })
    set(all, "a")
    set(all, "a", {})
    set(all, "b")
    all:take("who", "joined", "b", false)
    assert.equal(0, all.n)
  end)
end)

describe("tasks of a cluster", function()
  it("are a hundred thousand; the next is refused", function()
    local written, there = 0, 0
    local tasks = shared_tasks.new {
      scheduler = { now = function() return 1 end, can_wait = function() return false end, queue = function() end },
      server = { cluster_leads = function() return 1, 0 end },
      stores = { count = function() return there end, read = function() end,
        write = function() written = written + 1 return true end },
    }
    there = 99999
    assert.is_string((tasks:add(5, "t", nil, { id = "a" })))
    local id, message, code = tasks:add(5, "t", nil, { id = "b" })
    assert.same({ "100000 tasks are pending already", "EFULL", 1 }, { message, code, written })
    assert.is_nil(id)
  end)
end)
