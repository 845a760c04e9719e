rockspec_format = "3.0"
package = "sluice"
version = "0.1.0-1"
source = {
  url = "git+https://github.com/sluice-lua/sluice.git",
  tag = "v0.1.0",
}
description = {
  summary = "A Server-Sent-Events server: a C core on libev, applications in Lua",
  detailed = [[
    Live events from one Lua script to ten thousand browsers. The C core owns sockets,
    HTTP, framing and fan-out; the application (channels, handlers, timers) is Lua.]],
  license = "MIT",
  labels = { "sse", "http", "server", "realtime", "libev" },
}
supported_platforms = { "linux" }
dependencies = {
  "lua >= 5.4, < 5.5",
  "lua-cjson >= 2.1.0",
  "argparse >= 0.7",
}
external_dependencies = {
  LIBEV = { header = "ev.h", library = "ev" },
  -- Debian keeps its header where LuaRocks does not look
  LIBCURL = { library = "curl" },
  SQLITE = { header = "sqlite3.h", library = "sqlite3" },
  OPENSSL = { header = "openssl/evp.h", library = "crypto" },
  ZLIB = { header = "zlib.h", library = "z" },
  ZSTD = { header = "zstd.h", library = "zstd" },
}
build = {
  type = "make",
  build_target = "core",
  install_target = "install-lua",
  variables = {
    B = "build/rock",
    LUA = "$(LUA)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    LIBEV_INCDIR = "$(LIBEV_INCDIR)",
    LIBEV_LIBDIR = "$(LIBEV_LIBDIR)",
    LIBCURL_LIBDIR = "$(LIBCURL_LIBDIR)",
    SQLITE_INCDIR = "$(SQLITE_INCDIR)",
    SQLITE_LIBDIR = "$(SQLITE_LIBDIR)",
    OPENSSL_INCDIR = "$(OPENSSL_INCDIR)",
    OPENSSL_LIBDIR = "$(OPENSSL_LIBDIR)",
    ZLIB_INCDIR = "$(ZLIB_INCDIR)",
    ZLIB_LIBDIR = "$(ZLIB_LIBDIR)",
    ZSTD_INCDIR = "$(ZSTD_INCDIR)",
    ZSTD_LIBDIR = "$(ZSTD_LIBDIR)",
  },
  build_variables = { CFLAGS = "$(CFLAGS)" },
  install_variables = {
    CFLAGS = "$(CFLAGS)",
    INST_LIBDIR = "$(LIBDIR)",
    INST_LUADIR = "$(LUADIR)",
  },
  install = {
    bin = { sluice = "lua/sluice/main.lua" },
  },
  copy_directories = { "doc" },
}
test = {
  type = "command",
  script = "spec/run.lua",
}
