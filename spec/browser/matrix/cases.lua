--- The columns of the client matrix: an app, what happens to it and its streams (`phases`), and what each case
--- (`list`) asks of what a client has seen. A verdict is "works" or what the client does instead (rows.lua, `but`).
local json = require("sluice.json")

local cases = {}

-- What every client opens a stream for.
cases.STREAMS = { "life", "short", "stop", "done", "gzip", "post" }

cases.TEXT = "one\n\n  three, \u{2028} and 漢😀"

cases.APP = [==[
local datastar, htmx = require("sluice.datastar"), require("sluice.htmx")

-- How a client wants the app's events.
local FORMS = {}
function FORMS.named(name, text) return name, text end
function FORMS.turbo(name, text)
  return "message", ('<turbo-stream action="say" name="%s"><template>%s</template></turbo-stream>'):format(name,
    htmx.escape(text))
end
function FORMS.datastar(name, text)
  return datastar.patch_elements(('<i id="%s">%s</i>'):format(name, htmx.escape(text)))
end
function FORMS.ai(name, text) return "message", { type = "data-" .. name, data = text } end

app:static("/lib", sluice.env("PAGES"))
app:cors("/**", { origins = { "*" } })
app:channel("log/*", { history = 100 })
app:channel("short/*", { history = 3 })

local seen = app:state("seen", {}) -- what was asked for, by stream
local function plan(req)
  local case, form = req.params.case, req.params.form
  seen()[req.query.by] = { coding = req.headers["accept-encoding"] }
  return { channels = { (case == "short" and "short/" or "log/") .. form }, control = form ~= "ai" }
end
app:stream("/s/:case/:form", plan)
app:stream("/packed/:case/:form", { compress = "auto" }, plan)
app:stream("/s/:case/:form", { method = "POST" }, plan)
app:stream("/packed/:case/:form", { method = "POST", compress = "auto" }, plan)
app:get("/seen", function() return seen() end)

local function say(prefix, name, text)
  local ids = {}
  for _, form in ipairs { "named", "turbo", "datastar", "ai" } do
    ids[form] = app:publish(prefix .. "/" .. form, FORMS[form](name, text))
  end
  return ids
end
local function number(prefix, n) return say(prefix, "e", '{"n":' .. n .. "}") end
app:post("/number/:n", function(req)
  number("short", req.params.n)
  return number("log", req.params.n)
end)
app:post("/word", function(req)
  say("log", "word", req:json().text)
  for form in pairs(FORMS) do app:publish("log/" .. form, "plain", { type = "data-plain", data = 1 }) end
  return 204
end)
-- Each stream is sent away, and misses what comes then; in "short" more than its history holds.
app:post("/end", function()
  for c in app:clients() do
    local case, write = c.params.case, FORMS[c.params.form]
    if case == "done" then
      c:stop(write("done", "{}"))
    else
      c:send(write("word", "last"))
      if case == "stop" then c:stop() else c:close("moved") end
    end
  end
  number("log", 2)
  for n = 2, 7 do number("short", n) end
  return 204
end)]==]

-- Verdicts ------------------------------------------------------------------------------------------

local function same(a, b)
  return table.concat(a, " ") == table.concat(b, " ")
end

