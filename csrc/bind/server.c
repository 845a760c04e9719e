/* The server object: made, configured, run; its channels. */
#include "bind/server.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "bind/rehearsal.h"
#include "serve/app/watch.h"

#include <assert.h>
#include <string.h>

static const char TYPE[] = "sluice.server";

struct lx_server *lx_checkserver(lua_State *L) {
    struct lx_server *s = lua_touserdata(L, 1);
    bool same = s && lua_getmetatable(L, 1) && /* by address: a publish asks each time */
                lua_rawgetp(L, LUA_REGISTRYINDEX, TYPE) && lua_rawequal(L, -1, -2);
    if (!same) s = luaL_checkudata(L, 1, TYPE); /* says what it is instead */
    lua_pop(L, 2);
    luaL_argcheck(L, s->server, 1, "the server is closed");
    assert(s->server);
    return s;
}

/* ---- Life --------------------------------------------------------------------------- */

static int64_t field_ms(lua_State *L, int index, const char *name, double absent) {
    double seconds = lx_field_number(L, index, name, absent);
    if (!(seconds >= -1 && seconds <= 1e9)) luaL_error(L, "'%s' is out of range", name);
    return (int64_t)(seconds * 1000);
}

/* Everything that may raise comes first; the copies are made when nothing can. */
static void read_options(lua_State *L, struct serve_options *o) {
    o->port = (uint16_t)lx_field_number(L, 1, "port", 0);
    o->io_threads = (unsigned)lx_field_number(L, 1, "io_threads", 0);
    o->heartbeat_ms = field_ms(L, 1, "heartbeat", 0);
    o->drain_ms = field_ms(L, 1, "drain", -1);
    o->head_timeout_ms = field_ms(L, 1, "head_timeout", 0);
    o->idle_timeout_ms = field_ms(L, 1, "idle_timeout", 0);
    o->body_timeout_ms = field_ms(L, 1, "body_timeout", 0);
    o->request_timeout_ms = field_ms(L, 1, "request_timeout", 0);
    o->stall_timeout_ms = field_ms(L, 1, "stall_timeout", 0);
    o->max_body = (uint64_t)lx_field_number(L, 1, "max_body", 0);
    o->memory = (uint64_t)lx_field_number(L, 1, "memory", 0);
    o->max_connections = (uint32_t)lx_field_number(L, 1, "max_connections", 0);
    o->trust_proxy = lx_field_bool(L, 1, "trust_proxy", false);
    o->rehearsal = lx_field_bool(L, 1, "rehearsal", false);
    o->signals = lx_field_bool(L, 1, "signals", false);
    o->control_needed = lx_field_bool(L, 1, "control_needed", false);
}

static struct slice copy_slice(struct slice s) {
    return slice_of(mem_strndup(s.p, s.n), s.n);
}

static void copy_hosts(struct serve_options *o, struct filter_list hosts) {
    o->hosts = mem_new((hosts.n + 1) * sizeof *o->hosts);
    o->n_hosts = hosts.n;
    for (uint32_t i = 0; i < hosts.n; i++) o->hosts[i] = copy_slice(hosts.items[i]);
}

/* core.server(options) -> server | nil, message, code */
int lx_server_new(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct lx_server *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct lx_server){.on_event = LUA_NOREF};
    luaL_setmetatable(L, TYPE);
    struct serve_options options = {0};
    read_options(L, &options);
    struct slice host = lx_field_slice(L, 1, "host");
    struct slice control = lx_field_slice(L, 1, "control");
    struct slice key = lx_field_slice(L, 1, "admin_key");
    lua_getfield(L, 1, "allow_hosts");
    struct filter_list hosts = lx_checklist(L, -1, "allow_hosts");
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    s->L = lua_tothread(L, -1); /* never L itself: it may be a coroutine that dies */
    if (host.n > 0) options.host = mem_strndup(host.p, host.n);
    if (control.n > 0) options.control = mem_strndup(control.p, control.n);
    if (key.n > 0) options.admin_key = mem_strndup(key.p, key.n);
    copy_hosts(&options, hosts);
    int err = server_new(&s->server, &options, &lx_server_events, s);
    if (err < 0) return lx_fail(L, err);
    lua_pushvalue(L, 2);
    return 1;
}

