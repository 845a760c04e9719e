--- Names in the environment that are no settings.
local variables = require("sluice.live.variables")

describe("variables", function()
  local function of(...) return variables.warnings(table.concat({ ... }, "\0") .. "\0") end

  it("that are no settings are named, with the one that was probably meant", function()
    assert.same({ "SLUICE_PROT in the environment is no setting, and has no effect: did you mean SLUICE_PORT?",
      "SLUICE_XYZZY_THING in the environment is no setting, and has no effect" },
      of("HOME=/x", "SLUICE_XYZZY_THING=1", "SLUICE_PORT=1", "SLUICE_PROT=2=3", "sluice_port=4", "X=SLUICE_PROT=1"))
  end)

  it("of settings, of other programs and of our own specs are none of them", function()
    assert.same({}, of("SLUICE_DATA=/x", "SLUICE_LOG_LEVEL=warn", "SLUICE_LUA=lua5.4", "SLUICE_SPEC_FULL=1",
      "PATH=SLUICE_PROT", "EMPTY=", "NOTHING"))
    assert.same({}, variables.warnings(""))
  end)

  it("are those of the process, which does not know what it was not given", function()
    for _, text in ipairs(variables.warnings()) do assert.matches("^SLUICE_[%w_]+ in the environment", text) end
  end)
end)
