--- TLS for specs: a certificate of this machine, and a client's session on a socket of luasocket
--- with what of its methods wire.lua uses.
---
---   tls.files() -> { ca =, cert =, key = }      paths, made once in a process
---   tls.wrap(sock[, host[, protocol]]) -> socket | nil, why
local core = require("sluice.core")
local deadline = require("spec.support.deadline")
local process = require("spec.support.process")
local socket = require("socket")
local testing_tls = require("sluice.core.testing_tls")

local tls = {}

local Socket = {}
Socket.__index = Socket

--- One more certificate, with its key and who vouches for it, in a folder.
function tls.make(folder, name)
  local made, paths = assert(core.local_certificate()), {}
  for _, what in ipairs({ "ca", "cert", "key" }) do
    paths[what] = ("%s/%s.%s.pem"):format(folder, name or "own", what)
    assert(core.write_private(paths[what], made[what]))
  end
  return paths
end

local client

-- busted reloads modules between files: what is kept goes with the process.
function tls.files()
  local registry = debug.getregistry()
  local kept = registry["sluice.spec.tls"]
  if not kept then
    local folder = process.temp_dir()
    kept = setmetatable(tls.make(folder), { __gc = function() process.remove_dir(folder) end })
    registry["sluice.spec.tls"] = kept
  end
  return kept
end

--- What makes a server speak TLS too: words of its command line.
function tls.words()
  local files = tls.files()
  return { "--tls-port", "0", "--tls-cert", files.cert, "--tls-key", files.key }
end

local function wait(sock, seconds)
  local _, _, err = socket.select({ sock }, nil, seconds)
  return not err
end

function tls.wrap(sock, host, protocol)
  client = client or assert(testing_tls.client(tls.files().ca))
  local session = client:open(sock:getfd(), host or "127.0.0.1", protocol)
  local left = deadline.after(5)
  repeat
    local done, why = session:handshake()
    if done == nil then return nil, why end
    if not done and not wait(sock, left()) then return nil, "timeout" end
  until done
  return setmetatable({ sock = sock, session = session, seconds = 10 }, Socket)
end

-- For socket.select.
function Socket:getfd() return self.sock:getfd() end
function Socket:dirty() return self.sock:dirty() end
function Socket:settimeout(seconds) self.seconds = seconds end
function Socket:setoption(...) return self.sock:setoption(...) end
function Socket:getsockname() return self.sock:getsockname() end

--- What is there, up to n bytes: as a socket without a timeout.
function Socket:receive(n)
  local parts, size = {}, 0
  while size < n do
    local bytes, why = self.session:read()
    if not bytes then
      self.how = why
      return nil, "closed", table.concat(parts)
    end
    if bytes == "" then return nil, "timeout", table.concat(parts) end
    parts[#parts + 1], size = bytes, size + #bytes
  end
  return table.concat(parts)
end

--- As that of luasocket: what it returns is the place of the last byte that was taken.
function Socket:send(bytes, first, last)
  local left, sent = deadline.after(self.seconds), (first or 1) - 1
  last = last or #bytes
  while sent < last do
    local n = self.session:write(bytes:sub(sent + 1, last))
    if not n then return nil, "closed", sent end
    sent = sent + n
    if sent < last then
      local _, ready = socket.select(nil, { self.sock }, left())
      if #ready == 0 then return nil, "timeout", sent end
    end
  end
  return sent
end

--- "send": no more from here, said over TLS and below it.
function Socket:shutdown(how)
  self.session:close()
  return self.sock:shutdown(how)
end

function Socket:close()
  self.session:free()
  return self.sock:close()
end

return tls
