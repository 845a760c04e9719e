--- The table of nasty inputs against a parser that is not ours: where the table says that
--- Node decides alike, Node must really do so, and so must we.
local http = require("sluice.core.testing_http")
local process = require("spec.support.process")
local rows = require("spec.wire.http_vectors")

--- What our parser makes of the first request: "take LENGTH", "refuse" or "wait".
local function ours(input)
  local head, status = http.parse_head(input)
  if not head then return status == 0 and "wait" or "refuse" end
  local rest = input:sub(head.used + 1)
  if head.body == "none" then return "take 0" end
  if head.body == "length" then
    return #rest >= head.content_length and "take " .. head.content_length or "wait"
  end
  local body, reason = http.chunks(rest, 65536)
  if body then return "take " .. #body end
  return reason == 0 and "wait" or "refuse"
end

local function ask_node(list)
  local lines = {}
  for i, row in ipairs(list) do
    lines[i] = row.id .. " " .. row.input:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  end
  local name = os.tmpname()
  process.write_file(name, table.concat(lines, "\n"))
  local code, output = process.run({ "node", "spec/wire/node_oracle.mjs", name })
  os.remove(name)
  assert.equal(0, code, output)
  local verdicts = {}
  for id, verdict in output:gmatch("(%S+) ([^\n]+)\n") do verdicts[id] = verdict end
  return verdicts
end

describe("Node's parser", function()
  it("decides like ours on the rows that say so", function()
    if process.run("command -v node") ~= 0 then return pending("no node here") end
    local list = {}
    for _, row in ipairs(rows) do
      if row.node then list[#list + 1] = row end
    end
    assert.is_true(#list > 100)
    local verdicts = ask_node(list)
    for _, row in ipairs(list) do
      local expected = row.status >= 400 and "refuse" or "take " .. (row.n or 0)
      assert.equal(expected, ours(row.input), "ours, " .. row.id)
      assert.equal(expected, verdicts[row.id], "Node's, " .. row.id)
    end
  end)
end)
