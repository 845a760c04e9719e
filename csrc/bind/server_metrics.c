/* What a scraper is told that app:stats does not say: by pattern of channels, by thread, and how
 * often something took how long. The text is made in Lua (lua/sluice/requests/metrics.lua). */
#include "base/version.h"
#include "bind/server_type.h"
#include "net/tls_server.h"
#include "serve/app/durable.h"
#include "store/store.h"

static uint64_t read_count(const _Atomic uint64_t *count) {
    return atomic_load_explicit(count, memory_order_relaxed);
}

/* { count of each bucket, …; sum = } */
static void set_histogram(lua_State *L, const char *name, const struct histogram *h) {
    lua_createtable(L, HISTOGRAM_BOUNDS + 1, 1);
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        lua_pushinteger(L, (lua_Integer)read_count(&h->n[i]));
        lua_rawseti(L, -2, i + 1);
    }
    lx_set_integer(L, "sum", read_count(&h->sum));
    lua_setfield(L, -2, name);
}

static void set_scale(lua_State *L, const char *name, histogram_scale scale) {
    lua_createtable(L, HISTOGRAM_BOUNDS, 0);
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        lua_pushinteger(L, (lua_Integer)scale[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, name);
}

/* ---- Patterns ----------------------------------------------------------------------- */

static void set_resets(lua_State *L, const struct tally_counts *counts) {
    lua_createtable(L, 0, RESET_REASONS);
    for (int i = RESET_NONE + 1; i < RESET_REASONS; i++)
        lx_set_integer(L, reason_reset((enum reset_reason)i)->word, counts->resets[i]);
    lua_setfield(L, -2, "resets");
}

static void push_group(lua_State *L, const struct group *g) {
    lua_createtable(L, 0, 19);
    lua_pushstring(L, g->pattern);
    lua_setfield(L, -2, "pattern");
    lx_set_integer(L, "published", g->published);
    lx_set_integer(L, "published_bytes", g->published_bytes);
    lx_set_integer(L, "delivered", g->counts.delivered);
    lx_set_integer(L, "delivered_bytes", g->counts.delivered_bytes);
    lx_set_integer(L, "over_budget", g->over_budget);
    lx_set_integer(L, "budget_alarms", g->budget_alarms);
    lx_set_integer(L, "conflated", g->counts.conflated);
    lx_set_integer(L, "dropped", g->counts.dropped);
    lx_set_integer(L, "channels", g->channels);
    lx_set_integer(L, "subscribers", g->subscribers);
    lx_set_integer(L, "held", g->held);
    lx_set_integer(L, "held_bytes", g->held_bytes);
    lx_set_integer(L, "behind", g->behind);
    lx_set_integer(L, "lag_events", g->lag.events);
    lx_set_integer(L, "lag_bytes", g->lag.bytes);
    set_resets(L, &g->counts);
}

static void set_groups(lua_State *L, struct server *s) {
    groups_measure(s);
    lua_createtable(L, (int)s->groups.n, 0);
    for (uint32_t i = 0; i < s->groups.n; i++) {
        push_group(L, s->groups.list[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "patterns");
}

/* ---- Threads ------------------------------------------------------------------------ */

static void set_ended(lua_State *L, const struct lane_counters *c) {
    lua_createtable(L, 0, END_REASONS);
    for (int i = END_NONE + 1; i < END_REASONS; i++)
        lx_set_integer(L, reason_end((enum end_reason)i)->word, read_count(&c->ended[i]));
    lua_setfield(L, -2, "ended");
    lua_createtable(L, ANSWERS - 1, 0);
    for (int i = 1; i < ANSWERS; i++) {
        lua_pushinteger(L, (lua_Integer)read_count(&c->answered[i]));
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, -2, "answered");
}

static void set_tls_failed(lua_State *L, const struct lane_counters *c) {
    lua_createtable(L, 0, TLS_FAILURES);
    for (int i = TLS_FAILED_NOT + 1; i < TLS_FAILURES; i++)
        lx_set_integer(L, tls_failure_word((enum tls_failure)i),
                       read_count(&c->tls_failed[i]));
    lua_setfield(L, -2, "tls_failed");
}

static void push_thread(lua_State *L, const struct lane_counters *c) {
    lua_createtable(L, 0, 18);
    lx_set_integer(L, "requests", read_count(&c->requests));
    lx_set_integer(L, "accepted", read_count(&c->accepted));
    lx_set_integer(L, "connections", read_count(&c->connections));
    lx_set_integer(L, "streams", read_count(&c->streams));
    lx_set_integer(L, "delivered", read_count(&c->delivered));
    lx_set_integer(L, "delivered_bytes", read_count(&c->delivered_bytes));
    lx_set_integer(L, "slow", read_count(&c->slow));
    lx_set_integer(L, "compressions", read_count(&c->compressions));
    lx_set_integer(L, "compressed_from", read_count(&c->compressed_from));
    lx_set_integer(L, "compressed_to", read_count(&c->compressed_to));
    lx_set_integer(L, "tls_handshakes", read_count(&c->tls_handshakes));
    lx_set_integer(L, "tls_resumed", read_count(&c->tls_resumed));
    set_tls_failed(L, c);
    set_ended(L, c);
    set_histogram(L, "answers", &c->answers);
    set_histogram(L, "turns", &c->turns);
    set_histogram(L, "latency", &c->latency);
    set_histogram(L, "replays", &c->replays);
}

static void set_threads(lua_State *L, const struct hub *hub) {
    lua_createtable(L, (int)hub->n_lanes, 0);
    for (unsigned i = 0; i < hub->n_lanes; i++) {
        push_thread(L, &hub->lanes[i]->counters);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "threads");
}

/* server:metrics() -> { patterns =, threads =, app_turns =, commits =, … } */
static int l_metrics(lua_State *L) {
    struct server *s = lx_checkserver(L)->server;
    server_catch_up(s);
    lua_createtable(L, 0, 10);
    set_groups(L, s);
    set_threads(L, &s->hub);
    set_histogram(L, "app_turns", &s->lag.turns);
    struct store_stats stats;
    if (durable_stats(s, &stats)) set_histogram(L, "commits", &stats.group_times);
    set_scale(L, "scale_us", histogram_us);
    set_scale(L, "scale_events", histogram_events);
    if (s->hub.tls)
        lx_set_integer(L, "tls_expires",
                       (uint64_t)tls_server_expires(s->hub.tls, &(int){0}));
    lx_set_integer(L, "max_connections", s->hub.options.max_connections);
    lx_set_integer(L, "memory", s->hub.options.memory);
    if (s->hub.max_descriptors > 0)
        lx_set_integer(L, "max_descriptors", s->hub.max_descriptors);
    lua_pushstring(L, SLUICE_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}

void lx_server_add_metrics(lua_State *L) {
    static const luaL_Reg methods[] = {{"metrics", l_metrics}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
