/* Requests and clients of the server object. */
#include "base/clock.h"
#include "base/status.h"
#include "bind/server_type.h"
#include "serve/app/registry.h"

/* ---- Requests ----------------------------------------------------------------------- */

static struct request *find_request(lua_State *L, const struct lx_server *s) {
    return server_find_request(s->server, (uint64_t)luaL_checkinteger(L, 2));
}

/* The headers at 'index': { {name, value}, … } or { name = value }. Returns how many. */
static size_t check_headers(lua_State *L, int index, struct http_field *out) {
    size_t n = 0;
    if (lua_isnoneornil(L, index)) return 0;
    luaL_checktype(L, index, LUA_TTABLE);
    luaL_checkstack(L, 6, "headers");
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (n == HTTP_FIELDS_MAX) luaL_error(L, "more than %d headers", HTTP_FIELDS_MAX);
        int pair = lua_gettop(L);
        if (lua_istable(L, pair)) {
            lua_rawgeti(L, pair, 1);
            lua_rawgeti(L, pair, 2);
        } else {
            lua_pushvalue(L, pair - 1);
            lua_pushvalue(L, pair);
        }
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "headers: names and values are strings");
        out[n].name = lx_checkslice(L, -2); /* the table keeps both alive */
        out[n++].value = lx_checkslice(L, -1);
        lua_settop(L, pair - 1);
    }
    return n;
}

/* Returns 0 or a negative code. */
static int write_answer(struct lx_server *s, struct request *r, int status,
                        struct http_fields fields, struct slice body) {
    struct http_to to = request_to(r, &s->server->date, (int64_t)clock_wall());
    to.keep_alive = server_keeps_alive(r);
    r->closes = !to.keep_alive;
    return http_write_answer(&r->answer, &to, status, fields, body);
}

/* server:respond(req, status, headers, body) -> true | nil, message, code */
static int l_respond(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    int status = (int)luaL_checkinteger(L, 3);
    struct slice body = lx_optslice(L, 5);
    struct request *r = find_request(L, s);
    if (!r) return lx_fail(L, E_CLOSED);
    struct http_field all[HTTP_FIELDS_MAX];
    size_t n = check_headers(L, 4, all);
    int err = write_answer(s, r, status, (struct http_fields){all, n}, body);
    if (err == E_BADFIELD)
        return lx_fail_text(L, err,
                            "a header holds a control character, or one that the server "
                            "writes itself");
    if (err < 0) return lx_fail(L, err);
    r->status = status;
    server_answer(s->server, r);
    lua_pushboolean(L, true);
    return 1;
}

/* server:respond_file(req) -> true | nil, message, code: with the file that the request was
 * found to ask for; ENOTFOUND when there is none */
static int l_respond_file(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct request *r = find_request(L, s);
    if (!r || !r->file) return lx_fail(L, r ? E_NOTFOUND : E_CLOSED);
    server_answer(s->server, r);
    lua_pushboolean(L, true);
    return 1;
}

