/* sluice.core.testing_http: the pure functions of csrc/net for the specs. Not part of the
 * product.
 *
 * Input is copied into a block of exactly its size before a function sees it, so that
 * AddressSanitizer notices one byte read too far. Refusals are returned as nil and the
 * status as a positive number (0: more bytes are needed). */
#include "base/buf.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "net/address.h"
#include "net/http_chunks.h"
#include "net/http_parse.h"
#include "net/http_write.h"
#include "net/origin.h"
#include "net/url.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#define LIST_MAX 8 /* hosts, origins or fields given to one call */

/* A copy of the first n bytes of 'text', as a userdata left on the stack. */
static char *copy(lua_State *L, const char *text, size_t n) {
    char *p = lua_newuserdatauv(L, n ? n : 1, 0);
    memcpy(p, text, n);
    return p;
}

static struct slice check_copy(lua_State *L, int index) {
    size_t n;
    const char *text = luaL_checklstring(L, index, &n);
    return slice_of(copy(L, text, n), n);
}

static int refuse(lua_State *L, int status) {
    lua_pushnil(L);
    lua_pushinteger(L, -status);
    return 2;
}

static int fail(lua_State *L, int err) {
    lua_pushnil(L);
    lua_pushstring(L, status_name(err));
    return 2;
}

static void set_slice(lua_State *L, const char *key, struct slice s) {
    if (!s.p) return;
    lua_pushlstring(L, s.p, s.n);
    lua_setfield(L, -2, key);
}

static void set_boolean(lua_State *L, const char *key, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, key);
}

/* fields = { { name, value }, ... } */
static void set_fields(lua_State *L, const struct http_field *fields, size_t n) {
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 2, 0);
        lua_pushlstring(L, fields[i].name.p, fields[i].name.n);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, fields[i].value.p, fields[i].value.n);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "fields");
}

static void push_head(lua_State *L, const struct http_head *h) {
    static const char *const bodies[] = {"none", "length", "chunked"};
    lua_createtable(L, 0, 16);
    set_slice(L, "method", h->method);
    set_slice(L, "target", h->target);
    set_slice(L, "path", h->path);
    set_slice(L, "query", h->query);
    set_slice(L, "host", h->host);
    set_slice(L, "body", slice_str(bodies[h->body]));
    set_integer(L, "verb", h->verb);
    set_integer(L, "minor", h->minor);
    set_integer(L, "status", h->status);
    set_integer(L, "content_length", (lua_Integer)h->content_length);
    set_boolean(L, "keep_alive", h->keep_alive);
    set_boolean(L, "expect_continue", h->expect_continue);
    set_fields(L, h->fields, h->n_fields);
}

/* Give the text to the parser up to byte 'cut', then up to every 'step' bytes further. */
static int parse_in_steps(lua_State *L, size_t cut, size_t step, struct http_head *h) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    size_t have = cut < n ? cut : n;
    for (size_t seen = 0;; seen = have, have = n - have > step ? have + step : n) {
        const int got = http_parse_head(copy(L, text, have), have, seen, h);
        if (got != 0 || have == n) return got; /* the copy stays on the stack */
        lua_pop(L, 1);
    }
}

/* parse_head(text[, cut[, step]]) -> head | nil, status. Without 'cut' the text is given
 * whole, without 'step' all at once behind the cut. */
static int l_parse_head(lua_State *L) {
    static struct http_head h;
    const lua_Integer cut = luaL_optinteger(L, 2, LUA_MAXINTEGER);
    const lua_Integer step = luaL_optinteger(L, 3, LUA_MAXINTEGER);
    luaL_argcheck(L, cut >= 0 && step > 0, 2, "cut >= 0 and step > 0 expected");
    const int got = parse_in_steps(L, (size_t)cut, (size_t)step, &h);
    if (got <= 0) return refuse(L, got);
    push_head(L, &h);
    set_integer(L, "used", got);
    return 1;
}

/* ---- Fields ----------------------------------------------------------------------- */

