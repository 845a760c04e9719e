--- Pages of Firefox that follow by sluice.js, and what happens to them: see sluice_js/situations.lua. It needs
--- firefox-esr, 260 MB, which only SPEC=spec/browser/firefox_spec.lua installs.
require("spec.support.firefox")
require("spec.support.proxies")

local situations = require("spec.browser.sluice_js.situations")

describe("sluice.js in Firefox:", function() situations("firefox") end)
