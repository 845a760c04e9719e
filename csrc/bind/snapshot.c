/* A route snapshot from the tables of lua/sluice/app/routes.lua. It is made inside a box, so that
 * an error in the tables leaks nothing. */
#include "base/mem.h"
#include "bind/server_type.h"

static int routes_gc(lua_State *L) {
    struct routes **box = lua_touserdata(L, 1);
    routes_unref(*box);
    *box = NULL;
    return 0;
}

static struct routes *new_box(lua_State *L) {
    struct routes **box = lx_box(L, sizeof *box, routes_gc);
    *box = routes_new();
    return *box;
}

static void read_files(lua_State *L, int table, struct route *route) {
    lua_getfield(L, table, "files");
    luaL_checktype(L, -1, LUA_TTABLE);
    int files = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, files)) {
        int file = lua_gettop(L);
        if (lua_type(L, -2) != LUA_TSTRING || !lua_istable(L, file))
            luaL_error(L, "files: a path with type and body is expected");
        route_add_file(route, lx_checkslice(L, file - 1), lx_field_slice(L, file, "type"),
                       lx_field_slice(L, file, "body"));
        lua_settop(L, file - 1);
    }
    lua_pop(L, 1);
}

static char *copy_field(lua_State *L, int table, const char *name) {
    struct slice s = lx_field_slice(L, table, name);
    return s.n > 0 ? mem_strndup(s.p, s.n) : NULL;
}

/* A constant plan; without one the app is asked. */
static void read_plan(lua_State *L, int table, struct route *route) {
    if (lua_getfield(L, table, "plan") == LUA_TTABLE) {
        int at = lua_gettop(L);
        if (lua_getfield(L, at, "query") == LUA_TTABLE) {
            int query = lua_gettop(L);
            route->keys_as = copy_field(L, query, "keys");
            route->types_as = copy_field(L, query, "types");
            route->rate_as = copy_field(L, query, "max_rate");
        }
        lua_settop(L, at);
        struct plan_spec spec = lx_checkplan(L, at);
        route->plan = plan_new(&spec);
        if (!route->plan) luaL_error(L, "out of memory");
    }
}

static void read_codings(lua_State *L, int table, struct route *route) {
    struct slice compress = lx_field_slice(L, table, "compress");
    bool any = slice_eq_lit(compress, "auto");
    route->codings[CODING_GZIP] = any || slice_eq_lit(compress, "gzip");
    route->codings[CODING_ZSTD] = any || slice_eq_lit(compress, "zstd");
}

static void read_route(lua_State *L, int table, struct routes *routes) {
    static const char *const kinds[] = {"handler", "stream", "static", "feed"};
    struct slice kind = lx_field_slice(L, table, "kind");
    struct slice method = lx_field_slice(L, table, "method");
    struct slice pattern = lx_field_slice(L, table, "pattern");
    int id = (int)lx_field_number(L, table, "id", 0);
    int k = 0;
    while (k < 4 && !slice_eq(kind, slice_str(kinds[k]))) k++;
    if (k == 4) luaL_error(L, "route '%s': it has an unknown kind", pattern.p);
    struct route *route = routes_add(routes, (enum route_kind)k,
                                     method.n ? method.p : "GET", pattern.p, id);
    route->heartbeat = lx_field_number(L, table, "heartbeat", -1);
    route->body_max = (uint64_t)lx_field_number(L, table, "body_max", 0);
    int top = lua_gettop(L);
    if (route->kind == ROUTE_STATIC) read_files(L, table, route);
    if (route->kind == ROUTE_STREAM) {
        read_codings(L, table, route);
        read_plan(L, table, route);
    }
    if (route->kind == ROUTE_FEED) read_plan(L, table, route);
    lua_settop(L, top);
}

static void read_cors(lua_State *L, int table, struct routes *routes) {
    struct slice pattern = lx_field_slice(L, table, "pattern");
    bool credentials = lx_field_bool(L, table, "credentials", false);
    double max_age = lx_field_number(L, table, "max_age", -1);
    lua_getfield(L, table, "origins");
    struct filter_list origins = lx_checklist(L, -1, "origins");
    if (max_age >= 0) lua_pushfstring(L, "%I", (lua_Integer)max_age);
    else lua_pushliteral(L, "");
    struct origin_policy policy = {origins.items, origins.n, credentials,
                                   lx_checkslice(L, -1)};
    routes_add_cors(routes, pattern.p, policy);
}

/* Call 'read' with each table of the list in field 'name'. */
static void each(lua_State *L, int index, const char *name, struct routes *routes,
                 void (*read)(lua_State *, int, struct routes *)) {
    if (lua_getfield(L, index, name) == LUA_TTABLE) {
        int list = lua_gettop(L);
        lua_Integer n = (lua_Integer)lua_rawlen(L, list);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, list, i);
            luaL_checktype(L, -1, LUA_TTABLE);
            read(L, lua_gettop(L), routes);
            lua_settop(L, list);
        }
    }
    lua_pop(L, 1);
}

struct routes *lx_checkroutes(lua_State *L, int index) {
    index = lua_absindex(L, index);
    struct routes *routes = new_box(L);
    each(L, index, "routes", routes, read_route);
    each(L, index, "cors", routes, read_cors);
    return routes;
}
