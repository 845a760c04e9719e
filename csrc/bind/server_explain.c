/* Questions of the server object: how clients and channels stand, and what was noted of them. */
#include "bind/server_type.h"

/* server:ask_threads(client id | nil, channel | nil, value | nil[, field]) -> ticket, number of answers
 * "told" brings each: how client and channel stand, and what was noted with that value. */
static int l_ask_threads(lua_State *L) {
    struct lx_server *s = lx_checkserver(L);
    struct slice id = lx_optslice(L, 2), channel = lx_optslice(L, 3);
    struct notes_wanted wanted = {.value = lx_optslice(L, 4), .name = lx_optslice(L, 5)};
    server_catch_up(s->server);
    struct client *c = id.n > 0 ? server_find_client(s->server, id) : NULL;
    uint64_t ticket = server_ask(s->server, c, channel, &wanted);
    lua_pushinteger(L, (lua_Integer)ticket);
    lua_pushinteger(L, s->server->hub.n_lanes);
    return 2;
}

void lx_server_add_explain(lua_State *L) {
    static const luaL_Reg methods[] = {{"ask_threads", l_ask_threads}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
