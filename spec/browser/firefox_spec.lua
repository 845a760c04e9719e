--- Pages of Firefox that follow by sluice.js, and what happens to them: see sluice_js/situations.lua. All of it
--- with SLUICE_SPEC_FULL=1.
require("spec.support.firefox")
require("spec.support.proxies")

local situations = require("spec.browser.sluice_js.situations")

describe("sluice.js in Firefox:", function() situations("firefox") end)
