--- Pages of Chromium that follow by sluice.js, and what happens to them: see sluice_js/situations.lua.
require("spec.support.browser") -- without it this file is left out, as without nginx
require("spec.support.proxies")

local situations = require("spec.browser.sluice_js.situations")

describe("sluice.js in Chromium:", function() situations("chromium") end)
