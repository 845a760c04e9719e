--- One document as its log says it: every accepted change is an event with the next version, and
--- the text is what all of them make of the first text. An event whose version is not the next one
--- is void, here and on every page, so all agree, whatever was published twice or at the same time.
--- In app:state: the text, the last changes (for those that were made on an older version), and how
--- far each client is, so that a change that is sent again is known.
local ot = require("ot")
local sluice = require("sluice")
local document = {}

local OPS_MAX, CLIENTS_MAX = 500, 1000
local SAVE_EVENTS, SAVE_BYTES = 50, 65536 -- memory has the newest 256 KiB of a durable channel

--- What a document begins with: what was kept of it, or its first text.
function document.new(kept, text)
  local doc = kept or { version = 0, text = text, clients = {}, since = 0 }
  doc.length, doc.ops, doc.first = utf8.len(doc.text), sluice.json.array(), doc.version
  doc.saved, doc.bytes, doc.known = kept and kept.version, 0, 0
  for _ in pairs(doc.clients) do doc.known = doc.known + 1 end
  return doc
end

-- Clients whose last change has no place among the last changes are forgotten; `since` tells it.
local function forget(doc)
  doc.known, doc.since = 0, doc.first
  for key, client in pairs(doc.clients) do
    if client.version <= doc.first then doc.clients[key] = nil else doc.known = doc.known + 1 end
  end
end

--- How far a client is: its change `n`, made or refused.
function document.note(doc, key, entry)
  if not doc.clients[key] then doc.known = doc.known + 1 end
  doc.clients[key] = entry
  if doc.known > CLIENTS_MAX then forget(doc) end
end

function document.key(user_id, client) return tostring(user_id) .. "/" .. client end

local function take(doc, event)
  local said = event.data
  doc.last = event.id
  if not doc.born and said.version == 1 then doc.born = said.born end
  if said.born ~= doc.born or said.version ~= doc.version + 1 then return end
  local text = ot.apply(doc.text, said.changes)
  if not text then return end
  doc.text, doc.version = text, said.version
  doc.length = doc.length + ot.measure(said.changes)
  doc.ops[#doc.ops + 1] = said.changes
  if #doc.ops > OPS_MAX then table.remove(doc.ops, 1) end
  doc.first, doc.bytes = doc.version - #doc.ops, doc.bytes + #sluice.json.encode(said.changes)
  document.note(doc, document.key(said.userId, said.client), { n = said.n, version = said.version })
end

--- Read on in the log. Waits for nothing.
function document.fold(app, channel, doc)
  for _, event in ipairs(app:history(channel, { after = doc.last, limit = 1024 })) do
    take(doc, event)
  end
  doc.born = doc.born or sluice.id()
  return doc
end

--- A change that was made on `version`, for the newest text; nil when that is too long ago.
function document.rebase(doc, change, version)
  if version < doc.first or version > doc.version then return nil end
  for v = version + 1, doc.version do change = ot.transform(change, doc.ops[v - doc.first]) end
  return change
end

--- A position of `version` in the newest text, as near as it is known.
function document.place(doc, position, version)
  for v = math.max(version, doc.first) + 1, doc.version do
    position = ot.shift(position, doc.ops[v - doc.first])
  end
  return math.max(0, math.min(position, doc.length))
end

--- Line (from 1) and column (from 0) of a position.
function document.line(doc, position)
  local before = doc.text:sub(1, utf8.offset(doc.text, position + 1) - 1)
  return { line = select(2, before:gsub("\n", "\n")) + 1,
    column = utf8.len(before:match("[^\n]*$")) }
end

--- The position of a line and a column, or the nearest that there is.
function document.position(doc, line, column)
  local at = 1
  for _ = 2, line do
    local feed = doc.text:find("\n", at, true)
    if not feed then break end
    at = feed + 1
  end
  local length = utf8.len(doc.text:match("^[^\n]*", at))
  return utf8.len(doc.text:sub(1, at - 1)) + math.max(0, math.min(column, length))
end

--- Keep the text in the store, when it was never kept or enough has come since.
function document.save(doc, store, id)
  if not store then return true end
  if doc.saved and doc.version - doc.saved < SAVE_EVENTS and doc.bytes < SAVE_BYTES then
    return true
  end
  local version, bytes = doc.version, doc.bytes
  local ok, message, code = store:set(id, { born = doc.born, version = version, text = doc.text,
    last = doc.last, clients = doc.clients, since = doc.since })
  if ok then doc.saved, doc.bytes = version, doc.bytes - bytes end
  return ok, message, code
end

return document
