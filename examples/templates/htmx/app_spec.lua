--- What the list promises: `sluice test`, or `sluice test --watch` while you write.
local testing = require("sluice.testing")

local FORM = { ["Content-Type"] = "application/x-www-form-urlencoded" }

describe("the list", function()
  local function post(t, body)
    return t:post("/api/notes", { headers = FORM, body = body }).status
  end

  it("brings a note to everybody as HTML, and to who comes later", function()
    local t <close> = testing.start("app.lua")
    local page = t:connect("/api/notes")
    assert.equal(204, post(t, "text=two+words%21"))
    assert.equal("<li>two words!</li>", page:wait_for("note").text)
    assert.equal("1", page:wait_for("count").text)
    assert.equal("<li>two words!</li>", t:connect("/api/notes"):wait_for("note").text)
  end)

  it("lets no note run as a script", function()
    local t <close> = testing.start("app.lua")
    local page = t:connect("/api/notes")
    post(t, "text=%3Cscript%3Ealert(1)%3C/script%3E")
    assert.equal("<li>&lt;script&gt;alert(1)&lt;/script&gt;</li>", page:wait_for("note").text)
  end)

  it("takes no empty note, and no book", function()
    local t <close> = testing.start("app.lua")
    for _, body in ipairs({ "text=", "other=1", "text=" .. ("x"):rep(501) }) do
      assert.equal(422, post(t, body))
    end
  end)
end)
