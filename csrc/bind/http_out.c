/* Requests to other servers as Lua sees them: server:request and what it reports.
 *
 * The kinds are "http_head" (id, status, headers, location), "http_data" (id, bytes) and
 * "http_end" (id[, message, code]). What cannot be reported for want of memory ends the
 * request: no byte is left out in silence. */
#include "base/bounds.h"
#include "base/status.h"
#include "bind/server_type.h"
#include "edge/mail.h"

/* ---- Reporting ---------------------------------------------------------------------- */

struct out_report {
    struct lx_server *server;
    uint64_t id;
    const struct http_out_head *head;
    struct slice bytes;
    int err;
    const char *message;
};

static struct out_report *begin(lua_State *L, const char *kind) {
    struct out_report *t = lua_touserdata(L, 1);
    luaL_checkstack(L, 16, "reporting");
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->server->on_event);
    lua_pushstring(L, kind);
    lua_pushinteger(L, (lua_Integer)t->id);
    return t;
}

/* { name = value }: names in lower case, repeated fields joined by ", ". */
static void push_fields(lua_State *L, const struct http_out_head *head) {
    lua_createtable(L, 0, (int)head->n_fields);
    for (size_t i = 0; i < head->n_fields; i++) {
        luaL_Buffer b;
        struct slice name = head->fields[i].name;
        char *p = luaL_buffinitsize(L, &b, name.n);
        for (size_t k = 0; k < name.n; k++) {
            char c = name.p[k];
            p[k] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
        luaL_pushresultsize(&b, name.n);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TSTRING) {
            lua_pushliteral(L, ", ");
            lx_pushslice(L, head->fields[i].value);
            lua_concat(L, 3);
        } else {
            lua_pop(L, 1);
            lx_pushslice(L, head->fields[i].value);
        }
        lua_rawset(L, -3);
    }
}

static int push_head(lua_State *L) {
    const struct out_report *t = begin(L, "http_head");
    lua_pushinteger(L, t->head->status);
    push_fields(L, t->head);
    lua_pushstring(L, t->head->location); /* NULL: nil */
    lua_call(L, 5, 0);
    return 0;
}

static int push_data(lua_State *L) {
    const struct out_report *t = begin(L, "http_data");
    lx_pushslice(L, t->bytes);
    lua_call(L, 3, 0);
    return 0;
}

static int push_end(lua_State *L) {
    const struct out_report *t = begin(L, "http_end");
    if (t->err < 0) {
        lua_pushstring(L, t->message);
        lua_pushstring(L, status_name(t->err));
    }
    lua_call(L, t->err < 0 ? 4 : 2, 0);
    return 0;
}

static void on_head(void *context, uint64_t id, const struct http_out_head *head) {
    struct lx_server *s = context;
    struct out_report t = {.server = s, .id = id, .head = head};
    if (!lx_server_call(s, push_head, &t)) http_out_end(s->http, id, E_NOMEM);
}

static void on_data(void *context, uint64_t id, struct slice bytes) {
    struct lx_server *s = context;
    struct out_report t = {.server = s, .id = id, .bytes = bytes};
    if (!lx_server_call(s, push_data, &t)) http_out_end(s->http, id, E_NOMEM);
}

static void on_end(void *context, uint64_t id, int err, const char *message) {
    struct out_report t = {.server = context, .id = id, .err = err, .message = message};
    lx_server_call(context, push_end, &t);
}

/* ---- Asking ------------------------------------------------------------------------- */

/* The list { name, value, name, value, … }. Pushes the scratch that the fields live in. */
static void read_fields(lua_State *L, int table, struct http_ask *ask) {
    if (lua_getfield(L, table, "headers") != LUA_TTABLE) {
        if (!lua_isnil(L, -1)) luaL_error(L, "field 'headers': a list is expected");
        return;
    }
    int list = lua_gettop(L);
    lua_Unsigned n = lua_rawlen(L, list) / 2;
    if (n > HTTP_FIELDS_MAX) luaL_error(L, "a request has %d header fields", (int)n);
    struct http_ask_field *fields = lx_scratch(L, (size_t)(n + 1) * sizeof *fields);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, list, (lua_Integer)(2 * i) + 1);
        lua_rawgeti(L, list, (lua_Integer)(2 * i) + 2);
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "field 'headers': strings are expected");
        fields[i].name = lx_checkslice(L, -2); /* the table keeps both */
        fields[i].value = lx_checkslice(L, -1);
        lua_pop(L, 2);
    }
    ask->fields = fields;
    ask->n_fields = (size_t)n;
}

static int64_t field_ms(lua_State *L, const char *name) {
    double seconds = lx_field_number(L, 2, name, 0);
    if (!(seconds >= 0 && seconds <= 1e6)) luaL_error(L, "'%s' is out of range", name);
    return (int64_t)(seconds * 1000 + 0.999); /* rounded up: 0 would be "no limit" */
}

