--- Headless Chromium, or Firefox, driven from a spec through spec/support/browser.mjs (playwright-core).
---
---   local b = browser.start()                         or browser.start("firefox")
---   local page = b.open(server.url .. "/", { width = 390, height = 844, scheme = "dark" })
---   page.eval("document.title"); page.wait("(n) => window.events.length > n", 10, 3)
---   page.text("#cpu"); page.click("#go"); page.fill("#q", "x"); page.screenshot("build/x.png")
---   page.press("Enter")                                to what has the focus
---   page.drag("#limit", { 0.5, 0.9, 0.5 })             by the mouse, over parts of its width
---   page.reload(); page.size(390, 844); page.media("dark"); page.close()
---   page.freeze(true)                                  nothing of it runs (Chromium only)
---   b.noise() -> what pages logged as errors or warnings: { page, kind, text } each
---   b.run("spec/browser/x.mjs", { url = .. }) -> what the scenario returned; b.stop()
--- JavaScript is an expression, or a function that gets one argument. All values are JSON.
--- Chromium takes seconds to start: all files of a run share one, whose pages, cookies and
--- complaints stop() takes away. It ends with the run.
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")
local cjson = require("cjson")
local lfs = require("lfs")
local socket = require("socket")

local browser = { NAME = "Chromium" }

local PROGRAMS = { chromium = os.getenv("CHROMIUM") or "/usr/bin/chromium", firefox = "/usr/bin/firefox-esr" }

--- Whether it, node and its driver are there.
function browser.installed(engine)
  return lfs.attributes(PROGRAMS[engine or "chromium"], "mode") ~= nil
    and lfs.attributes("build/node/node_modules/playwright-core", "mode") ~= nil
    and os.execute("node --version >/dev/null 2>&1") == true
end

local function page_of(ask, n)
  local page = {}
  local function op(name, fields, seconds)
    fields.op, fields.page = name, n
    if seconds then fields.ms = seconds * 1000 * deadline.scale end
    return ask(fields, seconds)
  end
  function page.eval(js, arg) return op("eval", { js = js, arg = arg }) end
  function page.wait(js, seconds, arg) return op("wait", { js = js, arg = arg }, seconds or 10) end
  function page.text(selector, seconds) return op("text", { selector = selector }, seconds or 5) end
  function page.click(selector, seconds) return op("click", { selector = selector }, seconds or 5) end
  function page.fill(selector, value, seconds)
    return op("fill", { selector = selector, value = value }, seconds or 5)
  end
  function page.press(key) return op("press", { key = key }) end
  function page.drag(selector, places) return op("drag", { selector = selector, places = places }) end
  function page.screenshot(path, full) return op("screenshot", { path = path, full = full }) end
  function page.reload() return op("reload", {}) end
  function page.size(width, height) return op("size", { width = width, height = height }) end
  function page.media(scheme) return op("media", { scheme = scheme }) end
  function page.freeze(on) return op("freeze", { on = on }) end
  function page.close() return op("close", {}) end
  return page
end

local function connect(p)
  local port = deadline.eventually(function()
    if p:code() then deadline.give_up("the browser did not start:\n" .. p:log()) end
    return p:log():match("^(%d+)\n")
  end, 30, "Chromium is up")
  return assert(socket.connect("127.0.0.1", tonumber(port)))
end

local function launch(engine)
  local profile = process.temp_dir()
  local root = lfs.currentdir()
  local p = process.spawn({ "node", root .. "/spec/support/browser.mjs", root .. "/build/node", profile,
    engine, PROGRAMS[engine] }, { folders = { profile } })
  return setmetatable({ p = p, sock = connect(p) }, { __gc = function(shared)
    shared.sock:close()
    if not shared.p:wait(10) then shared.p:kill() end
  end })
end

--- End all of them, where the run goes on or ends without a word.
function browser.finish()
  local registry = debug.getregistry()
  for engine in pairs(PROGRAMS) do
    local name = "sluice.spec.browser." .. engine
    local shared = registry[name]
    registry[name] = nil
    if shared then getmetatable(shared).__gc(shared) end
  end
end

--- The one of this run. busted reloads modules between files: the registry keeps it.
local function shared_one(engine)
  local registry, name = debug.getregistry(), "sluice.spec.browser." .. engine
  local shared = registry[name]
  if not shared or shared.p:code() then
    shared = launch(engine)
    registry[name] = shared
  end
  return shared
end

function browser.start(engine)
  local shared = shared_one(engine or "chromium")
  local p, sock, root = shared.p, shared.sock, lfs.currentdir()

  local function ask(request, seconds)
    sock:settimeout((30 + (seconds or 0)) * deadline.scale)
    assert(sock:send(cjson.encode(request) .. "\n"))
    local line, err = sock:receive("*l")
    if not line then error("the browser does not answer (" .. err .. "):\n" .. p:log(), 3) end
    local answer = cjson.decode(line)
    if answer.error then error(answer.error, 3) end
    if answer.ok == cjson.null then return nil end
    return answer.ok
  end

  local self = { pid = p.pid }
  function self.open(url, options)
    local o = options or {}
    local opened = ask { op = "open", url = url, width = o.width, height = o.height, scheme = o.scheme,
      apart = o.apart }
    local page = page_of(ask, opened.page)
    page.status = opened.status
    return page
  end
  function self.run(file, args, seconds)
    return ask({ op = "run", file = root .. "/" .. file, args = args or {} }, seconds or 60)
  end
  function self.offline(on) return ask { op = "offline", on = on } end
  function self.noise() return ask { op = "noise" } end
  function self.stop() return ask { op = "clear" } end
  return self
end

return browser
