--- What the alerts promise: `sluice test`, or `sluice test --watch` while you write.
local testing = require("sluice.testing")

local function sample(t, values)
  assert.equal(204, t:post("/api/samples", { json = values }).status)
end

describe("the alerts", function()
  it("begin above the limit, and end where the rule says", function()
    local t <close> = testing.start("app.lua")
    local page = t:connect("/api/figures")
    sample(t, { memory = 96 })
    local alert = page:wait_for("alert", 1, { rule = "memory" }).data
    assert.same({ "critical", 96 }, { alert.severity, alert.value })
    sample(t, { memory = 93 }) -- not over yet
    page:expect_none("alert-cleared", 1)
    sample(t, { memory = 89 })
    page:wait_for("alert-cleared", 1, { rule = "memory" })
  end)

  it("show a page that comes late what is active, and are acknowledged once for all", function()
    local t <close> = testing.start("app.lua")
    sample(t, { memory = 96 })
    local page = t:connect("/api/figures")
    local alert = page:wait_for("alert", 1).data
    assert.equal(204, t:post(("/api/alerts/%s/ack"):format(alert.id)).status)
    assert.equal("operator", page:wait_for("alert-ack", 1).data.user)
  end)

  it("measure this machine by themselves", function()
    local t <close> = testing.start("app.lua")
    local page = t:connect("/api/figures")
    local figures = page:wait_for("figures", 5).data
    assert.is_true(figures.memory > 0 and figures.memory <= 100, "memory is in per cent")
    if figures.memory <= 95 then page:expect_none("alert", 1) end
  end)
end)
