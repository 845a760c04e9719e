--- Pages of React for specs, made by the esbuild of build/node: those of examples/react, and others beside it.
---
---   local folder = react.pages { ours = 'import "$EXAMPLE/src/main";', theirs = … }     ours.html, theirs.html
---   react.installed()
--- $EXAMPLE is the example's folder, $HERE that of the pages. React is in its development form, whose StrictMode
--- mounts everything twice.
local lfs = require("lfs")
local process = require("spec.support.process")

local react = {}

local ROOT = lfs.currentdir()
local MODULES = ROOT .. "/build/node/node_modules/"

react.EXAMPLE = ROOT .. "/examples/react"

function react.installed()
  return lfs.attributes(MODULES .. "react-dom", "mode") ~= nil and lfs.attributes(MODULES .. "esbuild", "mode") ~= nil
end

local HTML = [[<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/%s.css"><div id="root"></div>
<script type="module" src="/%s.js"></script></html>]]

local function bundle(folder, names)
  local words = { "node", MODULES .. "esbuild/bin/esbuild", "--bundle", "--format=esm", "--splitting",
    "--jsx=automatic", "--minify-whitespace", "--log-level=warning",
    "--loader:.svg=dataurl", "--outdir=" .. folder,
    "--define:process.env.NODE_ENV=\"development\"", "--alias:react=" .. MODULES .. "react",
    "--alias:react-dom=" .. MODULES .. "react-dom",
    "--alias:sluice-client=" .. ROOT .. "/lua/sluice/browser/sluice.js" }
  for _, name in ipairs(names) do words[#words + 1] = ("%s/%s.tsx"):format(folder, name) end
  local code, output = process.run(words, { seconds = 60 })
  assert(code == 0 and output == "", output)
end

--- Make pages, in a folder that is the caller's to remove.
-- @tparam table sources name -> TypeScript; a name with a "/" before it is no page, but a file that others import
-- @treturn string folder
function react.pages(sources)
  local folder, names = process.temp_dir(), {}
  for name, text in pairs(sources) do
    local is_page = name:sub(1, 1) ~= "/"
    local file = ("%s/%s.tsx"):format(folder, name:gsub("^/", ""))
    process.write_file(file, (text:gsub("%$EXAMPLE", react.EXAMPLE):gsub("%$HERE", folder)))
    if is_page then
      names[#names + 1] = name
      process.write_file(("%s/%s.html"):format(folder, name), HTML:format(name, name))
      process.write_file(("%s/%s.css"):format(folder, name), "")
    end
  end
  bundle(folder, names)
  return folder
end

--- The names that a file of the example exports as functions or constants.
function react.exports(file)
  local list = {}
  for name in process.read_file(react.EXAMPLE .. "/" .. file):gmatch("\nexport %l+ (%w+)") do list[#list + 1] = name end
  return list
end

return react
