--- sluice.htmx and sluice.datastar: the events that they write. (With the libraries themselves:
--- spec/browser/html_spec.lua.)
local datastar = require("sluice.datastar")
local htmx = require("sluice.htmx")
local json = require("sluice.json")
local kit = require("spec.support.kit")

local PATCH, SIGNALS = "datastar-patch-elements", "datastar-patch-signals"

local function raises(why, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.matches(why, message, 1, true)
end

describe("sluice.htmx", function()
  it("gives HTML to a name, or to no name", function()
    assert.same({ "order", "<b>\n</b>" }, { htmx.swap("order", "<b>\n</b>") })
    assert.same({ n = 2, nil, "<p>" }, table.pack(htmx.partial("<p>")))
    assert.equal('<hx-partial hx-target="#a &gt; .b" hx-swap="beforeend"><p></hx-partial>',
      (select(2, htmx.partial("<p>", { target = "#a > .b", swap = "beforeend" }))))
    assert.equal('<hx-partial hx-target="[x=&quot;1&quot;]">t</hx-partial>',
      (select(2, htmx.partial("t", { target = '[x="1"]' }))))
  end)

  it("refuses what no element could listen to", function()
    raises("without blanks and commas", htmx.swap, "a b", "<p>")
    raises("without blanks and commas", htmx.swap, nil, "<p>")
    raises("the HTML is a string, not a number", htmx.swap, "a", 5)
    raises("unknown option 'tarjet', did you mean 'target'?", htmx.partial, "<p>", { tarjet = "#a" })
    raises("did you mean sluice.htmx.swap?", function() return htmx.swop end)
  end)
end)

describe("escape", function()
  it("leaves nothing that ends a text or an attribute", function()
    for _, module in ipairs { htmx, datastar } do
      assert.equal("&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;", module.escape([[<a href="x" id='y'>&amp;]]))
      assert.equal("7", module.escape(7))
    end
  end)
end)

describe("sluice.datastar", function()
  local function data_of(fn, ...) return (select(2, fn(...))) end

  it("patches elements, a line for a line", function()
    assert.same({ PATCH, 'elements <b id="a">1</b>' }, { datastar.patch_elements('<b id="a">1</b>') })
    assert.equal("elements <p\nelements >\nelements \nelements x",
      data_of(datastar.patch_elements, "<p\r\n>\r\rx"))
    assert.equal("selector #a\nmode append\nnamespace svg\nuseViewTransition true\nelements <g/>",
      data_of(datastar.patch_elements, "<g/>",
        { selector = "#a", mode = "append", namespace = "svg", use_view_transition = true }))
    assert.equal("selector #a\nmode inner\nelements ",
      data_of(datastar.patch_elements, "", { selector = "#a", mode = "inner" }))
    assert.same({ PATCH, "selector .gone\nmode remove" }, { datastar.remove_elements(".gone") })
  end)

  it("patches signals", function()
    assert.same({ SIGNALS, 'signals {"a":{"b":[1]}}' }, { datastar.patch_signals { a = { b = { 1 } } } })
    assert.equal('onlyIfMissing true\nsignals {"a":null}',
      data_of(datastar.patch_signals, { a = json.null }, { only_if_missing = true }))
    assert.equal("signals {}", data_of(datastar.patch_signals, {}))
  end)

  it("runs scripts that cannot end their element", function()
    assert.equal('selector body\nmode append\nelements <script data-effect="el.remove()">go()</script>',
      data_of(datastar.execute_script, "go()"))
    assert.equal('selector body\nmode append\nelements <script async type="a&quot;b">x = "<\\/SCRIPT><\\!--"\n'
      .. "elements </script>",
      data_of(datastar.execute_script, 'x = "</SCRIPT><!--"\n',
        { auto_remove = false, attributes = { type = 'a"b', async = true } }))
  end)

  it("refuses what the page would refuse", function()
    raises("mode 'outside' is unknown (known: after, append", datastar.patch_elements, "<p>", { mode = "outside" })
    raises("namespace 'xml' is unknown", datastar.patch_elements, "<p>", { namespace = "xml" })
    raises("has several lines", datastar.patch_elements, "<p>", { selector = "#a\nmode remove" })
    raises("the HTML is empty", datastar.patch_elements, "")
    raises("the HTML is a string, not a nil", datastar.patch_elements)
    raises("a table of names and values", datastar.patch_signals, { 1, 2 })
    raises("signals: ", function() datastar.patch_signals({ a = print }) end)
    raises("is no name of an attribute", datastar.execute_script, "x", { attributes = { ["a b"] = "c" } })
    raises("did you mean sluice.datastar.patch_signals?", function() return datastar.patch_signal end)
  end)

  it("reads the signals of a request", function()
    local t = kit.start [[
      local datastar = require("sluice.datastar")
      local function answer(req) return { signals = datastar.signals(req) } end
      app:get("/s", answer)
      app:post("/s", answer)
      app:delete("/s", answer)]]
    assert.same({ a = 1 }, t:get('/s?datastar={"a":1}').json.signals)
    assert.same({ a = 1 }, t:delete('/s?datastar={"a":1}').json.signals)
    assert.same({}, t:get("/s").json.signals)
    assert.same({}, t:post("/s").json.signals)
    assert.same({ b = "x" }, t:post("/s", { json = { b = "x" } }).json.signals)
    assert.equal(400, t:get("/s?datastar={").status)
    assert.equal(400, t:get("/s?datastar=7").status)
    assert.equal(400, t:get("/s?datastar=[1]").status)
    assert.equal(400, t:post("/s", { json = { 1 } }).status)
    assert.equal(400, t:post("/s", { body = "{", headers = { ["Content-Type"] = "application/json" } }).status)
    assert.equal(415, t:post("/s", { body = "a=1", headers = { ["Content-Type"] = "text/plain" } }).status)
    kit.stop_all()
  end)
end)
