/* A reply of Redis as a Lua value: a text, an integer, false for nil, { err = text }, or a list. */
#ifndef SLUICE_BIND_REPLY_TREE_H
#define SLUICE_BIND_REPLY_TREE_H

#include "bind/l_aux.h"
#include "cluster/resp.h"

static inline void reply_push(lua_State *L, const struct reply *r) {
    switch (r->kind) {
    case RESP_NIL: lua_pushboolean(L, false); return;
    case RESP_NUMBER: lua_pushinteger(L, r->number); return;
    case RESP_TEXT: lx_pushslice(L, r->text); return;
    case RESP_ERROR:
        lua_createtable(L, 0, 1);
        lx_pushslice(L, r->text);
        lua_setfield(L, -2, "err");
        return;
    case RESP_LIST: break;
    }
    lua_createtable(L, (int)r->n, 0);
    luaL_checkstack(L, 4, NULL);
    for (uint32_t i = 0; i < r->n; i++) {
        reply_push(L, &r->items[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

#endif
