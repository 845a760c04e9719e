-- LUAROCKS_CONFIG for a machine without a rocks server: what Debian's packages provide.
--   LUAROCKS_CONFIG=spec/support/luarocks-debian.lua luarocks --lua-version 5.4 make --tree T
rocks_provided = {
  ["lua-cjson"] = "2.1.0-1",
  argparse = "0.7.1-1",
}
