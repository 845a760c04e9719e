--- Who may see what belongs to a user, and when it is forgotten. (Its endpoints and the end of its streams:
--- spec/kit/jobs_spec.lua.)
local owned = require("sluice.base.owned")

describe("what is owned", function()
  it("is its owner's, and of those with the role", function()
    local function sees(user, owner) return owned.may_see(user, owner, "Admin") end
    assert.is_true(sees({ id = "ann" }, "ann"))
    assert.is_true(sees({ id = 7 }, "7"))
    assert.is_true(sees({ id = "bob", roles = { Admin = true } }, "ann"))
    assert.is_true(sees({ id = "bob", roles = { "Admin" } }, "ann"))
    assert.is_true(sees({ id = "bob", roles = { "Admin" } }, nil))
    for _, user in ipairs { { id = "bob" }, { id = "bob", roles = {} }, { id = "bob", roles = { Admin = false } },
      { id = "bob", roles = { "admin" } }, { id = "Ann" }, { id = 7.0 }, { id = { "ann" } }, {} } do
      assert.is_false(sees(user, "ann"))
      assert.is_false(sees(user, nil))
    end
    assert.is_false(sees(nil, nil))
    assert.is_false(sees(nil, "ann"))
    assert.is_false(owned.may_see({ id = "bob", roles = { [false] = true } }, "ann", false))
  end)

  it("has an owner whose id can stand in a channel's name", function()
    assert.same({ "a@b.c", "7" }, { owned.key("a@b.c"), owned.key(7) })
    for _, id in ipairs { "", "a/b", ":a", "a b", ("x"):rep(65), 7.5, true } do assert.is_nil(owned.key(id)) end
    assert.is_nil(owned.key(nil))
    local refused = function(user) return (owned.admit({ user = user })) end
    assert.same({ 401, 403, true }, { refused(nil), refused({ id = "a/b" }), refused({ id = "a" }) })
  end)

  it("is forgotten when it ended long ago, and the oldest when it is too much", function()
    local queue, gone = { first = 1, last = 0 }, {}
    for n = 1, 10 do
      queue.last = n
      queue[n] = { id = n, ended = n }
    end
    local function forget(before, most)
      owned.forget(queue, before, most, function(id) gone[#gone + 1] = id end)
      return #gone
    end
    assert.equal(0, forget(0, 10))
    assert.equal(3, forget(3, 10))
    assert.equal(3, forget(3, 7))
    assert.equal(5, forget(3, 5))
    assert.equal(10, forget(99, 5))
    assert.same({ first = 11, last = 10 }, queue)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, gone)
  end)
end)
