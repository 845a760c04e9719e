--- The manual and what shells load: man reads the one without a warning, it says of every command and
--- option what the help says, and shells complete them.
local config = require("sluice.live.config")
local core = require("sluice.core")
local process = require("spec.support.process")
local tree = require("spec.support.tree")

local FULL = os.getenv("SLUICE_SPEC_FULL")

-- What a command prints on standard output.
local function output_of(words)
  local code, output = process.run("build/bin/sluice " .. words)
  assert.equal(0, code, output)
  return output
end

-- Names of the commands, and of the options of one, as the help has them.
local function commands()
  local names = {}
  for name in output_of("help"):match("\nCommands:\n(.*)"):gmatch("\n?   ([%l-]+)  ") do names[#names + 1] = name end
  assert(#names > 8)
  return names
end

local function options(command)
  local names = {}
  for name in output_of("help " .. command):gmatch("\n   [^\n]-(%-%-[%l%d-]+)") do
    if name ~= "--help" then names[#names + 1] = name end
  end
  return names
end

describe("the manual", function()
  local folder, page

  setup(function()
    folder = process.temp_dir()
    local code, output = process.run(("LUA_PATH_5_4='lua/?.lua;lua/?/init.lua;;' LUA_CPATH_5_4='%s/?.so;;' "
      .. "lua5.4 .ci/manual doc/sluice.1.in >%s/sluice.1"):format(os.getenv("SLUICE_BUILD") or "build/plain", folder))
    assert.equal(0, code, output)
    page = process.read_file(folder .. "/sluice.1")
  end)
  teardown(function() process.remove_dir(folder) end)

  local function section(name) return page:match("\n%.SH " .. name .. "\n(.-)\n%.SH ") end

  -- What a reader sees, in one line with single blanks.
  local function shown()
    local code, output = process.run(("LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -l %s/sluice.1"):format(folder))
    assert.equal(0, code, output)
    return output, (output:gsub("‐\n%s*", ""):gsub("%s+", " "))
  end

  it("is read by man without a warning", function()
    local output = shown()
    assert.matches("^SLUICE%(1%)", output)
    assert.falsy(output:find("warning:", 1, true), output)
    assert.matches("sluice " .. core.version:gsub("%p", "%%%0"), output)
    assert.falsy(output:find("@", 1, true) and output:match("@%u+@"))
  end)

  it("has every command with its options", function()
    local _, text = shown()
    local names = commands()
    for action in output_of("help store"):gmatch("\n   (%l+)  ") do names[#names + 1] = "store " .. action end
    for _, name in ipairs(names) do
      local own = section("COMMANDS"):match("%.TP\n\\fB" .. name:gsub("%-", "\\%%-") .. "\\fR(.-)\n%.TP\n\\fB%l")
        or section("COMMANDS"):match("%.TP\n\\fB" .. name:gsub("%-", "\\%%-") .. "\\fR(.*)$")
      assert(own, name .. " is not in the manual")
      for _, option in ipairs(name == "help" and {} or options(name)) do
        local place = name == "run" and section("OPTIONS") or own
        assert.truthy(place:find("\\fB" .. option:gsub("%-", "\\-") .. "\\fR", 1, true), name .. " " .. option)
      end
    end
    for _, row in ipairs(config.SETTINGS) do -- what the help says of it, and its default
      local default = row[3] ~= nil and ("(default: %s)"):format(tostring(row[3])) or ""
      assert.truthy(text:find(row[5], 1, true) and text:find(default, 1, true), row[1])
    end
  end)

  it("has the exit codes of the page for operators", function()
    local codes, listed = {}, {}
    for code in section("EXIT STATUS"):gmatch("\n%.BR? ([^\n]+)") do
      for number in code:gmatch("%d+") do codes[#codes + 1] = number end
    end
    local rows = tree.read("doc/operating.md"):match("| exit code |.-\n|[-|]+\n(.-)\n\n")
    for row in ("\n" .. rows):gmatch("\n| ([^|]+)|") do
      for number in row:gmatch("`(%d+)`") do listed[#listed + 1] = number end
    end
    assert.same(listed, codes)
  end)
end)

describe("completion", function()
  -- What bash offers for a line whose last word is being written.
  local function bash(line)
    local script = [=[
      source <(build/bin/sluice completion bash)
      line=$1; COMP_LINE=$line; COMP_POINT=${#line}
      read -ra COMP_WORDS <<<"$line"; [[ $line == *" " ]] && COMP_WORDS+=("")
      COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
      function=$(complete -p sluice | sed 's/.*-F \([^ ]*\).*/\1/')
      $function sluice "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
      printf '%s\n' "${COMPREPLY[@]}"]=]
    local code, output = process.run { "bash", "-c", script, "bash", line }
    assert.equal(0, code, output)
    local words = {}
    for word in output:gmatch("%S+") do words[#words + 1] = word end
    table.sort(words)
    return words
  end

  it("completes commands, options and their words in bash", function()
    local wanted = commands()
    table.sort(wanted)
    assert.same(wanted, bash("sluice "))
    assert.same({ "reload" }, bash("sluice rel"))
    assert.same({ "--io-uring" }, bash("sluice run --io-u"))
    assert.same({ "auto", "off", "on" }, bash("sluice run --io-uring "))
    assert.same({ "debug", "error", "info", "off", "warn" }, bash("sluice run --log-level "))
    assert.same({ "json", "text" }, bash("sluice run app.lua --log-format "))
    assert.same({ "verify" }, bash("sluice store ver"))
    assert.same({ "--json" }, bash("sluice store verify --js"))
    assert.same({ "Makefile" }, bash("sluice run --data Makef"))
  end)

  it("is written for the shells that there are, and no other", function()
    for shell, sign in pairs { bash = "complete -F _sluice", zsh = "#compdef sluice", fish = "complete -c sluice" } do
      assert.truthy(output_of("completion " .. shell):find(sign, 1, true))
    end
    local code, output = process.run("build/bin/sluice completion tcsh")
    assert.equal(2, code)
    assert.truthy(output:find("'bash', 'zsh', 'fish'", 1, true), output)
  end)

  if FULL then
    it("completes in zsh and fish", function()
      local folder = process.temp_dir()
      finally(function() process.remove_dir(folder) end)
      process.write_file(folder .. "/_sluice", output_of("completion zsh"))
      -- zsh completes on a terminal only: one of its own, in which what it lists is seen
      local zsh = [[
zmodload zsh/zpty; zpty -b z zsh -f
zpty -w z "PS1=READY; fpath=($1 \$fpath); autoload -Uz compinit; compinit -D -u; zstyle ':completion:*' list-prompt ''"
zpty -w z 'LISTMAX=10000'
zpty -n -w z $'sluice run --io-uring \t\t'
zpty -r z out '*off*on*'; print -r -- "$out"; zpty -d z]]
      process.write_file(folder .. "/ask.zsh", zsh)
      local _, output = process.run({ "zsh", "-f", folder .. "/ask.zsh", folder }, { seconds = 20 })
      assert.matches("auto%s+off%s+on", (output:gsub("\27%[[%d;?]*%a", "")))
      local fish = "build/bin/sluice completion fish | source; complete -C '%s'"
      for line, wanted in pairs { ["sluice rel"] = "reload", ["sluice run --log-form"] = "--log-format",
        ["sluice run --io-uring a"] = "auto" } do
        local code, list = process.run { "fish", "-N", "-c", fish:format(line) }
        assert.equal(0, code, list)
        assert.equal(wanted, list:match("^%S+"), list)
      end
    end)
  end
end)
