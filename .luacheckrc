std = "lua54"
max_line_length = 100
exclude_files = { "build" }
files[".ci"] = { max_line_length = 120 }
files["examples/templates"] = { std = "lua54+busted" }
files["spec"] = { std = "lua54+busted", max_line_length = 120 }
files["spec/support/luarocks-debian.lua"] = { globals = { "rocks_provided" } }
files["*.rockspec"] = { std = "rockspec" }
