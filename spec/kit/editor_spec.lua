--- examples/editor: one order for all changes, each made once, refused for good when it is refused, kept over kills;
--- positions are characters; cursors; the visitor's name; and somebody who types in demo mode.
local kit = require("spec.support.kit")

local WELCOME = "/api/documents/welcome/"
local APP = [[
local rooms = require("sluice.rooms").new(app, { name = "doc", field = "documentId" })
local documents = require("documents").new(app, rooms, { OPTIONS })
documents:routes("/api/documents", function(req) return req.user ~= nil or 401 end)
]]

local function files()
  local tree = require("spec.support.tree")
  local out = {}
  for _, name in ipairs { "ot", "document", "documents", "sequencer" } do
    out[name .. ".lua"] = tree.read("examples/editor/" .. name .. ".lua")
  end
  return out
end

describe("examples/editor", function()
  local t

  after_each(kit.stop_all)

  local function start(options) t = kit.start((APP:gsub("OPTIONS", options or "")), { files = files() }) end

  local function look(client) return t:get(WELCOME .. "text?client=" .. (client or "c"), { user = "ann" }).json end

  local function change(n, changes, o)
    o = o or {}
    return t:post((o.path or WELCOME) .. "changes", { user = o.user or "ann", json = { born = o.born or look().born,
      version = o.version or look().version, client = o.client or "c", n = n, changes = changes } })
  end

  it("publishes each change once, in one order, as what it is for the newest text", function()
    start()
    local c = t:connect(WELCOME .. "collaboration", { user = "ann" })
    assert.same({ version = 1, n = 1 }, change(1, { "one two" }).json)
    assert.equal(200, change(1, { 3, " and" }, { client = "b", version = 1, user = "bob" }).status)
    assert.equal(200, change(2, { 7, "!", -0 }, { version = 1 }).status)
    assert.same({ version = 3, n = 2 }, change(2, { 7, "!" }, { version = 1 }).json) -- again
    assert.equal("one and two!", look().text)
    local list = c:events("text-change")
    assert.equal(3, #list)
    assert.same({ 11, "!" }, list[3].data.changes)
    assert.same({ "welcome", "ann", "c", 2, 3 }, { list[3].data.documentId, list[3].data.userId, list[3].data.client,
      list[3].data.n, list[3].data.version })
    assert.same({ 2, false }, { look().n, look().refused })
    assert(t:reload())
    assert.equal("one and two!", look().text)
    assert.same({ version = 3, n = 2 }, change(1, { "one two" }).json) -- its last one
    assert.equal("one and two!", look().text)
  end)

  it("is not broken by a number that has no opposite, nor by an id that no channel can have", function()
    start()
    change(1, { "one" })
    for _, part in ipairs { math.mininteger, math.maxinteger, -1000001, 1e300, 0.5 } do
      assert.equal(422, change(2, { part }).status)
    end
    assert.equal("one", look().text)
    for _, id in ipairs { "*", "a*b", ("x"):rep(65), "%F0%9F%98%80", ":id", "a%20b" } do
      local path = "/api/documents/" .. id .. "/"
      assert.equal(404, t:get(path .. "text", { user = "ann" }).status, id)
      assert.equal(404, change(1, { "a" }, { path = path, version = 0 }).status, id)
      local cursor = t:post(path .. "cursor", { user = "ann", json = { line = 1, column = 0 } })
      assert.equal(404, cursor.status, id)
    end
    assert.equal(200, t:get("/api/documents/" .. ("x"):rep(64) .. "/text", { user = "ann" }).status)
    assert.equal("one", look().text)
    assert.is_nil(t:last_error())
  end)

  it("takes numbers of another user or document for others", function()
    start()
    change(1, { "a" })
    assert.equal(200, change(1, { "b" }, { user = "bob" }).status)
    assert.equal("ba", look().text)
    local tea = "/api/documents/tea/"
    local born = t:get(tea .. "text", { user = "ann" }).json.born
    assert.equal(200, change(1, { "c" }, { path = tea, born = born, version = 0 }).status)
    assert.same({ "ba", "c" }, { look().text, t:get(tea .. "text", { user = "ann" }).json.text })
  end)

  it("counts characters, and takes no others than a page may show", function()
    start()
    change(1, { "👩‍👩‍👧e\u{301}\n" })
    assert.equal(200, change(2, { 1, -4, "é😀" }).status)
    assert.equal("👩é😀e\u{301}\n", look().text)
    local n = 2
    for _, bad in ipairs { { "a\r\n" }, { "\0" }, { 1.5 }, { true }, { { "a" } }, { 7 , -1 }, { 1e9 }, { "\u{7f}" } } do
      n = n + 1
      local r = change(n, bad)
      assert.same({ 422, "EBADFIELD" }, { r.status, r.json.error.code })
      assert.same({ n, true }, { look().n, look().refused })
    end
    assert.equal(2, look().version)
  end)

  it("refuses what does not fit, also when the same comes again and would fit", function()
    start("max_length = 5")
    change(1, { "12345" })
    local r = change(2, { "67" })
    assert.same({ 413, "2 characters too many: a text may have 5" }, { r.status, r.json.error.message })
    assert.equal(200, change(1, { -3 }, { client = "b" }).status)
    assert.equal(413, change(2, { "67" }).status)
    assert.equal(200, change(3, { "67" }).status)
    assert.equal("6745", look().text)
  end)

  it("asks to load the text anew when it is another one, or the version too old", function()
    start()
    assert.equal(409, change(1, { "a" }, { born = "elsewhere" }).status)
    assert.equal(409, change(1, { "a" }, { version = 1 }).status)
    for n = 1, 520 do change(n, { "a" }, { version = n - 1 }) end
    assert.equal(409, change(1, { "b" }, { client = "b", version = 3 }).status)
    assert.equal(200, change(1, { "b" }, { client = "b", version = 400 }).status)
  end)

  it("is kept over kills when it is durable, with what each client has sent", function()
    start("durable = true")
    change(1, { "first " }, { client = "early" })
    for n = 1, 120 do change(n, { tostring(n % 10) }) end
    local before, born = look().text, look().born
    t:kill()
    assert.equal(126, #before)
    assert.same({ before, born, 121 }, { look().text, look().born, look().version })
    assert.same({ 1, 120 }, { look("early").n, look("c").n })
    assert.same({ version = 1, n = 1 }, change(1, { "first " }, { client = "early" }).json)
    assert.equal(200, change(121, { "x" }).status)
    t:kill()
    assert.equal("x" .. before, look().text)
  end)

  it("begins anew after a kill without a disk, under another name", function()
    start('texts = { welcome = "Hello" }')
    change(1, { "x" })
    local born = look().born
    t:kill()
    assert.same({ "Hello", 0 }, { look().text, look().version })
    assert.equal(409, change(2, { "y" }, { born = born }).status)
  end)

  it("says no while the disk is full, and nobody sees it", function()
    start("durable = true")
    local c = t:connect(WELCOME .. "collaboration", { user = "ann" })
    change(1, { "a" })
    t:disk { full = true }
    assert.equal(503, change(2, { "b" }).status)
    assert.same({ "a", 1 }, { look().text, c:count("text-change") })
    t:disk { full = false }
    assert.equal(200, change(2, { "b" }).status)
    assert.equal("ba", look().text)
  end)

  it("makes room for another document when nobody follows one", function()
    start("max_documents = 2")
    local function open(id) return t:get("/api/documents/" .. id .. "/text", { user = "ann" }).status end
    t:connect("/api/documents/a/collaboration", { user = "ann" })
    assert.same({ 200, 200 }, { open("a"), open("b") })
    local b = t:connect("/api/documents/b/collaboration", { user = "ann" })
    assert.equal(503, open("c"))
    b:close()
    assert.equal(200, open("c"))
  end)

  it("shows a cursor where it is now, in both ways of saying it", function()
    start()
    local c = t:connect(WELCOME .. "collaboration", { user = "bob" })
    change(1, { "one\ntwo" })
    change(2, { "😀" })
    local function cursor(body) return t:post(WELCOME .. "cursor", { user = "bob", json = body }).status end
    assert.equal(202, cursor { version = 1, anchor = 4, head = 6 })
    local shown = c:wait_for("cursor-move").data
    assert.same({ 2, 5, 7, { line = 2, column = 2 } }, { shown.version, shown.anchor, shown.head, shown.position })
    assert.same({ 202, 422 }, { cursor { line = 1, column = 2 }, cursor { line = 1 } })
    shown = c:wait_for("cursor-move").data
    assert.same({ 2, 2, 2 }, { shown.version, shown.anchor, shown.head })
  end)

  it("knows a visitor by what the page says", function()
    t = kit.open("examples/editor/app.lua")
    local function ask(id, name)
      local r = t:get(WELCOME .. "text", { headers = { ["X-User"] = id, ["X-User-Name"] = name } })
      return r.json.user or r.status
    end
    assert.same({ id = "k3x", name = "Ann Ö" }, ask("k3x", "Ann%20%C3%96"))
    assert.same({ id = "k3x", name = "k3x" }, ask("k3x"))
    assert.same({ 401, 422, 422, 422 }, { ask(nil, "Ann"), ask("a b"), ask("k3x", "%FF"), ask("k3x", "%0A") })
  end)

  it("has somebody who types in demo mode, while somebody looks, and begins anew in time", function()
    t = kit.open("examples/editor/app.lua", { flags = { demo = true } })
    local first = look().text
    t:advance(3600)
    assert.equal(0, look().version)
    local c = t:connect(WELCOME .. "collaboration", { user = "ann" })
    assert.equal("bob", c:wait_for("user-joined", 5, { userId = "bob" }).data.userId)
    local at = c:wait_for("text-change", 30, { userId = "bob" }).data
    c:wait_for("cursor-move", 1, { userId = "bob", version = at.version })
    change(1, { ("mine"):rep(100) })
    t:advance(900)
    assert.truthy(look().text:find("mine", 1, true))
    assert.is_true(#look().text < 1000)
    t:advance(1200)
    assert.is_nil(look().text:find("mine", 1, true))
    change(2, { "mine" })
    c:drop()
    t:advance(420)
    assert.equal(first, look().text)
  end)
end)
