/* sluice.core.testing_server: a server that starts while something of it fails, for specs.
 * Not part of the product. */
#include "base/fault.h"
#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "serve/app/server.h"
#include "serve/app/watch.h"

static const struct server_events no_events;

static struct server *new_server(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct serve_options o = {.io_threads =
                                  (unsigned)lx_field_number(L, 1, "io_threads", 1),
                              .signals = lx_field_bool(L, 1, "signals", false),
                              .control_needed = true};
    struct slice control = lx_field_slice(L, 1, "control");
    if (control.n > 0) o.control = mem_strndup(control.p, control.n);
    struct server *s;
    int err = server_new(&s, &o, &no_events, NULL);
    if (err < 0) luaL_error(L, "%s", status_name(err));
    return s;
}

/* testing_server.start({ io_threads =, control =, signals =, again = }, n) -> code, done,
 * again: a server whose n-th step fails. "code" is nil when it started, "done" whether there
 * was an n-th step, "again" what a second start without a fault said (unless the option says
 * false). All is freed. */
static int l_start(lua_State *L) {
    long n = (long)luaL_checkinteger(L, 2);
    bool retry = lx_field_bool(L, 1, "again", true);
    struct server *s = new_server(L);
    fault_after(n, false);
    int err = server_start(s);
    bool done = fault_left() == 0;
    fault_after(0, false);
    int again = err < 0 && retry ? server_start(s) : 0;
    server_free(s);
    if (err < 0) lua_pushstring(L, status_name(err));
    else lua_pushnil(L);
    lua_pushboolean(L, done);
    if (again < 0) lua_pushstring(L, status_name(again));
    else lua_pushnil(L);
    return 3;
}

/* testing_server.watch(path): where the system has no inotify to give */
static int l_watch(lua_State *L) {
    struct slice path = lx_checkslice(L, 1);
    lua_settop(L, 0);
    lua_newtable(L);
    struct server *s = new_server(L);
    fault_after(1, false);
    watch_set(s, &path, 1);
    fault_after(0, false);
    server_free(s);
    return 0;
}

LX_EXPORT int luaopen_sluice_core_testing_server(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"start", l_start}, {"watch", l_watch}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
