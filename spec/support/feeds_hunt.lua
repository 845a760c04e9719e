--- Play drawn worlds of durable streams until one shows something wrong: exit code 1, with its seed.
---   lua5.4 spec/support/feeds_hunt.lua FIRST LAST
local feeds = require("spec.support.feeds")

for seed = math.tointeger(arg[1]), math.tointeger(arg[2]) do
  local ok, wrong = pcall(feeds.play, seed)
  if not ok or wrong then
    print(("seed %d: %s"):format(seed, tostring(wrong)))
    os.exit(1)
  end
end