/* server:close(): also __gc and __close. Streams are cut, threads joined. */
static int l_close(lua_State *L) {
    struct lx_server *s = luaL_checkudata(L, 1, TYPE);
    struct server *server = s->server;
    s->server = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, s->on_event);
    s->on_event = LUA_NOREF;
    http_out_free(s->http); /* it uses the server's loop */
    s->http = NULL;
    server_free(server);
    return 0;
}

/* server:on(fn): the one function that is called with what happens */
static int l_on(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    int before = s->on_event;
    s->on_event = luaL_ref(L, LUA_REGISTRYINDEX);
    luaL_unref(L, LUA_REGISTRYINDEX, before);
    return 0;
}

/* server:configure{ routes =, policies =, cors =, tells = } -> true
 * Without 'tells' (true when absent) "open" is not told, "close" only of minded clients. */
static int l_configure(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct routes *routes = lx_checkroutes(L, 2); /* in a box that frees it */
    bool tells = lua_getfield(L, 2, "tells") == LUA_TNIL || lua_toboolean(L, -1);
    if (lua_getfield(L, 2, "policies") == LUA_TNIL) lua_newtable(L);
    struct policy_set *policies = lx_checkpolicies(L, -1);
    server_configure(s->server, routes, policies); /* nothing raises from here on */
    policy_set_unref(policies);
    server_tell_clients(s->server, tells);
    lua_pushboolean(L, true);
    return 1;
}

static int start_failed(lua_State *L, const struct server *s, int err) {
    const struct serve_options *o = &s->options;
    const char *why =
        err == E_ADDRESS ? "the host is an IP address or localhost" : status_text(err);
    lua_pushnil(L);
    if (s->failed == START_LISTEN)
        lua_pushfstring(L, "cannot listen on %s port %d: %s", o->host, o->port, why);
    else if (s->failed == START_CONTROL)
        lua_pushfstring(L, "cannot listen on the Unix socket %s: %s", o->control,
                        control_problem(err));
    else lua_pushfstring(L, "cannot start %d I/O threads: %s", (int)o->io_threads, why);
    lua_pushstring(L, status_name(err));
    return 3;
}

/* server:start() -> port | nil, message, code */
static int l_start(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_argcheck(L, !s->server->started, 1, "the server runs already");
    int err = server_start(s->server);
    if (err < 0) return start_failed(L, s->server, err);
    lua_pushinteger(L, s->server->port);
    return 1;
}

/* server:run() -> true, when all streams have ended after server:stop() */
static int l_run(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_argcheck(L, s->server->started, 1, "start the server first");
    luaL_argcheck(L, !s->server->running, 1, "the server runs already");
    lua_State *before = s->L;
    s->L = L;
    server_run(s->server);
    s->L = before;
    lua_pushboolean(L, true);
    return 1;
}

/* server:stop(): tell "stopping"; server:drain(): the stop hooks are done; server:leave():
 * so is what was waited for when all had "drained" */
static int l_stop(lua_State *L) {
    server_stop(lx_checkserver(L)->server);
    return 0;
}

static int l_drain(lua_State *L) {
    server_drain(lx_checkserver(L)->server);
    return 0;
}

static int l_leave(lua_State *L) {
    server_leave(lx_checkserver(L)->server);
    return 0;
}

/* server:wake([at]): the "timer" callback comes at that time of core.now(), once */
static int l_wake(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    server_wake_at(s->server, luaL_optnumber(L, 2, -1));
    return 0;
}

/* server:watch(paths) -> true | nil, message, code: "changed" is told for each of them */
static int l_watch(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, 2);
    struct slice *paths = lx_scratch(L, (size_t)(n + 1) * sizeof *paths);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        paths[i] = lx_checkslice(L, -1); /* the table keeps it */
        lua_pop(L, 1);
    }
    int err = watch_set(s->server, paths, (size_t)n);
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* ---- Channels ----------------------------------------------------------------------- */

void lx_pushid(lua_State *L, const struct server *s, uint64_t seq) {
    char text[EPOCH_LENGTH + 1 + 20], *end = text + sizeof text;
    char *start = decimal_before(end, seq);
    *--start = '-';
    start -= EPOCH_LENGTH;
    memcpy(start, s->seq.epoch, EPOCH_LENGTH);
    lua_pushlstring(L, start, (size_t)(end - start));
}

/* server:publish(channel, event, text[, key[, remove[, ttl]]])
 *   -> id | true (a state), subscribers | nil, message, code */
