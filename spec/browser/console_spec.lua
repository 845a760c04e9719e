--- The console's page in a real browser: what it shows, what can be done there, and where the key is not.
local browser = require("spec.support.browser")
local process = require("spec.support.process")
local server = require("spec.support.server")

local KEY = ("k"):rep(30) .. "%&+=/#?" -- what a link must not take for something else
local LINK = "/-/console#key=" .. KEY:gsub("[^k]", function(c) return ("%%%02X"):format(c:byte()) end)

local APP = [[
local app = require("sluice").app()
app:channel("news", { history = HISTORY })
app:event_type("story", { description = "What is new", channel = "news", example = { text = "Hello" },
  fields = { text = "string", severity = { "info", "high", optional = true } } })
app:stream("/api/news", { channels = { "news" } })
app:post("/news", function(req) app:publish("news", "story", req:json()) end)
app:get("/broken", function() error("no such luck") end)
return app
]]

local function source(history) return (APP:gsub("HISTORY", history)) end

local OPEN = "document.querySelector('#status').dataset.state === 'open' && !document.querySelector('#board').hidden"
local COUNT = [[(what) => document.querySelectorAll(what).length]]

describe("the console", function()
  local b, s

  setup(function() b = browser.start() end)
  before_each(function()
    s = server.start { app = source(3), args = { "--admin-key", KEY } }
  end)
  after_each(function()
    b.stop() -- first, or its pages complain
    server.stop_all()
  end)

  it("shows what the server does, and takes part in it", function()
    local reader = b.open(s.url .. "/-/console")
    reader.eval([[() => {
      window.got = "";
      fetch("/api/news").then(async (answer) => {
        for await (const text of answer.body.pipeThrough(new TextDecoderStream())) window.got += text;
      });
    }]])
    local page = b.open(s.url .. LINK)
    page.wait(OPEN)
    assert.equal(s.url .. "/-/console", page.eval("location.href"))
    page.wait("document.querySelector('#streams').textContent.includes('GET /api/newsapp.lua:51')", 10)

    page.click("#types-list button") -- fills the form with the example
    page.click("#publish button")
    page.wait("document.querySelector('#publish-said').textContent.includes('published to 1 reader')")
    reader.wait([[got.includes('data: {"text":"Hello"}')]])
    page.fill("#publish-data", "{}")
    page.click("#publish button")
    page.wait("document.querySelector('#publish-said').textContent.includes('refused: story: text is missing')")
    page.fill("#publish-data", '{"text":')
    page.click("#publish button")
    page.wait("document.querySelector('#publish-said').textContent.includes('not sent: the data begin as JSON does')")
    page.wait("document.querySelector('#channels').textContent.includes('news')", 15)

    page.click("#channels button.name")
    page.wait("document.querySelector('#explain-said').textContent.includes('news (app.lua:2)')")
    assert.equal(1, page.eval(COUNT, "#explain-said > ol.list > li:first-child .badge"))

    page.eval("fetch('/broken').then(() => true)")
    page.wait("document.querySelector('#errors-list').textContent.includes('app.lua:7: no such luck')")
    assert.matches("app.lua:7: in handler", page.text("#errors-list pre"))
    page.eval("fetch('/api/%E2%80%AEgnp.exe').then(() => true)")
    page.fill("#log-text", "gnp.exe")
    page.wait([[document.querySelector('#log-list li').textContent.includes('/api/\\u{202E}gnp.exe')]])
    page.fill("#log-text", "no such luck")
    page.wait("document.querySelector('#log-list li').textContent.includes('error')")

    assert.is_true(page.eval("document.querySelector('#rollback').disabled"))
    process.write_file(s.folder .. "/app.lua", source(5))
    page.click("#try")
    page.wait("document.querySelector('#reload-said').textContent.includes('would be taken')")
    assert.equal(0, page.eval(COUNT, "#reloads-list > li"))
    page.click("#reload")
    page.wait("document.querySelector('#reloads-list').textContent.includes('generation 2')")
    assert.equal("~channel:news history 3→5", page.text("#reloads-list .changes li"))
    page.click("#rollback")
    page.click("#sure button[value=yes]")
    page.wait("document.querySelector('#reload-state').textContent.includes('rolled back')")
    assert.equal("~channel:news history 5→3", page.text("#reloads-list .changes li"))

    process.write_file(s.folder .. "/app.lua", "local app = = 1")
    page.click("#reload")
    page.wait("document.querySelector('#reloads-list > li').textContent.includes('failed in load')")
    for _, one in ipairs(b.noise()) do assert.matches("status of [45]", one[3]) end -- what was refused above
    assert.is_nil(s.log():find(KEY, 1, true))
    assert.is_nil(s.log():find("kkkkkkkkkkkk", 1, true))
  end)

  it("has nothing to show without the key, and forgets it with the page", function()
    local page = b.open(s.url .. "/-/console")
    page.wait("!document.querySelector('#door').hidden")
    page.fill("#door-key", "wrong")
    page.press("Enter")
    page.wait("document.querySelector('#door-said').textContent.includes('does not take this key')")
    assert.is_true(page.eval("document.querySelector('#board').hidden"))
    page.fill("#door-key", KEY)
    page.press("Enter")
    page.wait(OPEN)
    assert.equal("", page.eval("document.querySelector('#door-key').value"))
    assert.equal(0, page.eval("localStorage.length + sessionStorage.length + document.cookie.length"))
    page.reload()
    page.wait("!document.querySelector('#door').hidden && document.querySelector('#board').hidden")
  end)

  it("fits a phone, in the dark too", function()
    for _, scheme in ipairs { "light", "dark" } do
      local page = b.open(s.url .. LINK, { width = 360, height = 800, scheme = scheme })
      page.wait(OPEN)
      assert.is_true(page.eval("document.documentElement.scrollWidth <= 360"))
      page.close()
    end
    assert.same({}, b.noise())
  end)
end)
