--- The matrix of clients: those of matrix/rows.lua, each in the cases of matrix/cases.lua, direct and through
--- nginx with HTTP/2. All of them at once, since each waits some seconds before it comes back.
--- $SLUICE_SPEC_FULL=1 takes all clients; else it is two browsers. $CLIENT=name takes one.
local cases = require("spec.browser.matrix.cases")
local deadline = require("spec.support.deadline")
local json = require("sluice.json")
local live = require("spec.support.live")
local markdown = require("spec.support.markdown")
local matrix = require("spec.browser.matrix.run")
local proxies = require("spec.support.proxies")
local process = require("spec.support.process")
local ALL = require("spec.browser.matrix.rows")
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

  local function start_cutter(port, mark)
    local cutter = process.spawn({ "node", "spec/support/cutter.mjs", port, mark }, { kind = "client" })
    return deadline.eventually(function() return cutter:log():match("^(%d+)\n") end, 10)
  end

  local function wait_open(s, all)
    local n, deaf = 0, {}
    for _, c in ipairs(all) do n = n + c.streams end
    local ok, problem = pcall(s.wait_clients, n, 60)
    if ok then return end
    for _, c in ipairs(all) do
      c.look()
      for i = 1, c.streams do
        if #c.rows(i) ~= 3 then deaf[#deaf + 1] = ("%s %d: %s"):format(c.name, i, json.encode(c.rows(i))) end
      end
    end
    error(problem .. "\n" .. table.concat(deaf, "\n"), 0)
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
    wait_open(s, all)

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
    local all = {}
    for form, event in pairs(cases.EVENTS) do -- the events of the same number in other forms stand between
      local id = ids[form]:gsub("%d+$", function(n) return n + 8 end)
      local port = start_cutter(s.port, event:format(id):match("^[^}]*"))
      for _, row in ipairs(rows) do
        if (row.form or "named") == form and not row.base then
          local paths = {}
          for n = 0, #event:format(id) do
            paths[n + 1] = ("/s/cut/%s?lastEventId=%s&cut=%d&by=%d"):format(form, ids[form], n, #all + 1)
          end
          all[#all + 1] = matrix.follow(row, "http://127.0.0.1:" .. port, paths)
          all[#all].row = row
        end
      end
    end
    wait_open(s, all)
    s.post("/number/2")
    s.post("/number/3")
    local wanted, got = {}, {}
    for _, c in ipairs(all) do
      c.all("event behind the cut", 30, function(i)
        local numbers = c.numbers(i)
        return numbers[#numbers] == 3
      end)
      wanted[c.row.name], got[c.row.name] = matrix.expected(c, "cut"), cases.cut(c)
    end
    assert.same(wanted, got)
  end)

  it("are in the document, with what is different", function()
    local section = markdown.read("doc/protocol.md").text:match("\n## Clients that were tried\n.-\n\n|(.-)\n\n")
    for _, row in ipairs(ALL) do
      local line = section:match("\n[^\n]-" .. row.name:gsub("%p", "%%%0") .. "[^\n]*")
      assert.truthy(line, row.name)
      assert.truthy(line:find(row.post and "| can |" or "| cannot |", 1, true), row.name)
      for _, list in ipairs { row.but or {}, row.proxied or {} } do
        for _, what in pairs(list) do
          assert.truthy(what == "ends" or line:find(what, 1, true), row.name .. " " .. what)
        end
      end
    end
  end)
end)
