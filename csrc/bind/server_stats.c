/* Figures of the server object: of the whole, of a channel, of clients. */
#include "base/clock.h"
#include "base/status.h"
#include "bind/server_type.h"
#include "serve/app/accounts.h"

static void set_counts(lua_State *L, const struct tally_counts *counts) {
    lx_set_integer(L, "conflated", counts->conflated);
    lx_set_integer(L, "dropped", counts->dropped);
    lx_set_integer(L, "resets", tally_resets(counts));
    lua_createtable(L, 0, RESET_REASONS);
    for (int i = RESET_NONE + 1; i < RESET_REASONS; i++)
        lx_set_integer(L, reason_reset((enum reset_reason)i)->word, counts->resets[i]);
    lua_setfield(L, -2, "reset_reasons");
}

/* Argument 1, with the clients as the workers know them. */
static struct server *check_fresh(lua_State *L) {
    struct server *s = lx_checkserver(L)->server;
    server_catch_up(s);
    return s;
}

/* Of one channel, or with an empty name of all streams. */
static void set_lag(lua_State *L, const struct server *s, struct slice channel) {
    uint32_t behind;
    struct lag lag = accounts_lag(s, channel, &behind);
    lx_set_integer(L, "behind", behind);
    lx_set_integer(L, "lag_events", lag.events);
    lx_set_integer(L, "lag_bytes", lag.bytes);
}

/* ---- One channel -------------------------------------------------------------------- */

static void set_held(lua_State *L, const struct server *s, const struct chan *c) {
    const struct kept *k = c ? c->kept : NULL;
    size_t bytes = k && k->latest ? k->latest->bytes : 0;
    if (k && c->kind != CHANNEL_STATE) bytes = k->ring_bytes;
    lx_set_integer(L, "published", k ? k->events : 0);
    lx_set_integer(L, "published_bytes", k ? k->bytes : 0);
    lx_set_integer(L, "held", c ? chan_events(c) : 0);
    lx_set_integer(L, "held_bytes", bytes);
    if (!k || !c->known || c->kind == CHANNEL_STATE || c->policy->local) return;
    lx_pushid(L, s, k->last);
    lua_setfield(L, -2, "last");
}

/* Without a budget nothing is added up. */
static void set_budget(lua_State *L, struct server *s, struct slice name) {
    struct budget_state state = budgets_of(s, name);
    lx_set_boolean(L, "over_budget", state.over);
    lx_set_integer(L, "minute_bytes", state.bytes);
}

static int channel_stats(lua_State *L, struct server *s, struct slice name) {
    const struct chan *c = chans_find(&s->fan.chans, name);
    struct policy policy = policy_of(s->fan.chans.policies.set, name);
    struct tally_counts counts = accounts_of(s, name);
    lua_createtable(L, 0, 20);
    lua_pushstring(L, lx_kind_name(policy_kind(&policy)));
    lua_setfield(L, -2, "kind");
    lx_set_boolean(L, "shared", !policy.local);
    lx_set_integer(L, "subscribers", server_subscribers(s, name));
    set_held(L, s, c);
    lx_set_integer(L, "delivered", counts.delivered);
    lx_set_integer(L, "delivered_bytes", counts.delivered_bytes);
    set_counts(L, &counts);
    set_lag(L, s, name);
    set_budget(L, s, name);
    return 1;
}

/* ---- The server --------------------------------------------------------------------- */

