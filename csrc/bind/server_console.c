/* What the console shows of the server object, once a second while somebody looks: figures that
 * are counted anyway, and who was sent most. */
#include "base/bounds.h"
#include "base/log_tail.h"
#include "bind/server_type.h"
#include "serve/app/accounts.h"
#include "serve/app/top.h"

/* What its streams were sent, without those of the console itself. */
static void set_delivered(lua_State *L, const struct server *s,
                          const struct hub_totals *totals) {
    uint64_t events = s->hidden_events, bytes = s->hidden_bytes;
    for (struct map_node *node = NULL; (node = map_next(&s->hidden, node));) {
        const struct client *c = container_of(node, struct client, node);
        events += atomic_load_explicit(&c->events, memory_order_relaxed);
        bytes += atomic_load_explicit(&c->bytes, memory_order_relaxed);
    }
    bool ahead = events > totals->delivered || bytes > totals->delivered_bytes;
    lx_set_integer(L, "delivered", ahead ? 0 : totals->delivered - events);
    lx_set_integer(L, "delivered_bytes", ahead ? 0 : totals->delivered_bytes - bytes);
}

/* server:pulse() -> figures that cost the same whatever the server has open */
static int l_pulse(lua_State *L) {
    struct server *s = lx_checkserver(L)->server;
    server_catch_up(s);
    struct hub_totals totals = hub_totals(&s->hub);
    uint32_t behind;
    struct lag lag = accounts_lag(s, slice_of("", 0), &behind);
    lua_createtable(L, 0, 24);
    lx_set_integer(L, "connections", totals.connections);
    lx_set_integer(L, "requests", totals.requests);
    set_delivered(L, s, &totals);
    lx_set_integer(L, "slow", totals.slow);
    lx_set_integer(L, "published", s->published);
    lx_set_integer(L, "published_bytes", s->published_bytes);
    lx_set_integer(L, "conflated", s->counted.conflated);
    lx_set_integer(L, "dropped", s->counted.dropped);
    lx_set_integer(L, "resets", tally_resets(&s->counted));
    lx_set_integer(L, "streams", s->clients.n); /* without those of the console itself */
    lx_set_refused(L, &s->hub.limits);
    lx_set_integer(L, "channels", s->fan.chans.map.n);
    lx_set_integer(L, "held_bytes", s->held);
    lx_set_integer(L, "held_most", s->hub.options.memory);
    lx_set_integer(L, "behind", behind);
    lx_set_integer(L, "lag_bytes", lag.bytes);
    lx_set_number(L, "loop_lag_ms", app_lag_ms(&s->lag));
    return 1;
}

/* ---- Who was sent most ---------------------------------------------------------------- */

static struct top *checktop(lua_State *L, const struct server *s) {
    if (!s->top) luaL_error(L, "server:top_begin() comes first");
    return s->top;
}

/* server:top_begin(): a round begins; server:top_end(): nobody looks any more */
static int l_top_begin(lua_State *L) {
    struct server *s = lx_checkserver(L)->server;
    if (!s->top) s->top = top_new();
    top_begin(s->top);
    return 0;
}

static int l_top_end(lua_State *L) {
    struct server *s = lx_checkserver(L)->server;
    top_free(s->top);
    s->top = NULL;
    return 0;
}

/* server:top_look() -> whether the round has ended; else there is more to look at */
static int l_top_look(lua_State *L) {
    struct server *s = lx_checkserver(L)->server;
    struct top *t = checktop(L, s);
    server_catch_up(s);
    lua_pushboolean(L, top_look(t, s, TOP_LOOKS_MAX));
    return 1;
}

static void set_rows(lua_State *L, const char *field, const struct top_list *list) {
    lua_createtable(L, (int)list->n, 0);
    for (uint32_t i = 0; i < list->n; i++) {
        lua_createtable(L, 0, 2);
        lx_pushslice(L, list->best[i].name);
        lua_setfield(L, -2, "name");
        lx_set_integer(L, "bytes", list->best[i].bytes);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, field);
}

/* server:top() -> { clients = { { name, bytes }, … }, channels =, routes = { [id] = clients },
 * left_out = how many nobody looked at }: of a round that has ended */
static int l_top(lua_State *L) {
    const struct server *s = lx_checkserver(L)->server;
    const struct top *t = checktop(L, s);
    lua_createtable(L, 0, 4);
    lx_set_integer(L, "left_out", (uint64_t)t->clients.left_out + t->channels.left_out);
    set_rows(L, "clients", &t->clients);
    set_rows(L, "channels", &t->channels);
    lua_newtable(L);
    for (uint32_t i = 0; i < t->n_routes; i++) {
        if (t->routes[i] == 0) continue;
        lua_pushinteger(L, t->routes[i]);
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    lua_setfield(L, -2, "routes");
    return 1;
}

void lx_server_add_console(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"pulse", l_pulse}, {"top_begin", l_top_begin}, {"top_look", l_top_look},
        {"top", l_top},     {"top_end", l_top_end},     {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}

/* core.log_tail(after, most) -> lines of JSON behind that number, the number of the newest */
int lx_log_tail(lua_State *L) {
    lua_Integer after = luaL_checkinteger(L, 1), most = luaL_checkinteger(L, 2);
    luaL_argcheck(L, after >= 0, 1, "0 or more");
    luaL_argcheck(L, most >= 1 && most <= 1000, 2, "1 to 1000");
    struct buf *b = lx_newbuf(L);
    uint64_t last;
    if (log_tail_read((uint64_t)after, (uint32_t)most, b, &last) < 0)
        return luaL_error(L, "out of memory");
    lx_pushslice(L, buf_slice(b));
    buf_free(b);
    lua_pushinteger(L, (lua_Integer)last);
    return 2;
}
