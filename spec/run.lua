--- Runs the specs with busted under the Lua that runs this file:
---   lua5.4 spec/run.lua [busted options] [files or folders]
---
--- Every file runs once. Those that start a server (they require spec.support.server or live) run a
--- second time with two I/O threads, browser and repository specs excepted, and those of ONCE
--- but for the full size. With $SLUICE_IO_THREADS set there is one run, with that many threads.
--- $SLUICE_SPEC_FULL (set by `make test-full`) is the full size of everything. $SLUICE_BUILD
--- names the flavour (build/plain). Each folder is a process of its own, and the second run; the
--- last line sums them up, and no passed test at all is a failure. Under a sanitizer
--- ($SLUICE_PRELOAD, set by `make asan` and `make tsan`) the specs about the repository are left
--- out: they run plain programs.

local root = arg[0]:match("^(.*)/spec/run%.lua$") or (arg[0] == "run.lua" and "..") or "."
local lfs = require("lfs")
assert(lfs.chdir(root))

package.path = "./?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./" .. (os.getenv("SLUICE_BUILD") or "build/plain") .. "/?.so;" .. package.cpath
package.cpath = package.cpath:gsub("^%./(/)", "%1")

-- What they are about has nothing to do with the number of I/O threads: it is the script's thread,
-- the process, a parser, a proxy, or one connection and the clock.
local ONCE = {}
for name in ([[ e2e/bytes e2e/descriptors e2e/heartbeat e2e/late e2e/nginx
    e2e/slow e2e/storm e2e/stuck e2e/client e2e/http_out e2e/memory e2e/runaway e2e/stall
    kit/sockets unit/environment wire/http_connection wire/http_cors wire/http_fields wire/http_head
    wire/http_slow wire/http_vectors ]]):gmatch("%S+") do
  ONCE["spec/" .. name .. "_spec.lua"] = true
end

-- They collect the whole Lua heap again and again.
local ALONE = { ["spec/property/cursor_spec.lua"] = true, ["spec/unit/log_spec.lua"] = true,
  ["spec/unit/memory_spec.lua"] = true }

local function busted_pass()
  local busted_args = { "-f", ".busted", table.unpack(arg) }
  busted_args[0] = "spec/run.lua"
  arg = busted_args -- luacheck: ignore (busted.runner reads the global)
  require("busted.runner")({ standalone = false })
end

local function shell_quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function collect(path, found)
  local mode = lfs.attributes(path, "mode")
  if mode == "file" then
    found[#found + 1] = path
  elseif mode == "directory" and not (path == "spec/repo" and os.getenv("SLUICE_PRELOAD")) then
    local names = {}
    for name in lfs.dir(path) do
      local wanted = lfs.attributes(path .. "/" .. name, "mode") == "directory" or name:find("_spec%.lua$")
      if wanted and name:sub(1, 1) ~= "." then names[#names + 1] = name end
    end
    table.sort(names)
    for _, name in ipairs(names) do collect(path .. "/" .. name, found) end
  end
  return found
end

local function runs_twice(path)
  if path:find("spec/browser/") or path:find("spec/repo/") then return false end
  if ONCE[path] and not os.getenv("SLUICE_SPEC_FULL") then return false end
  local file <close> = assert(io.open(path))
  local text = file:read("a")
  local starts = text:find("spec%.support%.server") or text:find("spec%.support%.live")
  return starts ~= nil and not text:find("spec%.support%.browser")
end

--- What is named and is no spec must not stand for all of them.
local function refuse(path)
  local why = not lfs.attributes(path, "mode") and "there is no such file or folder"
    or os.getenv("SLUICE_PRELOAD") and "it is left out under a sanitizer" or "it holds no specs"
  io.stderr:write(("spec/run.lua: '%s': %s (values of options are written --filter=x)\n"):format(path, why))
  os.exit(2, true)
end

--- The files and the options that were asked for; options take no separate value here, say
--- --filter=x.
local function split_arguments()
  local files, options = {}, {}
  for _, a in ipairs(arg) do
    if a:sub(1, 1) == "-" then
      options[#options + 1] = a
    else
      local before = #files
      collect(a:gsub("(.)/+$", "%1"), files)
      if #files == before then refuse(a) end
    end
  end
  if #files == 0 then collect("spec", files) end
  return files, options
end

--- Each folder is a process of its own: what is left of one slows every collection of the next.
local function groups_of(files)
  local groups, by_name = {}, {}
  for _, path in ipairs(files) do
    local name = ALONE[path] and path or path:match("^[^/]*/[^/]*") or path
    if not by_name[name] then
      by_name[name] = {}
      groups[#groups + 1] = by_name[name]
    end
    table.insert(by_name[name], path)
  end
  return groups
end

local function run_pass(io_threads, files, options, totals)
  if #files == 0 then return end
  local counts = os.tmpname()
  os.remove(counts)
  local interpreter = os.getenv("SLUICE_PRELOAD") and ".ci/lua" or arg[-1] -- it loads the sanitizer
  local words = { "SLUICE_SPEC_PASS=1", "SLUICE_IO_THREADS=" .. io_threads,
    "SLUICE_SPEC_COUNTS=" .. counts, "SLUICE_LUA=" .. shell_quote(interpreter), shell_quote(interpreter),
    "spec/run.lua" }
  for _, list in ipairs { options, files } do
    for _, word in ipairs(list) do words[#words + 1] = shell_quote(word) end
  end
  io.write(("== %d files, I/O threads: %s\n"):format(#files, io_threads))
  io.flush()
  local ok, how, code = os.execute(table.concat(words, " "))
  local file = io.open(counts)
  local passed, failed, skipped
  if file then
    passed, failed, skipped = file:read("n", "n", "n")
    file:close()
    os.remove(counts)
  end
  if not skipped then
    io.write(("  ERROR the run ended early (%s %d)\n"):format(how, code))
    passed, failed, skipped = 0, 1, 0
  elseif not ok and failed == 0 then
    io.write(("  ERROR the run passed but its process failed (%s %d)\n"):format(how, code))
    failed = 1
  end
  totals.passed, totals.failed = totals.passed + passed, totals.failed + failed
  totals.skipped = totals.skipped + skipped
end

if os.getenv("SLUICE_SPEC_PASS") then
  busted_pass()
else
  local files, options = split_arguments()
  local totals = { passed = 0, failed = 0, skipped = 0 }
  local asked = os.getenv("SLUICE_IO_THREADS")
  for _, group in ipairs(groups_of(files)) do run_pass(asked or "1", group, options, totals) end
  local servers = {}
  for _, path in ipairs(asked and {} or files) do
    if runs_twice(path) then servers[#servers + 1] = path end
  end
  run_pass("2", servers, options, totals)
  local tail = totals.skipped > 0 and (", %d skipped"):format(totals.skipped) or ""
  io.write(("%d passed, %d failed%s\n"):format(totals.passed, totals.failed, tail))
  os.exit(totals.failed == 0 and totals.passed > 0, true)
end
