--- Several pages that write one text at random, through everything that can go wrong between them and the server:
--- answers that are late, lost or asked for twice, cuts, resets, reloads, kills. The pages are those of the example
--- (spec/support/editor_clients.mjs); the judge knows only who typed which characters and who deleted them. Every
--- character that is typed is another one, so that one that is lost, or there twice, is seen.
---
---   local pages = editors.open(folder)                       node, with ot.js and session.js of that folder
---   local world = editors.new(t, pages, seed, { durable =, undo = })
---   world:step()     one thing happens
---   world:settle()   all is delivered: the texts are equal, and nothing is lost or doubled
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local process = require("spec.support.process")
local socket = require("socket")

local editors = {}

local Pages = {}
Pages.__index = Pages

function editors.open(folder)
  local p = process.spawn({ "node", "spec/support/editor_clients.mjs", folder }, {})
  local port = deadline.eventually(function()
    if p:code() then deadline.give_up("node did not start:\n" .. p:log()) end
    return p:log():match("^(%d+)\n")
  end, 30, "the pages are there")
  local sock = assert(socket.connect("127.0.0.1", tonumber(port)))
  sock:setoption("tcp-nodelay", true)
  return setmetatable({ p = p, sock = sock }, Pages)
end

function Pages:ask(request)
  self.sock:settimeout(30 * deadline.scale)
  assert(self.sock:send(json.encode(request) .. "\n"))
  local answer = json.decode(assert(self.sock:receive("*l")))
  if answer.error then error(answer.error, 0) end
  return answer.ok, answer.state
end

function Pages:close()
  self.sock:close()
  if not self.p:wait(10) then self.p:kill() end
end

Pages.__close = Pages.close

local World = {}
World.__index = World

local DOCUMENT = "/api/documents/welcome"
local PAGES_MAX = 4

function editors.new(t, pages, seed, options)
  local self = setmetatable({ t = t, pages = pages, seed = seed, state = seed * 7919 % 2147483647 + 1, list = {},
    made = 0, done = {}, typed = {}, deleted = {}, excused = {}, nth = 0 }, World)
  for name, value in pairs(options) do self[name] = value end
  for _ = 1, 3 do self:enter() end
  return self
end

function World:random(n)
  self.state = (self.state * 48271 + 11) % 2147483647
  return self.state // 7 % n + 1
end

