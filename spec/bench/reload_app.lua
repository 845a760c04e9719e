--- The app that the RELOAD rows reload: streams with table plans, streams that coroutines
--- write, and a look at how long each turn of the app's loop took.
local sluice = require("sluice")
local process = require("sluice.base.process")
local app = sluice.app()

app:channel("f/:n", { history = 10 })
app:stream("/plan/:n", "f/:n")
app:stream("/write/:n", function(_, client)
  local _ <close> = setmetatable({}, { __close = function() end })
  client:send("begin", { resumed = client.resumed or "no" })
  while true do
    sluice.sleep(3600)
    client:send("tick", {})
  end
end)

-- Seconds of processor time that this thread has had.
local function spent()
  local file <close> = assert(io.open("/proc/thread-self/schedstat"))
  return file:read("n") / 1e9
end

-- Turns are timed from outside of the app, over all generations.
app:post("/watch", function()
  local runtime = process.runtime
  local dispatch = getmetatable(runtime).__index.dispatch
  runtime.turns = {}
  runtime.dispatch = function(self, ...)
    local before = spent()
    dispatch(self, ...)
    table.insert(self.turns, spent() - before)
  end
end)

-- The longest turn since it was asked last, and how many writers run the newest code.
app:post("/longest", function()
  local runtime, gone_over = process.runtime, 0
  table.sort(runtime.turns)
  local longest = runtime.turns[#runtime.turns] or 0
  runtime.turns = {}
  for _, fiber in pairs(runtime.writers) do
    if fiber.generation == runtime.generation then gone_over = gone_over + 1 end
  end
  return { longest = longest, gone_over = gone_over }
end)

return app
