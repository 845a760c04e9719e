--- doc/first-hour.md, whose blocks are edits of one app: a whole program begins it, other Lua goes
--- above `return app`, a diff changes lines.
---
---   story.blocks() -> the blocks; story.edit(text, block) -> the text after it, or nil: no edit
---   story.files() -> { ["app.lua"] = text, … } at the end of the page
local markdown = require("spec.support.markdown")

local story = {}

story.PAGE = "doc/first-hour.md"

-- Text in place of text that stands there once.
local function replace(text, from, to, place)
  local first, last = text:find(from, 1, true)
  assert(first and not text:find(from, last + 1, true), place .. ": not there, or twice: " .. from)
  return text:sub(1, first - 1) .. to .. text:sub(last + 1)
end

-- The text with the lines of a diff block changed.
local function patch(text, block)
  local from, to = {}, {}
  for sign, line in block.text:gmatch("([-+])([^\n]*)\n") do table.insert(sign == "-" and from or to, line) end
  return replace(text, table.concat(from, "\n") .. "\n", table.concat(to, "\n") .. "\n", block.place)
end

function story.blocks() return markdown.read(story.PAGE).blocks end

function story.edit(text, block)
  if block.lang == "diff" then return patch(text, block) end
  if block.lang ~= "lua" or markdown.is_test(block) then return nil end
  if markdown.is_program(block) then return block.text end
  return replace(text, "\nreturn app\n", "\n" .. block.text .. "\nreturn app\n", block.place)
end

function story.files()
  local files = {}
  for _, block in ipairs(story.blocks()) do
    if block.lang == "html" then files["public/index.html"] = block.text end
    if markdown.is_test(block) then files["app_spec.lua"] = block.text end
    files["app.lua"] = story.edit(files["app.lua"], block) or files["app.lua"]
  end
  return files
end

return story
