/* sluice.core.testing_lab: the machines of csrc/lab in the time of a spec. Not part of the
 * product.
 *
 *     p = pipe(seed); p:put(now, bytes); p:close(now, "fin"); p:look(now) -> bytes, again
 *     p:took(n); p:ended(now); p:room(bandwidth)          now = { ms =, latency_ms =, … }
 *     w = weather(seed, now, faults); w:next(now) -> kind, begins, ms; w:at(); w:begin(…) */
#include "bind/l_aux.h"
#include "lab/pipe.h"
#include "lab/weather.h"

#include <math.h>

#define PIPE "sluice.lab.pipe"
#define WEATHER "sluice.lab.weather"

static const char *const kinds[] = {"cut", "stall", "away", "slow", NULL};

static void push_time(lua_State *L, int64_t at) {
    lua_pushnumber(L, at == INT64_MAX ? HUGE_VAL : (double)at);
}

/* ---- Pipes -------------------------------------------------------------------------- */

static struct pipe *check_pipe(lua_State *L) {
    return luaL_checkudata(L, 1, PIPE);
}

static struct pipe_now check_now(lua_State *L) {
    luaL_checktype(L, 2, LUA_TTABLE);
    return (struct pipe_now){
        .ms = (int64_t)lx_field_number(L, 2, "ms", 0),
        .latency_ms = (int64_t)lx_field_number(L, 2, "latency_ms", 0),
        .jitter_ms = (int64_t)lx_field_number(L, 2, "jitter_ms", 0),
        .hold_ms = (int64_t)lx_field_number(L, 2, "hold_ms", 0),
        .bandwidth = (int64_t)lx_field_number(L, 2, "bandwidth", 0),
        .byte_at_a_time = lx_field_bool(L, 2, "byte_at_a_time", false),
        .stalled = lx_field_bool(L, 2, "stalled", false)};
}

static int pipe_gc(lua_State *L) {
    pipe_free(check_pipe(L));
    return 0;
}

static int l_pipe(lua_State *L) {
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 1);
    struct pipe *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (struct pipe){.random = seed};
    luaL_setmetatable(L, PIPE);
    return 1;
}

static int l_put(lua_State *L) {
    struct pipe *p = check_pipe(L);
    struct pipe_now now = check_now(L);
    struct slice bytes = lx_checkslice(L, 3);
    luaL_argcheck(L, bytes.n <= pipe_room(p, now.bandwidth), 3, "there is no room");
    int err = pipe_put(p, &now, bytes);
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

static int l_close(lua_State *L) {
    static const char *const ends[] = {"fin", "rst", NULL};
    struct pipe_now now = check_now(L);
    pipe_close(check_pipe(L), &now,
               luaL_checkoption(L, 3, NULL, ends) ? PIPE_RST : PIPE_FIN);
    return 0;
}

static int l_look(lua_State *L) {
    int64_t again;
    struct pipe_now now = check_now(L);
    lx_pushslice(L, pipe_look(check_pipe(L), &now, &again));
    push_time(L, again);
    return 2;
}

static int l_took(lua_State *L) {
    pipe_took(check_pipe(L), (uint32_t)luaL_checkinteger(L, 2));
    return 0;
}

static int l_ended(lua_State *L) {
    static const char *const words[] = {"open", "fin", "rst"};
    struct pipe_now now = check_now(L);
    lua_pushstring(L, words[pipe_ended(check_pipe(L), &now)]);
    return 1;
}

static int l_room(lua_State *L) {
    lua_pushinteger(L, pipe_room(check_pipe(L), luaL_optinteger(L, 2, 0)));
    return 1;
}

/* ---- Weather ------------------------------------------------------------------------ */

static struct weather *check_weather(lua_State *L) {
    return luaL_checkudata(L, 1, WEATHER);
}

/* The faults of a whole network, from the table at 'index'. */
static struct lab_faults check_faults(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    return (struct lab_faults){
        .bandwidth = (int64_t)lx_field_number(L, index, "bandwidth", 0),
        .cut_ms = (int64_t)lx_field_number(L, index, "cut_ms", 0),
        .stall_ms = (int64_t)lx_field_number(L, index, "stall_ms", 0),
        .stall_every_ms = (int64_t)lx_field_number(L, index, "stall_every_ms", 0),
        .away_ms = (int64_t)lx_field_number(L, index, "away_ms", 0),
        .away_every_ms = (int64_t)lx_field_number(L, index, "away_every_ms", 0)};
}

static int l_weather(lua_State *L) {
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 1);
    struct lab_faults faults = check_faults(L, 3);
    struct weather *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = (struct weather){0};
    luaL_setmetatable(L, WEATHER);
    weather_init(w, &faults, seed, luaL_checkinteger(L, 2));
    return 1;
}

static int l_set(lua_State *L) {
    struct lab_faults faults = check_faults(L, 4);
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 2);
    weather_init(check_weather(L), &faults, seed, luaL_checkinteger(L, 3));
    return 0;
}

static int l_next(lua_State *L) {
    struct weather_event e;
    if (!weather_next(check_weather(L), luaL_checkinteger(L, 2), &e)) return 0;
    lua_pushstring(L, kinds[e.kind]);
    lua_pushboolean(L, e.begins);
    lua_pushinteger(L, e.ms);
    return 3;
}

static int l_at(lua_State *L) {
    push_time(L, weather_at(check_weather(L)));
    return 1;
}

static int l_begin(lua_State *L) {
    struct weather *w = check_weather(L);
    enum weather_kind kind = (enum weather_kind)luaL_checkoption(L, 2, NULL, kinds);
    w->bandwidth = luaL_optinteger(L, 5, 0);
    weather_begin(w, kind, luaL_checkinteger(L, 3), luaL_checkinteger(L, 4));
    return 0;
}

static int l_calm(lua_State *L) {
    weather_calm(check_weather(L), luaL_checkinteger(L, 2));
    return 0;
}

static int l_is(lua_State *L) {
    int kind = luaL_checkoption(L, 2, NULL, kinds);
    lua_pushboolean(L, weather_is(check_weather(L), (enum weather_kind)kind));
    return 1;
}

static int l_bandwidth(lua_State *L) {
    lua_pushinteger(L, weather_bandwidth(check_weather(L)));
    return 1;
}

LX_EXPORT int luaopen_sluice_core_testing_lab(lua_State *L) {
    static const luaL_Reg pipe_methods[] = {
        {"put", l_put},     {"close", l_close}, {"look", l_look},  {"took", l_took},
        {"ended", l_ended}, {"room", l_room},   {"__gc", pipe_gc}, {NULL, NULL}};
    static const luaL_Reg weather_methods[] = {{"set", l_set},
                                               {"next", l_next},
                                               {"at", l_at},
                                               {"begin", l_begin},
                                               {"calm", l_calm},
                                               {"is", l_is},
                                               {"bandwidth", l_bandwidth},
                                               {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"pipe", l_pipe}, {"weather", l_weather}, {NULL, NULL}};
    lx_newtype(L, PIPE, pipe_methods);
    lx_newtype(L, WEATHER, weather_methods);
    luaL_newlib(L, functions);
    lua_pushinteger(L, LAB_PIPE_BYTES);
    lua_setfield(L, -2, "PIPE_BYTES");
    return 1;
}
