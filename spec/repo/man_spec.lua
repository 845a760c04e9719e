--- The manual and what shells load: man reads the one without a warning, it has every command and
--- option, and shells complete them.
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
  for name in output_of("help " .. command):gmatch("\n   [^\n]-(%-%-[%l-]+)") do
    if name ~= "--help" then names[#names + 1] = name end
  end
  return names
end

describe("the manual", function()
  local page = tree.read("doc/sluice.1"):gsub("\\%-", "-")

  local function section(name) return page:match("\n%.SH " .. name .. "\n(.-)\n%.SH ") end

  -- The entries of a section in order: { head = line, name = its first word, text }.
  local function entries(name)
    local list = {}
    for head, text in ("\n" .. section(name) .. "\n"):gsub("\n%.TP\n", "\0"):gmatch("%z%.%u+ ([^\n]+)\n([^%z]*)") do
      list[#list + 1] = { head = head, name = head:match("[%w-]+"), text = text }
    end
    return list
  end

  it("is read by man without a warning", function()
    local code, output = process.run("LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -l doc/sluice.1")
    assert.equal(0, code, output)
    assert.matches("^SLUICE%(1%)", output)
    assert.falsy(output:find("warning:", 1, true), output)
    assert.matches("sluice " .. core.version:gsub("%p", "%%%0"), output)
  end)

  it("has every command with its options, and no other", function()
    local text, named, wanted = section("COMMANDS"), {}, commands()
    for i, entry in ipairs(entries("COMMANDS")) do
      named[i] = entry.name
      for _, option in ipairs((entry.name == "run" or entry.name == "lab") and {} or options(entry.name)) do
        assert.truthy(entry.text:find(option:gsub("%-", "%%-") .. "%f[^%l-]"), entry.name .. " " .. option)
      end
    end
    table.sort(named)
    table.sort(wanted)
    assert.same(wanted, named)
    for action in output_of("help store"):gmatch("\n   (%l+)  ") do
      assert.truthy(text:find("%f[%l]" .. action .. "%f[%L]"), action)
      for _, option in ipairs(options("store " .. action)) do assert.truthy(text:find(option, 1, true), option) end
    end
  end)

  it("has every option of run, in order and with its default", function()
    local named, wanted = {}, {}
    for i, entry in ipairs(entries("OPTIONS")) do
      named[i] = { entry.name, entry.text:match("default: ([^,;]-)%.%s*$") }
    end
    for i, row in ipairs(config.SETTINGS) do
      local default = row[3] == true and "yes" or row[3]
      local shown = default or (named[i] or {})[2] -- what is worked out is said in words
      if row[1] == "listen_fd" then shown = nil end
      wanted[i] = { "--" .. row[1]:gsub("_", "-"), shown and tostring(shown) }
    end
    wanted[#wanted + 1] = { "--no-watch" }
    assert.same(wanted, named)
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
    assert.same({ "record", "reload", "repl", "replay" }, bash("sluice re"))
    assert.same({ "--io-threads", "--io-uring" }, bash("sluice run --io-"))
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
sleep 1; zpty -r z out '*uring*auto*on*' ; print -r -- "$out"; zpty -d z]]
      process.write_file(folder .. "/ask.zsh", zsh)
      local _, output = process.run({ "zsh", "-f", folder .. "/ask.zsh", folder }, { seconds = 20 })
      assert.matches("auto", output)
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
