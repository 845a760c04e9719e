/* Makes codecs; see json.h. */
#include "bind/json.h"

#include <lauxlib.h>

/* core.json.codec(array_mt[, other_array_mt[, empty_array]]) -> encode, decode */
static int l_codec(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnoneornil(L, 2) || lua_istable(L, 2), 2, "table");
    luaL_argexpected(L, lua_isnoneornil(L, 3) || lua_islightuserdata(L, 3), 3,
                     "light userdata");
    lua_settop(L, 3);
    json_push_encode(L);
    json_push_decode(L);
    return 2;
}

void json_add_functions(lua_State *L) {
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, l_codec);
    lua_setfield(L, -2, "codec");
    luaL_newmetatable(L, "sluice.array");
    lua_setfield(L, -2, "ARRAY");
    lua_setfield(L, -2, "json");
}
