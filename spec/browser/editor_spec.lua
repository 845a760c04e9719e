--- The editor example in a real browser: three tabs that type at the same time, and end with one text over a cut,
--- a reload of the app, a kill and a drain; what is typed offline; names, cursors and undo; wide and on a phone.
local browser = require("spec.support.browser")
local deadline = require("spec.support.deadline")
local http = require("spec.support.http")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")

-- Types words one letter after the other, at random places, as fast as a person who is in a hurry.
local TYPE = [[([word, times]) => {
  const area = document.getElementById("text");
  area.focus();
  let n = 0;
  window.typing = new Promise((done) => {
    const timer = setInterval(() => {
      if (n % word.length === 0) {
        const at = Math.floor(Math.random() * (area.value.length + 1));
        area.setSelectionRange(at, at);
      }
      document.execCommand("insertText", false, word[n % word.length]);
      if (n % 11 === 10) document.execCommand("delete");
      if (++n === times * word.length) {
        clearInterval(timer);
        done();
      }
    }, 25);
  });
}]]

describe("the editor page", function()
  local b, s, folder

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)
  after_each(function()
    server.stop_all()
    process.remove_dir(folder)
    folder = nil
  end)

  local function start(port, flag)
    folder = folder or process.temp_dir()
    s = server.start { path = "examples/editor/app.lua",
      args = { "--data", folder .. "/data", "--port", tostring(port or 0), flag } }
  end

  local function text()
    local answer = http.get(s.port, "/api/documents/welcome/text", { ["X-User"] = "spec" })
    return json.decode(answer.body).text
  end

  local function open(options)
    local page = b.open(s.url .. "/", options)
    page.wait("document.getElementById('saved').textContent === 'Saved'", 20)
    return page
  end

  local function same(pages)
    for _, page in ipairs(pages) do
      page.wait("window.typing ? window.typing.then(() => true) : true", 30)
    end
    deadline.eventually(function()
      local expected = text()
      for _, page in ipairs(pages) do
        if page.text("#saved") ~= "Saved" or page.eval("document.getElementById('text').value") ~= expected then
          return false
        end
      end
      return true
    end, 30, "all have one text")
  end

  -- What a browser says of a server that is not there, or refuses a text that is too long, is no fault of the page.
  local function complaints()
    local list = {}
    for _, one in ipairs(b.noise()) do
      if not one[3]:find("^Failed to load resource: net::ERR_") and not one[3]:find("a status of 413", 1, true) then
        list[#list + 1] = one[3]
      end
    end
    return list
  end

  local function type_in(pages, times)
    for i, page in ipairs(pages) do page.eval(TYPE, { ("one two six "):sub(i * 4 - 3, i * 4), times }) end
  end

  it("ends with one text in three tabs, whatever happens to the server", function()
    start()
    local pages = { open { width = 1280, height = 844, scheme = "light" },
      open { width = 390, height = 844, scheme = "dark" }, open() }
    for _, page in ipairs(pages) do
      page.wait("document.querySelectorAll('#members li').length === 3", 20)
    end
    type_in(pages, 12)
    pages[1].wait("document.querySelectorAll('.caret').length === 2", 20)
    pages[2].wait("document.querySelectorAll('.caret').length === 2", 20)
    pages[1].screenshot("build/editor-1280-light.png")
    pages[2].screenshot("build/editor-390-dark.png", true)
    for _, page in ipairs(pages) do
      assert.is_true(page.eval("document.documentElement.scrollWidth <= innerWidth"))
    end
    same(pages)

    type_in(pages, 25)
    s.signal("HUP")
    assert(s.wait_log("reload #2"))
    same(pages)

    type_in(pages, 40)
    local port = s.port
    s.kill()
    pages[3].wait("document.getElementById('saved').textContent.startsWith('Offline: ')", 20)
    start(port)
    same(pages)

    type_in(pages, 40)
    s.stop()
    start(port)
    same(pages)
    assert.is_true(pages[1].eval("document.getElementById('kept').hidden"))
    assert.same({}, complaints())
    for _, page in ipairs(pages) do page.close() end
  end)

  -- Types at the end, or with `at` there.
  local INSERT = [[([text, at]) => {
    const area = document.getElementById("text");
    area.focus();
    area.setSelectionRange(at ?? area.value.length, at ?? area.value.length);
    document.execCommand("insertText", false, text);
  }]]

  it("keeps what is typed offline, takes back what its user did, and shows what it is told as text", function()
    start()
    local ann, ben = open { width = 1280, height = 844, scheme = "dark" }, open { width = 390, height = 844 }
    local pages = { ann, ben }
    ann.fill("#me input", "Ann <b>")
    ann.click("#me button")
    ben.wait("document.getElementById('members').textContent.includes('Ann <b>')", 20)
    ben.wait("document.querySelectorAll('#members li').length === 2", 30) -- the old name has left
    ann.eval(INSERT, { "<img src=x onerror=alert(1)> 😀7\n", 0 })
    same(pages)
    assert.equal("<img src=x onerror=alert(1)> 😀7\n", text():sub(1, 35))
    assert.equal(0, ben.eval("document.querySelectorAll('#marks img, #members b').length"))
    ben.wait("document.querySelector('.caret')?.textContent === 'Ann <b>'", 20)

    -- a pause: what is typed without one is one step of undo
    ann.wait("performance.now() > 1000 + (window.since ??= performance.now())", 20)
    b.offline(true)
    ann.eval(INSERT, { "from Ann ", 0 })
    ben.eval(INSERT, { "from Ben" })
    ann.wait("document.getElementById('saved').textContent === 'Offline: 1 change waits'", 30)
    ann.screenshot("build/editor-offline.png")
    b.offline(false)
    same(pages)
    assert.truthy(text():find("^from Ann <img") and text():find("from Ben$"))

    ann.click("#undo")
    same(pages)
    assert.truthy(text():find("^<img") and text():find("from Ben$"))
    ann.click("#redo")
    same(pages)
    assert.truthy(text():find("^from Ann <img") and text():find("from Ben$"))

    ann.eval("document.getElementById('text').dispatchEvent(new CompositionEvent('compositionstart'))")
    ben.eval(INSERT, { " meanwhile" })
    ben.wait("document.getElementById('saved').textContent === 'Saved'", 20)
    assert.is_false(ann.eval("document.getElementById('text').value.includes('meanwhile')"))
    ann.eval("document.getElementById('text').dispatchEvent(new CompositionEvent('compositionend'))")
    same(pages)

    ann.eval(INSERT, { ("a long text "):rep(1800) })
    ann.wait("/Not saved: \\d+ characters too many/.test(document.getElementById('saved').textContent)", 20)
    assert.is_true(utf8.len(text()) <= 20000) -- it is sent in pieces, and some had room
    ann.click("#undo")
    same(pages)
    assert.same({}, complaints())
  end)
end)
