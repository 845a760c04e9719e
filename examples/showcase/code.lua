--- The examples' code as it is on the disk, for whoever reads along in the page:
--- GET /api/code?file=examples/showcase/rules.lua. Lua files of the examples, and nothing else.
local EXAMPLES = debug.getinfo(1, "S").source:match("^@(.*/)[^/]*$") .. "../"
local PLACE = "^examples/([%w_-]+/[%w_-]+%.lua)$"

return function(app)
  app:get("/api/code", function(req)
    local name = (req.query.file or ""):match(PLACE)
    local file <close> = name and io.open(EXAMPLES .. name)
    if not file then return 404, "file: a Lua file of the examples is expected" end
    return 200, file:read("a"), { ["Content-Type"] = "text/plain; charset=utf-8" }
  end)
end
