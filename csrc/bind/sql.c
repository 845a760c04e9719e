/* Other programs' SQLite files as Lua sees them: server:sql_open, sql_ask, sql_close,
 * sql_cancel, and the callback "sql" (ticket, rows | nil, message, code). A row is a table by
 * column; NULL is cjson.null, a light userdata of NULL. */
#include "base/bounds.h"
#include "base/status.h"
#include "bind/server_type.h"
#include "edge/sql.h"

/* ---- Answers -------------------------------------------------------------------------- */

struct sql_report {
    struct lx_server *server;
    uint64_t ticket;
    const struct sql_answer *answer;
};

static void push_value(lua_State *L, const struct sql_value *v) {
    switch (v->type) {
    case SQL_TYPE_INTEGER: lua_pushinteger(L, v->integer); break;
    case SQL_TYPE_FLOAT: lua_pushnumber(L, v->number); break;
    case SQL_TYPE_TEXT: lx_pushslice(L, v->text); break;
    default: lua_pushlightuserdata(L, NULL); break;
    }
}

/* The names stay on the stack below the rows. */
static void push_rows(lua_State *L, const struct sql_answer *a) {
    size_t at = 0;
    int n = (int)a->n_columns;
    luaL_checkstack(L, n + 8, "rows");
    int names = lua_gettop(L);
    struct sql_value v;
    for (int i = 0; i < n; i++) {
        sql_next(a, &at, &v);
        push_value(L, &v);
    }
    lua_createtable(L, (int)a->n_rows, 0);
    for (uint32_t row = 1; row <= a->n_rows; row++) {
        lua_createtable(L, 0, n);
        for (int i = 1; i <= n; i++) {
            sql_next(a, &at, &v);
            lua_pushvalue(L, names + i);
            push_value(L, &v);
            lua_rawset(L, -3);
        }
        lua_rawseti(L, -2, (lua_Integer)row);
    }
    if (n > 0) {
        lua_replace(L, names + 1);
        lua_settop(L, names + 1);
    }
}

static int push_answer(lua_State *L) {
    const struct sql_report *r = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->server->on_event);
    lua_pushliteral(L, "sql");
    lua_pushinteger(L, (lua_Integer)r->ticket);
    if (r->answer->err == 0) {
        push_rows(L, r->answer);
        lua_call(L, 3, 0);
        return 0;
    }
    lua_pushnil(L);
    lua_pushstring(L, r->answer->why);
    lua_pushstring(L, status_name(r->answer->err));
    lua_call(L, 5, 0);
    return 0;
}

/* Rows that do not fit into Lua's memory are an error that the asker gets. */
static void on_answer(void *context, uint64_t ticket, const struct sql_answer *a) {
    struct sql_report r = {.server = context, .ticket = ticket, .answer = a};
    if (lx_server_call(context, push_answer, &r) || a->err < 0) return;
    struct sql_answer failed = {.err = E_NOMEM, .why = "out of memory"};
    r.answer = &failed;
    lx_server_call(context, push_answer, &r);
}

/* ---- Asking --------------------------------------------------------------------------- */

static int64_t field_ms(lua_State *L, int index, const char *name) {
    return (int64_t)(lx_field_number(L, index, name, 0) * 1000 + 0.999);
}

/* { max_rows, max_bytes, timeout, busy }: checked by sluice.sqlite */
static struct sql_limits check_limits(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    return (struct sql_limits){
        .rows_max = (uint32_t)lx_field_number(L, index, "max_rows", 0),
        .bytes_max = (uint64_t)lx_field_number(L, index, "max_bytes", 0),
        .timeout_ms = field_ms(L, index, "timeout"),
        .busy_ms = field_ms(L, index, "busy")};
}

/* server:sql_open(path, limits[, is_pg]) -> id | nil, message, code */
static int l_open(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    const char *path = luaL_checkstring(L, 2);
    struct sql_limits limits = check_limits(L, 3);
    uint64_t id = 0;
    bool threads = !s->server->hub.options.rehearsal;
    if (!s->sql) s->sql = sql_new(&s->server->loop, threads, on_answer, s);
    int err = sql_open(s->sql, lua_toboolean(L, 4), path, &limits, &id);
    if (err == E_FULL) return lx_fail_text(L, err, "16 database files are open already");
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, (lua_Integer)id);
    return 1;
}

