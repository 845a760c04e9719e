--- The page at /, which signs in as alice with --demo, and each example's page below its name.
local sluice = require("sluice")

local NAMES = { "dashboard", "notifications", "progress", "match", "stocks", "devices", "editor",
  "monitoring", "chat" }
local HERE = debug.getinfo(1, "S").source:match("^@(.*/)[^/]*$")

local function is_there(folder)
  local file = io.open(HERE .. folder .. "/index.html")
  return file and file:close()
end

return function(app, with)
  app:get("/", function()
    local headers = sluice.is_demo() and with.auth:sign_in({ id = "alice", name = "Alice" }) or {}
    headers.Location = "/index.html"
    return 302, nil, headers
  end)
  for _, name in ipairs(NAMES) do
    local folder = ("../%s/public"):format(name)
    if is_there(folder) then app:static("/" .. name, folder) end
  end
  app:static("/look", "../look")
  local own = sluice.env("PAGES", is_there("public") and "public" or "../dashboard/public")
  app:static("/", own)

  app:on("start", function()
    if not sluice.is_demo() then return end
    sluice.log.warn("the key your-api-key is valid, and pages are alice's")
  end)
end
