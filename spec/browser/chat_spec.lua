--- The chat example in a real browser, against a model that is faked over HTTP: a refresh and a second tab in
--- mid-answer, a reload of the app, the stop button; read in the light and the dark, wide and on a phone.
local browser = require("spec.support.browser")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local process = require("spec.support.process")
local server = require("spec.support.server")
local source = require("spec.support.source")

local FIRST, SECOND = "A sluice is a gate ", "that <b>lets</b> water through: é, ß, 😀."

describe("the chat page", function()
  local b, s, up

  setup(function() b = browser.start() end)
  teardown(function() b.stop() end)
  before_each(function() up = source.listen() end)
  after_each(function()
    server.stop_all()
    source.close_all()
  end)

  local function start(env)
    env.CHAT_SECRET = ("s"):rep(40)
    s = server.start { path = "examples/chat/app.lua", env = env, args = { "--data", process.temp_dir() .. "/d" } }
  end

  local function chunk(text)
    return ("data: %s\n\n"):format(json.encode { choices = { { delta = { content = text } } } })
  end

  local function open(options)
    local page = b.open(s.url .. "/", options)
    page.wait("document.getElementById('status').textContent !== 'Connecting'", 10)
    return page
  end

  local function ask(page, text)
    page.fill("#question", text)
    page.click("#send")
  end

  local function wait_state(page, state, n)
    page.wait("([n, state]) => document.querySelectorAll('article')[n]?.dataset.state === state", 10, { n or 0, state })
  end

  local ANSWER = "[...document.querySelectorAll('.answer')].at(-1)?.textContent"

  it("shows an answer once, over a refresh, a second tab and a reload, from one request", function()
    start { LLM_URL = up.url .. "/v1/chat/completions", LLM_KEY = "sk-1", LLM_MODEL = "m" }
    local page = open { width = 1280, height = 844 }
    ask(page, "What is a sluice?")
    local upstream = up:accept(10)
    assert.equal("Bearer sk-1", upstream.headers.authorization)
    local asked = json.decode(upstream.body)
    assert.same({ "m", true, "user", "What is a sluice?" },
      { asked.model, asked.stream, asked.messages[1].role, asked.messages[1].content })
    upstream:stream(chunk(FIRST))
    page.wait(("%s === %s"):format(ANSWER, json.encode(FIRST)), 10)
    page.reload()
    page.wait(("%s === %s"):format(ANSWER, json.encode(FIRST)), 10)
    s.signal("HUP")
    s.wait_log("reload #2")
    local tab = open { width = 1280, height = 844 }
    tab.wait(("%s === %s"):format(ANSWER, json.encode(FIRST)), 10)
    upstream:send(chunk(SECOND) .. "data: [DONE]\n\n")
    for _, each in ipairs { page, tab } do
      wait_state(each, "complete")
      assert.equal(FIRST .. SECOND, each.eval(ANSWER))
      assert.equal("What is a sluice?", each.text(".question"))
    end
    assert.is_nil(up:try_accept(0.05))

    ask(tab, "More")
    upstream = up:accept(10)
    assert.equal(3, #json.decode(upstream.body).messages)
    upstream:stream(chunk("Well, "))
    wait_state(page, "running", 1) -- the other tab follows what this one asks
    tab.wait(ANSWER .. " === 'Well, '", 10)
    page.click("#stop")
    assert.is_true(upstream:gone(5))
    for _, each in ipairs { page, tab } do wait_state(each, "stopped", 1) end

    ask(page, "Again")
    up:accept(10):finish(401)
    wait_state(page, "failed", 2)
    assert.matches("answered 401", page.text("article:last-of-type .note"))
    page.close()
    tab.close()
    assert.same({}, b.noise())
  end)

  it("is read in the light and the dark, wide and on a phone, and shows something without a model", function()
    start {}
    for i, scheme in ipairs { "light", "dark", "light", "dark" } do
      local width = i <= 2 and 1280 or 390
      local page = open { width = width, height = 844, scheme = scheme }
      local n = page.eval("document.querySelectorAll('article').length")
      ask(page, "What is a sluice, and why would one want one in front of a river?")
      page.wait(("%s?.length > 100"):format(ANSWER), 20)
      page.screenshot(("build/chat-%d-%s.png"):format(width, scheme))
      assert.is_true(page.eval("document.documentElement.scrollWidth <= innerWidth"))
      if i == 4 then wait_state(page, "complete", n) else page.click("#stop") end
      page.close()
    end
    deadline.eventually(function() return #b.noise() == 0 end, 1, "silence")
  end)
end)
