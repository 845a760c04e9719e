--- Pages that were written for another server (../shared/use-cases.md), unchanged, on the kit: what was wrong there
--- with what they were sent is not here, and what is wrong with a page itself shows as its specs say. The user is
--- the first part of the host's name.
local browser = require("spec.support.browser")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local process = require("spec.support.process")
local react = require("spec.support.react")
local shared = require("spec.support.shared")

local APP = [==[
local inbox = require("sluice.inbox").new(app)
local jobs = require("sluice.jobs").new(app)
local rooms = require("sluice.rooms").new(app, { name = "doc", field = "documentId" })
app:guard("/api/**", function(req)
  local name = (req.headers.host or ""):match("^(%l+)%.localhost")
  req.user = name and { id = name, name = name }
  return true
end)
app:channel("metrics", { history = 1, rewind = "all" })
app:channel("match/:id", { history = 100, rewind = "all" })
local measured = app:state("measured", { n = 0 })
app:every(0.25, { name = "measure", while_subscribed = "metrics" }, function()
  measured().n = measured().n + 1
  app:publish("metrics", "metrics-update", { cpu = measured().n, memory = 1, activeUsers = 1, requestsPerSecond = 1 })
end)
app:get("/measured", function() return tostring(measured().n) end)
app:stream("/api/dashboard-metrics", "metrics")
app:stream("/api/live-match/:id", "match/:id")
inbox:stream("/api/notifications")
jobs:stream("/api/job-progress")
rooms:stream("/api/documents/:id/collaboration")
jobs:define("batch", function(job, args)
  for _, n in ipairs { 10, 50, 97 } do job:progress(n) end
  if args.fails then error("the disk is full") end
end)
app:post("/batch", function(req)
  local o = req:json()
  return { id = assert(jobs:start("batch", { id = o.id, owner = "alice", args = { fails = o.fails },
    total = 100 })).id }
end)
app:post("/notify", function() return sluice.receipt(inbox:send("alice", { message = "hello" })) end)
app:post("/match/:id", function(req)
  return sluice.receipt(app:publish("match/" .. req.params.id, "match-event", req:json()))
end)
app:post("/cut", function() for c in app:clients() do c:close("moved") end end)
app:static("/", "$PAGES")]==]

local MAIN = [[
import { createRoot } from "react-dom/client";
import { connect } from "sluice-client";
%s
const wait = setTimeout; // of streams that come back: an eighth
window.setTimeout = ((fn: any, ms: number) => wait(fn, ms > 400 ? ms / 8 : ms)) as any;
const parts: any = { %s };
const root = createRoot(document.getElementById("root")!);
Object.assign(window, { connect, heard: [], show: (list: any[]) =>
  root.render(list.map(([name, props, key]) => {
    const Part = parts[name];
    return <Part key={key ?? name} {...props} />;
  })) });
]]

local HEAD = [[
import React, { useEffect, useState } from "react";
import { useSse, useSseTyped } from "$EXAMPLE/src/sse";
import { toast } from "$EXAMPLE/src/toast";
import { %s } from "$EXAMPLE/src/leaves";
%s
export { %s };
]]

