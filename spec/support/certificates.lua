--- Certificates for specs, made by openssl(1): of a CA of their own, for names, and of a time that is over.
---   local ca = certificates.authority(folder, "ca")         { cert =, key = }: paths
---   ca:sign("name", { names = "DNS:a,IP:127.0.0.1", days = -1 }) -> { cert =, key =, ca = }
local process = require("spec.support.process")

local certificates = {}

local Authority = {}
Authority.__index = Authority

local function openssl(...)
  local code, output = process.run({ "openssl", ... })
  assert(code == 0, output)
end

local function new_key(path)
  openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
  assert(os.execute("chmod 600 " .. process.quote(path)))
end

function certificates.authority(folder, name)
  local at = folder .. "/" .. name
  local self = setmetatable({ folder = folder, cert = at .. ".pem", key = at .. ".key" }, Authority)
  new_key(self.key)
  openssl("req", "-x509", "-new", "-key", self.key, "-days", "2", "-subj", "/CN=" .. name, "-out", self.cert)
  return self
end

function Authority:sign(name, options)
  local at = self.folder .. "/" .. name
  local out = { cert = at .. ".pem", key = at .. ".key", ca = self.cert }
  new_key(out.key)
  process.write_file(at .. ".ext", "subjectAltName=" .. (options and options.names or "IP:127.0.0.1"))
  openssl("req", "-new", "-key", out.key, "-subj", "/CN=" .. name, "-out", at .. ".csr")
  openssl("x509", "-req", "-in", at .. ".csr", "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days",
    tostring(options and options.days or 2), "-extfile", at .. ".ext", "-out", out.cert)
  return out
end

return certificates
