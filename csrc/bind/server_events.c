/* What happens, reported to Lua: one call of one function, always under a message handler.
 * An error in it is logged with its traceback and costs nothing else. */
#include "base/log.h"
#include "base/status.h"
#include "bind/budget.h"
#include "bind/server_type.h"
#include "serve/app/durable.h"
#include "serve/cluster.h"

#include <signal.h>

static const char UNKNOWN[] = "the disk does not answer: it may be stored, or may not";
static const char UNKNOWN_THERE[] = "Redis does not answer: it may be stored, or may "
                                    "not; with an idempotency key it can be "
                                    "published again";

static const char DEPOSED[] = "this node does not lead the cluster any more: nothing is "
                              "stored, and the node that leads does it now";

static int with_traceback(lua_State *L) {
    const char *message = luaL_tolstring(L, 1, NULL);
    luaL_traceback(L, L, message, 1);
    return 1;
}

/* Push the handler and a function; false when there is none. */
static bool begin_call(struct lx_server *s, int function) {
    lua_State *L = s->L;
    if (function == LUA_NOREF || function == LUA_REFNIL || !lua_checkstack(L, 16))
        return false;
    lua_pushcfunction(L, with_traceback);
    lua_rawgeti(L, LUA_REGISTRYINDEX, function);
    return true;
}

static bool begin(struct lx_server *s, const char *kind) {
    if (!begin_call(s, s->on_event)) return false;
    lua_pushstring(s->L, kind);
    return true;
}

/* Call the function with the 'n' values above it. Whether the answer is true. */
static bool call_with(struct lx_server *s, int n) {
    lua_State *L = s->L;
    int handler = lua_gettop(L) - n - 1;
    struct budget_mark mark = budget_begin();
    bool good = lua_pcall(L, n, 1, handler) == LUA_OK;
    if (!good) log_printf(LOG_ERROR, "error in the runtime: %s", lua_tostring(L, -1));
    bool yes = good && lua_toboolean(L, -1);
    lua_settop(L, handler - 1);
    budget_end(mark);
    return yes;
}

/* ... with the kind and those above it. */
static bool call(struct lx_server *s, int n) {
    return call_with(s, n + 1);
}

bool lx_server_call(struct lx_server *s, lua_CFunction push, void *what) {
    lua_State *L = s->L;
    if (s->on_event == LUA_NOREF || !lua_checkstack(L, 8)) return false;
    int top = lua_gettop(L);
    lua_pushcfunction(L, with_traceback);
    lua_pushcfunction(L, push);
    lua_pushlightuserdata(L, what);
    struct budget_mark mark = budget_begin();
    bool good = lua_pcall(L, 1, 0, top + 1) == LUA_OK;
    budget_end(mark);
    if (!good) log_printf(LOG_ERROR, "error in the runtime: %s", lua_tostring(L, -1));
    lua_settop(L, top);
    return good;
}

/* ---- Requests ----------------------------------------------------------------------- */

static void set_slice(lua_State *L, const char *name, struct slice value) {
    lx_pushslice(L, value);
    lua_setfield(L, -2, name);
}

/* Names in lower case and values, each with a NUL behind it: core.headers makes a table of
 * it when the app asks. */
