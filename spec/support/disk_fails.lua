--- A real disk that fails when it is told to: a library in front of a server's writes and syncs to its
--- store, and to the file `lock` beside it (disk_fails.c).
---
---   local disk = disk_fails.new()                       server.start { env = disk.env }
---   disk.set { write_error = 28 }                       every write: ENOSPC
---   disk.set { sync_error = 5, sync_every = 3 }         every third sync: EIO
---   disk.set { sync_ms = 6000 }                         syncs take long
---   disk.set { die_in = 40 }                            the 40th write or sync is the last
---   disk.set { lock_error = 28 }                        every write to `lock`: ENOSPC
---   disk.set {}                                         all is well
---   local writes, syncs = disk.failed()
local process = require("spec.support.process")

local disk_fails = { EIO = 5, ENOSPC = 28, EDQUOT = 122 }

local NAMES = { "write_error", "write_every", "sync_error", "sync_every", "sync_ms", "die_in", "lock_error" }
local FORMAT = "=" .. ("i4"):rep(#NAMES)

local library

-- Built once by each process.
local function build()
  if library then return library end
  local path = os.tmpname()
  local code, text = process.run { os.getenv("CC") or "cc", "-shared", "-fPIC", "-O1", "-o", path,
    "spec/support/disk_fails.c" }
  assert(code == 0, text)
  library = path
  return path
end

function disk_fails.new()
  local path = os.tmpname()
  process.write_file(path, ("\0"):rep(64))
  local others = os.getenv("SLUICE_PRELOAD")
  local disk = { env = { DISK_FAILS = path, SLUICE_PRELOAD = (others and others .. ":" or "") .. build() } }

  function disk.set(what)
    local values = {}
    for i, name in ipairs(NAMES) do values[i] = math.ceil(what[name] or 0) end
    if values[1] ~= 0 and values[2] == 0 then values[2] = 1 end
    if values[3] ~= 0 and values[4] == 0 then values[4] = 1 end
    local file <close> = assert(io.open(path, "r+b"))
    assert(file:write(string.pack(FORMAT, table.unpack(values))))
  end

  --- How many writes and syncs have failed since the beginning.
  function disk.failed()
    return string.unpack("=i4i4", process.read_file(path), 1 + string.packsize(FORMAT))
  end

  function disk.remove() os.remove(path) end

  return disk
end

--- For teardown.
function disk_fails.clean()
  if library then os.remove(library) end
  library = nil
end

return disk_fails
