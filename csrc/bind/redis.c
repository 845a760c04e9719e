/* Connections to Redis that sources read, as Lua sees them: server:redis_open, redis_ask,
 * redis_close, and the callback "redis" (id, "open" | "reply" | "closed", reply | why). What is said
 * over one is sluice.redis' concern: here is no command.
 *
 *      redis_open ─▶ resolve the name ─▶ each address in turn ─▶ "open" ─▶ redis_ask … "reply"
 *                                                      any end ─▶ "closed", and the id is gone
 *
 * All on the app's loop, and nothing waits. Bounds: REDIS_OPEN_MAX, and those of cluster/wire.h. */
#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"
#include "bind/reply_tree.h"
#include "bind/server_type.h"
#include "cluster/resolve.h"
#include "cluster/wire.h"
#include "cluster/wire_tls.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>

struct redis {
    struct list node;
    struct lx_server *server;
    uint64_t id;
    struct resolve *resolve;
    struct resolved to;
    unsigned at; /* of these addresses */
    bool is_open;
    struct wire *wire;
    struct tls_client *tls; /* NULL: plain */
    char host[256];         /* that its certificate is for */
    struct ev_timer later;  /* what went wrong at once is told in a turn of its own */
    char why[192];
};

static void redis_free(struct redis *r) {
    list_remove(&r->node);
    r->server->n_redis--;
    resolve_forget(r->resolve);
    wire_free(r->wire);
    tls_client_free(r->tls);
    ev_timer_stop(r->server->server->loop.ev, &r->later);
    mem_free(r);
}

void lx_redis_close_all(struct lx_server *s) {
    if (!s->redis.next) return;
    while (!list_empty(&s->redis))
        redis_free(container_of(s->redis.next, struct redis, node));
}

/* ---- What happens --------------------------------------------------------------------- */

struct redis_report {
    struct lx_server *server;
    uint64_t id;
    const char *what, *why;
    const struct reply *reply;
};

static int push_report(lua_State *L) {
    const struct redis_report *r = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->server->on_event);
    lua_pushliteral(L, "redis");
    lua_pushinteger(L, (lua_Integer)r->id);
    lua_pushstring(L, r->what);
    if (r->reply) reply_push(L, r->reply);
    else lua_pushstring(L, r->why);
    lua_call(L, 4, 0);
    return 0;
}

/* The connection may be gone behind this. */
static void report(struct redis *r, const char *what, const char *why,
                   const struct reply *reply) {
    struct redis_report told = {r->server, r->id, what, why, reply};
    lx_server_call(r->server, push_report, &told);
}

/* Gone first, then told: the callee may open another one. */
static void end(struct redis *r, const char *why) {
    char copy[sizeof r->why];
    struct redis_report told = {r->server, r->id, "closed", copy, NULL};
    snprintf(copy, sizeof copy, "%s", why);
    redis_free(r);
    lx_server_call(told.server, push_report, &told);
}

static void on_later(struct ev_loop *ev, struct ev_timer *timer, int events) {
    struct redis *r = timer->data;
    (void)ev, (void)events;
    end(r, r->why);
}

static void end_later(struct redis *r, const char *why) {
    if (why != r->why) snprintf(r->why, sizeof r->why, "%s", why);
    ev_timer_start(r->server->server->loop.ev, &r->later);
}

static void on_opened(void *owner, struct wire *w) {
    struct redis *r = owner;
    (void)w;
    r->is_open = true;
    report(r, "open", NULL, NULL);
}

static void on_reply(void *owner, struct wire *w, uint64_t tag,
                     const struct reply *reply) {
    (void)w, (void)tag;
    report(owner, "reply", NULL, reply);
}

/* The first address, from 'at' on, that can be dialled. */
static void dial(struct redis *r);

static void on_closed(void *owner, struct wire *w, const char *why) {
    struct redis *r = owner;
    bool next = !r->is_open && r->at + 1 < r->to.n;
    if (!next) {
        end(r, why);
        return;
    }
    wire_free(w);
    r->wire = NULL;
    r->at++;
    dial(r);
}

static const struct wire_calls CALLS = {on_opened, on_reply, on_closed};

static void dial(struct redis *r) {
    struct loop *loop = &r->server->server->loop;
    for (; r->at < r->to.n; r->at++) {
        struct wire_to to = {&r->to.addresses[r->at], {r->tls, r->host}};
        int err = wire_open(&r->wire, loop, &to, &CALLS, r);
        if (err == 0) return;
        snprintf(r->why, sizeof r->why, "no connection (%s)", status_text(err));
    }
    end_later(r, r->why);
}

