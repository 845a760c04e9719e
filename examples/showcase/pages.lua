--- The page at /, which signs in as alice with --demo, and each example's page below its name.
local sluice = require("sluice")

local NAMES = { "dashboard", "notifications", "progress", "match", "stocks", "devices", "editor",
  "monitoring", "chat" }

return function(app, with)
  app:get("/", function()
    local headers = sluice.is_demo() and with.auth:sign_in({ id = "alice", name = "Alice" }) or {}
    headers.Location = "/index.html"
    return 302, nil, headers
  end)
  for _, name in ipairs(NAMES) do app:static("/" .. name, ("../%s/public"):format(name)) end
  app:static("/look", "../look")
  app:static("/", sluice.env("PAGES", "public"))

  app:on("start", function()
    if not sluice.is_demo() then return end
    sluice.log.warn("the key your-api-key is valid, and pages are alice's")
  end)
end
