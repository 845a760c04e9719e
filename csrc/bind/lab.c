/* `sluice lab` on the loop of the server that has its control routes; see lab/lab.h. Each fault
 * is reported by a call of one function, with its name and its numbers. */
#include "base/status.h"
#include "bind/lookup.h"
#include "bind/server_type.h"

static const char *const names[LAB_KINDS] = {
    [LAB_CUT] = "cut",   [LAB_STALL] = "stall", [LAB_FLOW] = "flow",
    [LAB_AWAY] = "away", [LAB_BACK] = "back",   [LAB_SLOW] = "slow",
    [LAB_FAST] = "fast", [LAB_IDLE] = "idle",   [LAB_REFUSED] = "refused"};

struct report {
    const struct lx_server *server;
    const struct lab_note *note;
};

static int push_note(lua_State *L) {
    const struct report *r = lua_touserdata(L, 1);
    bool failed = r->note->kind == LAB_REFUSED && r->note->n > 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->server->on_lab);
    lua_pushstring(L, names[r->note->kind]);
    lua_pushinteger(L, r->note->n);
    lua_pushinteger(L, r->note->ended);
    if (failed) lua_pushstring(L, status_text((int)-r->note->n));
    lua_call(L, failed ? 4 : 3, 0);
    return 0;
}

static void on_note(void *context, const struct lab_note *note) {
    struct report r = {context, note};
    lx_server_call(context, push_note, &r);
}

/* server:lab{ port =, host =, to =, seed =, on = fn(name, n, ended[, why]) } -> port
 *   | nil, message, code: one in a server's life */
static int l_lab(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, !s->lab, 1, "it has a lab already");
    struct slice host = lx_field_slice(L, 2, "host"); /* the table keeps it */
    struct lab_options o = {
        .port = lx_field_port(L, 2, "port"), .on_note = on_note, .context = s};
    uint16_t to = lx_field_port(L, 2, "to");
    if (lua_getfield(L, 2, "seed") == LUA_TNUMBER)
        o.seed = (uint64_t)lua_tointeger(L, -1);
    lua_getfield(L, 2, "on");
    luaL_checktype(L, -1, LUA_TFUNCTION);
    int err = lx_find_address(host, to, &o.to, &o.to_n);
    if (err < 0) return lx_fail_text(L, err, "no address has this name");
    luaL_unref(L, LUA_REGISTRYINDEX, s->on_lab);
    s->on_lab = luaL_ref(L, LUA_REGISTRYINDEX);
    err = lab_new(&s->lab, &s->server->loop, &o);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, lab_port(s->lab));
    return 1;
}

static struct lab *check_lab(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_argcheck(L, s->lab, 1, "it has no lab");
    return s->lab;
}

static int64_t field(lua_State *L, const char *name) {
    double n = lx_field_number(L, 2, name, 0);
    if (!(n >= 0 && n <= 1e12)) luaL_error(L, "'%s' is out of range", name);
    return (int64_t)n;
}

/* server:lab_set(faults): see lab/faults.h; whole numbers */
static int l_set(lua_State *L) {
    struct lab *lab = check_lab(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct lab_faults f = {.latency_ms = field(L, "latency_ms"),
                           .jitter_ms = field(L, "jitter_ms"),
                           .bandwidth = field(L, "bandwidth"),
                           .hold_ms = field(L, "hold_ms"),
                           .byte_at_a_time = lx_field_bool(L, 2, "byte_at_a_time", false),
                           .cut_ms = field(L, "cut_ms"),
                           .stall_ms = field(L, "stall_ms"),
                           .stall_every_ms = field(L, "stall_every_ms"),
                           .away_ms = field(L, "away_ms"),
                           .away_every_ms = field(L, "away_every_ms"),
                           .idle_ms = field(L, "idle_ms"),
                           .cut_by_end = lx_field_bool(L, 2, "cut_by_end", false)};
    lab_set(lab, &f);
    return 0;
}

/* server:lab_do("cut" | "calm" | "stall" | "away" | "slow"[, ms[, bandwidth]]): now */
static int l_do(lua_State *L) {
    static const char *const words[] = {"cut", "calm", "stall", "away", "slow", NULL};
    struct lab *lab = check_lab(L);
    int word = luaL_checkoption(L, 2, NULL, words);
    int64_t ms = luaL_optinteger(L, 3, 0), bandwidth = luaL_optinteger(L, 4, 1);
    luaL_argcheck(L, word < 2 || (ms > 0 && ms <= 1000000000), 3, "ms from 1");
    luaL_argcheck(L, bandwidth > 0 && bandwidth <= 1000000000000, 4, "bytes from 1");
    switch (word) {
    case 0: lab_cut(lab); break;
    case 1: lab_calm(lab); break;
    case 2: lab_begin(lab, WEATHER_STALL, ms); break;
    case 3: lab_begin(lab, WEATHER_AWAY, ms); break;
    default: lab_slow(lab, ms, bandwidth); break;
    }
    return 0;
}

/* server:lab_counts() -> { open =, all =, up =, down =, sends =, stalled =, away =, slow =,
 *   faults = { name = n } } */
static int l_counts(lua_State *L) {
    struct lab_counts counts = lab_counts(check_lab(L));
    lua_createtable(L, 0, 9);
    lx_set_integer(L, "open", counts.open);
    lx_set_integer(L, "all", counts.all);
    lx_set_integer(L, "up", counts.up);
    lx_set_integer(L, "down", counts.down);
    lx_set_integer(L, "sends", counts.sends);
    lx_set_boolean(L, "stalled", counts.stalled);
    lx_set_boolean(L, "away", counts.away);
    lx_set_boolean(L, "slow", counts.slow);
    lua_createtable(L, 0, LAB_KINDS);
    for (int i = 0; i < LAB_KINDS; i++) lx_set_integer(L, names[i], counts.notes[i]);
    lua_setfield(L, -2, "faults");
    return 1;
}

void lx_server_add_lab(lua_State *L) {
    static const luaL_Reg methods[] = {{"lab", l_lab},
                                       {"lab_set", l_set},
                                       {"lab_do", l_do},
                                       {"lab_counts", l_counts},
                                       {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
