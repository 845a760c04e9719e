--- The browser driver itself, on a page without a server.
describe("spec.support.browser", function()
  local browser = require("spec.support.browser")
  local process = require("spec.support.process")
  local b

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)

  it("opens pages, evaluates, waits and types", function()
    local page = b.open("data:text/html,<title>t</title><input id=q><p id=p>hello</p>")
    assert.equal("t", page.eval("document.title"))
    assert.equal("hello", page.text("#p"))
    page.fill("#q", "abc")
    assert.equal("abc!", page.eval("(x) => document.querySelector('#q').value + x", "!"))
    page.eval("() => { setTimeout(() => { window.done = 3 }, 30) }")
    assert.equal(3, page.wait("window.done", 5))
    assert.has_error(function() page.wait("window.never", 0.05) end)
    assert.has_error(function() page.eval("nonsense()") end)
  end)

  it("takes pictures and reports what pages complain about", function()
    local page = b.open("data:text/html,<script>console.error('oh')</script>", { width = 390, height = 844 })
    local path = os.tmpname()
    page.screenshot(path .. ".png")
    assert.equal("\137PNG", process.read_file(path .. ".png"):sub(1, 4))
    os.remove(path)
    os.remove(path .. ".png")
    assert.equal("oh", b.noise()[1][3])
    assert.equal(390, page.eval("window.innerWidth"))
    page.close()
  end)

  it("runs a scenario file", function()
    local path = "build/scenario.mjs"
    process.write_file(path, [[export default async ({ open, args }) => {
      const page = await open(args.url); return { title: await page.title() }; };]])
    assert.same({ title = "s" }, b.run(path, { url = "data:text/html,<title>s</title>" }))
    os.remove(path)
  end)
end)
