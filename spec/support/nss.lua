--- What browsers trust, in a folder of theirs (libnss3-tools).
local assert = require("luassert")
local process = require("spec.support.process")

local nss = {}

--- Make a folder whose browser trusts those who are in these files.
function nss.trust(folder, cas)
  assert.equal(0, (process.run({ "mkdir", "-p", folder })))
  assert.equal(0, (process.run({ "certutil", "-d", "sql:" .. folder, "-N", "--empty-password" })))
  for i, ca in ipairs(cas) do
    assert.equal(0, (process.run({ "certutil", "-d", "sql:" .. folder, "-A", "-t", "C,,", "-n", "sluice" .. i, "-i",
      ca })))
  end
end

return nss
