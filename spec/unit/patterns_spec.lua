--- What can be said about patterns without a name.
local patterns = require("sluice.base.patterns")

describe("patterns", function()
  it("calls patterns that match the same names by one shape", function()
    assert.equal(patterns.shape("/a/:id/*rest"), patterns.shape("/a/*/**"))
    assert.are_not.equal(patterns.shape("/a/:id"), patterns.shape("/a/id"))
  end)

  it("orders literal before one segment before the rest", function()
    local list = { "/**", "/a/:id", "/a/b", "/a/*rest", "/:x/b", "/" }
    table.sort(list, function(a, b) return patterns.before(a, b) == true end)
    assert.same({ "/", "/a/b", "/a/:id", "/a/*rest", "/:x/b", "/**" }, list)
    assert.is_nil(patterns.before("/a/:id", "/a/:name"))
  end)

  it("says whether some name could match both, never false when one could", function()
    local yes = { { "/api/**", "/api/x/:id" }, { "/api/**", "/api" }, { "/:a/x", "/b/:c" }, { "**", "a/b" },
      { "/api/admin/**", "/api/:section/x" }, { "a/:x", "a/b" } }
    local no = { { "/api/**", "/other" }, { "a/b", "a/c" }, { "a/:x", "a/b/c" }, { "a", "b" }, { "a/:x", "a" } }
    for _, pair in ipairs(yes) do assert.is_true(patterns.may_overlap(pair[1], pair[2]), pair[1] .. " " .. pair[2]) end
    for _, pair in ipairs(no) do assert.is_false(patterns.may_overlap(pair[1], pair[2]), pair[1] .. " " .. pair[2]) end
  end)

  it("finds a name that two patterns match", function()
    local core = require("sluice.core")
    for _, row in ipairs({ { "a", "a", "a" }, { "a/:x", "a/*", "a/~" }, { "a/*", ":x/b", "a/b" }, { "**", "**", "~" },
      { "**", "a/b", "a/b" }, { "a/**", "a", "a" }, { "a", "a/*rest", "a" }, { "a/**", ":x/b/:y", "a/b/~" },
      { ":x/**", "a/*/c", "a/~/c" }, { "a/**", "a/**", "a" } }) do
      assert.equal(row[3], patterns.example(row[1], row[2]))
      assert.equal(row[3], patterns.example(row[2], row[1]))
      for i = 1, 2 do assert.is_table(core.match(row[i], row[3])) end
    end
    for _, row in ipairs({ { "a", "b" }, { "a", "a/b" }, { "a/*", "a" }, { "a/:x/c", "a/*/d" }, { "a/**", "b/**" } }) do
      assert.is_nil(patterns.example(row[1], row[2]))
      assert.is_nil(patterns.example(row[2], row[1]))
    end
  end)

  it("fills a template and names the parameter that is missing", function()
    assert.equal("match/7/events", patterns.fill("match/:id/events", { id = "7" }))
    assert.same({ nil, "id" }, { patterns.fill("match/:id", {}) })
    assert.same({ nil, "rest" }, { patterns.fill("a/:rest", { rest = "b/c" }) })
  end)
end)
