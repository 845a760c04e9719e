--- One run with kills and its judge, by hand and for spec/kills/planted_spec.lua:
---
---   lua5.4 spec/kills/hunt.lua SEED CYCLES SUBSCRIBERS [FOLDER]     exit 1: something was found
--- $SLUICE_BUILD, $SLUICE_PLANT go to the server.
package.path = "./?.lua;./lua/?.lua;" .. package.path
package.cpath = "./build/plain/?.so;" .. package.cpath

local history = require("spec.kills.history")
local judge = require("spec.kills.judge")
local process = require("spec.support.process")
local run = require("spec.kills.run")
local world = require("spec.kills.world")

local seed, cycles, subscribers = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
local folder = arg[4] or process.temp_dir()

local clock = os.clock()
run.cycles { folder = folder, seed = seed, cycles = cycles, subscribers = subscribers, publishers = 4, lanes = 4 }
local ran = os.clock() - clock
local found = judge.judge(history.folder(folder, subscribers, world))
for _, sentence in ipairs(found.list) do print(sentence) end
for word, n in pairs(found.seen) do io.write(word, " ", n, ", ") end
print(("seed %d: %d found; %.1f s of processor to run, %.1f to judge"):format(seed, found.all, ran,
  os.clock() - clock - ran))
if not arg[4] then process.remove_dir(folder) end
os.exit(found.all == 0 and 0 or 1, true)