/* fields = { { name, value }, ... } at index 1; each value in a block of its size. */
static struct http_fields check_lines(lua_State *L, struct http_field *out) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const lua_Integer n = luaL_len(L, 1);
    luaL_argcheck(L, n <= LIST_MAX, 1, "too many fields");
    luaL_checkstack(L, 5 * LIST_MAX, "fields");
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, 1, i + 1);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        out[i].name = slice_str(luaL_checkstring(L, -2));
        size_t bytes;
        const char *value = luaL_checklstring(L, -1, &bytes);
        out[i].value = slice_of(copy(L, value, bytes), bytes);
    }
    return (struct http_fields){out, (size_t)n};
}

/* field_value(fields, name) -> value | nil */
static int l_field_value(lua_State *L) {
    struct http_field lines[LIST_MAX];
    const char *name = luaL_checkstring(L, 2);
    const struct slice value = http_field_value(check_lines(L, lines), name);
    if (!value.p) return 0;
    lua_pushlstring(L, value.p, value.n);
    return 1;
}

/* field_list(fields, name) -> { element, ... } */
static int l_field_list(lua_State *L) {
    struct http_field lines[LIST_MAX];
    const char *name = luaL_checkstring(L, 2);
    struct http_list list = http_list_of(check_lines(L, lines), name);
    lua_newtable(L);
    for (struct slice element; http_list_next(&list, &element);) {
        lua_pushlstring(L, element.p, element.n);
        lua_rawseti(L, -2, luaL_len(L, -2) + 1);
    }
    return 1;
}

/* field_has_token(fields, name, token) -> boolean */
static int l_field_has_token(lua_State *L) {
    struct http_field lines[LIST_MAX];
    const char *name = luaL_checkstring(L, 2), *token = luaL_checkstring(L, 3);
    lua_pushboolean(L, http_field_has_token(check_lines(L, lines), name, token));
    return 1;
}

/* chunks(text[, max[, cut[, step]]]) -> body, used | nil, status, body so far */
static int l_chunks(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    struct http_chunks c;
    http_chunks_init(&c, (uint64_t)luaL_optinteger(L, 2, LUA_MAXINTEGER));
    const size_t cut = (size_t)luaL_optinteger(L, 3, LUA_MAXINTEGER);
    const size_t step = (size_t)luaL_optinteger(L, 4, LUA_MAXINTEGER);
    struct buf *piece = lx_newbuf(L);
    luaL_Buffer body;
    luaL_buffinit(L, &body);
    size_t used = 0, have = cut < n ? cut : n;
    int got;
    for (;;) {
        struct slice data;
        char *p = piece->p = mem_new(have - used + 1);
        memcpy(p, text + used, have - used);
        got = http_chunks_next(&c, p, have - used, &data);
        char *to = luaL_prepbuffsize(&body, data.n);
        memcpy(to, data.p, data.n);
        luaL_addsize(&body, data.n);
        buf_free(piece);
        if (got < 0) break;
        used += (size_t)got;
        if (c.done || (used == have && have == n)) break;
        if (used == have) have = n - have > step ? have + step : n;
    }
    luaL_pushresult(&body);
    if (c.done) lua_pushinteger(L, (lua_Integer)used);
    if (c.done) return 2;
    lua_pushnil(L);
    lua_pushinteger(L, got < 0 ? -got : 0);
    lua_pushvalue(L, -3);
    return 3;
}

/* field_only_token(fields, name, token) -> boolean */
static int l_field_only_token(lua_State *L) {
    struct http_field lines[LIST_MAX];
    const char *name = luaL_checkstring(L, 2), *token = luaL_checkstring(L, 3);
    lua_pushboolean(L, http_field_only_token(check_lines(L, lines), name, token));
    return 1;
}

/* accepts(fields, type) -> boolean */
static int l_accepts(lua_State *L) {
    struct http_field lines[LIST_MAX];
    const char *type = luaL_checkstring(L, 2);
    lua_pushboolean(L, http_accepts(check_lines(L, lines), type));
    return 1;
}

/* accepts_coding(fields, coding) -> weight in thousandths */
static int l_accepts_coding(lua_State *L) {
    struct http_field lines[LIST_MAX];
    const char *coding = luaL_checkstring(L, 2);
    lua_pushinteger(L, http_accepts_coding(check_lines(L, lines), coding));
    return 1;
}