static void on_resolved(void *owner, const struct resolved *to) {
    struct redis *r = owner;
    r->resolve = NULL;
    r->to = *to;
    if (to->n == 0) end_later(r, to->why);
    else dial(r);
}

/* ---- Methods -------------------------------------------------------------------------- */

static struct redis *find(struct lx_server *s, uint64_t id) {
    if (!s->redis.next) return NULL;
    for (struct list *node = s->redis.next; node != &s->redis; node = node->next) {
        struct redis *r = container_of(node, struct redis, node);
        if (r->id == id) return r;
    }
    return NULL;
}

static struct redis *redis_new(struct lx_server *s) {
    struct redis *r = mem_new(sizeof *r);
    *r = (struct redis){.server = s, .id = ++s->last_redis};
    if (!s->redis.next) list_init(&s->redis);
    list_add(&s->redis, &r->node);
    s->n_redis++;
    ev_timer_init(&r->later, on_later, 0, 0);
    r->later.data = r;
    return r;
}

static void dial_path(struct redis *r, const char *path) {
    struct sockaddr_un *to = (struct sockaddr_un *)&r->to.addresses[0].address;
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(to->sun_path, sizeof to->sun_path, "%s", path);
    r->to.addresses[0].size = sizeof *to;
    r->to.n = 1;
    dial(r);
}

/* A field of the table at 4; NULL: it is not there. */
static const char *field(lua_State *L, const char *name) {
    struct slice s = lx_field_slice(L, 4, name);
    return s.n > 0 ? s.p : NULL;
}

/* { ca =, cert =, key =, sni = } at 4. False, and 'why' is filled: the files are of no use. */
static bool read_tls(lua_State *L, struct redis *r) {
    struct wire_tls_options o = {.on = true,
                                 .ca = field(L, "ca"),
                                 .cert = field(L, "cert"),
                                 .key = field(L, "key"),
                                 .sni = field(L, "sni")};
    if (o.sni) snprintf(r->host, sizeof r->host, "%s", o.sni);
    r->tls = wire_tls_read(&o, r->why, sizeof r->why);
    return r->tls != NULL;
}

/* server:redis_open(host, port[, tls]) or (path) -> id | nil, message, code */
static int l_open(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    const char *place = luaL_checkstring(L, 2);
    uint16_t port = (uint16_t)luaL_optinteger(L, 3, 0);
    if (!resp_can_read())
        return lx_fail_text(L, E_INVAL,
                            "Sluice was built without hiredis: install "
                            "libhiredis-dev, and build it again");
    if (s->n_redis >= REDIS_OPEN_MAX)
        return lx_fail_text(L, E_FULL, "64 connections to Redis are open already");
    struct redis *r = redis_new(s);
    lua_pushinteger(L, (lua_Integer)r->id);
    snprintf(r->host, sizeof r->host, "%s", place);
    if (lua_istable(L, 4) && !read_tls(L, r)) end_later(r, r->why);
    else if (port == 0) dial_path(r, place);
    else r->resolve = resolve_start(&s->server->loop, place, port, on_resolved, r);
    return 1;
}

/* server:redis_ask(id, extra_ms, word, ...) -> true | nil, message, code */
static int l_ask(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    uint64_t id = (uint64_t)luaL_checkinteger(L, 2);
    uint32_t extra_ms = (uint32_t)luaL_checkinteger(L, 3);
    int last = lua_gettop(L);
    for (int i = 4; i <= last; i++) luaL_checkstring(L, i);
    struct buf *command = lx_newbuf(L);
    struct redis *r = find(s, id);
    int err = r && r->is_open ? resp_begin(command, (uint32_t)(last - 3)) : E_CLOSED;
    for (int i = 4; i <= last && err == 0; i++)
        err = resp_word(command, lx_checkslice(L, i));
    if (err == 0) err = wire_send(r->wire, 0, command, extra_ms);
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* server:redis_close(id): nothing is told */
static int l_close(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct redis *r = find(s, (uint64_t)luaL_checkinteger(L, 2));
    if (r) redis_free(r);
    return 0;
}

void lx_server_add_redis(lua_State *L) {
    static const luaL_Reg methods[] = {{"redis_open", l_open},
                                       {"redis_ask", l_ask},
                                       {"redis_close", l_close},
                                       {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
