--- csrc/crowd: what `sluice bench` counts of a stream, however its bytes are cut; the order of ids that
--- many readers bring; quantiles. Each against a model that is written apart.
local crowd = require("sluice.core.testing_crowd")
local eventstream = require("sluice.eventstream")
local worlds = require("spec.support.worlds")

local function pick(list) return list[math.random(#list)] end

-- A text in pieces, cut anywhere.
local function cut(text)
  local pieces, at = {}, 1
  while at <= #text do
    local n = math.random(3) == 1 and 1 or math.random(40)
    pieces[#pieces + 1] = text:sub(at, at + n - 1)
    at = at + n
  end
  return pieces
end

local NAMES = { "hello", "reset", "sync", "bye", "goal", "message", "" }
local DATA = { "{}", "", "x", '{"client":"c","epoch":"e"}', '{"bench":"m","n":7,"t":123456}', '{"at":1700000000}',
  '{ "x":"at", "at" : 1700000000.25 }', '{"at":"2023-11-14T22:13:20.5Z"}', '{"at":1700000000500}', '{"at":"no time"}' }
local LINES = { ": a comment", "retry: 100", "id: 7", "id: k3-8", "id:", "id", "unknown: x", "data", "data:",
  "event", "dat: x", ":", "data : x" }

local function line()
  local kind = math.random(6)
  if kind == 1 then return "event: " .. pick(NAMES) end
  if kind == 2 then return "" end
  if kind == 3 then return pick(LINES) end
  return (math.random(2) == 1 and "data: " or "data:") .. pick(DATA)
end

-- Of one stream with line ends by LF or CRLF.
local function draw()
  local ending, lines = pick { "\n", "\r\n" }, {}
  for i = 1, math.random(60) do lines[i] = line() end
  return table.concat(lines, ending) .. ending
end

local KINDS = { hello = true, reset = true, sync = true, bye = true }

local function compare(text)
  local expected = eventstream.new({ own_ids = true }):feed(text)
  local found = assert(crowd.events(cut(text), '"bench":"m"', "at"))
  if #expected ~= #found then return ("%d events, not %d of %q"):format(#found, #expected, text) end
  local sluice = false
  for i, e in ipairs(expected) do
    local f = found[i]
    if e.event == "hello" and e.data:find('"client":', 1, true) then sluice = true end
    local kind = KINDS[e.event] and e.event or "other"
    local own = e.data:find('"bench":"m"', 1, true) ~= nil
    if f.kind ~= kind or f.id ~= (e.id ~= nil and e.id ~= "") or f.own ~= own or own and f.n ~= 7
      or f.sluice ~= sluice then
      return ("event %d of %q"):format(i, text)
    end
  end
end

describe("the events of a reader", function()
  it("are those of the stream, however it is cut", function()
    worlds.hold(function(seed)
      math.randomseed(seed)
      return compare(draw())
    end, 100, 20000)
  end)

  it("say when they were published: by a number of ours, or by a field, in three forms", function()
    local function us(data, field)
      local e = crowd.events({ "data: " .. data .. "\n\n" }, '"bench":"m"', field)[1]
      return e.us, e.wall
    end
    assert.same({ 123456, false }, { us('{"pad":"n","bench":"m","n":7,"t":123456}', "at") })
    assert.same({ 1700000000000000, true }, { us('{"at":1700000000}', "at") })
    assert.same({ 1700000000500000, true }, { us('{"at":1700000000500}', "at") })
    assert.same({ 1700000000250000, true }, { us('{ "x":"at", "at" : 1700000000.25 }', "at") })
    assert.same({ 1700000000500000, true }, { us('{"at":"2023-11-14T22:13:20.5Z"}', "at") })
    for text, seconds in pairs { ["1970-01-01T00:00:01Z"] = 1, ["2000-02-29T12:00:00Z"] = 951825600,
      ["2026-11-29T20:05:23.104Z"] = 1795982723.104 } do
      assert.equal(math.floor(seconds * 1e6), (us(('{"at":"%s"}'):format(text), "at")), text)
    end
    for _, data in ipairs { '{"at":"no time"}', '{"at":null}', "{}", '{"bat":5}',
      '{"at":"2023-11-14T22:13:20+01:00"}' } do
      assert.equal(0, (us(data, "at")), data)
    end
    assert.equal(0, (us('{"at":1700000000}', nil)))
  end)

  it("end where a line has no end", function()
    assert.is_nil(crowd.events({ ("x"):rep(1 << 20), "y" }, nil, nil))
    assert.same({}, crowd.events({ ("x"):rep(1 << 20), "\n\n" }, nil, nil))
  end)
end)

describe("the order of ids", function()
  it("is that in which they came first, for readers at any place", function()
    worlds.hold(function(seed)
      math.randomseed(seed)
      local o, numbers, ids, places = crowd.order(), {}, {}, {}
      for _ = 1, 400 do
        local reader = math.random(5)
        local at = places[reader] or 0
        local id = math.random(4) == 1 and ids[1] and pick(ids) or ids[at + math.random(2)]
          or ("e-%d"):format(#ids + 1)
        if not numbers[id] then
          ids[#ids + 1] = id
          numbers[id] = #ids
        end
        local number = o:of(id, at)
        if number ~= numbers[id] then return ("%s is %d, not %d"):format(id, number, numbers[id]) end
        places[reader] = number
      end
    end, 50, 5000)
  end)

  it("keeps the newest, in a fixed size", function()
    local o = crowd.order()
    for n = 1, 70000 do assert(o:of("id" .. n, n - 1) == n) end
    assert.equal(70000 - 65535, o:of("id" .. 70000 - 65535, 0))
    assert.equal(70001, o:of("id1", 0)) -- forgotten: it is a new one
  end)
end)

describe("what is lost", function()
  -- Readers that get the same list, but for what each misses or gets again, at any time.
  it("is what some reader got and another, that was there, did not", function()
    worlds.hold(function(seed)
      math.randomseed(seed)
      local o, readers, missing = crowd.order(), {}, 0
      local n_readers, n_events, before = math.random(2, 6), math.random(2, 60), math.random(0, 10)
      o:open(n_readers)
      for i = 1, n_readers do readers[i] = { at = 0, list = {}, last = 0 } end
      for event = 1, before + n_events do
        local keeper = math.random(n_readers)
        for i, reader in ipairs(readers) do
          if i ~= keeper and math.random(8) == 1 then missing = missing + (event > before and 1 or 0)
          else reader.list[#reader.list + 1] = event end
        end
      end
      local function go(reader, until_event)
        local event = reader.list[reader.at + 1]
        if not event or event > until_event then return false end
        local number = o:of("id" .. event, reader.last)
        o:got(number)
        reader.at, reader.last = reader.at + 1, math.max(reader.last, number)
        return true
      end
      for _, reader in ipairs(readers) do
        repeat until not go(reader, before)
      end
      o:begin()
      local idle = 0
      while idle < 200 do idle = go(pick(readers), math.huge) and 0 or idle + 1 end
      for _, reader in ipairs(readers) do
        repeat until not go(reader, math.huge)
      end
      if o:lost() ~= missing then return ("%d, not %d"):format(o:lost(), missing) end
    end, 50, 10000)
  end)

  it("counts those that are not kept any more, and no reader that has gone", function()
    local o = crowd.order()
    o:open(2)
    for n = 1, 70000 do
      o:got(o:of("id" .. n, n - 1))
      if n > 3 then o:got(n) end
    end
    assert.equal(3, o:lost())
    o:open(1)
    o:got(o:of("more", 70000))
    assert.equal(3, o:lost()) -- two were there then
    o:open(0)
    assert.equal(3, o:lost())
  end)
end)

describe("a reader's place", function()
  it("is ahead, behind with what was missing, or the same again", function()
    worlds.hold(function(seed)
      math.randomseed(seed)
      local list, highest, seen, wanted = {}, 0, {}, {}
      for i = 1, math.random(200) do
        local n = math.max(1, highest + (math.random(4) == 1 and math.random(-50, 5) or 1))
        list[i], wanted[i] = n, n > highest and n - highest or seen[n] and -1 or 0
        seen[n], highest = true, math.max(highest, n)
      end
      local found = crowd.places(list)
      if table.concat(wanted, " ") ~= table.concat(found, " ") then
        return ("%s of %s"):format(table.concat(found, " "), table.concat(list, " "))
      end
    end, 100, 20000)
    assert.same({ 100, -1 }, crowd.places { 100, 1 }) -- too far behind to know
  end)
end)

describe("quantiles", function()
  it("are wrong by less than two percent", function()
    worlds.hold(function(seed)
      math.randomseed(seed)
      local times = {}
      for i = 1, math.random(500) do times[i] = math.floor(10 ^ (math.random() * 8)) end
      local sorted = table.move(times, 1, #times, 1, {})
      table.sort(sorted)
      for _, part in ipairs { 0, 0.5, 0.99, 0.999, 1 } do
        local wanted = sorted[math.max(1, math.floor(part * #sorted + 0.5))]
        local found = crowd.quantile(times, part)
        if math.abs(found - wanted) > wanted * 0.02 + 0.5 then return ("%g: %d, not %d"):format(part, found, wanted) end
      end
    end, 50, 5000)
    assert.equal(0, crowd.quantile({}, 0.5))
    assert.is_true(crowd.quantile({ 1 << 50 }, 1) >= 1 << 35) -- longer than it can tell apart
  end)
end)