/* match(fields, tag) -> boolean */
static int l_match(lua_State *L) {
    struct http_field lines[LIST_MAX];
    struct slice tag = slice_str(luaL_checkstring(L, 2));
    lua_pushboolean(L, http_match(check_lines(L, lines), tag));
    return 1;
}

/* none_match(fields, tag) -> boolean */
static int l_none_match(lua_State *L) {
    struct http_field lines[LIST_MAX];
    struct slice tag = slice_str(luaL_checkstring(L, 2));
    lua_pushboolean(L, http_none_match(check_lines(L, lines), tag));
    return 1;
}

/* repeated(fields) -> boolean */
static int l_repeated(lua_State *L) {
    struct http_field lines[LIST_MAX];
    lua_pushboolean(L, http_field_repeated(check_lines(L, lines)));
    return 1;
}

static int push_optional(lua_State *L, struct slice s) {
    if (!s.p) return 0;
    lua_pushlstring(L, s.p, s.n);
    return 1;
}

/* media_type(value) -> type | nil */
static int l_media_type(lua_State *L) {
    return push_optional(L, http_media_type(check_copy(L, 1)));
}

/* credentials(value, scheme) -> what stands behind it | nil */
static int l_credentials(lua_State *L) {
    return push_optional(L, http_credentials(check_copy(L, 1), luaL_checkstring(L, 2)));
}

/* address(text) -> usual text | nil */
static int l_address(lua_State *L) {
    struct in6_addr address;
    char text[ADDRESS_TEXT_MAX];
    if (!address_read(check_copy(L, 1), &address)) return 0;
    address_format(&address, text);
    lua_pushstring(L, text);
    return 1;
}

/* ---- Writers ---------------------------------------------------------------------- */

/* options: { minor, keep_alive, head, now, fields = {{name, value}, ...} }; the strings
 * stay referenced by the table at 'index'. */
static struct http_to check_to(lua_State *L, int index, struct http_date *date) {
    struct http_to to = {.date = date, .minor = 1, .keep_alive = true};
    luaL_checktype(L, index, LUA_TTABLE);
    if (lua_getfield(L, index, "minor") == LUA_TNUMBER)
        to.minor = (int)lua_tointeger(L, -1);
    if (lua_getfield(L, index, "keep_alive") == LUA_TBOOLEAN)
        to.keep_alive = lua_toboolean(L, -1);
    lua_getfield(L, index, "head");
    to.is_head = lua_toboolean(L, -1);
    lua_getfield(L, index, "now");
    to.now = (int64_t)lua_tointeger(L, -1);
    lua_pop(L, 4);
    return to;
}

static struct slice check_item(lua_State *L, lua_Integer i) {
    size_t n;
    lua_rawgeti(L, -1, i);
    const char *p = luaL_checklstring(L, -1, &n);
    lua_pop(L, 1);
    return slice_of(p, n);
}

static struct http_fields check_fields(lua_State *L, int index, struct http_field *out) {
    struct http_fields fields = {out, 0};
    if (lua_getfield(L, index, "fields") == LUA_TTABLE) {
        const lua_Integer n = luaL_len(L, -1);
        luaL_argcheck(L, n <= LIST_MAX, index, "too many fields");
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, i);
            out[fields.n].name = check_item(L, 1);
            out[fields.n++].value = check_item(L, 2);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return fields;
}

/* What was written, or nil and the name of the error. What stood in the buffer before
 * must still be there. */
static int push_written(lua_State *L, struct buf *b, size_t before, int err) {
    if (err) {
        const bool untouched = b->n == before;
        buf_free(b);
        return untouched ? fail(L, err) : luaL_error(L, "a failed writer left bytes");
    }
    lua_pushlstring(L, b->p + before, b->n - before);
    buf_free(b);
    return 1;
}

/* answer(status, options[, body]) -> bytes | nil, code */
static int l_answer(lua_State *L) {
    static struct http_date date;
    struct http_field list[LIST_MAX];
    size_t n;
    const int status = (int)luaL_checkinteger(L, 1);
    const struct http_to to = check_to(L, 2, &date);
    const struct http_fields fields = check_fields(L, 2, list);
    const char *body = luaL_optlstring(L, 3, "", &n);
    struct buf *b = lx_newbuf(L);
    int err = http_write_answer(b, &to, status, fields, slice_of(body, n));
    return push_written(L, b, 0, err);
}

