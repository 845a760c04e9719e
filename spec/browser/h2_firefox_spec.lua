--- Firefox over HTTP/2: see h2/sixty.lua. With SLUICE_SPEC_FULL=1 only.
local nss = require("spec.support.nss")
local process = require("spec.support.process")
require("spec.support.firefox") -- it is there

if not os.getenv("SLUICE_SPEC_FULL") then return end

-- It asks nobody else, and shows no page of its own.
local SETTINGS = [[
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("app.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
]]

require("spec.browser.h2.sixty")("Firefox", function(url, home, cas)
  local profile = home .. "/firefox"
  nss.trust(profile, cas)
  process.write_file(profile .. "/user.js", SETTINGS)
  return process.spawn({ "firefox-esr", "--headless", "--no-remote", "--profile", profile, url },
    { env = { HOME = home } })
end)
