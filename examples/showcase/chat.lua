--- The chat of examples/chat, answered by its parrot. What a user's answers bring is told on the
--- one stream of all, too, with the id of the run.
local sluice = require("sluice")
local openai, parrot = require("openai"), require("parrot")

return function(app, with)
  local runs = with.runs
  app:channel("chat/:user", { history = 200, rewind = "all", ttl = 600 })
  local tells = with.event_types.tells
  runs:define("answer", tells(function(run, args)
    run:emit("question", args.messages[#args.messages])
    for event in run:from(parrot(args.messages, run.last_id)) do
      local text = openai.text_of(event)
      if not text then return end
      run:text(text)
    end
  end, "question", "text", "run-complete", "run-failed"))
  tells(nil, "run-stopped")
  runs:routes("/api/chat", openai.guard, with.auth:limit("ask", { rate = 20, per = 60 }))
  runs:stream("/api/answers")
  app:post("/api/visitor", function() return 204 end)
  app:on("published", "run/:id/:token", function(event, params)
    local run = runs:get(params.id)
    if not (run and run.owner and type(event.data) == "table") then return end
    local data = { runId = run.id, timestamp = sluice.timestamp() }
    for name, value in pairs(event.data) do data[name] = value end
    app:publish("chat/" .. run.owner, event.event, data)
  end)
end
