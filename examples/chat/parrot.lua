--- What answers when there is no model: it says something about what was asked, word by word, in
--- the events of an OpenAI-style API. They have ids, so that a run goes on where it was.
local sluice = require("sluice")

local ANSWER = [[You said: “%s”

I am a parrot, so that is most of what I know. But watch how I say it: close this page in the
middle of a sentence, and open it again. Open it twice, side by side. Save the app's file while I
talk. The words arrive once, in order, in every tab, because they belong to a run and not to a
page: é, ß, 😀 and all.

Set LLM_URL to talk to a model.]]

return function(messages, last_id)
  local asked = messages[#messages].content
  local words = {}
  for word in ANSWER:gsub("([^\n])\n([^\n])", "%1 %2"):format(asked):gmatch("%S+%s*") do
    words[#words + 1] = word
  end
  local n = math.tointeger(last_id or 0)
  return function()
    n = n + 1
    sluice.sleep(0.04)
    if n > #words then return { text = "[DONE]", id = tostring(n) } end
    return { id = tostring(n), data = { choices = { { delta = { content = words[n] } } } } }
  end
end