function World:fail(text, ...)
  error(("seed %d: %s\nafter: %s"):format(self.seed, text:format(...),
    table.concat(self.done, ", ", math.max(1, #self.done - 15))), 0)
end

function World:note(text, ...) self.done[#self.done + 1] = text:format(...) end

-- ---- A page ----

function World:call(page, method, ...)
  local fine, ok, state = pcall(self.pages.ask, self.pages, { id = page.id, method = method,
    args = json.array { ... } })
  if not fine then self:fail("%s: %s", page.id, ok) end
  page.state = state
  return ok ~= json.null and ok or nil
end

function World:enter()
  self.nth = self.nth + 1
  local id = ("p%d-%d"):format(self.seed, self.nth)
  local user = "u" .. self.nth % 3
  local page = { id = id, user = user, flying = {}, answers = {}, seen = 0, now = 0, own = {} }
  self:call(page, "new")
  page.c, page.is_open = self.t:connect(DOCUMENT .. "/collaboration", { user = user }), true
  self.list[#self.list + 1] = page
  self:note("%s enters", id)
  return page
end

--- What a page that closes has not sent is its own; what it sent may be made, or not.
function World:leave(page)
  for c in pairs(page.own) do self.excused[c] = true end
  page.c:close()
  for i, other in ipairs(self.list) do
    if other == page then table.remove(self.list, i) end
  end
  self:note("%s leaves", page.id)
end

local function characters(text)
  local list = {}
  for _, code in utf8.codes(text) do list[#list + 1] = utf8.char(code) end
  return list
end

function World:new_text()
  local parts = {}
  for i = 1, self:random(4) do
    self.made = self.made + 1
    parts[i] = utf8.char((self.made % 3 == 0 and 0x20000 or 0x4E00) + self.made)
  end
  return table.concat(parts)
end

--- The user types over some of what is selected.
function World:edit(page, only_delete)
  local text = characters(page.state.text)
  local at = self:random(#text + (only_delete and 0 or 1)) - 1
  local gone = only_delete and #text - at or self:random(3) == 1 and math.min(self:random(4), #text - at) or 0
  if not only_delete and self:random(3) == 1 then at, gone = math.min(self.spot or 0, #text), 0 end
  self.spot = at
  local change = json.array {}
  if at > 0 then change[1] = at end
  if not only_delete and (gone == 0 or self:random(2) == 1) then
    local new = self:new_text()
    change[#change + 1] = new
    for _, c in ipairs(characters(new)) do self.typed[c], page.own[c] = page.id, true end
  end
  if gone > 0 then
    change[#change + 1] = -gone
    for i = at + 1, at + gone do self.deleted[text[i]] = true end
  end
  page.now = page.now + self:random(1500)
  self:call(page, "edit", change, page.now)
  self:note("%s types %s", page.id, json.encode(change))
end

-- ---- Between the pages and the server ----

local function status_of(answer)
  if answer.status then return answer.status end
  return answer.code == "ETOOBIG" and 413 or answer.code == "EBADFIELD" and 422 or 503
end

function World:send(page)
  local body = self:call(page, "next")
  if body then page.flying[#page.flying + 1] = body end
end

--- The server gets a request; its answer is on the way.
function World:deliver(page, i)
  local body = table.remove(page.flying, i or 1)
  if not body then return end
  local r = self.t:post(DOCUMENT .. "/changes", { user = page.user, json = body })
  page.answers[#page.answers + 1] = { n = body.n, status = r.status, message = r.json and r.json.error
    and r.json.error.message }
  self:note("%s: %d is answered %d %s", page.id, body.n, r.status, r.status > 299 and r.body or "")
end

--- Several at the same time.
function World:deliver_together()
  local list, from = json.array {}, {}
  for _, page in ipairs(self.list) do
    local body = table.remove(page.flying, 1)
    if body then
      list[#list + 1], from[#from + 1] = { user = page.user, said = body }, page
    end
  end
  if #list == 0 then return end
  local answers = self.t:post("/together", { user = "u0", json = { list = list } }).json
  for i, page in ipairs(from) do
    local answer = answers[i]
    page.answers[#page.answers + 1] = { n = list[i].said.n, status = status_of(answer), message = answer.message }
  end
  self:note("%d at the same time", #list)
end

function World:hear(page, status)
  local answer = table.remove(page.answers, 1)
  if answer then
    self:call(page, "answered", answer.n, status or answer.status, status == nil and answer.message or json.null)
    if status then self:note("%s does not hear of %d", page.id, answer.n) end
  end
end

--- A change of the log. Only a page that has loaded the text with something unsaved may be surprised by it.
function World:take(page, change)
  local knew = not page.state.loading
  self:call(page, "remote", change)
  if knew and page.state.loading and change.born == page.born and not page.moved then
    self:fail("%s must load the text because of %s", page.id, json.encode(change))
  end
end

--- Take in so many events of the stream.
function World:read(page, most)
  local events = page.c:events()
  while page.seen < #events and most > 0 do
    page.seen, most = page.seen + 1, most - 1
    local e = events[page.seen]
    if e.id and e.id ~= "" then page.last = e.id end
    if e.event == "text-change" then self:take(page, e.data)
    elseif e.event == "reset" and e.data.channel == "doc/welcome/text" then
      self:note("%s: reset %s", page.id, e.data.reason)
      self:call(page, "lose")
      page.loaded = nil
    end
  end
end

function World:come_back(page)
  if page.c.status == 200 then page.c:drop() end
  if not page.last then self:call(page, "lose") end -- as the page does: its stream begins anew
  page.c = self.t:connect(DOCUMENT .. "/collaboration", { user = page.user, last_event_id = page.last })
  page.seen, page.is_open = 0, page.c.status == 200
  self:note("%s is back after %s", page.id, tostring(page.last))
end

--- Ask for the text; it is taken in later, or never.
function World:ask(page)
  local r = self.t:get(DOCUMENT .. "/text?client=" .. page.id, { user = page.user })
  if r.status == 200 then page.loaded = r.json end
end

function World:load(page)
  local text = page.loaded
  page.loaded = nil
  if not text or not page.state.loading then return end
  page.moved = page.moved or page.state.unsaved > 0
  local lost = self:call(page, "load", text).lost
  self:note("%s loads version %d", page.id, text.version)
  page.born, page.floor = text.born, text.version
  if type(lost) == "table" then
    for _, c in ipairs(characters(lost.text)) do self.excused[c] = true end
    self:note("%s is told: %s", page.id, lost.why)
  end
end

--- A cursor behind some character: wherever it is told, and whatever came since, it stands behind it.
function World:mark(page)
  local text = characters(page.state.text)
  if not page.state.settled or #text == 0 then return end
  local at = self:random(#text)
  self.marked = { c = text[at], at = at, version = page.state.version, born = page.born }
end

function World:look(page)
  local mark = self.marked
  if not mark or page.born ~= mark.born or page.state.loading or page.floor > mark.version then return end
  local at = self:call(page, "place", mark.at, mark.version)
  for i, c in ipairs(at and characters(page.state.text) or {}) do
    if c == mark.c and i ~= at then self:fail("a cursor behind %s is shown at %d, not %d", c, at, i) end
  end
end

--- The memory of the server is gone, or not: all streams are.
function World:kill()
  if not self.durable then
    local text = self.t:get(DOCUMENT .. "/text", { user = "u0" }).json.text
    for _, c in ipairs(characters(text)) do
      if not self:is_waiting(c) then self.excused[c] = true end
    end
  end
  self:note("kill")
  self.t:kill()
  for _, page in ipairs(self.list) do
    for _, body in ipairs(page.flying) do page.answers[#page.answers + 1] = { n = body.n, status = 0 } end
    page.flying, page.is_open = {}, false
  end
end

-- Whether some page has it and does not know that the server has it.
function World:is_waiting(c)
  for _, page in ipairs(self.list) do
    if page.own[c] and page.state.text:find(c, 1, true) and not page.state.base:find(c, 1, true) then return true end
  end
  return false
end

local STEPS = {
  { 30, function(self, page) if not page.state.loading then self:edit(page) end end },
  { 24, function(self, page) self:send(page) end },
  { 22, function(self, page) self:deliver(page, self:random(math.max(1, #page.flying))) end },
  { 6, function(self) self:deliver_together() end },
  { 20, function(self, page) self:hear(page) end },
  { 4, function(self, page) self:hear(page, 0) end }, -- the answer is lost
  { 3, function(self, page) -- no answer in time: asked again while the first one is still under way
    if #page.flying > 0 then self:call(page, "answered", page.flying[1].n, 0) end
  end },
  { 40, function(self, page) self:read(page, self:random(4)) end },
  { 3, function(_, page)
    page.c:drop()
    page.is_open = false
  end },
  { 12, function(self, page) if not page.is_open then self:come_back(page) end end },
  { 12, function(self, page) if page.state.loading and page.is_open then self:ask(page) end end },
  { 5, function(self, page) self:load(page) end },
  { 1, function(self, page) -- a page that was asleep
    self:call(page, "lose")
    page.loaded = nil
  end },
  { 4, function(self, page) self:mark(page) end },
  { 12, function(self, page) if not self.undo then self:look(page) end end },
  { 4, function(self, page) -- undo and redo
    if self.undo then self:call(page, self:random(3) == 1 and "redo" or "undo") end
  end },
  { 1, function(self) assert(self.t:reload()); self:note("reload") end },
  { 1, function(self) self:kill() end },
  { 1, function(self) if #self.list < PAGES_MAX then self:enter() end end },
  { 1, function(self, page) if #self.list > 2 then self:leave(page) end end },
  { 2, function(self) self.t:advance(self:random(40) / 10) end },
}
local WEIGHT = 0
for _, step in ipairs(STEPS) do WEIGHT = WEIGHT + step[1] end

function World:step()
  local page, n = self.list[self:random(#self.list)], self:random(WEIGHT)
  for _, step in ipairs(STEPS) do
    n = n - step[1]
    if n <= 0 then return step[2](self, page) end
  end
end

-- ---- The judge ----

-- One round of a network without faults; whether nothing was left to do.
function World:calm(page)
  if not page.is_open then self:come_back(page) end
  self:read(page, math.huge)
  if page.state.loading then
    self:ask(page)
    self:load(page)
  end
  if page.state.blocked ~= json.null and page.state.length > 0 then self:edit(page, true) end
  self:send(page)
  local quiet = #page.flying == 0
  while #page.flying > 0 do self:deliver(page) end
  while #page.answers > 0 do self:hear(page) end
  self:read(page, math.huge)
  return quiet and page.state.settled
end

function World:settle()
  local calm = 0
  for _ = 1, 200 do
    local quiet = true
    for _, page in ipairs(self.list) do quiet = self:calm(page) and quiet end
    calm = quiet and calm + 1 or 0
    if calm > 1 then return self:judge() end
  end
  self:fail("the pages do not come to rest")
end

function World:judge()
  local text = self.t:get(DOCUMENT .. "/text", { user = "u0" }).json.text
  for _, page in ipairs(self.list) do
    if page.state.text ~= text then self:fail("%s has\n%s\nthe server\n%s", page.id, page.state.text, text) end
    if page.state.unsaved ~= 0 then self:fail("%s says that %d changes wait", page.id, page.state.unsaved) end
    page.own = {}
  end
  if self.undo then return end -- what is taken back may come twice, and what was deleted again
  local there = {}
  for _, c in ipairs(characters(text)) do
    if there[c] then self:fail("%s is there twice", c) end
    there[c] = true
  end
  for c, id in pairs(self.typed) do
    if not there[c] and not self.deleted[c] and not self.excused[c] then
      self:fail("%s, which %s typed, is lost", c, id)
    end
  end
end

return editors
