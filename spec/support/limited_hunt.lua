--- Play drawn worlds of limits until one shows something wrong: exit code 1, with its seed.
---   lua5.4 spec/support/limited_hunt.lua FIRST LAST
local limited = require("spec.support.limited")

for seed = math.tointeger(arg[1]), math.tointeger(arg[2]) do
  local ok, wrong = pcall(limited.play, seed)
  if not ok or wrong then
    print(("seed %d: %s"):format(seed, tostring(wrong)))
    os.exit(1)
  end
end
