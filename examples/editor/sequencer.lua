--- Takes changes one after the other: judges them, transforms them over what came since they were
--- made, and publishes them. Keeps nothing of its own: what counts is what the log then says.
local document = require("document")
local ot = require("ot")
local sluice = require("sluice")
local sequencer = {}

local TRIES, TURN = 20, 1 -- seconds that one change may hold up the next

-- One after the other: a publish may wait for the disk, and what comes meanwhile would be void.
local function turn(doc)
  while doc.busy and sluice.now() < doc.busy do sluice.sleep(0.002) end
  doc.busy = sluice.now() + TURN
  return setmetatable({}, { __close = function() doc.busy = nil end })
end

-- A number that is refused stays refused: a copy of it that is late must not be made after all.
local function refuse(doc, key, n, message, code)
  document.note(doc, key, { n = n, version = doc.version, message = message, code = code })
  return nil, message, code
end

-- What is answered without making it: it is known already, or cannot be made. Else nothing.
local function known_answer(doc, key, said)
  if said.born ~= doc.born then return true, 409, "this is another text: load it anew" end
  local known = doc.clients[key]
  if not known or said.n > known.n then return false end
  if said.n == known.n and known.code then return true, nil, known.message, known.code end
  return true, 200, { version = known.version, n = known.n }
end

-- The change for the newest text; or nil and the answer.
local function fitting(self, doc, key, said)
  local change, wrong = ot.read(said.changes)
  if not change then return nil, refuse(doc, key, said.n, "changes: " .. wrong, "EBADFIELD") end
  local mine = document.rebase(doc, change, said.version)
  if not mine then return nil, 409, "this version is unknown, or too old: load the text anew" end
  local added, needed = ot.measure(mine)
  local much = doc.length + added - self.max_length
  if needed > doc.length then
    return nil, refuse(doc, key, said.n, "changes: beyond the end of the text", "EBADFIELD")
  elseif added > 0 and much > 0 then
    return nil, refuse(doc, key, said.n, ("%d characters too many: a text may have %d"):format(much,
      self.max_length), "ETOOBIG")
  end
  return mine
end

-- One try: whether there is an answer, and it.
local function attempt(self, id, user, key, said)
  local doc, problem, what = self:open(id)
  if not doc then return true, nil, problem, what end
  local _ <close> = turn(doc)
  document.fold(self.app, self:channel(id), doc)
  local answer = table.pack(known_answer(doc, key, said))
  if answer[1] then return table.unpack(answer, 1, answer.n) end
  local ok, message, code = document.save(doc, self.store, id)
  if not ok then return true, nil, message, code end
  local mine = table.pack(fitting(self, doc, key, said))
  if not mine[1] then return true, table.unpack(mine, 2, mine.n) end
  ok, message, code = self.app:publish(self:channel(id), "text-change", { documentId = id,
    born = doc.born, version = doc.version + 1, userId = user.id, client = said.client, n = said.n,
    changes = mine[1] })
  if not ok then return true, nil, message, code end
  return known_answer(document.fold(self.app, self:channel(id), doc), key, said)
end

--- Make a change. Returns what a handler returns.
function sequencer.change(self, id, user, said)
  local key = document.key(user.id, said.client)
  for _ = 1, TRIES do
    local answer = table.pack(attempt(self, id, user, key, said))
    if answer[1] then return table.unpack(answer, 2, answer.n) end
  end
  return nil, "too many write at the same time", "EBUSY"
end

return sequencer
