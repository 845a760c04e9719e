--- A chat page whose answers survive a refresh, a second tab, a reload of this file in mid-answer,
--- and have a stop button: an answer is a run, which goes on without the page that asked.
---
---   export CHAT_SECRET=$(openssl rand -hex 32)
---   sluice run examples/chat/app.lua                     and open http://127.0.0.1:5121/
---
--- Without LLM_URL a parrot answers (parrot.lua). With it, any server with an OpenAI-style API:
---
---   LLM_URL=https://api.openai.com/v1/chat/completions LLM_KEY=sk-… LLM_MODEL=gpt-4o
---
--- Events: `question`, then those of doc/runs.md.
local sluice = require("sluice")
local client, openai, parrot = require("sluice.client"), require("openai"), require("parrot")
local app = sluice.app()
local auth = require("sluice.auth").new(app, { session = { secret = sluice.env("CHAT_SECRET") } })
local runs = require("sluice.runs").new(app, { keep = 86400 })
local url, key = os.getenv("LLM_URL"), sluice.env("LLM_KEY", "")

runs:define("answer", function(run, args)
  run:emit("question", args.messages[#args.messages])
  local ask = { headers = { Authorization = "Bearer " .. key },
    json = { model = sluice.env("LLM_MODEL", ""), messages = args.messages, stream = true } }
  for event in run:from(url and client.events(url, ask) or parrot(args.messages, run.last_id)) do
    local text = openai.text_of(event)
    if not text then return end
    run:text(text)
  end
  error("the model broke off", 0)
end)
runs:routes("/api/chat", auth:user(), openai.guard, auth:limit("ask", { rate = 60, per = 60 }))
runs:stream("/api/answers", auth:user())
app:post("/api/visitor", auth:optional(), function(req)
  return 204, nil, not req.user and auth:sign_in({ id = sluice.id() }) or nil
end)
app:static("/look", "../look")
app:static("/", "public")

return app
