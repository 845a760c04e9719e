--- Random runs with an adversary: upstreams that die in the middle and are resumed by id, characters cut anywhere,
--- reloads, kills, a disk that is slow, full or hangs, pages that come, go, are cut and come back, a stop at any time.
--- What every page was sent must be the beginning of what the upstream said, with its tool calls where they belong,
--- and one end; a run that ends in order has all of it. The expectation is made from the upstream's bytes alone.
--- Mistakes that are planted into the module are all found. SEED= repeats one world.
local json = require("sluice.json")
local kit = require("spec.support.kit")
local sluice = require("sluice")
local tree = require("spec.support.tree")
local worlds = require("spec.support.worlds")

local LETTERS = { "a", "é", "漢", "😀", "x ", "\n" }
local USERS = { "alice", "bob" }

local function chance(n) return math.random(n) == 1 end
local function pick(list) return list[math.random(#list)] end
local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

-- ---- The app -------------------------------------------------------------------------------

local APP = [[
local client = require("sluice.client")
local runs = require("sluice.runs").new(app, { durable = %s, concurrency = 2, coalesce = %g, max_time = 600 })
local function bytes(text) return (text:gsub("%%x%%x", function(h) return string.char(tonumber(h, 16)) end)) end
runs:define("tell", function(run, args)
  local saved = run.saved or {}
  if saved.done then return saved end
  if args.before then
    run:text("intro")
    run:emit("before")
  end
  for event in run:from(client.events("http://up/" .. args.name)) do
    local d = event.data
    if d.last then break end
    run:text(bytes(d.a))
    if d.nap > 0 then sluice.sleep(d.nap) end
    if d.tool then run:emit("tool", { n = d.n }) end
    run:text(bytes(d.b))
    saved[#saved + 1] = d.n
    if d.save then run:checkpoint(saved) end
  end
  if args.after then
    run:text("after")
    run:checkpoint({ done = true })
  end
  return saved
end)
runs:stream("/s")
runs:routes("/r")
]]

local function source_of(world) return kit.source(APP:format(world.durable, world.coalesce)) end

-- ---- The upstream, and what a reader of it must see ----------------------------------------

local function draw_upstream()
  local events, raw = {}, {}
  for _ = 1, math.random(4, 25) do raw[#raw + 1] = pick(LETTERS) end
  local text, at = table.concat(raw), 0
  while at < #text do
    local a, b = math.random(0, 4), math.random(0, 4)
    events[#events + 1] = { n = #events + 1, a = text:sub(at + 1, at + a), b = text:sub(at + a + 1, at + a + b),
      tool = chance(5), nap = chance(4) and pick { 0.01, 0.3, 7 } or 0, save = chance(6) }
    at = at + a + b
  end
  return events
end

-- "a漢[tool 3]b": whole characters that were there when the tool was called, then the call.
local function expected_of(events, args)
  local out, held = {}, ""
  local function add(bytes)
    held = held .. bytes
    local whole = held
    while whole ~= "" and not utf8.len(whole) do whole = whole:sub(1, -2) end
    out[#out + 1], held = whole, held:sub(#whole + 1)
  end
  if args.before then out[1] = "intro[before]" end
  for _, e in ipairs(events) do
    add(e.a)
    if e.tool then out[#out + 1] = ("[tool %d]"):format(e.n) end
    add(e.b)
  end
  if args.after then out[#out + 1] = "after" end
  assert(held == "")
  return table.concat(out)
end

-- The source of one run: each answer has some of what follows the reader's id, in whole events, and then ends.
local function answer_of(world, run)
  return function(request)
    run.requests = run.requests + 1
    if chance(12) then
      run.troubles = run.troubles + 1
      return pick { { status = 503, body = "" }, { status = 429, headers = { ["Retry-After"] = "2" } },
        { body = "<html>", headers = { ["Content-Type"] = "text/html" } } }
    end
    local from = tonumber(request.headers["last-event-id"] or 0)
    local most = world.dies and math.random(0, 6) or 1000
    local parts = { "retry: 100\n\n" }
    for i = from + 1, math.min(#run.events + 1, from + most) do
      local e = run.events[i]
      local data = e and { n = e.n, a = hex(e.a), b = hex(e.b), tool = e.tool, nap = e.nap, save = e.save }
        or { last = true }
      parts[#parts + 1] = ("id: %d\ndata: %s\n\n"):format(i, json.encode(data))
    end
    if from + most <= #run.events then run.troubles = run.troubles + 1 end
    return { body = table.concat(parts), headers = { ["Content-Type"] = "text/event-stream" } }
  end
end

-- ---- Steps ---------------------------------------------------------------------------------

local function begin_run(t, world)
  local run = { id = "r" .. #world.runs + 1, owner = pick(USERS), events = draw_upstream(), requests = 0, troubles = 0,
    readers = {} }
  run.args = { name = run.id, before = chance(3) or nil, after = chance(3) or nil }
  run.expected = expected_of(run.events, run.args)
  world.runs[#world.runs + 1] = run
  t:http("http://up/" .. run.id, answer_of(world, run))
  if chance(2) then
    local c = t:connect("/s", { method = "POST", user = run.owner, json = { id = run.id, args = run.args } })
    run.readers[1] = c.hello and { stream = c, events = {} } or nil
    run.accepted = c.hello ~= nil
  else
    run.accepted = t:post("/r", { user = run.owner, json = { id = run.id, args = run.args } }).status == 202
  end
  if not run.accepted then run.doubtful = true end -- the disk did not answer: it may be there
end

local function keep_events(reader)
  for _, e in ipairs(reader.stream:events()) do reader.events[#reader.events + 1] = e end
end

local function act_on_reader(t, run)
  local what = math.random(4)
  local i = math.random(#run.readers + 1)
  local reader = run.readers[i]
  if not reader then
    local c = t:connect("/s/" .. run.id, { user = run.owner })
    if c.hello then run.readers[i] = { stream = c, events = {} } end
  elseif what == 1 then
    keep_events(reader)
    reader.stream:drop()
    run.done = run.done or {}
    table.insert(run.done, table.remove(run.readers, i))
  else
    keep_events(reader)
    local id = reader.stream:last_id()
    reader.stream:drop()
    if id == "stop" then
      table.insert(run.done or {}, reader)
      run.done = run.done or { reader }
      table.remove(run.readers, i)
      return
    end
    local c = t:connect("/s/" .. run.id, { user = run.owner, last_event_id = id })
    if c.hello then reader.stream = c else table.remove(run.readers, i) end
  end
end

local function stranger(t, run)
  local other = run.owner == "alice" and "bob" or "alice"
  local c = t:connect("/s/" .. run.id, { user = other })
  local post = t:connect("/s", { method = "POST", user = other, json = { id = run.id } })
  local started = t:post("/r", { user = other, json = { id = run.id, args = run.args } })
  for _, status in ipairs { c.status, post.status, started.status, t:get("/r/" .. run.id, { user = other }).status,
    t:delete("/r/" .. run.id, { user = other }).status } do
    if status ~= 404 and not run.doubtful then
      return ("a stranger got %d"):format(status)
    end
  end
end

-- All streams end with the process; their readers come back.
local function come_back(t, world)
  for _, run in ipairs(world.runs) do
    for i = #run.readers, 1, -1 do
      local reader = run.readers[i]
      keep_events(reader)
      local id = reader.stream:last_id()
      local c = t:connect("/s/" .. run.id, { user = run.owner, last_event_id = id ~= "stop" and id or nil })
      if c.hello then reader.stream = c else table.remove(run.readers, i) end
      if id == "stop" then reader.events = {} end
    end
  end
end

local function reload(t, world)
  for _, run in ipairs(world.runs) do run.reloaded = run.reloaded or sluice.time() end
  assert(t:reload(source_of(world)))
end

-- The disk may keep a function outside of a loop for longer than the five seconds that a reload gives it.
local function hold_up(world)
  for _, run in ipairs(world.runs) do run.held_up = true end
end

local function trouble_the_disk(t, world)
  local fault = pick { "full", "hung" }
  t:disk { [fault] = true }
  t:advance(pick { 0.01, 1, 7 })
  if chance(3) then reload(t, world) end
  t:advance(pick { 0, 0.2, 6 })
  local killed = chance(3)
  t:disk { [fault] = false }
  if killed then
    t:kill()
    for _, run in ipairs(world.runs) do run.cuts = (run.cuts or 0) + 1 end
    come_back(t, world)
  else
    hold_up(world)
  end
end

local function step(t, world)
  local what, run = math.random(24), pick(world.runs)
  if what <= 8 then
    act_on_reader(t, run)
  elseif what <= 11 then
    reload(t, world)
  elseif what <= 13 and world.durable then
    t:kill()
    for _, each in ipairs(world.runs) do each.cuts = (each.cuts or 0) + 1 end
    come_back(t, world)
  elseif what == 14 and world.durable then
    trouble_the_disk(t, world)
  elseif what == 15 and world.durable then
    local commit = pick { 0.002, 0.1, 1 }
    t:disk { commit = commit }
    world.is_slow = commit == 1 -- an emit waits for three in a row, each behind one that is under way: six seconds
  elseif what == 16 and chance(3) then
    if t:delete("/r/" .. run.id, { user = run.owner }).status == 204 then run.stopped = true end
  elseif what == 17 then
    return stranger(t, run)
  elseif what <= 19 and #world.runs < 4 then
    begin_run(t, world)
  end
  if world.is_slow then hold_up(world) end
  t:advance(pick { 0, 0, 0.01, 0.05, 0.3, 1, 3 })
end

-- ---- The checker ---------------------------------------------------------------------------

-- What a reader was sent, as one text; nil and what is wrong.
local function read(events)
  local out, ids, ending = {}, {}, nil
  for _, e in ipairs(events) do
    if e.event == "reset" then return nil, "a reset: " .. e.text end
    if e.event ~= "hello" and e.event ~= "bye" and e.event ~= "sync" then
      if ids[e.id] then return nil, "twice: " .. e.id end
      ids[e.id] = true
      if ending then return nil, "after the end: " .. e.event end
      if e.event == "text" then
        if not utf8.len(e.data.text) or e.data.text:find("\u{FFFD}") then return nil, "torn: " .. e.text end
        out[#out + 1] = e.data.text
      elseif e.event == "tool" then
        out[#out + 1] = ("[tool %d]"):format(e.data.n)
      elseif e.event == "before" then
        out[#out + 1] = "[before]"
      elseif e.event:find("^run%-%l+$") and e.event ~= "run-waiting" then
        ending = e
      end
    end
  end
  return table.concat(out), ending
end

local function check_end(run, text, ending)
  if not ending then return "no end" end
  local how = ending.event
  if how == "run-complete" then
    if text ~= run.expected then return ("complete with %q, not %q"):format(text, run.expected) end
  elseif how == "run-stopped" then
    if not run.stopped then return "stopped by nobody" end
  elseif how == "run-failed" then
    -- outside of the loop, and before a checkpoint, it was killed, or it waited for the disk and a reload closed it
    local closed = run.held_up and run.reloaded and ending.data.timestamp > sluice.timestamp(run.reloaded + 4.99)
    local cut_off = ending.data.error:find("cut off", 1, true) and (run.cuts or closed)
      and run.args.before and text == "intro[before]"
    local late = ending.data.code == "EUPSTREAM" and run.troubles >= 5
    if not (cut_off or late) then return "failed: " .. ending.text end
  else
    return "an end that is none: " .. how
  end
end

local function check(t, run)
  local c = t:connect("/s/" .. run.id, { user = run.owner })
  if not c.hello then
    if run.doubtful then return nil end
    return "not there: " .. c.status
  end
  local text, ending = read(c:events())
  if not text then return ending end
  local wrong = check_end(run, text, ending)
  if wrong then return wrong end
  if run.expected:sub(1, #text) ~= text then return ("%q is no beginning of %q"):format(text, run.expected) end
  local sent = c:events()[#c:events()]
  if sent.event ~= "bye" or sent.data.reason ~= "stop" then return "its stream goes on" end
  for _, list in ipairs { run.readers, run.done or {} } do
    for _, reader in ipairs(list) do
      if list == run.readers then keep_events(reader) end
      local got, last = read(reader.events)
      if not got then return "a reader: " .. last end
      if text:sub(1, #got) ~= got then return ("a reader has %q of %q"):format(got, text) end
      if list == run.readers and (got ~= text or not last) then return ("a reader has only %q"):format(got) end
    end
  end
  local most = 1 + (run.cuts or 0) + run.troubles
  if run.requests > most then return ("%d requests instead of %d"):format(run.requests, most) end
end

local function all_over(t, world)
  for _, run in ipairs(world.runs) do
    local answer = t:get("/r/" .. run.id, { user = run.owner })
    if answer.status == 200 and not answer.json.ended then return false end
  end
  return true
end

local function finish(t, world)
  t:disk { commit = 0.002 }
  for _ = 1, 100 do
    t:advance(5)
    if all_over(t, world) then break end
  end
  t:advance(3)
  for _, run in ipairs(world.runs) do
    local wrong = check(t, run)
    if wrong then return ("%s: %s"):format(run.id, wrong) end
  end
end

local function play(seed)
  math.randomseed(seed)
  local world = { durable = seed % 3 ~= 0, coalesce = pick { 0.03, 0.5 }, dies = chance(2), runs = {} }
  local t = kit.whole(source_of(world), { seed = seed, waits = seed % 2 == 0 })
  local wrong
  begin_run(t, world)
  for _ = 1, 40 do
    wrong = step(t, world)
    if wrong then break end
  end
  wrong = wrong or finish(t, world)
  kit.stop_all()
  return wrong
end

-- ---- Planted mistakes ----------------------------------------------------------------------

local PARTS = { "pieces", "book", "writer", "loop", "run", "ending", "pages" }

-- The module with a mistake in one of its parts, in the place of the real one: what it holds of the outside must
-- outlive the versions of an app, as Sluice's own modules do.
local function plant(part, from, to)
  if not part then return end
  local before, names = {}, {}
  for _, name in ipairs(PARTS) do names[#names + 1] = "sluice.runs." .. name end
  names[#names + 1] = "sluice.runs"
  local found = false
  for _, name in ipairs(names) do
    before[name], package.loaded[name] = package.loaded[name], nil
    local path = "lua/" .. name:gsub("%.", "/") .. ".lua"
    package.preload[name] = function()
      local text = tree.read(path)
      local i, j = text:find(from, 1, true)
      if i and name:find(part .. "$") then text, found = text:sub(1, i - 1) .. to .. text:sub(j + 1), true end
      return assert(load(text, "@" .. path))(name)
    end
  end
  require("sluice.runs")
  assert(found, from .. " is not in " .. part)
  return nil, nil, function()
    for _, name in ipairs(names) do package.loaded[name], package.preload[name] = before[name], nil end
  end
end

local MISTAKES = {
  { "pieces", "if is_beginning(bytes, at) then", "if false then" },
  { "book", "place.tail = hex(row.tail)", 'place.tail = ""', seed = 2 },
  { "book", '"ended", "result"', '"result"' },
  { "book", "if at.events and at.events[1] and is_known then", "if false then", seed = 5 },
  { "book", '"n", "status"', '"status"', seed = 2 },
  { "writer", 'idempotency = self.store and ("%d.%d"):format(batch.n, nth) or nil', "idempotency = nil" },
  { "writer", "if row.is_writing then return false end", "", seed = 5 },
  { "writer", "if ok then ok, message, code = publish(self, row, batch) end", "publish(self, row, batch)", seed = 19 },
  { "writer", "batch.done = nth\n", "batch.done = nth + 1\n" },
  { "writer", "  close_text(row)\n  add(row, event, data)", "  add(row, event, data)" },
  { "loop", "if upstream.given then return upstream.given end", "", seed = 2 },
  { "loop", "    upstream.given = nil\n", "" },
  { "loop", "  if is_cut(problem) then return cut(self) end\n", "" },
  { "loop", "last_event_id = row.last_id", "last_event_id = nil", seed = 2 },
  { "loop", "if step.saved then row.saved, row.loops", "if step.saved then row.saved, row.dirty", seed = 3 },
  { "run", "if self._passes or text", "if text", seed = 2 },
  { "run", "if self._passes then return true end", "", seed = 2 },
  { "run", "if row.dirty then", "if false then", seed = 2 },
  { "ending", "if row.ended then return false end", "", seed = 8 },
  { "pages", "owned.find(req, id, how)", "self:get(id)" },
  { "runs", "if row.owner ~= owner then", "if false then" },
}

describe("random runs", function()
  after_each(kit.stop_all)

  it("lose nothing, double nothing, and end once", function() worlds.hold(play, 12, 2000) end)

  it("show each mistake that is planted into the module", function() worlds.show(play, MISTAKES, plant) end)
end)
