/* sluice.core.testing_crowd: what csrc/crowd is made of, for specs. Not part of the product.
 *
 *     crowd.quantile({ us, … }, part) -> us
 *     o = crowd.order(); o:of(id, after) -> number
 *     o:got(number); o:open(readers); o:begin(); o:lost()
 *     crowd.places({ number, … }) -> { ahead, … }
 *     crowd.events({ piece, … }, mark, time) -> { { kind =, id =, own =, n =, us =, wall = }, … }
 *       | nil, message, code */
#include "base/map.h"
#include "base/mem.h"
#include "bind/l_aux.h"
#include "crowd/event.h"
#include "crowd/hist.h"
#include "crowd/order.h"

#define ORDER "sluice.crowd.order"

static int l_quantile(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    double part = luaL_checknumber(L, 2);
    struct hist *h = lx_scratch(L, sizeof *h);
    for (lua_Integer i = 1; lua_rawgeti(L, 1, i) == LUA_TNUMBER; i++) {
        hist_add(h, (uint64_t)lua_tointeger(L, -1));
        lua_pop(L, 1);
    }
    lua_pushinteger(L, (lua_Integer)hist_quantile(h, part));
    return 1;
}

static int l_order(lua_State *L) {
    struct order *o = lua_newuserdatauv(L, sizeof *o, 0);
    memset(o, 0, sizeof *o);
    luaL_setmetatable(L, ORDER);
    return 1;
}

static int l_of(lua_State *L) {
    struct order *o = luaL_checkudata(L, 1, ORDER);
    uint64_t hash = map_hash(lx_checkslice(L, 2));
    uint64_t after = (uint64_t)luaL_checkinteger(L, 3);
    lua_pushinteger(L, (lua_Integer)order_of(o, hash, after));
    return 1;
}

static int l_got(lua_State *L) {
    order_got(luaL_checkudata(L, 1, ORDER), (uint64_t)luaL_checkinteger(L, 2));
    return 0;
}

static int l_open(lua_State *L) {
    struct order *o = luaL_checkudata(L, 1, ORDER);
    o->open = (uint32_t)luaL_checkinteger(L, 2);
    return 0;
}

static int l_begin(lua_State *L) {
    order_begin(luaL_checkudata(L, 1, ORDER));
    return 0;
}

static int l_lost(lua_State *L) {
    const struct order *o = luaL_checkudata(L, 1, ORDER);
    lua_pushinteger(L, (lua_Integer)order_lost(o, INT64_MAX));
    return 1;
}

static int l_places(lua_State *L) {
    struct place place = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_newtable(L);
    for (lua_Integer i = 1; lua_rawgeti(L, 1, i) == LUA_TNUMBER; i++) {
        int64_t ahead = place_take(&place, (uint64_t)lua_tointeger(L, -1));
        lua_pop(L, 1);
        lua_pushinteger(L, (lua_Integer)ahead);
        lua_rawseti(L, 2, i);
    }
    lua_pop(L, 1);
    return 1;
}

/* The list that is filled is on top. */
static void on_event(void *context, const struct event_state *e) {
    static const char *const names[] = {"other", "hello", "reset", "sync", "bye"};
    lua_State *L = context;
    lua_createtable(L, 0, 7);
    lua_pushstring(L, names[e->kind]);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, e->reason);
    lua_setfield(L, -2, "reason");
    lx_set_boolean(L, "id", e->has_id);
    lx_set_boolean(L, "sluice", e->is_sluice);
    lx_set_boolean(L, "own", e->is_own);
    lx_set_integer(L, "n", e->n);
    lx_set_integer(L, "us", (uint64_t)e->time_us);
    lx_set_boolean(L, "wall", e->time_is_wall);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static int box_gc(lua_State *L) {
    event_deinit(lua_touserdata(L, 1));
    return 0;
}

static int l_events(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct event_words words = {lx_optslice(L, 2), lx_optslice(L, 3)};
    struct event_state *e = lx_box(L, sizeof *e, box_gc);
    lua_newtable(L);
    for (lua_Integer i = 1; lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
        size_t n;
        const char *p = lua_tolstring(L, -1, &n); /* the table keeps it */
        lua_pop(L, 1);
        int err = event_feed(e, &words, slice_of(p, n), on_event, L);
        if (err < 0) return lx_fail(L, err);
    }
    lua_pop(L, 1);
    return 1;
}

LX_EXPORT int luaopen_sluice_core_testing_crowd(lua_State *L) {
    static const luaL_Reg functions[] = {{"quantile", l_quantile},
                                         {"order", l_order},
                                         {"places", l_places},
                                         {"events", l_events},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {{"of", l_of},     {"got", l_got},
                                       {"open", l_open}, {"begin", l_begin},
                                       {"lost", l_lost}, {NULL, NULL}};
    lx_newtype(L, ORDER, methods);
    luaL_newlib(L, functions);
    return 1;
}