/* failure(status, options[, code, message, field]) -> bytes | nil, code */
static int l_failure(lua_State *L) {
    static struct http_date date;
    struct http_field list[LIST_MAX];
    const struct http_to to = check_to(L, 2, &date);
    const struct http_fields fields = check_fields(L, 2, list);
    const struct http_error e = {(int)luaL_checkinteger(L, 1), luaL_optstring(L, 3, NULL),
                                 luaL_optstring(L, 4, NULL), luaL_optstring(L, 5, NULL)};
    struct buf *b = lx_newbuf(L);
    int err = http_write_error(b, &to, &e, fields);
    return push_written(L, b, 0, err);
}

/* stream(options) -> bytes | nil, code; behind four bytes that are there already */
static int l_stream(lua_State *L) {
    static struct http_date date;
    struct http_field list[LIST_MAX];
    const struct http_to to = check_to(L, 1, &date);
    const struct http_fields fields = check_fields(L, 1, list);
    struct buf *b = lx_newbuf(L);
    if (buf_adds(b, "abcd") < 0) return fail(L, E_NOMEM);
    int err = http_write_stream(b, &to, fields);
    return push_written(L, b, 4, err);
}

/* continue() -> bytes */
static int l_continue(lua_State *L) {
    struct buf *b = lx_newbuf(L);
    int err = http_write_continue(b);
    return push_written(L, b, 0, err);
}

/* date(seconds) -> text */
static int l_date(lua_State *L) {
    static struct http_date date;
    lua_pushstring(L, http_date_text(&date, (int64_t)luaL_checkinteger(L, 1)));
    return 1;
}

/* reason(status) -> phrase, error code */
static int l_reason(lua_State *L) {
    const int status = (int)luaL_checkinteger(L, 1);
    lua_pushstring(L, http_reason(status));
    lua_pushstring(L, http_error_code(status));
    return 2;
}

/* field_check(name, value) -> true | nil, code */
static int l_field_check(lua_State *L) {
    struct slice name, value;
    name.p = luaL_checklstring(L, 1, &name.n);
    value.p = luaL_checklstring(L, 2, &value.n);
    const int err = http_field_check(name, value);
    if (err) return fail(L, err);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- Targets ---------------------------------------------------------------------- */

/* path(raw) -> decoded | nil, status */
static int l_path(lua_State *L) {
    const struct slice raw = check_copy(L, 1);
    luaL_argcheck(L, raw.n > 0 && raw.p[0] == '/', 1, "a path starts with a slash");
    char *out = lua_newuserdatauv(L, raw.n, 0);
    const int got = url_path(raw, out);
    if (got < 0) return refuse(L, got);
    lua_pushlstring(L, out, (size_t)got);
    return 1;
}

/* decode(raw[, form]) -> text | nil, status */
static int l_decode(lua_State *L) {
    lua_settop(L, 2);
    const struct slice raw = check_copy(L, 1);
    char *out = lua_newuserdatauv(L, raw.n ? raw.n : 1, 0);
    const int got = url_decode(raw, lua_toboolean(L, 2), out);
    if (got < 0) return refuse(L, got);
    lua_pushlstring(L, out, (size_t)got);
    return 1;
}

/* query(raw) -> { { name, value }, ... } still encoded | nil, status; and what
 * url_query_check says */
static int l_query(lua_State *L) {
    struct slice rest = check_copy(L, 1);
    const int check = url_query_check(rest);
    struct url_param param;
    unsigned count = 0;
    int got;
    lua_newtable(L);
    while ((got = url_query_next(&rest, &count, &param)) > 0) {
        lua_createtable(L, 2, 0);
        lua_pushlstring(L, param.name.p, param.name.n);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, param.value.p, param.value.n);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, count);
    }
    if (got < 0) return refuse(L, got);
    lua_pushinteger(L, -check);
    return 2;
}

