--- The table of idempotency keys: a day, and 100,000 keys.
local idempotency = require("sluice.live.idempotency")

describe("idempotency", function()
  it("forgets the oldest key when there are too many, and all after a day", function()
    local clock = 0
    local table_of_keys = idempotency.new(function() return clock end)
    for i = 1, 100005 do
      table_of_keys:find("c", "k" .. i)
      table_of_keys:remember("c", "k" .. i, "id" .. i)
    end
    assert.is_nil(table_of_keys:find("c", "k1"))
    assert.equal("id100005", table_of_keys:find("c", "k100005"))
    assert.equal("id100", table_of_keys:find("c", "k100"))
    assert.is_nil(table_of_keys:find("d", "k100"))
    clock = 86401
    assert.is_nil(table_of_keys:find("c", "k100005"))
    assert.is_nil(next(table_of_keys.rows))
    assert.is_nil(next(table_of_keys.order))
  end)
end)
