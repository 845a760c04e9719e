/* Questions of the server object: how clients and channels stand, and what was noted of them. */
#include "base/log_line.h"
#include "base/status.h"
#include "bind/server_type.h"

/* What is looked for in recorded lines: a value, of any field or of one. 0 or E_NOMEM. */
static int write_wanted(struct buf *b, struct slice value, struct slice field) {
    int err = 0;
    if (field.n > 0) err = log_line_add_string(b, field);
    if (err == 0) err = buf_adds(b, ":");
    return err < 0 ? err : log_line_add_string(b, value);
}

/* server:ask_threads(client id | nil, channel | nil, value | nil[, field]) -> ticket, number of answers
 * "told" brings each: how client and channel stand, and the recorded lines with that value. */
static int l_ask_threads(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice id = lx_optslice(L, 2), channel = lx_optslice(L, 3);
    struct slice value = lx_optslice(L, 4), field = lx_optslice(L, 5);
    lua_settop(L, 5);
    struct buf *wanted = lx_newbuf(L);
    if (value.n > 0 && write_wanted(wanted, value, field) < 0) return lx_fail(L, E_NOMEM);
    server_catch_up(s->server);
    struct client *c = id.n > 0 ? server_find_client(s->server, id) : NULL;
    uint64_t ticket = server_ask(s->server, c, channel, buf_slice(wanted));
    buf_free(wanted);
    lua_pushinteger(L, (lua_Integer)ticket);
    lua_pushinteger(L, s->server->hub.n_lanes);
    return 2;
}

void lx_server_add_explain(lua_State *L) {
    static const luaL_Reg methods[] = {{"ask_threads", l_ask_threads}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