static void push_header_text(lua_State *L, const struct request *r) {
    size_t n = 0;
    for (unsigned i = 0; i < r->n_fields; i++)
        n += r->fields[i].name.n + r->fields[i].value.n + 2;
    luaL_Buffer b;
    char *p = luaL_buffinitsize(L, &b, n);
    for (unsigned i = 0; i < r->n_fields; i++) {
        struct slice name = r->fields[i].name, value = r->fields[i].value;
        for (size_t k = 0; k < name.n; k++) {
            char c = name.p[k];
            *p++ = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
        *p++ = '\0';
        memcpy(p, value.p, value.n);
        p += value.n;
        *p++ = '\0';
    }
    luaL_pushresultsize(&b, n);
}

static void push_request(lua_State *L, const struct request *r) {
    lua_createtable(L, 0, 12);
    set_slice(L, "method", r->method);
    set_slice(L, "path", slice_of(r->path, r->path_n));
    set_slice(L, "query_text", r->query);
    if (request_in_pieces(r)) {
        lua_pushboolean(L, r->upload != NULL);
        lua_setfield(L, -2, "pieces");
    } else {
        set_slice(L, "body", buf_slice(&r->body));
    }
    set_slice(L, "host", r->host);
    set_slice(L, "ip", slice_str(r->ip));
    lx_set_boolean(L, "secure", r->secure);
    if (r->trace[0]) set_slice(L, "traceparent", slice_str(r->trace));
    if (r->held) lx_set_boolean(L, "_names_client", true); /* the token of a poll does */
    push_header_text(L, r);
    lua_setfield(L, -2, "header_text");
    lua_createtable(L, 0, r->n_params);
    for (int i = 0; i < r->n_params; i++) {
        lx_pushslice(L, r->params[i].name);
        lx_pushslice(L, r->params[i].value);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "params");
}

/* Call the function that comes first; of the values behind it the request is the last. */
static int call_for_request(lua_State *L) {
    const struct request *r = lua_touserdata(L, -1);
    lua_pop(L, 1);
    push_request(L, r);
    lua_call(L, lua_gettop(L) - 1, 0);
    return 0;
}

static const char *kind_of(const struct route *route) {
    if (route->kind == ROUTE_FEED) return "feed";
    return route->kind == ROUTE_STREAM ? "stream" : "request";
}

/* A stream that is asked for with nothing else. */
static bool is_usual(const struct request *r) {
    return r->route->kind == ROUTE_STREAM && r->query.n == 0 && r->body.n == 0 &&
           !r->held && !request_in_pieces(r) && slice_eq_lit(r->method, "GET");
}

static void on_request(void *context, struct request *r) {
    struct lx_server *s = context;
    lua_State *L = s->L;
    bool direct = is_usual(r) && begin_call(s, s->on_stream);
    if (!direct && !begin(s, kind_of(r->route))) return;
    int first = direct ? -2 : -3; /* the function, and the kind behind it */
    lua_pushcfunction(L, call_for_request);
    lua_insert(L, first); /* protected: it allocates */
    lua_pushinteger(L, (lua_Integer)r->id);
    lua_pushinteger(L, r->route->id);
    lua_pushlightuserdata(L, r);
    call_with(s, direct ? 4 : 5);
}

static void on_cancel(void *context, uint64_t id) {
    struct lx_server *s = context;
    if (!begin(s, "cancel")) return;
    lua_pushinteger(s->L, (lua_Integer)id);
    call(s, 1);
}

static int push_piece(lua_State *L) {
    const struct piece *p = lua_touserdata(L, 1);
    lx_pushslice(L, buf_slice(&p->bytes));
    return 1;
}

/* The request, bytes, whether they are the last; or the status of what is wrong with them. */
static void on_piece(void *context, uint64_t id, const struct piece *p) {
    struct lx_server *s = context;
    lua_State *L = s->L;
    int status = p->status;
    if (!begin(s, "piece")) return;
    lua_pushinteger(L, (lua_Integer)id);
    lua_pushcfunction(L, push_piece); /* protected: it allocates */
    lua_pushlightuserdata(L, (void *)p);
    struct budget_mark mark = budget_begin();
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) status = 503;
    budget_end(mark);
    lua_pushboolean(L, p->last);
    lua_pushinteger(L, status);
    call(s, 4);
}

/* ---- Clients ------------------------------------------------------------------------ */

static void on_open(void *context, struct client *c) {
    struct lx_server *s = context;
    if (!begin(s, "open")) return;
    lua_pushstring(s->L, c->id);
    lua_pushstring(s->L, client_path(c));
    lx_pushchannels(s->L, c);
    lua_pushinteger(s->L, c->route_id);
    call(s, 4);
}

static void on_close(void *context, struct client *c, const char *reason) {
    struct lx_server *s = context;
    if (!begin(s, "close")) return;
    lua_pushstring(s->L, c->id);
    lua_pushstring(s->L, reason);
    lx_pushchannels(s->L, c);
    lua_pushstring(s->L, client_path(c));
    lua_pushstring(s->L, client_ip(c));
    call(s, 5);
}

static void on_writable(void *context, struct client *c) {
    struct lx_server *s = context;
    if (!begin(s, "writable")) return;
    lua_pushstring(s->L, c->id);
    call(s, 1);
}

/* ---- The rest ----------------------------------------------------------------------- */

static void on_timer(void *context) {
    if (begin(context, "timer")) call(context, 0);
}

static void on_signal(void *context, int number) {
    struct lx_server *s = context;
    if (!begin(s, "signal")) return;
    lua_pushstring(s->L, number == SIGHUP ? "HUP" : number == SIGINT ? "INT" : "TERM");
    call(s, 1);
}

static void on_changed(void *context, const char *path) {
    struct lx_server *s = context;
    if (!begin(s, "changed")) return;
    lua_pushstring(s->L, path);
    call(s, 1);
}

static const char *why_not(const struct lx_server *s, int err) {
    bool is_shared = s->server->hub.cluster;
    if (err == E_TIMEOUT) return is_shared ? UNKNOWN_THERE : UNKNOWN;
    if (err == E_STORE && is_shared)
        return "Redis does not vouch that it is kept (--cluster-durable): it may come "
               "all the same; do it again, a publish with the same idempotency key";
    return status_text(err);
}

/* The answer to a ticket: whether it is the last one; whether it is stored; the id or true,
 * subscribers, whether it is a duplicate; or message, code. */
