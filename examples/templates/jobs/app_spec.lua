--- What the jobs promise: `sluice test`, or `sluice test --watch` while you write.
local testing = require("sluice.testing")

describe("a job", function()
  it("tells how far it is, and its end", function()
    local t <close> = testing.start("app.lua")
    local page = t:connect("/api/job-events")
    local answer = t:post("/api/jobs", { json = { items = 20 } })
    assert.equal(202, answer.status)
    local done = page:wait_for("job-complete", 5, { jobId = answer.json.jobId }).data
    assert.same({ 100, 20 }, { done.percentage, done.result.counted })
    assert.is_true(page:count("progress") > 1)
  end)

  it("shows a page that comes late how far it is, and can be stopped", function()
    local t <close> = testing.start("app.lua")
    local id = t:post("/api/jobs", { json = { items = 1000 } }).json.jobId
    t:advance(2)
    local late = t:connect("/api/job-events")
    assert.is_true(late:wait_for("progress", 1, { jobId = id }).data.processed >= 30)
    assert.equal(202, t:delete("/api/jobs/" .. id).status)
    late:wait_for("job-cancelled", 1, { jobId = id })
  end)

  it("is not begun for nothing, and not without end", function()
    local t <close> = testing.start("app.lua")
    for _, items in ipairs({ 0, 10001, "many" }) do
      assert.equal(422, t:post("/api/jobs", { json = { items = items } }).status)
    end
  end)
end)
