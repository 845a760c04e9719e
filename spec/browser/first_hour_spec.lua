--- The page of doc/first-hour.md in a real browser: it counts, hears what is said, and says something.
local browser = require("spec.support.browser")
local http = require("spec.support.http")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")
local story = require("spec.support.story")

describe("the page of the first hour", function()
  local b, folder

  setup(function() b = browser.start() end)
  teardown(function()
    b.stop()
    server.stop_all()
    process.remove_dir(folder)
  end)

  it("counts the people, hears what is said, and says something", function()
    folder = process.temp_dir()
    lfs.mkdir(folder .. "/public")
    for name, text in pairs(story.files()) do process.write_file(folder .. "/" .. name, text) end
    local s = server.start { path = folder .. "/app.lua" }
    local page = b.open(s.url .. "/")
    page.wait("document.getElementById('people').textContent === '1'", 10)
    http.post(s.port, "/rooms/7/messages?name=bob", '{"text":"hello"}', { ["Content-Type"] = "application/json" })
    page.wait("document.getElementById('said').textContent === 'bob: hello'", 10)
    page.fill("#text", "hi")
    page.eval("document.getElementById('form').requestSubmit()")
    page.wait("document.getElementById('said').lastChild.textContent === 'guest: hi'", 10)
    http.post(s.port, "/rooms/7/countdown?name=bob", '{"seconds":60}', { ["Content-Type"] = "application/json" })
    page.wait("Number(document.getElementById('countdown').textContent) > 0", 10)
  end)
end)
