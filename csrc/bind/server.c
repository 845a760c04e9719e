/* The userdata: made, checked, the ids it gives, and the channels of a client; see server.h. */
#include "bind/server.h"

#include "base/decimal.h"

#include <assert.h>
#include <string.h>

static const char TYPE[] = "sluice.server";

struct lx_server *lx_newserver(lua_State *L) {
    struct lx_server *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct lx_server){.type = TYPE,
                            .on_event = LUA_NOREF,
                            .on_answer = LUA_NOREF,
                            .on_stream = LUA_NOREF,
                            .waiting = LUA_NOREF,
                            .mark = LUA_NOREF,
                            .on_lab = LUA_NOREF};
    luaL_setmetatable(L, TYPE);
    return s;
}

struct lx_server *lx_toserver(lua_State *L) {
    return luaL_checkudata(L, 1, TYPE);
}

/* A publish asks each time: what has the size and the mark is one. */
struct lx_server *lx_checkserver(lua_State *L) {
    struct lx_server *s = lua_touserdata(L, 1);
    if (!s || lua_rawlen(L, 1) != sizeof *s || s->type != TYPE)
        s = luaL_checkudata(L, 1, TYPE); /* says what it is instead */
    luaL_argcheck(L, s->server, 1, "the server is closed");
    assert(s->server);
    return s;
}

bool lx_are_texts(lua_State *L) {
    int name = lua_type(L, 3);
    return lua_type(L, 4) == LUA_TSTRING && (name == LUA_TSTRING || name == LUA_TNIL);
}

void lx_pushid(lua_State *L, const struct server *s, uint64_t seq) {
    char text[EPOCH_LENGTH + 1 + 20], *end = text + sizeof text;
    char *start = decimal_before(end, seq);
    *--start = '-';
    start -= EPOCH_LENGTH;
    memcpy(start, s->fan.epoch, EPOCH_LENGTH);
    lua_pushlstring(L, start, (size_t)(end - start));
}

void lx_pushchannels(lua_State *L, struct client *c) {
    lua_createtable(L, (int)c->n_topics, 0);
    for (uint32_t i = 0; i < c->n_topics; i++) {
        lx_pushslice(L, topic_name(client_topics(c)[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

bool lx_newservertype(lua_State *L) {
    if (luaL_newmetatable(L, TYPE)) {
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
        return true;
    }
    lua_pop(L, 1); /* required again in the same state */
    return false;
}
