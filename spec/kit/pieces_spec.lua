--- Request bodies in pieces: app:post(path, { body = "stream", max = bytes }, fn) and req:chunks().
local kit = require("spec.support.kit")

local APP = [[
  local log = app:state("log", {})
  app:post("/up", { body = "stream", max = 300000 }, function(req)
    local n, sizes = 0, sluice.json.array {}
    for piece in req:chunks() do n, sizes[#sizes + 1] = n + #piece, #piece end
    return { n = n, sizes = sizes }
  end)]]

describe("a body in pieces", function()
  local t

  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  it("comes as it was sent", function()
    local function body(...)
      local list, i = { ... }, 0
      return function() i = i + 1 return list[i] end
    end
    assert.same({ n = 6, sizes = { 3, 2, 1 } }, t:post("/up", { body = body("abc", "de", "f") }).json)
    assert.same({ n = 3, sizes = { 3 } }, t:post("/up", { body = "abc" }).json)
    assert.same({ n = 0, sizes = {} }, t:post("/up").json)
    assert.same({ n = 250000 }, { n = t:post("/up", { body = ("x"):rep(250000) }).json.n })
    assert.equal(413, t:post("/up", { body = ("x"):rep(300001) }).status)
    assert.equal(413, t:post("/up", { body = body(("x"):rep(300000), "y") }).status)
  end)
end)
