--- Texts that several people write at the same time. How they converge: the server puts all
--- changes of a document into one order. A page sends what was typed as a change of the version
--- that it has seen; the server transforms it over what came since (ot.lua), gives it the next
--- version, and publishes it as one event of the document's log. A page shows what the log says,
--- transforms over it what it has not sent, and so all end with one text. A change carries its
--- client's number: sent again, it is answered again and made once.
---
---   local documents = require("documents").new(app, rooms, { durable = true })
---   documents:routes("/api/documents", visitor)
local document = require("document")
local sequencer = require("sequencer")
local sluice = require("sluice")

local Documents = {}
Documents.__index = Documents

local CHANGE = { born = "string", version = "integer", client = "string", n = "integer",
  changes = "array" }
local CURSOR = { version = "integer?", anchor = "integer?", head = "integer?", line = "integer?",
  column = "integer?" }

--- The document as it is now; nil, message, code when too many are open, or none can have this id.
function Documents:open(id)
  if #id > 64 or not id:find("^[%w_.-]+$") then return nil, "no such document", "ENOTFOUND" end
  local open = self.open_ones()
  local doc = open[id]
  if not doc then
    local ok, message, code = self:make_room(open)
    if not ok then return nil, message, code end
    doc = document.new(self.store and self.store:get(id), self.texts[id] or "")
    open[id] = doc
  end
  doc.used = sluice.now()
  return document.fold(self.app, self:channel(id), doc)
end

--- Close the one that was used longest ago, if nobody follows it. Without a store its text is gone.
function Documents:make_room(open)
  local n, oldest = 0, nil
  for id, doc in pairs(open) do
    n = n + 1
    if (not oldest or doc.used < open[oldest].used)
      and self.app:stats(self:channel(id)).subscribers == 0 then
      oldest = id
    end
  end
  if n < self.max_documents then return true end
  if not oldest then return nil, "too many documents are open", "EFULL" end
  open[oldest] = nil
  return true
end

function Documents:channel(id) return self.rooms:channel(id, "text") end

--- Make a change. Returns what a handler returns.
function Documents:change(id, user, said) return sequencer.change(self, id, user, said) end

--- Show the others where a user is: positions of `version`, or a line and a column.
function Documents:cursor(id, user, said)
  local doc, problem, what = self:open(id)
  if not doc then return nil, problem, what end
  local anchor, head = said.anchor, said.head
  if not anchor or not head or not said.version then
    if not said.line or not said.column then
      return 422, "line and column, or anchor, head and version are expected"
    end
    head = document.position(doc, said.line, said.column)
    anchor = head
  else
    anchor = document.place(doc, anchor, said.version)
    head = document.place(doc, head, said.version)
  end
  return sluice.receipt(self.rooms:send(id, user, "cursor-move", { version = doc.version,
    anchor = anchor, head = head, position = document.line(doc, head) }))
end

--- The text as it is, and how far the asking client is.
function Documents:text(id, user, client)
  local doc, problem, what = self:open(id)
  if not doc then return nil, problem, what end
  local known = client and doc.clients[document.key(user.id, client)]
  return { documentId = id, born = doc.born, version = doc.version, text = doc.text,
    maxLength = self.max_length, n = known and known.n or 0, knownSince = doc.since,
    refused = known ~= nil and known.code ~= nil,
    user = { id = user.id, name = user.name } }
end

--- At the top level: the stream, text, changes, cursor and members of each document; `more`
--- channels are on its stream, too.
function Documents:routes(prefix, guard, more)
  prefix = prefix .. "/:id"
  self.rooms:stream(prefix .. "/collaboration", guard, { channels = { self:channel(":id"),
    table.unpack(more or {}) } })
  self.app:get(prefix .. "/text", guard, function(req)
    return self:text(req.params.id, req.user, req.query.client)
  end)
  self.app:post(prefix .. "/changes", guard, function(req)
    local said = req:json(CHANGE)
    if not said.client:find("^[%w-]+$") or #said.client > 40 then
      return 422, "client: 1 to 40 letters, digits and - are expected"
    end
    return self:change(req.params.id, req.user, said)
  end)
  self.app:post(prefix .. "/cursor", guard, function(req)
    return self:cursor(req.params.id, req.user, req:json(CURSOR))
  end)
  self.app:get(prefix .. "/members", guard, function(req)
    return self.rooms:members(req.params.id)
  end)
end

--- At the top level. Options: `durable` (kept on the disk), `texts` (what documents begin with, by
--- id), `max_length` (20000 characters), `max_documents` (100 that are open), `read` (a read rule).
return { new = function(app, rooms, options)
  local durable = options.durable == true
  app:channel(rooms:channel(":id", "text"), { history = { count = 1000, bytes = 1 << 20 },
    durable = durable, ttl = not durable and 3600 or nil, read = options.read })
  return setmetatable({ app = app, rooms = rooms, texts = options.texts or {},
    store = durable and app:store("documents") or nil, open_ones = app:state("documents", {}),
    max_length = options.max_length or 20000, max_documents = options.max_documents or 100,
  }, Documents)
end }
