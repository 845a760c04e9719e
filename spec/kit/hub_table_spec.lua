--- The tables of doc/hub.md: each row of "From C#" is run, its line of Lua and its request; the
--- endpoints are those that there are.
local json = require("sluice.json")
local kit = require("spec.support.kit")
local markdown = require("spec.support.markdown")
local shared = require("spec.support.shared")

local APP = [[
local hub = require("sluice.hub").new(app)
local function anyone() return true end
hub:routes("/api/sse", { publish = anyone, admin = anyone })
app:post("/run", function(req)
  local env = setmetatable({ hub = hub, id = req.headers["x-client"] }, { __index = _ENV })
  return sluice.receipt(assert(load("return " .. req.body, "row", "t", env))())
end)]]

local doc = markdown.read("doc/hub.md")
local t

-- Do something; the events that a page of alice's and one of bob's got by it.
local function watch(act)
  local pages = { t:connect("/api/sse/connect", { user = "alice" }), t:connect("/api/sse/connect", { user = "bob" }) }
  local answer = act(pages[1].id)
  assert.equal(202, answer.status, answer.body)
  local got = {}
  for i, page in ipairs(pages) do
    got[i] = {}
    for _, e in ipairs(page:events()) do
      if e.event ~= "hello" and e.event ~= "sync" then
        if type(e.data.timestamp) == "string" then e.data.timestamp = "a time" end
        table.insert(got[i], { e.event, e.data })
      end
    end
    page:close()
  end
  return got, answer.json.subscribers
end

local function ask(line)
  local method, path, body = line:match("^(%u+) (%S+) ?(.*)$")
  assert.equal("POST", method)
  return function(id)
    path = path:gsub("<id>", id)
    return t:post("/api/sse" .. path, { json = body ~= "" and json.decode(body) or nil })
  end
end

local function run(line)
  return function(id) return t:post("/run", { body = line, headers = { ["X-Client"] = id } }) end
end

describe("doc/hub.md", function()
  before_each(function() t = kit.start(APP) end)
  after_each(kit.stop_all)

  it("has lines of Lua and requests that send the same to the same pages", function()
    local rows = doc.table("C#")
    assert.is_true(#rows >= 10)
    for _, row in ipairs(rows) do
      local called, line, request = row[1], markdown.code(row[2])[1], markdown.code(row[3])[1]
      local by_lua, heard = watch(run(line))
      local by_http, heard_too = watch(ask(request))
      assert.same(by_lua, by_http, called)
      assert.equal(heard, heard_too, called)
      assert.same({ 1, markdown.code(row[4])[1] }, { #by_lua[1], by_lua[1][1][1] }, called)
      local for_one = called:find("clientId", 1, true) or called:find("userId", 1, true)
      assert.same({ for_one and 0 or 1, for_one and 1 or 2 }, { #by_lua[2], heard }, called)
    end
  end)

  it("has a row for each method that the document calls", function()
    local text = shared.read("use-cases.md")
    if not text then return pending("no ../shared/use-cases.md") end
    local listed, count = {}, 0
    for _, row in ipairs(doc.table("C#")) do listed[row[1]:match("(%w+)%(")] = true end
    for service, method in text:gmatch("_(%w+[sS]ervice)%.(Send%w+)%(") do
      if service:find("^sse") or service:find("^message") then
        count = count + 1
        assert.is_true(listed[method], method)
      end
    end
    assert.is_true(count >= 12, count)
  end)

  it("lists the endpoints", function()
    local listed = {}
    for _, row in ipairs(doc.table("endpoint")) do listed[#listed + 1] = markdown.code(row[1])[1] end
    for i, endpoint in ipairs(listed) do
      local method, path = endpoint:match("^(%u+) (/%S+)$")
      path = "/api/sse" .. path:gsub(":client", "x")
      if method == "POST" then
        assert.equal(path:find("heartbeat$") and 202 or 415, t:post(path, { body = "" }).status, path)
      else
        assert.equal(200, path:find("connect$") and t:connect(path).status or t:get(path).status, path)
      end
      listed[i] = method .. " " .. path
    end
    assert.equal(10, #listed)
  end)
end)
