--- What the feed promises: `sluice test`, or `sluice test --watch` while you write.
local testing = require("sluice.testing")

local KEY = { ["X-API-Key"] = "change-me" }

describe("the feed", function()
  it("brings a story to everybody, and to who comes later", function()
    local t <close> = testing.start("app.lua")
    local page = t:connect("/api/news")
    local answer = t:post("/api/news", { headers = KEY, json = { title = "Hello" } })
    assert.equal(202, answer.status)
    assert.equal("Hello", page:wait_for("story").data.title)
    assert.equal("Hello", t:connect("/api/news"):wait_for("story").data.title)
  end)

  it("goes on where a page was cut", function()
    local t <close> = testing.start("app.lua")
    local first = t:post("/api/news", { headers = KEY, json = { title = "one" } }).json.id
    t:post("/api/news", { headers = KEY, json = { title = "two" } })
    local page = t:connect("/api/news", { last_event_id = first })
    assert.equal("two", page:wait_for("story").data.title)
  end)

  it("takes no story without the key, and none without a title", function()
    local t <close> = testing.start("app.lua")
    assert.equal(401, t:post("/api/news", { json = { title = "x" } }).status)
    assert.equal(422, t:post("/api/news", { headers = KEY, json = { text = "x" } }).status)
  end)
end)