static void read_value(lua_State *L, int index, struct sql_value *v) {
    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        v->type = lua_isinteger(L, index) ? SQL_TYPE_INTEGER : SQL_TYPE_FLOAT;
        if (v->type == SQL_TYPE_INTEGER) v->integer = lua_tointeger(L, index);
        else v->number = lua_tonumber(L, index);
        break;
    case LUA_TBOOLEAN:
        v->type = SQL_TYPE_INTEGER;
        v->integer = lua_toboolean(L, index);
        break;
    case LUA_TSTRING:
        v->type = SQL_TYPE_TEXT;
        v->text = lx_checkslice(L, index);
        break;
    default: v->type = SQL_TYPE_NULL; /* nil and json.null; others were refused */
    }
}

/* The table at 4, or the arguments from 5 on. Pushes scratch. */
static void read_values(lua_State *L, struct sql_question *q) {
    int top = lua_gettop(L);
    q->by_name = lua_istable(L, 4);
    q->n_values = q->by_name || top < 5 ? 0 : (uint32_t)(top - 4);
    if (q->by_name)
        for (lua_pushnil(L); lua_next(L, 4); lua_pop(L, 1)) q->n_values++;
    struct sql_value *list = lx_scratch(L, (q->n_values + 1) * sizeof *list);
    uint32_t i = 0;
    for (int at = 5; !q->by_name && at <= top; at++) read_value(L, at, &list[i++]);
    if (q->by_name) {
        for (lua_pushnil(L); lua_next(L, 4); lua_pop(L, 1)) {
            list[i].name = lx_checkslice(L, -2); /* the table keeps both */
            read_value(L, -1, &list[i++]);
        }
    }
    q->values = list;
}

/* server:sql_ask(id, sql, names | nil, ...) -> ticket | nil, message, code */
static int l_ask(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    uint64_t id = (uint64_t)luaL_checkinteger(L, 2), ticket = 0;
    struct sql_question q = {.text = lx_checkslice(L, 3)};
    read_values(L, &q);
    int err = s->sql ? sql_ask(s->sql, id, &q, &ticket) : E_CLOSED;
    if (err == E_FULL)
        return lx_fail_text(L, err, "256 statements wait for this file already");
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, (lua_Integer)ticket);
    return 1;
}

/* server:sql_close(id); server:sql_cancel(ticket) */
static int l_close(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    uint64_t id = (uint64_t)luaL_checkinteger(L, 2);
    if (s->sql) sql_close(s->sql, id);
    return 0;
}

static int l_cancel(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    uint64_t ticket = (uint64_t)luaL_checkinteger(L, 2);
    if (s->sql) sql_cancel(s->sql, ticket);
    return 0;
}

void lx_server_add_sql(lua_State *L) {
    static const luaL_Reg methods[] = {{"sql_open", l_open},
                                       {"sql_ask", l_ask},
                                       {"sql_close", l_close},
                                       {"sql_cancel", l_cancel},
                                       {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}

static int look_gc(lua_State *L) {
    struct sql_file *f = lua_touserdata(L, 1);
    if (f->path) sql_file_deinit(f);
    return 0;
}

/* core.sql_look(path, limits) -> true | nil, message, code: whether it is a database that can
 * be opened, here and now */
int lx_sql_look(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct sql_limits limits = check_limits(L, 2);
    struct sql_file *f = lx_box(L, sizeof *f, look_gc);
    struct sql_answer a = {0};
    struct sql_question q = {.text =
                                 slice_str("SELECT count(*) AS n FROM sqlite_schema")};
    sql_file_init(f, path, &limits); /* nothing raises from here on */
    sql_file_run(f, &q, sql_now_ms(), &a);
    sql_answer_free(&a);
    sql_file_deinit(f);
    if (a.err < 0) return lx_fail_text(L, a.err, a.why);
    lua_pushboolean(L, true);
    return 1;
}
