--- The options --cacert and --insecure of commands that ask other servers over TLS: whose
--- certificates are taken. SSL_CERT_FILE in the environment is what --cacert is, for the core and
--- for programs that read it. Keeps nothing in memory.
local core = require("sluice.core")

local trust = {}

local MARK = "%-%-%-%-%-BEGIN [A-Z ]*CERTIFICATE%-%-%-%-%-"
local WAY_OUT = " (--cacert FILE trusts what that vouches for, --insecure any)"

--- Add the options.
-- @param command of argparse
function trust.add(command)
  command:option("--cacert", "over TLS, trust the certificates of this file (PEM), in place of the "
    .. "system's (default: SSL_CERT_FILE)"):argname("<file>")
  command:flag("--insecure", "over TLS, take any certificate, as that of --tls dev")
end

local function fault_of(path)
  local file <close>, message = io.open(path, "rb")
  local text = file and file:read("a")
  if not text then return message or path .. ": it cannot be read" end
  return not text:find(MARK) and path .. ": there is no certificate in it (PEM)" or nil
end

--- Take them: from here on all that this process asks is judged so.
-- @tparam table given from the command line
-- @treturn string|nil what is wrong
function trust.fault(given)
  if not given.cacert then return nil end
  if given.insecure then return "--cacert and --insecure exclude each other" end
  local fault = fault_of(given.cacert)
  if fault then return "--cacert: " .. fault end
  core.setenv("SSL_CERT_FILE", given.cacert)
end

--- The file whose certificates are trusted; nil: the system's.
-- @treturn string|nil
function trust.file()
  local path = os.getenv("SSL_CERT_FILE")
  return path ~= "" and path or nil
end

--- Why a request has failed, with the way out where these options are one.
-- @tparam string message
-- @treturn string
function trust.explain(message)
  return message:find("certificate", 1, true) and message .. WAY_OUT or message
end

-- Of what sluice.http says.
local LASTING = { "certificate", "speaks no TLS on this port", "what came back is no HTTP" }

--- Whether a failure is there to stay: the certificate, or a scheme that is another port's.
-- @tparam string message
-- @treturn boolean
function trust.is_lasting(message)
  for _, words in ipairs(LASTING) do
    if message:find(words, 1, true) then return true end
  end
  return false
end

return trust
