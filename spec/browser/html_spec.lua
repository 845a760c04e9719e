--- Pages of htmx 2, htmx 4 and Turbo in Chromium, with the libraries themselves, on streams of ours; and the
--- events of Datastar beside those that its own generator writes (its client is in no registry of packages).
local browser = require("spec.support.browser")
local json = require("sluice.json")
local lfs = require("lfs")
local live = require("spec.support.live")
local process = require("spec.support.process")

local MODULES = lfs.currentdir() .. "/build/node/node_modules/"
local LIBRARIES = { ["htmx2.js"] = "htmx2/dist/htmx.min.js", ["sse2.js"] = "htmx-ext-sse/sse.js",
  ["htmx4.js"] = "htmx.org/dist/htmx.min.js", ["sse4.js"] = "htmx.org/dist/ext/hx-sse.js",
  ["turbo.js"] = "@hotwired/turbo/dist/turbo.es2017-esm.js" }

local APP = [[
local htmx = require("sluice.htmx")
app:static("/lib", sluice.env("LIBRARIES"))
app:channel("log/*", { history = 100 })
app:stream("/s/:kind", function(req) return "log/" .. req.params.kind end)
local pages = {}
app:get("/page/:name", function(req)
  return 200, pages[req.params.name], { ["Content-Type"] = "text/html" }
end)
local function head(...)
  local scripts = { "<!doctype html><link rel='icon' href='data:,'>" }
  for _, path in ipairs({ ... }) do scripts[#scripts + 1] = '<script src="/lib/' .. path .. '"></script>' end
  return table.concat(scripts)
end
pages.htmx2 = head("htmx2.js", "sse2.js") .. '<ul hx-ext="sse" sse-connect="/s/htmx2"'
  .. ' sse-swap="row" hx-swap="beforeend" sse-close="closed"></ul>'
pages.htmx4 = head("htmx4.js", "sse4.js")
  .. '<ul hx-sse:connect="/s/htmx4" hx-swap="beforeend" hx-sse:close="closed"></ul><b id="n"></b><script>'
  .. 'addEventListener("reset", (e) => { window.told = JSON.parse(e.detail.data).reason; })</script>'
pages.turbo = '<!doctype html><link rel="icon" href="data:,">'
  .. '<script type="module" src="/lib/turbo.js"></script>'
  .. '<turbo-stream-source src="/s/turbo"></turbo-stream-source><ul id="rows"></ul>'
app:post("/row/:kind/:n", function(req)
  local n, kind = req.params.n, req.params.kind
  local row = "<li>" .. n .. "</li>\n"
  if kind == "htmx2" then app:publish("log/" .. kind, htmx.swap("row", row)) end
  if kind == "htmx4" then
    app:publish("log/" .. kind, htmx.partial(row))
    app:publish("log/" .. kind, htmx.partial(htmx.escape("<" .. n .. ">"), { target = "#n" }))
  end
  if kind == "turbo" then
    app:publish("log/" .. kind, nil, '<turbo-stream action="append" target="rows"><template>' .. row
      .. "</template></turbo-stream>")
  end
  return 201
end)
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
app:post("/stop", function() for c in app:clients() do c:stop("closed", {}) end end)]]

local KINDS = { "htmx2", "htmx4", "turbo" }
local ROWS = "[...document.querySelectorAll('li')].map((e) => e.textContent).join()"

describe("pages of HTML", function()
  local b, folder

  setup(function()
    b, folder = browser.start(), process.temp_dir()
    for name, path in pairs(LIBRARIES) do
      process.write_file(folder .. "/" .. name, process.read_file(MODULES .. path))
    end
  end)
  teardown(function()
    b.stop()
    process.remove_dir(folder)
  end)
  after_each(live.stop_all)

  it("of htmx 2, htmx 4 and Turbo take what comes, resume, and close when told", function()
    local s, pages = live.start(APP, { env = { LIBRARIES = folder } }), {}
    for _, kind in ipairs(KINDS) do pages[kind] = b.open(s.url .. "/page/" .. kind) end
    s.wait_clients(3)
    local function publish(n)
      for _, kind in ipairs(KINDS) do s.post("/row/" .. kind .. "/" .. n) end
    end
    local function all_have(rows)
      for _, kind in ipairs(KINDS) do pages[kind].wait(ROWS .. " === '" .. rows .. "'", 15) end
    end
    for n = 1, 3 do publish(n) end
    all_have("1,2,3")
    pages.htmx4.wait("document.querySelector('#n').textContent === '<3>'", 5)

    -- what is published while the connection is away comes once
    s.post("/cut")
    s.wait_clients(0)
    publish(4)
    all_have("1,2,3,4")
    s.wait_clients(3)

    pages.turbo.eval("document.querySelector('turbo-stream-source').remove()") -- it lives as long as its element
    s.wait_clients(2)
    s.post("/stop")
    s.wait_clients(0)
    all_have("1,2,3,4")
    for _, kind in ipairs(KINDS) do pages[kind].close() end
    b.noise() -- both kinds of htmx note the cut as an error
  end)

  it("of htmx 4 learn of a loss", function()
    local s = live.start(APP, { env = { LIBRARIES = folder } })
    local page = b.open(s.url .. "/page/htmx4")
    s.wait_clients(1)
    s.post("/row/htmx4/1")
    page.wait(ROWS .. " === '1'", 10)
    local port = s.port
    s.kill()
    s = live.start(APP, { port = port, env = { LIBRARIES = folder } })
    page.wait("window.told === 'epoch'", 20)
    s.post("/row/htmx4/2")
    page.wait(ROWS .. " === '1,2'", 10)
    page.close()
    b.noise() -- Chromium notes that nobody answered
  end)

  it("of Datastar are written as its own generator writes them", function()
    local script = [[
      import { ServerSentEventGenerator as G } from "./abstractServerSentEventGenerator.js";
      const g = new G();
      const events = [
        g.patchElements('<div id="a">\n  x\n</div>', {}),
        g.patchElements("<li>", { selector: "#a", mode: "append", useViewTransition: true, namespace: "svg" }),
        g.patchElements("<li>", { selector: "#a", mode: "outer", useViewTransition: false, namespace: "html" }),
        g.removeElements("#gone"),
        g.patchSignals('{"a":1}', { onlyIfMissing: true }),
        g.patchSignals('{"a":null}', {}),
        g.executeScript("go()"),
        g.executeScript("go()", { autoRemove: false, attributes: { type: "module" } }),
      ];
      console.log(JSON.stringify(events.map((lines) => lines.join(""))));]]
    local code, output = process.run({ "node", "--input-type=module", "--eval", script },
      { dir = MODULES .. "@starfederation/datastar-sdk/esm" })
    assert.equal(0, code, output)
    local datastar = require("sluice.datastar")
    local ours = {
      { datastar.patch_elements('<div id="a">\n  x\n</div>') },
      { datastar.patch_elements("<li>",
        { selector = "#a", mode = "append", use_view_transition = true, namespace = "svg" }) },
      { datastar.patch_elements("<li>", { selector = "#a" }) },
      { datastar.remove_elements("#gone") },
      { datastar.patch_signals({ a = 1 }, { only_if_missing = true }) },
      { datastar.patch_signals { a = json.null } },
      { datastar.execute_script("go()") },
      { datastar.execute_script("go()", { auto_remove = false, attributes = { type = "module" } }) },
    }
    -- The order of the fields means nothing, that of the lines of a field does.
    local function sorted(text)
      local lines, n = {}, 0
      for line in text:gmatch("[^\n]+") do
        n = n + 1
        lines[n] = line:find("^data: elements") and ("data: elements %03d"):format(n) .. line or line
      end
      table.sort(lines)
      return (table.concat(lines, "\n"):gsub("elements %d+", "elements "))
    end
    for i, theirs in ipairs(json.decode(output)) do
      local text = "event: " .. ours[i][1] .. "\ndata: " .. ours[i][2]:gsub("\n", "\ndata: ")
      assert.equal(sorted(theirs), sorted(text))
    end
  end)
end)
