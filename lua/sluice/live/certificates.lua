--- The settings of TLS and HTTP/2: which certificates, how they become options of the core. With
-- `--tls dev` the certificate is made here, in the runtime folder, and says how browsers come to
-- trust it. Keeps nothing in memory.
local core = require("sluice.core")
local file = require("sluice.base.file")

local certificates = {}

local PORT = 5443
local DAY = 86400
local FRESH_DAYS = 7 -- one that ends earlier is made anew

--- Check the settings against each other, and fill in what follows from them.
-- @tparam table settings
-- @treturn boolean|nil true, or nil, message
function certificates.check(settings)
  local cert, key = settings.tls_cert, settings.tls_key
  if settings.h2c and not core.build().libraries.nghttp2 then
    return nil, "--h2c: Sluice was built without nghttp2 (libnghttp2-dev)"
  end
  if settings.tls and (cert or key) then
    return nil, "--tls dev makes its own certificate: leave --tls-cert and --tls-key out"
  end
  if (cert and #cert or 0) ~= (key and #key or 0) then
    return nil, ("--tls-cert names %d and --tls-key %d files: each certificate needs its key, "
      .. "in the same order"):format(cert and #cert or 0, key and #key or 0)
  end
  if cert or settings.tls then
    settings.tls_port = settings.tls_port or PORT
    return true
  end
  for _, name in ipairs({ "tls_port", "tls_host", "tls_redirect" }) do
    if settings[name] then
      return nil, ("--%s: a certificate is needed: --tls-cert and --tls-key, or --tls dev")
        :format((name:gsub("_", "-")))
    end
  end
  return true
end

-- What was made before, if it lasts.
local function kept(places)
  local text = file.read(places.cert)
  local expires = text and core.certificate_expires(text)
  return expires and expires > core.time() + FRESH_DAYS * DAY and file.read(places.key)
    and file.read(places.ca)
end

local function make(places)
  local made, message = core.local_certificate()
  if not made then return nil, message end
  for _, name in ipairs({ "ca", "cert", "key" }) do
    local ok, why = core.write_private(places[name], made[name])
    if not ok then return nil, ("%s: %s"):format(places[name], why) end
  end
  return true
end

-- The certificate of this machine alone: { ca =, cert =, key = }, or nil, message.
local function own()
  local dir, why = core.runtime_dir()
  if not dir then return nil, ("--tls dev: there is no runtime folder (%s)"):format(why) end
  local places = {}
  for name, ending in pairs({ ca = "ca.pem", cert = "pem", key = "key" }) do
    places[name] = dir .. "/tls-dev." .. ending
  end
  if kept(places) then return places end
  local ok, message = make(places)
  if not ok then return nil, "--tls dev: " .. message end
  return places
end

local TRUST = "--tls dev: browsers trust it after: mkdir -p ~/.pki/nssdb; certutil -A "
  .. "-d sql:$HOME/.pki/nssdb -t C,, -n sluice-dev -i %s "
  .. "(Firefox: Settings, Certificates, Authorities, Import; curl: --cacert)"

--- The part of the settings that the core takes, and notes for the log.
-- @tparam table settings that were checked
-- @treturn table|nil options of core.server, or nil, message
-- @treturn {string,...} notes
function certificates.for_core(settings)
  local notes, certs, keys = {}, settings.tls_cert, settings.tls_key
  if settings.tls then
    local places, message = own()
    if not places then return nil, message end
    certs, keys = { places.cert }, { places.key }
    notes[1] = TRUST:format(places.ca)
  end
  if not certs then return {}, notes end
  return { tls_certificates = certs, tls_keys = keys, tls_port = settings.tls_port,
    tls_host = settings.tls_host, tls_redirect = settings.tls_redirect }, notes
end

--- Read them anew, before a reload: what is wrong with them is logged, and those in use go on.
-- @tparam sluice.Runtime runtime
-- @treturn table|nil { ok, message } when others were read, or they were refused
function certificates.read_again(runtime)
  local others, problem = runtime.server:read_certificates()
  if others == false then return nil end
  local out = { ok = others ~= nil, message = others and "TLS certificates read anew"
    or problem .. "; the certificates in use go on" }
  core.log(out.ok and "info" or "error", out.message)
  return out
end

return certificates