static void on_answer(void *context, const struct answer *a) {
    struct lx_server *s = context;
    lua_State *L = s->L;
    if (!begin_call(s, s->on_answer)) return;
    lua_pushinteger(L, (lua_Integer)a->ticket);
    lua_pushboolean(L, a->is_final);
    lua_pushboolean(L, a->err == 0);
    if (a->err < 0) {
        lua_pushstring(L, a->is_deposed ? DEPOSED : why_not(s, a->err));
        lua_pushstring(L, status_name(a->err));
        call_with(s, 5);
        return;
    }
    if (a->is_event && a->has_id && a->epoch)
        lua_pushfstring(L, "%s-%I", a->epoch, (LUAI_UACINT)a->seq);
    else if (a->is_event && a->has_id) lx_pushid(L, s->server, a->seq);
    else lua_pushboolean(L, true);
    lua_pushinteger(L, a->subscribers);
    lua_pushboolean(L, a->is_duplicate);
    call_with(s, 6);
}

static bool on_moved(void *context, uint64_t ticket) {
    struct lx_server *s = context;
    if (!begin(s, "moved")) return false;
    lua_pushinteger(s->L, (lua_Integer)ticket);
    return call(s, 1);
}

static void on_stopping(void *context) {
    if (begin(context, "stopping")) call(context, 0);
}

static bool on_drained(void *context) {
    return begin(context, "drained") && call(context, 0);
}

static void on_policies(void *context, bool busy) {
    struct lx_server *s = context;
    if (!begin(s, "policies")) return;
    lua_pushboolean(s->L, busy);
    call(s, 1);
}

/* The channel, whether it is over its budget, what it sent in a minute, the budget. */
static void on_budget(void *context, struct slice channel, const struct budget_state *b) {
    struct lx_server *s = context;
    lua_State *L = s->L;
    if (!begin(s, "budget")) return;
    lx_pushslice(L, channel);
    lua_pushboolean(L, b->over);
    lua_pushinteger(L, (lua_Integer)b->bytes);
    lua_pushinteger(L, (lua_Integer)b->budget);
    call(s, 4);
}

static void on_cluster(void *context, bool is_live, const char *epoch, uint64_t lead) {
    struct lx_server *s = context;
    if (!begin(s, "cluster")) return;
    lua_pushboolean(s->L, is_live);
    lua_pushstring(s->L, epoch);
    lua_pushinteger(s->L, (lua_Integer)lead);
    call(s, 3);
}

static int push_notice(lua_State *L) {
    const struct notice_message *m = lua_touserdata(L, 1);
    lx_pushslice(L, m->name);
    lx_pushslice(L, m->to);
    lx_pushslice(L, m->text);
    return 3;
}

/* Its letter, name, to whom, text, whether it is ours; or nothing: some were missed. */
static void on_notice(void *context, const struct notice_message *m) {
    struct lx_server *s = context;
    lua_State *L = s->L;
    if (!begin(s, "notice")) return;
    int top = lua_gettop(L);
    char letter[] = {m->letter, '\0'};
    if (m->name.n > 0) {
        lua_pushstring(L, letter);
        lua_pushcfunction(L, push_notice); /* protected: it allocates */
        lua_pushlightuserdata(L, (void *)m);
        struct budget_mark mark = budget_begin();
        int status = lua_pcall(L, 1, 3, 0);
        budget_end(mark);
        if (status == LUA_OK) lua_pushboolean(L, m->is_own);
        else lua_settop(L, top); /* missed */
    }
    call(s, lua_gettop(L) - top);
}

static int push_told(lua_State *L) {
    const struct slice *lines = lua_touserdata(L, 1);
    lx_pushslice(L, *lines);
    return 1;
}

/* The ticket, and what one thread answers; nil when there is no memory for it. */
static void on_told(void *context, uint64_t ticket, struct slice lines) {
    struct lx_server *s = context;
    lua_State *L = s->L;
    if (!begin(s, "told")) return;
    lua_pushinteger(L, (lua_Integer)ticket);
    lua_pushcfunction(L, push_told); /* protected: it allocates */
    lua_pushlightuserdata(L, &lines);
    struct budget_mark mark = budget_begin();
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
    budget_end(mark);
    call(s, 2);
}

const struct server_events lx_server_events = {.on_request = on_request,
                                               .on_cancel = on_cancel,
                                               .on_piece = on_piece,
                                               .on_open = on_open,
                                               .on_close = on_close,
                                               .on_writable = on_writable,
                                               .on_timer = on_timer,
                                               .on_signal = on_signal,
                                               .on_changed = on_changed,
                                               .on_answer = on_answer,
                                               .on_moved = on_moved,
                                               .on_stopping = on_stopping,
                                               .on_drained = on_drained,
                                               .on_policies = on_policies,
                                               .on_budget = on_budget,
                                               .on_cluster = on_cluster,
                                               .on_notice = on_notice,
                                               .on_told = on_told};
