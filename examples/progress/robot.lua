--- Starts batches for a user while somebody looks, always the same ones: long and short, and one in
--- five has an item that is broken.
---
---   if sluice.is_demo() then require("robot")(app, jobs, "you") end
local BATCHES = { { "Invoices", "invoice-%04d.pdf", 420 },
  { "Holiday photos", "IMG_%04d.jpg", 260 }, { "Scans of the archive", "scan-%03d.tiff", 300, 214 },
  { "Thumbnails", "thumb-%04d.webp", 160 }, { "Customers", "customer-%05d", 350 } }
local EVERY, UNDER_WAY = 8, 3

return function(app, jobs, owner)
  local robot = app:state("robot", { n = 0 })
  app:every(EVERY, { name = "robot", while_subscribed = jobs:channel(owner) }, function()
    if #jobs:list({ owner = owner, status = "running" }) >= UNDER_WAY then return end
    robot().n = robot().n + 1
    local title, form, count, broken = table.unpack(BATCHES[robot().n % #BATCHES + 1])
    local items = {}
    for i = 1, count do items[i] = i == broken and "" or form:format(i) end
    jobs:start("process-batch", { args = { items = items }, owner = owner, total = count,
      fields = { title = title, currentItem = "" } })
  end)
end
