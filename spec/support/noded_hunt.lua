--- lua5.4 spec/support/noded_hunt.lua FIRST LAST: the worlds of noded.lua with what $SLUICE_PLANT has planted. Prints
--- the first seed that shows it; exits with 1 then.
local noded = require("spec.support.noded")

for seed = math.tointeger(arg[1]), math.tointeger(arg[2]) do
  local wrong = noded.play(seed)
  if wrong then
    print(("seed %d: %s"):format(seed, wrong))
    os.exit(1, true)
  end
end
os.exit(0, true)
