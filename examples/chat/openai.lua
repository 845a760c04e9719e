--- What the events of an OpenAI-style API mean, and what a request must have. What a model's server
--- sends that is none of it becomes a sentence for who reads.
local openai = {}

--- A guard: a question is a list of messages with a text each.
function openai.guard(req)
  if req.method ~= "POST" then return true end
  local messages = req:json({ messages = "array" }).messages
  for i, message in ipairs(messages) do
    if type(message) ~= "table" or type(message.content) ~= "string" then
      return 422, ("messages: [%d] has no content"):format(i)
    end
  end
  if #messages == 0 then return 422, "messages: there is none" end
  return true
end

--- The text that an event adds, or nil when it is the last one. Raises what the model's server says
-- of a problem.
function openai.text_of(event)
  if event.text == "[DONE]" then return nil end
  local data = type(event.data) == "table" and event.data or {}
  local problem = data.error
  if type(problem) == "table" then problem = problem.message or "the model failed" end
  if type(problem) == "string" then error(problem, 0) end
  local choice = type(data.choices) == "table" and data.choices[1]
  local delta = type(choice) == "table" and choice.delta
  return type(delta) == "table" and type(delta.content) == "string" and delta.content or ""
end

return openai