/* query_get(raw, name[, cap]) -> value | nil, status */
static int l_query_get(lua_State *L) {
    lua_settop(L, 3);
    const struct slice query = check_copy(L, 1);
    const char *name = luaL_checkstring(L, 2);
    const lua_Integer cap = luaL_optinteger(L, 3, 128);
    luaL_argcheck(L, cap > 0 && cap < 1 << 20, 3, "a size");
    char *out = lua_newuserdatauv(L, (size_t)cap, 0);
    const int got = url_query_get(query, name, out, (size_t)cap);
    if (got < 0) return refuse(L, got);
    lua_pushlstring(L, out, (size_t)got);
    return 1;
}

/* ---- Origins ---------------------------------------------------------------------- */

static size_t check_list(lua_State *L, int index, struct slice *out) {
    luaL_checktype(L, index, LUA_TTABLE);
    const lua_Integer n = luaL_len(L, index);
    luaL_argcheck(L, n <= LIST_MAX, index, "too many items");
    lua_pushvalue(L, index);
    for (lua_Integer i = 1; i <= n; i++) out[i - 1] = check_item(L, i);
    lua_pop(L, 1);
    return (size_t)n;
}

/* host_allowed(host, names) -> boolean */
static int l_host_allowed(lua_State *L) {
    struct slice names[LIST_MAX];
    const struct slice host = check_copy(L, 1);
    const size_t n = check_list(L, 2, names);
    lua_pushboolean(L, origin_host_allowed(host, names, n));
    return 1;
}

/* cors(head, origins | nil[, credentials[, secure]]) -> { fields =, is_foreign = } */
static int l_cors(lua_State *L) {
    static struct http_head h;
    struct slice origins[LIST_MAX];
    struct http_field fields[ORIGIN_FIELDS_MAX];
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    if (http_parse_head(text, n, 0, &h) <= 0) return luaL_error(L, "not a head");
    struct origin_policy policy = {.origins = origins, .max_age = slice_str("7200")};
    const struct origin_policy *given = lua_isnoneornil(L, 2) ? NULL : &policy;
    if (given) policy.n = check_list(L, 2, origins);
    policy.credentials = lua_toboolean(L, 3);

    lua_newtable(L);
    const struct http_fields sent = http_head_fields(&h);
    set_fields(L, fields, origin_fields(given, h.method, sent, fields));
    set_boolean(L, "is_foreign",
                origin_is_foreign(given, h.host, sent, lua_toboolean(L, 4)));
    return 1;
}

/* ---- Memory ----------------------------------------------------------------------- */

/* fail_after(n): the n-th allocation from now fails (0: none) */
static int l_fail_after(lua_State *L) {
    fault_after((long)luaL_checkinteger(L, 1), false);
    return 0;
}

/* live() -> blocks that are alive */
static int l_live(lua_State *L) {
    lua_pushinteger(L, mem_live());
    return 1;
}

__attribute__((visibility("default"))) int
luaopen_sluice_core_testing_http(lua_State *L) {
    static const luaL_Reg functions[] = {{"parse_head", l_parse_head},
                                         {"field_value", l_field_value},
                                         {"field_list", l_field_list},
                                         {"field_has_token", l_field_has_token},
                                         {"field_only_token", l_field_only_token},
                                         {"accepts", l_accepts},
                                         {"accepts_coding", l_accepts_coding},
                                         {"match", l_match},
                                         {"none_match", l_none_match},
                                         {"repeated", l_repeated},
                                         {"media_type", l_media_type},
                                         {"credentials", l_credentials},
                                         {"address", l_address},
                                         {"chunks", l_chunks},
                                         {"answer", l_answer},
                                         {"failure", l_failure},
                                         {"stream", l_stream},
                                         {"continue", l_continue},
                                         {"date", l_date},
                                         {"reason", l_reason},
                                         {"field_check", l_field_check},
                                         {"path", l_path},
                                         {"decode", l_decode},
                                         {"query", l_query},
                                         {"query_get", l_query_get},
                                         {"host_allowed", l_host_allowed},
                                         {"cors", l_cors},
                                         {"fail_after", l_fail_after},
                                         {"live", l_live},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
