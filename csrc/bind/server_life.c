/* The life of the server object: made, configured, run, closed. */
#include "base/mem.h"
#include "base/status.h"
#include "bind/server_type.h"
#include "serve/app/certificates.h"
#include "serve/app/watch.h"

static int64_t field_ms(lua_State *L, int index, const char *name, double absent) {
    double seconds = lx_field_number(L, index, name, absent);
    if (!(seconds >= -1 && seconds <= 1e9)) luaL_error(L, "'%s' is out of range", name);
    return (int64_t)(seconds * 1000);
}

static enum ring_use field_ring(lua_State *L) {
    static const char *const words[] = {"off", "auto", "on", NULL};
    lua_getfield(L, 1, "io_uring");
    int use = luaL_checkoption(L, -1, "off", words);
    lua_pop(L, 1);
    return (enum ring_use)use;
}

/* Listening sockets that were handed over; core.listening has looked at them. */
static void field_handed(lua_State *L, struct serve_options *o) {
    if (lua_getfield(L, 1, "handed") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_Unsigned n = lua_rawlen(L, -1);
        luaL_argcheck(L, n <= HANDED_MAX, 1, "too many sockets are handed over");
        for (; o->n_handed < n; o->n_handed++) {
            lua_rawgeti(L, -1, (lua_Integer)o->n_handed + 1);
            o->handed[o->n_handed] = (int)luaL_checkinteger(L, -1);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

/* False: it is not wanted. */
static bool field_port(lua_State *L, const char *name, uint16_t *port) {
    double n = lx_field_number(L, 1, name, -1);
    *port = n > 0 ? (uint16_t)n : 0;
    return n >= 0;
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
    o->has_metrics = field_port(L, "metrics_port", &o->metrics_port);
    o->has_agent = field_port(L, "agent_port", &o->agent_port);
    o->tls_handed = (int)lx_field_number(L, 1, "tls_handed", 0);
    o->tls_port = (uint16_t)lx_field_number(L, 1, "tls_port", 0);
    o->tls_redirect = lx_field_bool(L, 1, "tls_redirect", false);
    o->h2c = lx_field_bool(L, 1, "h2c", false);
    o->trust_proxy = lx_field_bool(L, 1, "trust_proxy", false);
    o->trace = lx_field_bool(L, 1, "trace", true);
    o->rehearsal = lx_field_bool(L, 1, "rehearsal", false);
    o->io_uring = field_ring(L);
    field_handed(L, o);
    o->delay_writes = lx_field_bool(L, 1, "delay_writes", false);
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

static void copy_pairs(struct serve_options *o, struct filter_list certificates,
                       struct filter_list keys) {
    o->tls = mem_new((keys.n + 1) * sizeof *o->tls);
    o->n_tls = (int)keys.n;
    for (uint32_t i = 0; i < keys.n; i++)
        o->tls[i] = (struct tls_files){copy_slice(certificates.items[i]).p,
                                       copy_slice(keys.items[i]).p};
}

/* core.server(options) -> server | nil, message, code */
int lx_server_new(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct lx_server *s = lx_newserver(L);
    struct serve_options options = {0};
    read_options(L, &options);
    struct slice host = lx_field_slice(L, 1, "host");
    struct slice control = lx_field_slice(L, 1, "control");
    struct slice key = lx_field_slice(L, 1, "admin_key");
    struct slice metrics = lx_field_slice(L, 1, "metrics_host");
    struct slice tls_host = lx_field_slice(L, 1, "tls_host");
    lua_getfield(L, 1, "tls_certificates");
    struct filter_list certificates = lx_checklist(L, -1, "tls_certificates");
    lua_getfield(L, 1, "tls_keys");
    struct filter_list keys = lx_checklist(L, -1, "tls_keys");
    luaL_argcheck(L, certificates.n == keys.n, 1,
                  "a key for each certificate is expected");
    lua_getfield(L, 1, "allow_hosts");
    struct filter_list hosts = lx_checklist(L, -1, "allow_hosts");
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    s->L = lua_tothread(L, -1); /* never L itself: it may be a coroutine that dies */
    if (host.n > 0) options.host = mem_strndup(host.p, host.n);
    if (control.n > 0) options.control = mem_strndup(control.p, control.n);
    if (metrics.n > 0) options.metrics_host = mem_strndup(metrics.p, metrics.n);
    if (key.n > 0) options.admin_key = mem_strndup(key.p, key.n);
    if (tls_host.n > 0) options.tls_host = mem_strndup(tls_host.p, tls_host.n);
    copy_pairs(&options, certificates, keys);
    copy_hosts(&options, hosts);
    int err = server_new(&s->server, &options, &lx_server_events, s);
    if (err < 0) return lx_fail(L, err);
    lua_pushvalue(L, 2);
    return 1;
}

/* server:close(): also __gc and __close. Streams are cut, threads joined. */
static int l_close(lua_State *L) {
    struct lx_server *s = lx_toserver(L);
    struct server *server = s->server;
    if (server) lx_redis_close_all(s);
    s->server = NULL;
    int *references[] = {&s->on_event, &s->on_answer, &s->on_stream, &s->waiting,
                         &s->mark};
    for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
        luaL_unref(L, LUA_REGISTRYINDEX, *references[i]);
        *references[i] = LUA_NOREF;
    }
    luaL_unref(L, LUA_REGISTRYINDEX, s->on_lab);
    s->on_lab = LUA_NOREF;
    lab_free(s->lab);
    s->lab = NULL;
    crowd_free(s->crowd);
    s->crowd = NULL;
    http_out_free(s->http); /* it uses the server's loop */
    s->http = NULL;
    sql_free(s->sql); /* what it has posted goes with the mailbox */
    s->sql = NULL;
    server_free(server);
    return 0;
}

/* Take the reference of the value on top in place of another. */
static void put_callback(lua_State *L, int *reference) {
    int before = *reference;
    *reference = luaL_ref(L, LUA_REGISTRYINDEX);
    luaL_unref(L, LUA_REGISTRYINDEX, before);
}

/* server:on(fn[, on_answer, waiting, mark, on_stream]): the one function that is called with
 * what happens; and those for what is frequent: answers to tickets (a coroutine that waits for
 * one stands in 'waiting' and has yielded the mark), and streams that are asked for by a GET
 * without a query, the request's id, its route's, and a table */
static int l_on(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 6);
    put_callback(L, &s->on_stream); /* of nil it is LUA_REFNIL */
    put_callback(L, &s->mark);
    put_callback(L, &s->waiting);
    put_callback(L, &s->on_answer);
    put_callback(L, &s->on_event);
    return 0;
}

/* server:configure{ routes =, policies =, cors =, news = } -> true | ticket
 *   | nil, message, code
 * A ticket: the store converts first what is durable; then, and at the answer if all went
 * well, it has come into force. With 'news' false "open" is not reported, and "close" only for clients that want it. */
static int l_configure(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct configuration wanted = {.routes = lx_checkroutes(L, 2)}; /* in a box */
    wanted.news = lua_getfield(L, 2, "news") == LUA_TNIL || lua_toboolean(L, -1);
    if (lua_getfield(L, 2, "policies") == LUA_TNIL) lua_newtable(L);
    wanted.policies = lx_checkpolicies(L, -1);
    uint64_t ticket; /* nothing raises from here on */
    int err = server_configure(s->server, &wanted, &ticket);
    policy_set_unref(wanted.policies);
    if (err < 0) return lx_fail(L, err);
    if (ticket) lua_pushinteger(L, (lua_Integer)ticket);
    else lua_pushboolean(L, true);
    return 1;
}

static int start_failed(lua_State *L, const struct server *s, int err) {
    const struct serve_options *o = &s->hub.options;
    const char *why = server_problem(s, err);
    lua_pushnil(L);
    if (s->failed == START_LISTEN)
        lua_pushfstring(L, "cannot listen on %s port %d: %s", o->host, o->port, why);
    else if (s->failed == START_METRICS)
        lua_pushfstring(L, "cannot listen on %s port %d for metrics: %s", o->metrics_host,
                        o->metrics_port, why);
    else if (s->failed == START_TLS && certificates_problem(s)) lua_pushstring(L, why);
    else if (s->failed == START_TLS)
        lua_pushfstring(L, "cannot listen on %s port %d for TLS: %s",
                        o->tls_host ? o->tls_host : o->host, o->tls_port, why);
    else if (s->failed == START_AGENT)
        lua_pushfstring(L, "cannot listen on %s port %d for agents: %s", o->metrics_host,
                        o->agent_port, why);
    else if (s->failed == START_CONTROL)
        lua_pushfstring(L, "cannot listen on the Unix socket %s: %s", o->control, why);
    else if (s->failed == START_CLUSTER) lua_pushfstring(L, "cluster: %s", why);
    else if (s->failed == START_STORE)
        lua_pushfstring(L, "cannot start the store: %s", why);
    else if (s->failed == START_RING)
        lua_pushfstring(L, "--io-uring on: %s; with auto Sluice runs without it", why);
    else lua_pushfstring(L, "cannot start %d I/O threads: %s", (int)o->io_threads, why);
    lua_pushstring(L, status_name(err));
    return 3;
}

static void push_port(lua_State *L, uint16_t port) {
    if (port > 0) lua_pushinteger(L, port);
    else lua_pushboolean(L, false);
}

/* server:start() -> port, that for metrics | false, that for TLS | false,
 *   that for agents | false | nil, message, code */
static int l_start(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_argcheck(L, !s->server->hub.started, 1, "the server runs already");
    int err = server_start(s->server);
    if (err < 0) return start_failed(L, s->server, err);
    lua_pushinteger(L, s->server->port);
    push_port(L, s->server->metrics_port);
    push_port(L, s->server->tls_port);
    push_port(L, s->server->agent_port);
    return 4;
}

/* server:read_certificates() -> whether they are others than before
 *                             | nil, message, code: those in use go on */
static int l_read_certificates(lua_State *L) {
    char why[CERTIFICATES_WHY_MAX];
    int others = certificates_reload(lx_checkserver(L)->server, why);
    if (others >= 0) {
        lua_pushboolean(L, others);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, why);
    lua_pushstring(L, status_name(E_INVAL));
    return 3;
}

/* server:run() -> true, when all streams have ended after server:stop() */
static int l_run(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    luaL_argcheck(L, s->server->hub.started, 1, "start the server first");
    luaL_argcheck(L, !s->server->running, 1, "the server runs already");
    lua_State *before = s->L;
    s->L = L;
    server_run(s->server);
    s->L = before;
    lua_pushboolean(L, true);
    return 1;
}

/* server:stop(): report "stopping"; server:drain(): the stop hooks are done; server:leave():
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

/* server:watch(paths) -> true | nil, message, code: "changed" is reported for each of them */
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

void lx_server_add_life(lua_State *L) {
    static const luaL_Reg methods[] = {{"on", l_on},
                                       {"configure", l_configure},
                                       {"start", l_start},
                                       {"run", l_run},
                                       {"stop", l_stop},
                                       {"drain", l_drain},
                                       {"read_certificates", l_read_certificates},
                                       {"leave", l_leave},
                                       {"wake", l_wake},
                                       {"watch", l_watch},
                                       {"shut", l_close},
                                       {"__gc", l_close},
                                       {"__close", l_close},
                                       {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