-- What became of a stream that has not seen these numbers.
local function otherwise(c, case)
  local numbers = table.concat(c.numbers(c.at[case]), " ")
  local rows = c.rows(c.at[case])
  local last = rows[#rows]
  if last and last.what == "closed" then return "ends" end
  return last and last.what == "message" and "gets nothing more" or ("sees %q"):format(numbers)
end

-- The reasons of all events of a name.
local function reasons(c, case, name)
  local list = {}
  for _, row in ipairs(c.rows(c.at[case])) do
    if row.event == name then list[#list + 1] = json.decode(row.data).reason end
  end
  return table.concat(list, " ")
end

-- It sees these numbers and is told, for what reason, of what it lost.
local function goes_on(c, case, numbers, reset)
  if not same(c.numbers(c.at[case]), numbers) then return otherwise(c, case) end
  if reset and not reasons(c, case, "reset"):find(reset) then return "is not told" end
  return "works"
end

-- How often it has opened or failed since the last event.
local function tries(c, case)
  local n = 0
  for _, row in ipairs(c.rows(c.at[case])) do n = row.what == "message" and 0 or n + 1 end
  return n
end

local TRIES_MAX = 4 -- of one that stays away: the end, the 204

local function stays_away(c, case, word)
  if not c.last(c.at[case], word) then return ("sees no %s"):format(word) end
  local again = tries(c, case) > TRIES_MAX or c.count(c.at[case], "message", "hello") > 1
  return again and "asks again" or "works"
end

--- { name, phase at whose end it is judged, verdict(c) }
cases.list = {
  { "connect", "say", function(c) return c.numbers(c.at.life)[1] == 1 and "works" or otherwise(c, "life") end },
  { "named", "say", function(c)
    local row = c.last(c.at.life, "plain")
    return row and row.what == "message" and "works" or "ignores them"
  end },
  { "lines", "say", function(c)
    local row = c.last(c.at.life, "word")
    return row and (row.data == cases.TEXT and "works" or "sees " .. row.data) or "sees none"
  end },
  { "resume", "end", function(c) return goes_on(c, "life", { 1, 2 }) end },
  { "reset", "end", function(c) return goes_on(c, "short", { 1, 5, 6, 7 }, "trimmed") end },
  { "last word", "end", function(c)
    local before
    for _, row in ipairs(c.rows(c.at.life)) do
      if row.what == "message" and row.data == "last" then before = row end
      if row.event == "bye" and not before then return "misses the end" end
    end
    return before and "works" or "misses the end"
  end },
  { "stop", "drain", function(c) return stays_away(c, "stop", c.sees_all and "bye" or "word") end },
  { "own last word", "drain", function(c) return stays_away(c, "done", "done") end },
  { "gzip", "say", function(c)
    local coding = c.seen("gzip").coding
    if not (coding and (coding:find("gzip") or coding:find("zstd"))) then return "asks for none" end
    return goes_on(c, "gzip", { 1 })
  end },
  { "post", "say", function(c) return c.at.post and goes_on(c, "post", { 1 }) or "cannot" end },
  { "post, resume", "end", function(c) return c.at.post and goes_on(c, "post", { 1, 2 }) or "cannot" end },
  { "kill", "kill", function(c) return goes_on(c, "life", { 1, 2, 11 }, "epoch") end },
  { "drain", "drain", function(c)
    local deaf = c.sees_all and not reasons(c, "life", "bye"):find("drain")
    local found = goes_on(c, "life", { 1, 2, 11, 21 })
    return deaf and found == "works" and "misses the end" or found
  end },
}

--- The event of number 2 on the wire, in the forms that are cut at each of its bytes.
cases.EVENTS = {
  named = 'event: e\ndata: {"n":2}\nid: %s\n\n',
  datastar = 'event: datastar-patch-elements\ndata: elements <i id="e">{&quot;n&quot;:2}</i>\nid: %s\n\n',
}

--- Streams that were cut behind 0, 1, … bytes of that event: "works" when each got it and the next, once.
function cases.cut(c)
  local lost = {}
  for i = 1, c.streams do
    local numbers, hello = c.numbers(i), c.last(i, "hello")
    hello = hello and json.decode(hello.data:match("[^\n]*$")) -- eventsource 2 puts what it has in front
    if hello and not hello.resumed then return "is a newcomer" end
    if same(numbers, { 3 }) then lost[#lost + 1] = i - 1
    elseif not same(numbers, { 2, 3 }) then return ("sees %s"):format(table.concat(numbers, " ")) end
  end
  if #lost == 0 then return "works" end
  -- the last stream got all of it, the one before not the blank line, the one before not the LF of the id
  return same(lost, { c.streams - 2 }) and "loses one" or "loses at " .. table.concat(lost, " ")
end

return cases
