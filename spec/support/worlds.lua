--- What random specs share: worlds that are drawn from seeds must hold, and must show each mistake that is
--- planted into the module. A world is play(seed, …) -> nil, or what was wrong.
---
---   worlds.hold(play, 10, 1000)                ten seeds, 1000 with $SLUICE_SPEC_FULL; SEED= repeats one
---   worlds.show(play, MISTAKES, worlds.copies("jobs"))
--- A mistake is { part, from, to, seed = 14 }: in that part of the module `to` stands instead of `from`. The seed
--- (1 when none is said) is the first that shows it and is tried first; when it does not, the others are. With
--- $SLUICE_SPEC_FULL no seed is known. SHOW=1 prints which seed showed what.
local kit = require("spec.support.kit")
local lfs = require("lfs")
local tree = require("spec.support.tree")

local worlds = {}

local FULL = os.getenv("SLUICE_SPEC_FULL")
local PATIENCE = 60 -- seeds in which a planted mistake may hide

-- First and last seed: the same ones each time, but for the full size.
local function seeds(few, many)
  local seed = math.tointeger(tonumber(os.getenv("SEED")))
  if seed and not FULL then return seed, seed end
  local first = seed or FULL and os.time() * 1000 or 1
  return first, first + (FULL and many or few) - 1
end

-- Nil, or what was wrong; an error is.
local function problem_of(play, ...)
  local ok, wrong = pcall(play, ...)
  if ok then return wrong end
  return type(wrong) == "table" and wrong.message or wrong or "an error without a word"
end

--- Each of these seeds holds.
function worlds.hold(play, few, many)
  local first, last = seeds(few, many)
  for seed = first, last do
    local wrong = problem_of(play, seed)
    if wrong then error(("SEED=%d: %s"):format(seed, tostring(wrong)), 0) end
  end
end

--- A function of a mistake: the module `sluice.<name>` and its parts with that mistake, as { files of an app },
--- and the name that the app requires it by. Without a mistake a plain copy.
function worlds.copies(name)
  local paths = { copy = ("lua/sluice/%s.lua"):format(name) }
  for file in lfs.dir("lua/sluice/" .. name) do
    local part = file:match("^(%l+)%.lua$")
    if part then paths["copy_" .. part] = ("lua/sluice/%s/%s.lua"):format(name, part) end
  end
  return function(part, from, to)
    local files, found = {}, part == nil
    for module, path in pairs(paths) do
      local text = tree.read(path):gsub('"sluice%.' .. name .. '%.(%l+)"', '"copy_%1"')
      local i, j
      if part and path:find("/" .. part .. ".lua", 1, true) then i, j = text:find(from, 1, true) end
      if i then text, found = text:sub(1, i - 1) .. to .. text:sub(j + 1), true end
      files[module .. ".lua"] = text
    end
    assert(found, ("%s is not in %s"):format(from, part))
    return files, "copy"
  end
end

local function hunt(play, mistake, patience, ...)
  local known = not FULL and (mistake.seed or 1) or nil
  for at = known and 0 or 1, patience do
    local seed = at == 0 and known or at
    local wrong = problem_of(play, seed, ...)
    kit.stop_all()
    if wrong then
      if os.getenv("SHOW") then print(seed, mistake[1], mistake[2], (tostring(wrong):gsub("\n.*", ""))) end
      return true
    end
  end
end

--- Each mistake is shown by some seed. `plant` makes of a mistake what `play` is given behind the seed; a function
--- that it returns third takes the mistake away. Without a mistake the first seed holds.
function worlds.show(play, mistakes, plant, patience)
  assert(problem_of(play, 1, plant()) == nil, "the copy by itself is wrong")
  local missed = {}
  for _, mistake in ipairs(mistakes) do
    local files, module, undo = plant(mistake[1], mistake[2], mistake[3])
    if not hunt(play, mistake, patience or PATIENCE, files, module) then missed[#missed + 1] = mistake[2] end
    if undo then undo() end
  end
  if missed[1] then error("no seed shows these:\n" .. table.concat(missed, "\n"), 0) end
end

return worlds
