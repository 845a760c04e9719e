--- The pages that `sluice new` makes, in a real browser: each does what its README says.
local browser = require("spec.support.browser")
local http = require("spec.support.http")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")

local SLUICE = lfs.currentdir() .. "/build/bin/sluice"
local MODULES = lfs.currentdir() .. "/build/node/node_modules/"

describe("the page of a template", function()
  local b, folder

  setup(function() b, folder = browser.start(), process.temp_dir() end)
  teardown(function()
    b.stop()
    server.stop_all()
    process.remove_dir(folder)
  end)

  local function make(name)
    assert.equal(0, (process.run({ SLUICE, "new", name, "--template", name }, { dir = folder })))
    return folder .. "/" .. name
  end

  local function open(name)
    local dir = lfs.attributes(folder .. "/" .. name) and folder .. "/" .. name or make(name)
    local s = server.start { path = dir .. "/app.lua" }
    return b.open(s.url .. "/"), s
  end

  local function post(s, path, body, headers)
    headers = headers or {}
    headers["Content-Type"] = "application/json"
    local answer = http.post(s.port, path, body, headers)
    assert.is_true(answer.status < 300, answer.body)
  end

  it("feed: shows stories, and no HTML of theirs", function()
    local page, s = open("feed")
    page.wait("document.querySelector('#status').textContent === 'open'")
    post(s, "/api/news", '{"title":"<b>Hello</b>","text":"world"}', { ["X-API-Key"] = "change-me" })
    page.wait("document.querySelectorAll('#news li').length === 1")
    assert.equal("<b>Hello</b>", page.text("#news h3"))
    page.reload()
    page.wait("document.querySelectorAll('#news li').length === 1")
  end)

  it("chat: two pages talk, and see each other come", function()
    local ann, s = open("chat")
    local bob = b.open(s.url .. "/")
    for page, name in pairs { [ann] = "ann", [bob] = "bob" } do
      page.fill("#name", name)
      page.click("#enter button")
    end
    ann.wait("document.querySelector('#members').textContent.includes('bob')")
    ann.fill("#text", "<i>hello</i>")
    ann.click("#say button")
    bob.wait("document.querySelector('#log').textContent === 'ann: <i>hello</i>'")
    ann.wait("document.querySelector('#text').value === ''")
  end)

  it("jobs: a bar fills, is there after a refresh, and can be stopped", function()
    local page = open("jobs")
    page.fill("#items", "4000")
    page.click("#start button")
    page.wait("document.querySelector('progress')?.value > 0")
    page.reload()
    page.wait("document.querySelector('progress')?.value > 0")
    page.click("#jobs button")
    page.wait("document.querySelector('#jobs span').textContent === 'cancelled'")
    page.fill("#items", "3")
    page.click("#start button")
    page.wait("document.querySelector('#jobs span').textContent === 'success'")
  end)

  it("alerts: one is shown, acknowledged, and over", function()
    local dir = make("alerts") -- with a rule over what this machine does not measure by itself
    process.write_file(dir .. "/rules.lua", 'return { level = { field = "level", above = 5, message = "High" } }')
    local text = process.read_file(dir .. "/app.lua")
    process.write_file(dir .. "/app.lua", (text:gsub('memory = "number%?" }', 'level = "number?" }')))
    local page, s = open("alerts")
    page.wait("Number(document.querySelector('#memory').textContent) > 0", 10)
    assert.is_true(page.eval("!document.querySelector('#none').hidden"))
    post(s, "/api/samples", '{"level":9}')
    page.wait("document.querySelector('#alerts li')?.textContent.startsWith('High (warning): 9 ')")
    page.click("#alerts button")
    page.wait("document.querySelector('#alerts li').textContent.endsWith('seen by operator')")
    page.reload()
    page.wait("document.querySelector('#alerts li')?.textContent.endsWith('seen by operator')")
    post(s, "/api/samples", '{"level":1}')
    page.wait("!document.querySelector('#alerts li') && !document.querySelector('#none').hidden")
  end)

  it("htmx: what one adds all see, with the files that the checksums name", function()
    local dir = make("htmx")
    local path = dir .. "/public/index.html"
    local text, n = process.read_file(path):gsub("https://cdn%.jsdelivr%.net/npm/htmx%.org@[%d.]+/dist/", "/")
    text = text:gsub("https://cdn%.jsdelivr%.net/npm/htmx%-ext%-sse@[%d.]+/", "/")
    assert.equal(1, n)
    process.write_file(path, text)
    for name, from in pairs { ["htmx.min.js"] = "htmx2/dist/htmx.min.js", ["sse.js"] = "htmx-ext-sse/sse.js" } do
      process.write_file(dir .. "/public/" .. name, assert(process.read_file(MODULES .. from)))
    end
    local page, s = open("htmx")
    local other = b.open(s.url .. "/")
    page.fill("input", "<u>two words</u>")
    page.click("form button")
    for _, one in ipairs { page, other } do
      one.wait("document.querySelector('ul li')?.textContent === '<u>two words</u>'")
      one.wait("document.querySelector('p b').textContent === '1'")
    end
    page.wait("document.querySelector('input').value === ''")
  end)

  it("logs nothing that is wrong", function() assert.same({}, b.noise()) end)
end)
