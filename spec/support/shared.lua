--- Files that stand beside some checkouts, in ../shared. A spec that wants one is skipped elsewhere:
---
---   local text = shared.read("use-cases.md")
---   if not text then return pending("no ../shared/use-cases.md") end
local shared = {}

--- The text of a file, or nil.
function shared.read(name)
  local file <close> = io.open("../shared/" .. name, "rb")
  return file and file:read("a")
end

return shared
