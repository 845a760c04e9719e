--- The AI SDK (npm's `ai`, what useChat is made of) reads runs as plain streams: a message, an answer that is resumed
--- by another page, one that fails.
local json = require("sluice.json")
local lfs = require("lfs")
local markdown = require("spec.support.markdown")
local process = require("spec.support.process")
local server = require("spec.support.server")

local APP = [[
local sluice = require("sluice")
local app = sluice.app()
local runs = require("sluice.runs").new(app, { last = function(run)
  if run.status == "complete" then return "message", { type = "finish" } end
  return "message", { type = "error", errorText = run.error }
end })
runs:define("reply", function(run, args)
  local function say(chunk) run:emit("message", chunk) end
  say { type = "start" }
  say { type = "text-start", id = "1" }
  for _, word in ipairs { "You ", "said ", "“", args.messages[1].parts[1].text, "”, ", "漢😀." } do
    say { type = "text-delta", id = "1", delta = word }
    run:text(word)
    sluice.sleep(0.02)
  end
  if run.id == "bad" then error("the model is tired", 0) end
  say { type = "text-end", id = "1" }
  say("[DONE]")
end)
runs:stream("/api/chat", function(req)
  req.user = { id = "me" }
  return true
end, { control = false, types = { "message" } })
return app
]]

describe("the AI SDK", function()
  after_each(server.stop_all)

  local function client(url, what, id)
    local code, output = process.run({ "node", "spec/browser/ai_sdk.mjs", url, what, id }, { seconds = 30 })
    assert.equal(0, code, output)
    return json.decode(output)
  end

  it("reads an answer, one that began before, and one that fails", function()
    if not lfs.attributes("build/node/node_modules/ai") then return pending("no build/node: make test installs it") end
    local s = server.start { app = APP }
    for _, what in ipairs { "send", "resume" } do
      local got = client(s.url, what, "m1")
      assert.equal("You said “Tell me”, 漢😀.", got.text)
      assert.equal("start text-start " .. ("text-delta "):rep(6) .. "text-end finish", table.concat(got.chunks, " "))
      assert.is_nil(got.error ~= json.null and got.error or nil)
    end
    local bad = client(s.url, "send", "bad")
    assert.same({ "error", "the model is tired" }, { bad.chunks[#bad.chunks], bad.error })
  end)

  it("reads the document's example", function()
    if not lfs.attributes("build/node/node_modules/ai") then return pending("no build/node: make test installs it") end
    local example
    for _, block in ipairs(markdown.read("doc/html.md").blocks) do
      if block.lang == "lua" and block.text:find("runs:stream", 1, true) then example = block.text end
    end
    local s = server.start { app = example }
    for _, what in ipairs { "send", "resume" } do
      local got = client(s.url, what, "m1")
      assert.same({ "Tea is ready.", "finish" }, { got.text, got.chunks[#got.chunks] })
    end
  end)
end)