/* server:want(req) -> true | nil, message, code: "piece" brings the next one of its body */
static int l_want(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    int err = server_want(s->server, (uint64_t)luaL_checkinteger(L, 2));
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

static int accept_plan(struct lx_server *s, struct request *r,
                       const struct plan_spec *spec, struct accept_as as,
                       struct client **out) {
    struct plan *plan = plan_new(spec);
    if (!plan) return E_NOMEM;
    int err = server_accept(s->server, r, plan, as, out);
    plan_unref(plan);
    return err;
}

/* Takes the client. */
static void push_id(lua_State *L, struct client *c) {
    char id[CLIENT_ID_LENGTH + 1];
    memcpy(id, c->id, sizeof id);
    client_unref(c);
    lua_pushstring(L, id);
}

/* message, code[, limit] */
static int push_refusal(lua_State *L, int err, const struct request *r) {
    lua_pushstring(L, status_text(err));
    lua_pushstring(L, status_name(err));
    if (err != E_RATE) return 2;
    lua_pushstring(L, r->limit);
    return 3;
}

/* server:accept(req, plan[, user[, close_wanted[, written[, hidden]]]]) -> client id, again | nil,
 * message, code[, limit]. 'close_wanted': "close" is reported even when the configuration has
 * news = false. 'written': by its function. 'hidden': it is no client of the app. 'again': it polls,
 * and was here before. */
static int l_accept(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct request *r = find_request(L, s);
    struct accept_as as = {luaL_optstring(L, 4, NULL), lua_toboolean(L, 5),
                           lua_toboolean(L, 6), lua_toboolean(L, 7)};
    struct plan_spec spec = lx_checkplan(L, 3);
    for (uint32_t i = 0; i < spec.n; i++) {
        const char *trouble = pattern_check_channel(spec.subs[i].channel);
        if (trouble) return lx_fail_text(L, E_CHANNEL, trouble);
    }
    struct client *c;
    int err = r ? accept_plan(s, r, &spec, as, &c) : E_CLOSED;
    if (err < 0) {
        lua_pushnil(L);
        return 1 + push_refusal(L, err, r);
    }
    push_id(L, c);
    lua_pushboolean(L, err == ACCEPT_AGAIN); /* the request is the I/O thread's */
    return 2;
}

static bool has_field(lua_State *L, int table, const char *name) {
    lua_pushstring(L, name);
    bool has = lua_rawget(L, table) != LUA_TNIL;
    lua_pop(L, 1);
    return has;
}

/* Whether the app has found out who asks, or has read the query. */
static bool is_looked_at(lua_State *L, int request) {
    return lua_istable(L, request) &&
           (has_field(L, request, "user") || has_field(L, request, "query"));
}

/* server:open(req, given[, heartbeat[, request]]) -> true | false, message, code[, limit] | nothing: a
 * stream of nobody in particular, with what its plan function returned and the heartbeat of its
 * route, in one step; nothing is done when that is not a usual plan, or when the table 'request'
 * has got a user or a query. */
static int l_open(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct request *r = find_request(L, s);
    struct usual_plan usual;
    if (is_looked_at(L, 5) || !lx_testplan(L, 3, &usual)) return 0;
    double *heartbeat = &usual.spec.options.heartbeat;
    if (*heartbeat < 0) *heartbeat = luaL_optnumber(L, 4, -1);
    struct client *c;
    int err = r ? accept_plan(s, r, &usual.spec, (struct accept_as){0}, &c) : E_CLOSED;
    lua_pushboolean(L, err >= 0);
    if (err < 0) return 1 + push_refusal(L, err, r);
    client_unref(c);
    return 1;
}

/* server:claim(req, plan[, user]) -> whether it is a poll of a client that its function writes, and
 * of this user: it goes on with it. 'plan' has no channels. */
static int l_claim(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct request *r = find_request(L, s);
    const char *user = luaL_optstring(L, 4, NULL);
    struct plan_spec spec = lx_checkplan(L, 3);
    struct plan *plan = r ? plan_new(&spec) : NULL;
    int err = plan ? server_claim(s->server, r, plan, user) : E_NOTFOUND;
    plan_unref(plan);
    lua_pushboolean(L, err == 0);
    return 1;
}

/* ---- Clients ------------------------------------------------------------------------ */

static struct client *find_client(lua_State *L, const struct lx_server *s) {
    server_catch_up(s->server);
    return server_find_client(s->server, lx_checkslice(L, 2));
}

static int done(lua_State *L, int err) {
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    return 1;
}

/* server:client(id) -> { id, user, ip, path, route, channels } | nil */
static int l_client(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct client *c = find_client(L, s);
    if (!c) return 0;
    lua_createtable(L, 0, 6);
    lua_pushstring(L, c->id);
    lua_setfield(L, -2, "id");
    lua_pushstring(L, client_user(c));
    lua_setfield(L, -2, "user");
    lua_pushstring(L, client_ip(c));
    lua_setfield(L, -2, "ip");
    lua_pushstring(L, client_path(c));
    lua_setfield(L, -2, "path");
    lua_pushinteger(L, c->route_id);
    lua_setfield(L, -2, "route");
    lx_pushchannels(L, c);
    lua_setfield(L, -2, "channels");
    return 1;
}

static bool has_value(const struct client *c, struct slice value) {
    return slice_eq(slice_str(client_ip(c)), value) ||
           slice_eq(slice_str(client_path(c)), value) ||
           (client_user(c) && slice_eq(slice_str(client_user(c)), value));
}

/* server:clients_with(value) -> ids of those that have it as their user, address or path */
static int l_clients_with(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice value = lx_checkslice(L, 2);
    struct buf *ids = lx_newbuf(L);
    server_catch_up(s->server);
    for (struct map_node *node = map_next(&s->server->clients, NULL); node;
         node = map_next(&s->server->clients, node)) {
        struct client *c = container_of(node, struct client, node);
        if (has_value(c, value)) lx_addname(L, ids, slice_str(c->id));
    }
    lx_pushnames(L, ids);
    return 1;
}

/* server:is_open(id) -> whether it is there */
static int l_is_open(lua_State *L) {
    const struct lx_server *s = lx_checkserver(L);
    lua_pushboolean(L, find_client(L, s) != NULL);
    return 1;
}

/* server:want_close(id) -> whether it is open: then its "close" will be reported */
static int l_want_close(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct client *c = find_client(L, s);
    if (c) atomic_store(&c->close_wanted, true);
    lua_pushboolean(L, c != NULL);
    return 1;
}

/* server:clients([channel]) -> ids */
static int l_clients(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice channel = lx_optslice(L, 2);
    struct buf *ids = lx_newbuf(L);
    server_catch_up(s->server);
    for (struct map_node *node = map_next(&s->server->clients, NULL); node;
         node = map_next(&s->server->clients, node)) {
        struct client *c = container_of(node, struct client, node);
        if (channel.n > 0 && !registry_follows(c, channel)) continue;
        lx_addname(L, ids, slice_str(c->id));
    }
    lx_pushnames(L, ids);
    return 1;
}

/* server:subscribe(id, "name" | { name, keys =, types =, max_rate =, rewind = })
 * -> true, announced | nil, message, code. 'announced': it is new, and "open" does not report it. */
static int l_subscribe(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct client *c = find_client(L, s);
    lua_settop(L, 3);
    struct sub_spec spec = lx_checkspec(L, 3);
    bool is_new = false;
    int err = c ? server_subscribe(s->server, c, &spec, &is_new) : E_CLOSED;
    if (err < 0) return lx_fail(L, err);
    lua_pushboolean(L, true);
    lua_pushboolean(L, is_new && c->announced);
    return 2;
}

/* server:unsubscribe(id, name[, "denied"]) -> whether it followed it, announced
 * 'announced': it did, and "open" has reported it. */
static int l_unsubscribe(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct client *c = find_client(L, s);
    struct slice channel = lx_checkslice(L, 3);
    bool denied = lua_toboolean(L, 4);
    bool followed = c && server_unsubscribe(s->server, c, channel, denied);
    lua_pushboolean(L, followed);
    lua_pushboolean(L, followed && c->announced);
    return 2;
}

/* server:set(id, { keys =, types =, max_rate = }) -> true | nil, message, code */
static int l_set(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct client *c = find_client(L, s);
    lua_settop(L, 3);
    struct sub_spec wanted = lx_checkwanted(L, 3);
    return c ? done(L, server_set(c, &wanted)) : lx_fail(L, E_CLOSED);
}

/* server:send(id, event, text) -> true | nil, message, code (EFULL: wait for "writable") */
static int l_send(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct client *c = find_client(L, s);
    if (!c) c = server_find_hidden(s->server, lx_checkslice(L, 2));
    struct event event = {.name = lx_checkslice(L, 3), .data = lx_checkslice(L, 4)};
    if (!c) return lx_fail(L, E_CLOSED);
    int err = server_send(c, &event);
    return err < 0 ? lx_fail_event(L, err, &event) : done(L, err);
}

/* server:close(id, reason[, status[, event, text]]) -> true | nil, message, code. An event
 * goes before the bye; a late refusal carries its status. */
static int l_close_client(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct client *c = find_client(L, s);
    enum end_reason reason = reason_of_word(luaL_checkstring(L, 3));
    int status = (int)luaL_optinteger(L, 4, 0);
    struct event word = {.name = lx_optslice(L, 5), .data = lx_optslice(L, 6)};
    luaL_argcheck(L, reason != END_NONE, 3, "a word of sluice.core.reasons is expected");
    if (!c) return lx_fail(L, E_CLOSED);
    int err = server_close(c, reason, status, lua_isnoneornil(L, 5) ? NULL : &word);
    return err < 0 ? lx_fail_event(L, err, &word) : done(L, err);
}

void lx_server_add_clients(lua_State *L) {
    static const luaL_Reg methods[] = {{"respond_file", l_respond_file},
                                       {"want", l_want},
                                       {"respond", l_respond},
                                       {"accept", l_accept},
                                       {"open", l_open},
                                       {"claim", l_claim},
                                       {"client", l_client},
                                       {"clients", l_clients},
                                       {"is_open", l_is_open},
                                       {"clients_with", l_clients_with},
                                       {"want_close", l_want_close},
                                       {"subscribe", l_subscribe},
                                       {"unsubscribe", l_unsubscribe},
                                       {"set", l_set},
                                       {"send", l_send},
                                       {"close", l_close_client},
                                       {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
