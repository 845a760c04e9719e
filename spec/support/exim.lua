--- Debian's exim on a free port, unpacked below build/: a real mail server without a service, a user
--- of its own (libnss-wrapper says who Debian-exim is) or mail that leaves this machine.
---   local m = exim.start(); m.url, m.mails() -> texts of what it has taken; m.stop()
---
--- It refuses nobody@, says later to grey@ the first time, wants ann / secret for in@, and offers
--- STARTTLS with a certificate that no one signed. exim.start { tls = false } offers none.
local deadline = require("spec.support.deadline")
local lfs = require("lfs")
local process = require("spec.support.process")
local socket = require("socket")

local exim = { NAME = "exim4" }

local CONFIG = [[
exim_user = Debian-exim
exim_group = Debian-exim
keep_environment =
add_environment = PATH=/usr/bin:/bin
spool_directory = $D/spool
log_file_path = $D/log-%slog
pid_file_path = $D/pid
primary_hostname = mail.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = $PORT
queue_only = true
$TLS
auth_advertise_hosts = *
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
rcpt:
  deny  local_parts = nobody
        message = no such user
  defer local_parts = grey
        condition = ${if !exists{$D/greylisted}}
        message = greylisted, come back later
  deny  local_parts = in
        !authenticated = *
        message = sign in first
  accept
data:
  deny  condition = ${if match{$h_subject:}{spam}}
        message = this is spam
  accept
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{ann}}{eq{$auth3}{secret}}}}
  server_set_id = $auth2
]]
local TLS = [[
tls_advertise_hosts = *
tls_certificate = $D/cert
tls_privatekey = $D/key]]

local function root() return lfs.currentdir() .. "/build/exim4" end

local function library(name)
  local _, path = process.run({ "find", root(), "-name", name })
  return path:match("[^\n]+")
end

function exim.installed()
  return lfs.attributes(root() .. "/usr/sbin/exim4", "mode") == "file" and library("libnss_wrapper.so") ~= nil
end

local function free_port()
  local s = assert(socket.bind("127.0.0.1", 0))
  local _, port = s:getsockname()
  s:close()
  return math.floor(tonumber(port))
end

-- Root gives itself up for nobody; everybody else stays who he is.
local function who()
  local _, text = process.run("id -u; id -g")
  local uid, gid = text:match("(%d+)\n(%d+)")
  if uid == "0" then return "65534", "65534" end
  return uid, gid
end

local function prepare(folder, port, tls)
  local uid, gid = who()
  local text = CONFIG:gsub("%$TLS", tls and TLS or "tls_advertise_hosts =")
    :gsub("%$PORT", port):gsub("%$D", folder)
  process.write_file(folder .. "/conf", text)
  process.write_file(folder .. "/passwd", ("root:x:0:0::/:/bin/sh\nDebian-exim:x:%s:%s::/:/bin/sh\n"):format(uid, gid))
  process.write_file(folder .. "/group", ("root:x:0:\nDebian-exim:x:%s:\n"):format(gid))
  local code, output = process.run({ "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
    "/CN=localhost", "-keyout", folder .. "/key", "-out", folder .. "/cert" })
  assert(code == 0, output)
  process.run({ "chmod", "0777", folder })
  process.run({ "chmod", "0644", folder .. "/key", folder .. "/conf" })
end

local function mails(folder)
  local list, spool = {}, folder .. "/spool/input"
  if lfs.attributes(spool, "mode") ~= "directory" then return list end
  for name in lfs.dir(spool) do
    local id = name:match("^(.*)%-D$")
    if id then
      list[#list + 1] = process.read_file(spool .. "/" .. id .. "-H") .. "\n" .. process.read_file(spool .. "/" .. name)
    end
  end
  return list
end

--- options: tls (true)
function exim.start(options)
  local folder, port = process.temp_dir(), free_port()
  prepare(folder, port, not options or options.tls ~= false)
  local nss = assert(library("libnss_wrapper.so"), "no exim; .ci/setup test brings it")
  local p = process.spawn({ root() .. "/usr/sbin/exim4", "-C", folder .. "/conf", "-bdf" }, { folders = { folder },
    env = { LD_LIBRARY_PATH = nss:match("^(.*)/"), LD_PRELOAD = nss, NSS_WRAPPER_PASSWD = folder .. "/passwd",
      NSS_WRAPPER_GROUP = folder .. "/group" } })
  deadline.eventually(function()
    if p:code() then deadline.give_up("exim: " .. p:log()) end
    local s = socket.connect("127.0.0.1", port)
    return s and s:close()
  end, 5, "exim listens")
  return { url = "smtp://127.0.0.1:" .. port, folder = folder, mails = function() return mails(folder) end,
    stop = function() p:stop() end }
end

return exim