static int l_publish(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct event event = {.channel = lx_checkslice(L, 2),
                          .name = lx_optslice(L, 3),
                          .data = lx_checkslice(L, 4),
                          .key = lx_optslice(L, 5),
                          .remove = lua_toboolean(L, 6),
                          .ttl_ms = lx_ms(luaL_optnumber(L, 7, 0))};
    struct published done;
    int err = server_publish(s->server, &event, &done);
    if (err < 0) return lx_fail_event(L, err, &event);
    if (done.has_id) lx_pushid(L, s->server, done.seq);
    else lua_pushboolean(L, true);
    lua_pushinteger(L, done.subscribers);
    return 2;
}

/* server:policy(channel) -> { kind, history, ttl, key, max_keys, denies, max_rate, batch } */
static int l_policy(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct policy p = policy_of(s->server->fan.policies, lx_checkslice(L, 2));
    lua_createtable(L, 0, 8);
    lua_pushstring(L, lx_kind_name(policy_kind(&p)));
    lua_setfield(L, -2, "kind");
    lx_set_integer(L, "history", p.history);
    lx_set_integer(L, "max_keys", p.max_keys);
    lx_set_number(L, "ttl", (double)p.ttl_ms / 1000);
    lx_set_number(L, "max_rate", p.period_ms ? 1000.0 / p.period_ms : 0);
    lx_set_number(L, "batch", (double)p.batch_ms / 1000);
    if (p.key.n > 0) lx_pushslice(L, p.key);
    else lua_pushnil(L);
    lua_setfield(L, -2, "key");
    lua_pushboolean(L, p.reads);
    lua_setfield(L, -2, "denies");
    return 1;
}

/* server:latest(channel[, key[, event]]) -> text, id | nothing. All of the event is copied
 * before something is pushed, since a finalizer may publish meanwhile. */
static int l_latest(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice channel = lx_checkslice(L, 2);
    struct slice key = lx_optslice(L, 3), name = lx_optslice(L, 4);
    struct buf *b = lx_newbuf(L);
    struct chan *c = fan_find(&s->server->fan, channel);
    struct frame *f = c ? chan_latest(c, key, name, clock_ms()) : NULL;
    if (!f) return 0;
    if (frame_payload(f, b) < 0) return luaL_error(L, "out of memory");
    bool has_id = f->has_id;
    uint64_t seq = f->seq;
    lx_pushslice(L, buf_slice(b));
    buf_free(b);
    if (!has_id) return 1;
    lx_pushid(L, s->server, seq);
    return 2;
}

/* Frames that are held while their rows are made. */
struct held {
    size_t n, max;
    struct frame *frames[];
};

static void let_go(struct held *h) {
    while (h->n > 0) frame_unref(h->frames[--h->n]);
}

static int held_gc(lua_State *L) {
    let_go(lua_touserdata(L, 1));
    return 0;
}

