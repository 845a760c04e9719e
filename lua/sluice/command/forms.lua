--- How servers of each kind are given an event, and what they answer: a hub of Sluice, a Mercure
--- hub, nchan. Keeps nothing in memory.
local json = require("sluice.json")
local moved = require("sluice.command.moved")

local forms = { NAMES = { "hub", "mercure", "nchan" } }

--- Add the options that say which.
-- @param command of argparse
function forms.add(command)
  command:option("--as", "what the server is (default: hub)"):argname("<kind>")
    :choices(forms.NAMES):default("hub"):show_default(false)
  command:option("--topic", "of Mercure; may be repeated"):argname("<topic>"):count("*")
end

--- What is wrong with them, or nil.
-- @tparam table given from the command line; its `topic` becomes a list
function forms.fault(given)
  given.topic = given.topic or {}
  if given.as == "mercure" and not given.topic[1] then
    return "--as mercure: --topic is missing: a Mercure hub publishes to topics"
  elseif given.as ~= "mercure" and given.topic[1] then
    return "--topic is for --as mercure"
  end
end

--- What is wrong with the data, or nil: what begins as an object or a list of JSON is one, where
-- the server takes JSON.
-- @tparam table given `as`
-- @tparam string data
function forms.data_fault(given, data)
  if given.as ~= "hub" or not data:find("^%s*[{%[]") then return nil end
  local value, message = json.decode(data)
  if value ~= nil then return nil end
  return "the data begin with { or [ and are no JSON: " .. tostring(message)
end

local function escape(text)
  return (text:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- The text when it is an object or a list, which forms.data_fault has read; else the text as JSON.
local function as_json(text)
  return text:find("^%s*[{%[]") and text or assert(json.encode(text))
end

local write = {}

function write.hub(given, event, data, fields)
  fields["content-type"] = "application/json"
  local user = given.user and (',"user":%s'):format(json.encode(given.user)) or ""
  return ('{"eventType":%s,"data":%s%s}'):format(json.encode(event), as_json(data), user)
end

function write.mercure(given, event, data, fields)
  fields["content-type"] = "application/x-www-form-urlencoded"
  local parts = {}
  for i, topic in ipairs(given.topic) do parts[i] = "topic=" .. escape(topic) end
  table.insert(parts, "type=" .. escape(event))
  table.insert(parts, "data=" .. escape(data))
  if given.private then table.insert(parts, "private=on") end
  return table.concat(parts, "&")
end

function write.nchan(_, event, data, fields)
  fields["content-type"] = fields["content-type"] or "text/plain; charset=utf-8"
  fields["x-eventsource-event"], fields.accept = event, "text/json"
  return data
end

--- The body that publishes an event.
-- @tparam table given `as`, `topic`, and `user` or `private`
-- @tparam string event
-- @tparam string data
-- @tparam table fields header fields by names in lower case: what the body needs is added
-- @treturn string
function forms.body(given, event, data, fields)
  return write[given.as](given, event, data, fields)
end

--- The id in an answer.
-- @tparam table given `as`
-- @tparam table answer of sluice.http
-- @param value its body as JSON, when it is that
-- @treturn string|nil
function forms.id(given, answer, value)
  if given.as == "mercure" then return answer.body:match("^%s*(%S+)%s*$") end
  if type(value) ~= "table" then return nil end
  local id = value[given.as == "nchan" and "last_message_id" or "id"]
  return id ~= nil and id ~= json.null and tostring(id) or nil
end

--- Why an event was refused.
-- @tparam string url
-- @tparam table answer
-- @treturn string
function forms.refusal(url, answer)
  local value = answer.json()
  local problem = type(value) == "table" and value.error
  if type(problem) ~= "table" then problem = { message = answer.body:match("^%s*(.-)%s*$") } end
  local where = moved.text(url, answer)
  if where ~= "" then problem = { message = where } end
  return ("%s answered %d: %s%s"):format(url, answer.status, tostring(problem.message):sub(1, 1000),
    problem.field and (" (field %s)"):format(tostring(problem.field)) or "")
end

return forms
