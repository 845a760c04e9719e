--- csrc/base/pattern.c: the one language of routes, channels, guards and hooks.
local core = require("sluice.core")

describe("a pattern", function()
  local function match(pattern, name)
    local got = core.match(pattern, name)
    if not got then return nil end
    local words = {}
    for key, value in pairs(got) do words[#words + 1] = key .. "=" .. value end
    table.sort(words)
    return table.concat(words, " ")
  end

  it("matches itself", function()
    assert.equal("", match("/a/b", "/a/b"))
    assert.equal("", match("a", "a"))
    assert.equal("", match("/", "/"))
    for _, name in ipairs { "/a", "/a/", "/a/b/", "/a/b/c", "/a/B", "a/b", "", "//a/b" } do
      assert.is_nil(match("/a/b", name))
    end
  end)

  it("takes one segment for :name and *", function()
    assert.equal("id=7", match("/x/:id", "/x/7"))
    assert.equal("", match("/x/*", "/x/7"))
    assert.equal("a=1 b=2", match(":a/y/:b", "1/y/2"))
    for _, name in ipairs { "/x", "/x/", "/x/7/", "/x/7/8" } do
      assert.is_nil(match("/x/:id", name))
      assert.is_nil(match("/x/*", name))
    end
  end)

  it("takes the rest for *name and **, which may be empty", function()
    assert.equal("rest=a/b", match("/x/**", "/x/a/b"))
    assert.equal("path=a/b", match("/x/*path", "/x/a/b"))
    assert.equal("rest=", match("/x/**", "/x/"))
    assert.equal("rest=", match("/x/**", "/x"))
    assert.equal("rest=a", match("**", "a"))
    assert.equal("id=1 rest=2/3", match("u/:id/**", "u/1/2/3"))
  end)

  it("is refused when it makes no sense, with the reason", function()
    for _, bad in ipairs { "", ":", "a/:", "a/:b-c", "**/a", "*x/a", "a*", "a/*b-c", ("a"):rep(257),
      ("/:x"):rep(17) } do
      local ok, message = core.check_pattern(bad)
      assert.is_nil(ok, bad)
      assert.is_string(message)
    end
    for _, good in ipairs { "/", "a", "/:x", "*", "**", "/a/*rest", "a/b:c", ("a"):rep(256), ("/:x"):rep(16) } do
      assert.truthy(core.check_pattern(good), good)
    end
  end)
end)

describe("a channel's name", function()
  local function refused(name) return select(3, core.check_channel(name)) end

  it("is up to 8 segments of up to 64 bytes, 128 in all", function()
    for _, good in ipairs { "a", "a/b/c/d/e/f/g/h", ("x"):rep(64), ("x"):rep(64) .. "/" .. ("y"):rep(63),
      "user@example.org", "a-b_c.d:e" } do
      assert.equal(good, core.check_channel(good))
    end
    for _, bad in ipairs { "", "/", "/a", "a/", "a//b", "a/b/c/d/e/f/g/h/i", ("x"):rep(65),
      ("x"):rep(64) .. "/" .. ("y"):rep(64), "a b", "a\nb", "a\0b", "é", "a*", "**", ":x", "a/:id", "a,b",
      'a"b', "a\\b", "a%2Fb", "a?b", "a#b" } do
      assert.equal("ECHANNEL", refused(bad), bad)
    end
  end)
end)
