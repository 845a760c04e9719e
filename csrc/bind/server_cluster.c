/* The cluster of the server object: joined before the start, and looked at. What is published is
 * committed as on a durable channel (server_durable.c). */
#include "base/pattern.h"
#include "base/rand.h"
#include "base/status.h"
#include "bind/server_type.h"
#include "cluster/notice.h"
#include "fan/shared.h"
#include "serve/app/shared.h"
#include "serve/cluster.h"

#define FEED_ENTRY_BYTES 640 /* about what an entry of the feed takes */
#define FEED_EVENTS_LEAST 1000
#define FEED_EVENTS_MOST 100000

static const char *text_of(lua_State *L, const char *name) {
    return lx_field_slice(L, 2, name).p; /* the table keeps it; NULL: none */
}

static uint32_t feed_events(double bytes) {
    double events = bytes / FEED_ENTRY_BYTES;
    if (events < FEED_EVENTS_LEAST) return FEED_EVENTS_LEAST;
    return events > FEED_EVENTS_MOST ? FEED_EVENTS_MOST : (uint32_t)events;
}

/* server:cluster_open{ host =, port = | path =, db =, user =, password = | password_file =, tls =,
 * ca =, cert =, key =, sni =, on_disk =, replicas =, wait_ms =, asserts_disk =, sentinels =, set =, sentinel_password =, name =, feed =, node =, by_hand = } -> true | nil, message, code: after configure, before start */
static int l_cluster_open(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct server *server = s->server;
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, !server->hub.cluster && !server->hub.started, 1,
                  "before it is started, and once");
    struct node_options o = {
        .link = {.host = text_of(L, "host"),
                 .port = (uint16_t)lx_field_number(L, 2, "port", 0),
                 .path = text_of(L, "path"),
                 .db = (uint32_t)lx_field_number(L, 2, "db", 0),
                 .user = text_of(L, "user"),
                 .password = text_of(L, "password"),
                 .password_file = text_of(L, "password_file"),
                 .durable = {lx_field_bool(L, 2, "on_disk", false),
                             (uint32_t)lx_field_number(L, 2, "replicas", 0),
                             (uint32_t)lx_field_number(L, 2, "wait_ms", 1000)},
                 .asserts_disk = lx_field_bool(L, 2, "asserts_disk", false),
                 .sentinels = text_of(L, "sentinels"),
                 .set = text_of(L, "set"),
                 .sentinel_password = text_of(L, "sentinel_password"),
                 .tls = {lx_field_bool(L, 2, "tls", false), text_of(L, "ca"),
                         text_of(L, "cert"), text_of(L, "key"), text_of(L, "sni")},
                 .name = text_of(L, "name"),
                 .client = "sluice",
                 .by_hand = lx_field_bool(L, 2, "by_hand", false)},
        .label = text_of(L, "node"),
        .feed_events = feed_events(lx_field_number(L, 2, "feed", 0))};
    rand_bytes(&o.seed, sizeof o.seed);
    int err = cluster_open(&server->hub.cluster, &server->hub, &o);
    if (err < 0) return lx_fail(L, err);
    fan_share(&server->fan);
    cluster_hold(server->hub.cluster, server->fan.chans.policies.set);
    cluster_let_go(server->hub.cluster);
    lua_pushboolean(L, true);
    return 1;
}

/* server:cluster_want(channel[, for good]) -> ticket | nothing: the channel is here */
static int l_cluster_want(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    uint64_t ticket;
    if (shared_has(s->server, lx_checkslice(L, 2), lua_toboolean(L, 3), &ticket))
        return 0;
    lua_pushinteger(L, (lua_Integer)ticket);
    return 1;
}

/* server:cluster_hear(channel): it is here for good, and the app is told of its events */
static int l_cluster_hear(lua_State *L) {
    const struct server *s = lx_checkserver(L)->server;
    struct slice channel = lx_checkslice(L, 2);
    bool heard = s->hub.cluster && pattern_check_channel(channel) == 0;
    if (heard && !chans_is_local(&s->fan.chans, channel))
        cluster_hear(s->hub.cluster, channel);
    return 0;
}

/* server:cluster_tell(letter, name, to, text) -> ticket | nil, message, code */
static int l_cluster_tell(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice letter = lx_checkslice(L, 2);
    luaL_argcheck(L, s->server->hub.cluster, 1, "a node of a cluster");
    luaL_argcheck(L, letter.n == 1 && notice_is_known(*letter.p), 2, "no such letter");
    struct shared_notice n = {.letter = *letter.p,
                              .name = lx_checkslice(L, 3),
                              .to = lx_optslice(L, 4),
                              .text = lx_checkslice(L, 5)};
    uint64_t ticket;
    int err = shared_tell(s->server, &n, &ticket);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, (lua_Integer)ticket);
    return 1;
}

