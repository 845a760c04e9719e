--- `sluice version`: this build, the libraries it runs with, and whether there is an io_uring here.
-- Keeps nothing in memory.
local core = require("sluice.core")
local help = require("sluice.command.help")
local json = require("sluice.json")

local version = { name = "version" }

local LIBRARIES = { "lua", "libev", "libcurl", "openssl", "sqlite", "zlib", "zstd", "nghttp2",
  "liburing", "hiredis" }

--- Add the command to the parser.
-- @param parser of argparse
function version.add(parser)
  local command = parser:command("version",
    "Print the version, the libraries, and whether there is an io_uring here.")
  command:flag("--json", "the same as JSON")
  help.add(command, { "sluice version", "sluice version --json" }, { { 0, "always" } })
end

--- What --version prints.
function version.line() return ("sluice %s\n"):format(core.version) end

-- What `version --json` prints.
local function describe()
  local out = core.build()
  local ring, why = core.io_uring()
  out.version = core.version
  out.io_uring = { usable = ring ~= nil, detail = ring or why }
  return out
end

--- Run it.
-- @tparam table given { json } from the command line
-- @treturn integer exit code
function version.run(given, _, out)
  local about = describe()
  if given.json then
    out:write(json.encode(about), "\n")
    return 0
  end
  local with = {}
  for i, name in ipairs(LIBRARIES) do
    with[i] = ("%s %s"):format(name, about.libraries[name] or "none")
  end
  out:write(version.line(), "built by ", about.compiler, " for ", about.machine,
    about.sanitizer and ", sanitizer " .. about.sanitizer or "", "\n",
    "with ", table.concat(with, ", "), "\n",
    "io_uring: ", about.io_uring.usable and "" or "no: ", about.io_uring.detail, "\n")
  return 0
end

return version
