--- The matrix of clients: those of matrix/rows.lua, each in the cases of matrix/cases.lua, direct and through
--- nginx with HTTP/2. All of them at once, since each waits some seconds before it comes back.
--- $SLUICE_SPEC_FULL=1 takes all clients; else it is two browsers. $CLIENT=name takes one.
local cases = require("spec.browser.matrix.cases")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local matrix = require("spec.browser.matrix.run")
local proxies = require("spec.support.proxies")
local process = require("spec.support.process")
require("spec.support.browser")
require("spec.support.firefox")

local FULL = os.getenv("SLUICE_SPEC_FULL") == "1"
local DRAIN = FULL and 10 or 1

describe("clients of others", function()
  local rows, pages

  setup(function()
    rows = matrix.chosen(FULL)
    pages = matrix.pages()
  end)
  teardown(function()
    matrix.stop_browsers()
    process.remove_dir(pages)
  end)
  after_each(function()
    process.stop_all("client")
    live.stop_all()
  end)

  local function start(port)
    return live.start(cases.APP, { port = port, env = { PAGES = pages, SLUICE_HANDLER_BUDGET = "0" },
      args = { "--drain", DRAIN, "--heartbeat", 3, "--trust-proxy", "yes" } })
  end

  it("do what the table says", function()
    local s = start(0)
    local front = proxies.start("nginx", s.port, { tls = true })
    finally(front.stop)
    local all = {}
    for _, row in ipairs(rows) do
      all[#all + 1] = matrix.open(row, ("http://127.0.0.1:%d"):format(s.port))
      all[#all + 1] = matrix.open(row, ("https://localhost:%d"):format(front.port), true)
    end
    local open = 0
    for _, c in ipairs(all) do open = open + c.streams end
    s.wait_clients(open, 60)

    local function seen() return json.decode(s.get("/seen").body) end
    s.post("/number/1")
    s.post("/word", json.encode { text = cases.TEXT })
    matrix.judge(all, "say", 15, seen)

    s.post("/end")
    deadline.eventually(function() return s.alive().clients > 0 end, 20)
    matrix.judge(all, "end", 30)

    s.kill()
    s = start(s.port)
    s.post("/number/11")
    matrix.judge(all, "kill", 40)

    s.signal("TERM")
    assert.equal(0, s.process:wait(DRAIN + 10))
    s = start(s.port)
    s.post("/number/21")
    matrix.judge(all, "drain", 40)

    local wanted, got = matrix.table_of(all)
    assert.same(wanted, got)
  end)

  -- Some libraries remember an id as they read its line, not with the event that it belongs to.
  it("lose nothing where a stream is cut, behind any byte of an event, or one event at one place", function()
    local s = start(0)
    local ids = json.decode(s.post("/number/1").body)
    local event = ('event: e\ndata: {"n":2}\nid: %s\n\n'):format(ids.named:gsub("%d+$", function(n) return n + 8 end))
    local cutter = process.spawn({ "node", "spec/support/cutter.mjs", s.port, event:match("^[^}]*") },
      { kind = "client" })
    local port = deadline.eventually(function() return cutter:log():match("^(%d+)\n") end, 5)
    local all = {}
    for _, row in ipairs(rows) do
      if not row.form and not row.base then
        local paths = {}
        for n = 0, #event do
          paths[n + 1] = ("/s/cut/named?lastEventId=%s&cut=%d&by=%d"):format(ids.named, n, #all + 1)
        end
        all[#all + 1] = matrix.follow(row, "http://127.0.0.1:" .. port, paths)
        all[#all].row = row
      end
    end
    for _, c in ipairs(all) do
      c.all("hello", 60, function(i) return c.count(i, "message", "hello") == 1 end)
    end
    s.post("/number/2")
    s.post("/number/3")
    local wanted, got = {}, {}
    for _, c in ipairs(all) do
      c.all("event behind the cut", 30, function(i)
        local numbers = c.numbers(i)
        return numbers[#numbers] == 3
      end)
      wanted[c.row.name], got[c.row.name] = matrix.expected(c, "cut"), cases.cut(c, #event)
    end
    assert.same(wanted, got)
  end)
end)