/* server:cluster_nodes_of(client id) -> how many nodes it may be of, whether this may be it */
static int l_cluster_nodes_of(lua_State *L) {
    const struct hub *hub = &lx_checkserver(L)->server->hub;
    struct slice id = lx_checkslice(L, 2);
    luaL_argcheck(L, hub->cluster, 1, "a node of a cluster");
    lua_pushinteger(L, cluster_nodes_of(hub->cluster, id));
    lua_pushboolean(L, id.n >= CLUSTER_MARK_LENGTH &&
                           memcmp(id.p, hub->mark, CLUSTER_MARK_LENGTH) == 0);
    return 2;
}

static void set_counts(lua_State *L, const struct machine_counts *c) {
    lx_set_integer(L, "published", c->published);
    lx_set_integer(L, "refused", c->refused);
    lx_set_integer(L, "refused_busy", c->busy);
    lx_set_integer(L, "refused_full", c->full);
    lx_set_integer(L, "refused_store", c->unkept);
    lx_set_integer(L, "unknown", c->unknown);
    lx_set_integer(L, "resent", c->resent);
    lx_set_integer(L, "holes", c->holes);
    lx_set_integer(L, "loads", c->loads);
    lx_set_integer(L, "epochs", c->epochs);
    lx_set_integer(L, "marks", c->marks);
    lx_set_integer(L, "joins", c->joins);
    lx_set_integer(L, "cold", c->cold);
}

static void set_figures(lua_State *L, const struct node_figures *f) {
    lx_set_integer(L, "bad_entries", f->bad_entries);
    lx_set_integer(L, "evictions", f->evictions);
    lx_set_integer(L, "reaped", f->reaped);
    lx_set_number(L, "round_trip_seconds", (double)f->round_trip_us / 1e6);
    lx_set_number(L, "read_lag_seconds", (double)f->read_lag_ms / 1e3);
}

/* server:cluster_look() -> table | nothing: it serves alone */
static int l_cluster_look(lua_State *L) {
    static const char *const states[] = {"away", "proving", "catching up", "live"};
    struct lx_server *s = lx_checkserver(L);
    struct cluster_look look;
    if (!s->server->hub.cluster) return 0;
    cluster_look(s->server->hub.cluster, &look);
    lua_createtable(L, 0, 40);
    lua_pushstring(L, states[look.state]);
    lua_setfield(L, -2, "state");
    lua_pushstring(L, look.epoch);
    lua_setfield(L, -2, "epoch");
    lua_pushstring(L, look.slot);
    lua_setfield(L, -2, "slot");
    lua_pushstring(L, look.leader);
    lua_setfield(L, -2, "leader");
    lx_set_integer(L, "unlike", look.unlike);
    lx_set_integer(L, "led", look.is_led);
    lx_set_integer(L, "writable", look.is_writable);
    if (look.trouble[0]) {
        lua_pushstring(L, look.trouble);
        lua_setfield(L, -2, "trouble");
    }
    lx_set_integer(L, "leads", cluster_leads(s->server->hub.cluster) > 0);
    lx_set_integer(L, "pos", look.pos);
    lx_set_integer(L, "lag", look.known - look.pos);
    lx_set_integer(L, "nodes", look.nodes);
    lx_set_integer(L, "warm", look.warm);
    set_figures(L, &look.figures);
    lx_set_integer(L, "conflicts", look.conflicts);
    lx_set_number(L, "away_seconds", look.away_seconds);
    set_counts(L, &look.counts);
    return 1;
}

/* server:cluster_leads() -> its token | nil, Redis' time in seconds */
static int l_cluster_leads(lua_State *L) {
    const struct cluster *c = lx_checkserver(L)->server->hub.cluster;
    uint64_t token = c ? cluster_leads(c) : 0;
    if (token > 0) lua_pushinteger(L, (lua_Integer)token);
    else lua_pushnil(L);
    lua_pushnumber(L, c ? (double)cluster_time_ms(c) / 1000 : 0);
    return 2;
}

/* server:cluster_give_up_lead(): it stops */
static int l_cluster_give_up_lead(lua_State *L) {
    struct cluster *c = lx_checkserver(L)->server->hub.cluster;
    if (c) cluster_give_up_lead(c);
    return 0;
}

void lx_server_add_cluster(lua_State *L) {
    static const luaL_Reg methods[] = {{"cluster_open", l_cluster_open},
                                       {"cluster_look", l_cluster_look},
                                       {"cluster_leads", l_cluster_leads},
                                       {"cluster_give_up_lead", l_cluster_give_up_lead},
                                       {"cluster_want", l_cluster_want},
                                       {"cluster_hear", l_cluster_hear},
                                       {"cluster_tell", l_cluster_tell},
                                       {"cluster_nodes_of", l_cluster_nodes_of},
                                       {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