/* Append { id, event, data, key } to the list on top of the stack; 'b' is scratch. */
static void add_row(lua_State *L, const struct lx_server *s, const struct frame *f,
                    struct buf *b) {
    b->n = 0;
    if (frame_payload(f, b) < 0) luaL_error(L, "out of memory");
    lua_createtable(L, 0, 4);
    if (f->has_id) {
        lx_pushid(L, s->server, f->seq);
        lua_setfield(L, -2, "id");
    }
    lx_pushslice(L, f->name);
    lua_setfield(L, -2, "event");
    lx_pushslice(L, buf_slice(b));
    lua_setfield(L, -2, "data");
    if (f->key.n > 0) {
        lx_pushslice(L, f->key);
        lua_setfield(L, -2, "key");
    }
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* Where the last 'limit' events above 'after' with that name begin. Two walks, so that no
 * list of all is made. */
struct selection {
    const struct chan *c;
    struct slice name;
    uint64_t after, skip;
    int64_t now_ms;
};

static bool is_selected(const struct selection *sel, const struct frame *f) {
    bool named = sel->name.n == 0 || slice_eq(f->name, sel->name);
    return named && f->seq > sel->after && !frame_is_over(f, sel->now_ms) &&
           !(f->remove && sel->c->kind == CHANNEL_STATE);
}

static void hold(const struct selection *sel, struct frame *f, uint64_t *n,
                 struct held *out) {
    if (!is_selected(sel, f) || (*n)++ < sel->skip) return;
    if (out && out->n < out->max) out->frames[out->n++] = frame_ref(f);
}

/* Hold the selection; with 'out' NULL only count it. */
static uint64_t each_selected(const struct selection *sel, struct held *out) {
    const struct chan *c = sel->c;
    uint64_t n = 0;
    if (c->kind == CHANNEL_STATE) {
        for (uint32_t i = latest_after(c->latest, 0); i < c->latest->n;
             i = latest_next(c->latest, i))
            hold(sel, latest_at(c->latest, i), &n, out);
        return n;
    }
    for (uint64_t i = c->history; i < c->head; i++) hold(sel, chan_at(c, i), &n, out);
    return n;
}

/* The last 'limit' of the selection, in a box on the stack: the box comes first. */
static struct held *hold_last(lua_State *L, struct fan *fan, struct slice channel,
                              struct selection *sel, lua_Integer limit) {
    struct chan *c = fan_find(fan, channel);
    size_t max = c ? chan_events(c) : 0;
    if (max > (size_t)limit) max = (size_t)limit;
    struct held *h = lx_box(L, sizeof *h + max * sizeof *h->frames, held_gc);
    h->max = max;
    sel->c = fan_find(fan, channel);
    if (!sel->c) return h;
    uint64_t n = each_selected(sel, NULL);
    if (n > max) sel->skip = n - max;
    each_selected(sel, h);
    return h;
}

/* server:history(channel, limit[, after[, event]])
 *   -> { {id, event, data, key}, … } | nil, message, code */
static int l_history(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice channel = lx_checkslice(L, 2);
    struct selection sel = {.name = lx_optslice(L, 5), .now_ms = clock_ms()};
    lua_Integer limit = luaL_optinteger(L, 3, 100);
    luaL_argcheck(L, limit >= 0, 3, "0 or more");
    struct eventid after = eventid_parse(lx_optslice(L, 4));
    if (after.kind != EVENTID_NONE && after.kind != EVENTID_GOOD)
        return lx_fail_text(L, E_INVAL, "'after' is not the id of an event");
    if (strcmp(after.epoch, s->server->seq.epoch) == 0) sel.after = after.seq;
    lua_settop(L, 5);
    struct buf *b = lx_newbuf(L);
    struct held *h = hold_last(L, &s->server->fan, channel, &sel, limit);
    lua_createtable(L, (int)h->n, 0);
    for (size_t i = 0; i < h->n; i++) add_row(L, s, h->frames[i], b);
    buf_free(b);
    let_go(h);
    return 1;
}

/* server:channels([pattern]) -> names of the channels that hold or held events */
static int l_channels(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice pattern = lx_optslice(L, 2);
    struct capture captures[PATTERN_CAPTURES_MAX];
    struct buf *names = lx_newbuf(L);
    for (struct map_node *node = map_next(&s->server->fan.channels, NULL); node;
         node = map_next(&s->server->fan.channels, node)) {
        if (pattern.n > 0 && pattern_match(pattern, node->key, captures) < 0) continue;
        lx_addname(L, names, node->key);
    }
    lx_pushnames(L, names);
    return 1;
}

static int l_subscribers(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    server_catch_up(s->server);
    lua_pushinteger(L, server_subscribers(s->server, lx_checkslice(L, 2)));
    return 1;
}

void lx_server_type(lua_State *L) {
    static const luaL_Reg methods[] = {{"on", l_on},
                                       {"configure", l_configure},
                                       {"start", l_start},
                                       {"run", l_run},
                                       {"stop", l_stop},
                                       {"drain", l_drain},
                                       {"leave", l_leave},
                                       {"wake", l_wake},
                                       {"watch", l_watch},
                                       {"publish", l_publish},
                                       {"policy", l_policy},
                                       {"latest", l_latest},
                                       {"history", l_history},
                                       {"channels", l_channels},
                                       {"subscribers", l_subscribers},
                                       {"shut", l_close},
                                       {"__gc", l_close},
                                       {"__close", l_close},
                                       {NULL, NULL}};
    if (!luaL_newmetatable(L, TYPE)) { /* required again in the same state */
        lua_pop(L, 1);
        return;
    }
    luaL_setfuncs(L, methods, 0);
    lx_server_add_clients(L);
    lx_server_add_stats(L);
    lx_server_add_http_out(L);
    rehearsal_add_methods(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_rawsetp(L, LUA_REGISTRYINDEX, TYPE);
}
