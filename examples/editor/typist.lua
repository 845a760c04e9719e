--- Somebody who types now and then while a document is followed, for --demo: writes a sentence,
--- pauses, takes it back, moves on. Every half hour, or after five minutes without a reader, the
--- text begins anew, as an ordinary change. Equal seeds do equal things. In memory: a small table.
local document = require("document")
local sluice = require("sluice")

local SAYS = { "Tea at four? ", "I moved this up. ", "Is this still true? ", "Nice. Merged 🎉 ",
  "TODO: a title ", "See you on Monday. " }
local LONGEST, TICK, ANEW, ANEW_ALONE = 4000, 0.35, 1800, 300

return function(app, documents, rooms, options)
  local o = options or {}
  local who, id = o.user or { id = "bob", name = "Bob" }, o.document or "welcome"
  local fields = { documentId = id, id = who.id, userId = who.id, userName = who.name }
  local state = app:state("typist/" .. id, { seed = o.seed or 1, n = 0, at = 0, version = 0,
    rest = 8, typed = "", left = "", began = 0 })

  local function random(most)
    local me = state()
    me.seed = (me.seed * 1103515245 + 12345) & 0x7fffffff
    return (me.seed >> 8) % most + 1
  end

  local function change(doc, changes)
    local me = state()
    me.n = me.n + 1
    documents:change(id, who, { born = doc.born, version = doc.version, client = "typist",
      n = me.n, changes = changes })
    me.version = doc.version
  end

  local function show(doc)
    app:publish(rooms:channel(id, "live"), "cursor-move", { documentId = id, id = who.id,
      userId = who.id, version = doc.version, anchor = state().at, head = state().at,
      position = document.line(doc, state().at) })
  end

  local function typed(doc, me)
    local n = utf8.offset(me.left, math.min(random(3), utf8.len(me.left)) + 1) - 1
    local text = me.left:sub(1, n)
    me.left, me.typed = me.left:sub(n + 1), me.typed .. text
    change(doc, { me.at, text })
    me.at = me.at + utf8.len(text)
    if me.left == "" then me.rest = 10 + random(20) end
  end

  -- Only what nobody has changed since.
  local function erased(doc, me)
    local from = me.at - utf8.len(me.typed)
    local first = from >= 0 and utf8.offset(doc.text, from + 1)
    if first and doc.text:sub(first, first + #me.typed - 1) == me.typed then
      change(doc, { from, -(me.at - from) })
      me.at = from
    end
    me.typed, me.rest = "", 5 + random(10)
  end

  -- On to the end of some line.
  local function moved(doc, me)
    local ends = { doc.length }
    for at in doc.text:gmatch("()\n") do ends[#ends + 1] = utf8.len(doc.text:sub(1, at - 1)) end
    me.at, me.left = ends[random(#ends)], SAYS[random(#SAYS)]
    local before = me.at > 0 and doc.text:sub(1, utf8.offset(doc.text, me.at + 1) - 1) or ""
    if before:find("%S$") then me.left = " " .. me.left end
    if doc.length > LONGEST then me.left, me.rest = "", 30 end
  end

  app:every(TICK, { name = "typist/" .. id, while_subscribed = documents:channel(id) }, function()
    local me, doc = state(), documents:open(id)
    if not doc then return end
    me.at, me.version = document.place(doc, me.at, me.version), doc.version
    if me.rest > 0 then me.rest = me.rest - 1
    elseif me.left ~= "" then typed(doc, me)
    elseif me.typed ~= "" then erased(doc, me)
    else moved(doc, me) end
    show(doc)
  end)

  app:every(60, { name = "typist/" .. id .. "/anew" }, function()
    local me, doc = state(), documents:open(id)
    local first = documents.texts[id] or ""
    if not doc then return end
    if doc.text == first or me.began == 0 then me.began = sluice.now() end
    local alone = app:stats(documents:channel(id)).subscribers == 0
    local due = sluice.now() - me.began >= (alone and ANEW_ALONE or ANEW)
    if not due or doc.text == first then return end
    change(doc, { first, -doc.length })
    me.at, me.typed, me.left, me.began = 0, "", "", sluice.now()
  end)

  app:on("start", function()
    fields.activeUsers = rooms:count(id) + 1
    app:publish(rooms:channel(id), "user-joined", fields)
  end)
end