local function pages_of(text)
  local pages, imports, names = {}, {}, {}
  local leaves = table.concat(react.exports("src/leaves.tsx"), ", ")
  for block in text:gmatch("\n```typescript\n(.-)\n```") do
    local name = block:match("const (%w+): React%.FC")
    if name then
      pages["/" .. name] = HEAD:format(leaves, block, name)
      imports[#imports + 1] = ('import { %s } from "$HERE/%s";'):format(name, name)
      names[#names + 1] = name
    end
  end
  pages.main = MAIN:format(table.concat(imports, "\n"), table.concat(names, ", "))
  return pages
end

describe("pages that were written for another server", function()
  local b, folder, data

  setup(function()
    local text = shared.read("use-cases.md")
    if not (text and react.installed()) then return end
    folder = react.pages(pages_of(text))
    data = process.temp_dir()
    b = browser.start()
  end)
  teardown(function()
    if not folder then return end
    b.stop()
    process.remove_dir(folder)
    process.remove_dir(data)
  end)
  after_each(live.stop_all)

  local function start(port)
    if not folder then return pending("no ../shared/use-cases.md, or no build/node") end
    return live.start(APP:gsub("$PAGES", folder), { port = port, args = { "--heartbeat", "1", "--data", data } })
  end

  local function open(s, user, ...)
    local page = b.open(("http://%s.localhost:%d/main.html"):format(user, s.port))
    page.wait("!!window.show", 10)
    page.eval("(list) => { show(list) }", { ... })
    return page
  end

  --- Hear what one type after the other is, beside the page.
  local function hear(page, path, types)
    page.eval([[([path, types]) => {
      connect(path, { eventTypes: types, onMessage: (e) => heard.push({ type: e.type, id: e.id, data: e.data }) });
    }]], { path, types })
  end

  local CPU = "parseFloat(document.querySelector('.figure').textContent)"

  it("are measured for once, however many watch, and not when nobody does; heartbeats are no events", function()
    local s = start()
    if not s then return end
    local function measured() return tonumber(s.get("/measured").body) end
    local pages = {}
    for i = 1, 3 do pages[i] = open(s, "alice", { "DashboardMetrics" }) end
    hear(pages[1], "/api/dashboard-metrics", { "*" })
    for _, page in ipairs(pages) do
      local n = page.wait(CPU, 10)
      page.wait("(n) => " .. CPU .. " >= n", 20, n + 8)
      assert.is_true(page.eval(CPU) >= measured() - 2) -- of three loops it would show each third
    end
    for _, event in ipairs(pages[1].eval("heard")) do assert.equal("metrics-update", event.type) end
    for _, page in ipairs(pages) do page.close() end
    s.wait_clients(0)
    local last = measured()
    deadline.eventually(function()
      local now, before = measured(), last
      last = now
      return now == before
    end, 10, "nothing is measured")
  end)

  it("show a job to its owner alone, all of it before its end", function()
    local s = start()
    if not s then return end
    local alice = open(s, "alice", { "ProgressTracker", { jobId = "j1" } })
    local bob = open(s, "bob", { "ProgressTracker", { jobId = "j1" } })
    hear(bob, "/api/job-progress", { "*" })
    s.wait_clients(3, 10)
    s.post("/batch", '{"id":"j1"}')
    alice.wait("document.querySelector('.check') && document.body.textContent.includes('100% complete')", 10)
    assert.same({ true, {} }, { bob.eval("document.body.textContent.includes('0% complete')"), bob.eval("heard") })
  end)

  it("leave a failed job's bar where it is: a page must ask for job-failed", function()
    local s = start()
    if not s then return end
    local page = open(s, "alice", { "ProgressTracker", { jobId = "j2" } })
    hear(page, "/api/job-progress", { "job-failed" })
    s.wait_clients(2, 10)
    s.post("/batch", '{"id":"j2","fails":true}')
    page.wait("heard.length === 1", 20)
    assert.equal("j2", page.eval("heard[0].data.jobId"))
    page.wait("document.body.textContent.includes('97% complete')", 10)
    assert.is_false(page.eval("!!document.querySelector('.check')"))
  end)

  it("have an id in each notification, beside that of the stream", function()
    local s = start()
    if not s then return end
    b.noise()
    local page = open(s, "alice", { "NotificationCenter" })
    hear(page, "/api/notifications", { "notification" }) -- by the same stream
    s.wait_clients(1, 10)
    for _ = 1, 3 do s.post("/notify") end
    page.wait("heard.length === 3 && document.querySelectorAll('.item').length === 3", 10)
    assert.equal(3, page.eval("new Set(heard.map((e) => e.data.id).filter(Boolean)).size"))
    for _, event in ipairs(page.eval("heard")) do assert.matches("^%w+%-%d+$", event.id) end
    for _, said in ipairs(b.noise()) do assert.falsy(said[3]:find("key", 1, true), said[3]) end
  end)

  it("list who is there: who leaves goes, and who was there is there once after a break and a restart", function()
    local s = start()
    if not s then return end
    local function people(page, ...)
      page.wait("(names) => [...document.querySelectorAll('.people li')].map((li) => li.textContent).join() === names",
        30, table.concat({ ... }, ","))
    end
    local alice = open(s, "alice", { "CollaborativeEditor", { documentId = "tea" } })
    people(alice, "alice")
    local bob = open(s, "bob", { "CollaborativeEditor", { documentId = "tea" } })
    people(alice, "alice", "bob")
    for _ = 1, 2 do
      s.post("/cut")
      s.wait_clients(2, 20)
      people(alice, "alice", "bob")
    end
    local port = s.port
    s.stop()
    s = start(port)
    s.wait_clients(2, 30)
    people(alice, "alice", "bob")
    bob.close()
    people(alice, "alice")
  end)

  it("keep the score of the match before, unless they are given a key", function()
    local s = start()
    if not s then return end
    local function score(page)
      return page.eval("document.querySelector('.live-match').textContent.match(/\\d/g).join('')"):sub(1, 2)
    end
    s.post("/match/7", json.encode { matchId = "7", type = "goal", minute = 1, score = { home = 2, away = 1 } })
    local page = open(s, "alice", { "LiveMatch", { matchId = "7" } })
    page.wait("document.querySelector('.feed li')", 10)
    assert.equal("21", score(page))
    page.eval("show([['LiveMatch', { matchId: '8' }]])")
    s.wait_clients(1, 10)
    assert.equal("21", score(page))
    page.eval("show([['LiveMatch', { matchId: '7' }, '7']])")
    page.wait("document.querySelector('.feed li')", 10)
    page.eval("show([['LiveMatch', { matchId: '8' }, '8']])")
    page.wait("!document.querySelector('.feed li')", 10)
    assert.equal("00", score(page))
  end)
end)
