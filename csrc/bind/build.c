/* Versions of the libraries, the compiler and the machine; see build.h. Nothing here names the
 * time or the place of the build: the same source gives the same bytes. */
#include "bind/build.h"

#include "bind/l_aux.h"

#include "net/h2.h"

#include <curl/curl.h>
#include <ev.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <zlib.h>
#include <zstd.h>

#ifndef LIBURING_VERSION
#define LIBURING_VERSION NULL
#endif

#ifdef HAVE_HIREDIS
#include <hiredis/hiredis.h>
#define STRING(x) #x
#define DOTTED(a, b, c) STRING(a) "." STRING(b) "." STRING(c)
#define HIREDIS_VERSION DOTTED(HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH)
#else
#define HIREDIS_VERSION NULL
#endif

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

#if defined(__x86_64__)
#define MACHINE "x86_64"
#elif defined(__aarch64__)
#define MACHINE "aarch64"
#else
#define MACHINE "other"
#endif

static void set(lua_State *L, const char *name, const char *version) {
    lua_pushstring(L, version);
    lua_setfield(L, -2, name);
}

/* As they are loaded now; of those that cannot say so, as they were compiled against. */
static void push_libraries(lua_State *L) {
    lua_createtable(L, 0, 9);
    set(L, "lua", LUA_VERSION_MAJOR "." LUA_VERSION_MINOR "." LUA_VERSION_RELEASE);
    lua_pushfstring(L, "%d.%d", ev_version_major(), ev_version_minor());
    lua_setfield(L, -2, "libev");
    set(L, "libcurl", curl_version_info(CURLVERSION_NOW)->version);
    set(L, "openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
    set(L, "sqlite", sqlite3_libversion());
    set(L, "zlib", zlibVersion());
    set(L, "zstd", ZSTD_versionString());
    set(L, "nghttp2", h2_version());
    set(L, "liburing", LIBURING_VERSION);
    set(L, "hiredis", HIREDIS_VERSION);
}

/* core.build() -> { compiler, machine, sanitizer, libraries = { name = version } } */
static int l_build(lua_State *L) {
    lua_createtable(L, 0, 4);
    set(L, "compiler", COMPILER);
    set(L, "machine", MACHINE);
#if defined(__SANITIZE_ADDRESS__)
    set(L, "sanitizer", "address");
#elif defined(__SANITIZE_THREAD__)
    set(L, "sanitizer", "thread");
#endif
    push_libraries(L);
    lua_setfield(L, -2, "libraries");
    return 1;
}

void build_add_functions(lua_State *L) {
    lua_pushcfunction(L, l_build);
    lua_setfield(L, -2, "build");
}