/* server:stats([channel]) -> figures of the server, or of one channel */
static int l_stats(lua_State *L) {
    struct server *s = check_fresh(L);
    if (!lua_isnoneornil(L, 2)) return channel_stats(L, s, lx_checkslice(L, 2));
    lua_createtable(L, 0, 31);
    struct hub_totals totals = hub_totals(&s->hub);
    lx_set_integer(L, "requests", totals.requests);
    lx_set_integer(L, "accepted", totals.accepted);
    lx_set_integer(L, "connections", totals.connections);
    lx_set_integer(L, "streams", totals.streams);
    lx_set_integer(L, "delivered", totals.delivered);
    lx_set_integer(L, "delivered_bytes", totals.delivered_bytes);
    lx_set_integer(L, "slow", totals.slow);
    lx_set_integer(L, "compressions", totals.compressions);
    lx_set_integer(L, "compressed_from", totals.compressed_from);
    lx_set_integer(L, "compressed_to", totals.compressed_to);
    lx_set_integer(L, "tls_handshakes", totals.tls_handshakes);
    lx_set_integer(L, "tls_resumed", totals.tls_resumed);
    lx_set_integer(L, "tls_failed", totals.tls_failed);
    lx_set_integer(L, "published", s->published);
    lx_set_integer(L, "published_bytes", s->published_bytes);
    lx_set_integer(L, "clients", s->clients.n);
    lx_set_integer(L, "active_users", server_active_users(s));
    lx_set_integer(L, "channels", s->fan.chans.map.n);
    lx_set_integer(L, "held_bytes", s->held);
    lx_set_number(L, "loop_lag_ms", app_lag_ms(&s->lag));
    lx_set_refused(L, &s->hub.limits);
    lx_set_integer(L, "over_budget", s->budgets.n_over);
    set_counts(L, &s->counted);
    set_lag(L, s, slice_of("", 0));
    lua_pushstring(L, s->fan.epoch);
    lua_setfield(L, -2, "epoch");
    lua_pushstring(L, totals.rings > 0 ? "io_uring" : "send");
    lua_setfield(L, -2, "sends_by");
    return 1;
}

/* ---- Clients ------------------------------------------------------------------------ */

/* 'b' NULL: it is not behind. */
static void push_client(lua_State *L, const struct client *c, const struct lagging *b) {
    lua_createtable(L, 0, 8);
    lx_set_integer(L, "events", atomic_load_explicit(&c->events, memory_order_relaxed));
    lx_set_integer(L, "bytes", atomic_load_explicit(&c->bytes, memory_order_relaxed));
    lx_set_integer(L, "resets", atomic_load_explicit(&c->resets, memory_order_relaxed));
    lx_set_integer(L, "lag_events", b ? b->lag.events : 0);
    lx_set_integer(L, "lag_bytes", b ? b->lag.bytes : 0);
    lx_set_number(L, "behind_for", b ? (double)(clock_ms() - b->since_ms) / 1000 : 0);
    if (!b || !b->most) return;
    lx_pushslice(L, slice_of(b->most->channel, b->most->channel_n));
    lua_setfield(L, -2, "channel");
}

/* server:client_stats(id) -> figures | nil, message, code */
static int l_client_stats(lua_State *L) {
    const struct server *s = check_fresh(L);
    const struct client *c = server_find_client(s, lx_checkslice(L, 2));
    if (!c) return lx_fail(L, E_CLOSED);
    push_client(L, c, accounts_lagging(c));
    return 1;
}

/* server:slowest(n) -> { { id =, … }, … } */
static int l_slowest(lua_State *L) {
    const struct server *s = check_fresh(L);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, n >= 1 && n <= SLOWEST_MAX, 2, "a number from 1 to 1000");
    const struct lagging **list = lx_scratch(L, (size_t)n * sizeof *list);
    uint32_t found = accounts_slowest(s, list, (uint32_t)n);
    lua_createtable(L, (int)found, 0);
    for (uint32_t i = 0; i < found; i++) {
        push_client(L, server_find_client(s, slice_str(list[i]->client)), list[i]);
        lua_pushstring(L, list[i]->client);
        lua_setfield(L, -2, "id");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

void lx_server_add_stats(lua_State *L) {
    static const luaL_Reg methods[] = {{"stats", l_stats},
                                       {"client_stats", l_client_stats},
                                       {"slowest", l_slowest},
                                       {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
