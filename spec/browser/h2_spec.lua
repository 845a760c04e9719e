--- Chromium over HTTP/2: see h2/sixty.lua.
local nss = require("spec.support.nss")
local process = require("spec.support.process")
require("spec.support.browser") -- Chromium is there

local CHROMIUM = os.getenv("CHROMIUM") or "/usr/bin/chromium"

require("spec.browser.h2.sixty")("Chromium", function(url, home, cas)
  nss.trust(home .. "/.pki/nssdb", cas)
  return process.spawn({ CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
    "--user-data-dir=" .. home .. "/chromium", url }, { env = { HOME = home } })
end)
