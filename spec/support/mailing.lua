--- An app that sends what it is asked to with sluice.mail, for the specs of that.
---
---   setup(function() s = mailing.start() end)          live.start, with more lines of the app
---   local told = mailing.send(s, { url = …, to = … })  does not wait; told() does, for what the app says
local json = require("sluice.json")
local live = require("spec.support.live")

local mailing = {}

local APP = [[
local mail = require("sluice.mail")
app:post("/send", function(req)
  local ok, sent, message, code, refused = pcall(mail.send, req:json())
  if not ok then return { raised = tostring(sent) } end
  return sent or { message = message, code = code, refused = refused }
end)
]]

function mailing.start(more) return live.start(APP .. (more or "")) end

function mailing.send(s, o)
  o.from, o.subject = o.from or "shop@example.org", o.subject or "A subject"
  o.text = o.text or "text\n.dot\n..two dots\n"
  local c = live.post_later(s, "/send", json.encode(o))
  return function()
    local answer = assert(c:response(20))
    c:close()
    assert(answer.status == 200, answer.body)
    return json.decode(answer.body)
  end
end

return mailing