/* The field "mail": { from =, to = { address, … }, user =, password =, starttls = }. Pushes the
 * scratch that it lives in. */
static void read_mail(lua_State *L, struct http_ask *ask) {
    if (lua_getfield(L, 2, "mail") != LUA_TTABLE) return;
    int table = lua_gettop(L);
    struct mail_ask *mail = lx_scratch(L, sizeof *mail);
    mail->from = lx_field_slice(L, table, "from");
    mail->user = lx_field_slice(L, table, "user");
    mail->password = lx_field_slice(L, table, "password");
    mail->starttls = lx_field_bool(L, table, "starttls", false);
    if (lua_getfield(L, table, "to") != LUA_TTABLE)
        luaL_error(L, "field 'to': a list is expected");
    int list = lua_gettop(L);
    lua_Unsigned n = lua_rawlen(L, list);
    if (n > MAIL_TO_MAX) luaL_error(L, "a mail has %d recipients", (int)n);
    struct slice *to = lx_scratch(L, (size_t)(n + 1) * sizeof *to);
    for (lua_Unsigned i = 0; i < n; i++) {
        if (lua_rawgeti(L, list, (lua_Integer)i + 1) != LUA_TSTRING)
            luaL_error(L, "field 'to': strings are expected");
        to[i] = lx_checkslice(L, -1); /* the table keeps it */
        lua_pop(L, 1);
    }
    mail->to = to;
    mail->n_to = (size_t)n;
    ask->mail = mail;
}

static int mail_failed(lua_State *L, int err) {
    if (err == E_INVAL)
        return lx_fail_text(L, err, "the url is not one of smtp or smtps");
    if (err == E_BADFIELD)
        return lx_fail_text(L, err, "an address is empty, too long or no address");
    return lx_fail(L, err);
}

static int failed(lua_State *L, int err) {
    if (err == E_INVAL)
        return lx_fail_text(L, err,
                            "the url is not one of http or https, or the method "
                            "is no method");
    if (err == E_BADFIELD)
        return lx_fail_text(L, err, "a header field holds what would break the head");
    if (err == E_TOOBIG) return lx_fail_text(L, err, "the url has more than 8 KiB");
    if (err == E_FULL)
        return lx_fail_text(L, err, "256 requests to other servers are under way");
    return lx_fail(L, err);
}

/* server:request{ url =, method =, headers = { name, value, … }, body =, timeout =, idle =,
 * max_bytes =, verify =, fresh =, connect =, mail = } -> id | nil, message, code */
static int l_request(lua_State *L) {
    static const struct http_out_events events = {on_head, on_data, on_end};
    struct lx_server *s = lx_checkserver(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    struct http_ask ask = {.url = lx_field_slice(L, 2, "url"),
                           .method = lx_field_slice(L, 2, "method"),
                           .body = lx_field_slice(L, 2, "body"),
                           .timeout_ms = field_ms(L, "timeout"),
                           .idle_ms = field_ms(L, "idle"),
                           .unverified = !lx_field_bool(L, 2, "verify", true),
                           .fresh = lx_field_bool(L, 2, "fresh", false),
                           .connect = lx_field_bool(L, 2, "connect", false)};
    double bytes = lx_field_number(L, 2, "max_bytes", 0);
    luaL_argcheck(L, bytes >= 0 && bytes <= 1e15, 2, "'max_bytes' is out of range");
    ask.bytes_max = (uint64_t)bytes;
    ask.has_body = lua_getfield(L, 2, "body") == LUA_TSTRING;
    read_fields(L, 2, &ask);
    read_mail(L, &ask);
    uint64_t id = 0; /* nothing raises from here on */
    int err = s->http ? 0 : http_out_new(&s->http, &s->server->loop, &events, s);
    if (err == 0) err = http_out_request(s->http, &ask, &id);
    if (err < 0)
        return ask.mail && err != E_TOOBIG && err != E_FULL ? mail_failed(L, err)
                                                            : failed(L, err);
    lua_pushinteger(L, (lua_Integer)id);
    return 1;
}

/* server:cancel_request(id): nothing more is reported of it */
static int l_cancel(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    uint64_t id = (uint64_t)luaL_checkinteger(L, 2);
    if (s->http) http_out_cancel(s->http, id);
    return 0;
}

/* server:hold_request(id, held): its bytes stay in the kernel while it is held */
static int l_hold(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    uint64_t id = (uint64_t)luaL_checkinteger(L, 2);
    if (s->http) http_out_hold(s->http, id, lua_toboolean(L, 3));
    return 0;
}

void lx_server_add_http_out(lua_State *L) {
    static const luaL_Reg methods[] = {{"request", l_request},
                                       {"cancel_request", l_cancel},
                                       {"hold_request", l_hold},
                                       {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
