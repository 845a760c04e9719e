/* sluice.core.json: JSON text (RFC 8259) of Lua values, and back. Numbers keep every bit,
 * text is valid UTF-8 on one line, empty arrays stay arrays. lua/sluice/json.lua is what
 * programs see. */
#ifndef SLUICE_BIND_JSON_H
#define SLUICE_BIND_JSON_H

#include <lua.h>

/* Set field 'json' of the table on top of the stack to { codec, ARRAY }. */
void json_add_functions(lua_State *L);

/* Push encode and decode. On the stack stand, as the arguments of a codec: the metatable of
 * arrays; nil, or another one that marks arrays, too; nil, or the light userdata that is an
 * empty array. */
void json_push_encode(lua_State *L);
void json_push_decode(lua_State *L);

#endif
