--- app:cors: what reaches the core, and what is refused.
local rehearsal = require("spec.support.rehearsal")

after_each(rehearsal.stop)

describe("app:cors", function()
  local function load(rule)
    return rehearsal.load(('local app = require("sluice").app()\napp:cors("/api/**", %s)\nreturn app'):format(rule))
  end

  it("hands rules to the core", function()
    local t = load('{ origins = { "https://a.example", "http://localhost:3000" }, credentials = true }')
    assert.same({ { pattern = "/api/**", origins = { "https://a.example", "http://localhost:3000" }, credentials = true,
      max_age = 7200 } }, t.server.snapshot.cors)
  end)

  it("refuses what is no origin", function()
    local app = 'local app = require("sluice").app()\napp:cors("/api/**", %s)'
    for _, rule in ipairs({ "{}", '{ origins = {} }', '{ origins = { "a.example" } }',
      '{ origins = { "https://a.example/path" } }', '{ origins = { 5 } }', '{ origins = { "*" }, max_age = "x" }' }) do
      assert.matches("^app.lua:2: app:cors%('/api/%*%*'%)", rehearsal.load_error(app:format(rule)))
    end
    assert.matches("unknown option 'origin'", rehearsal.load_error(app:format('{ origin = "*" }')))
  end)
end)
