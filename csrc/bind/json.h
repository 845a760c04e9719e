/* sluice.core.json: JSON text (RFC 8259) of Lua values, and back. Numbers keep every bit,
 * text is valid UTF-8 on one line, empty arrays stay arrays. lua/sluice/json.lua is what
 * programs see. */
#ifndef SLUICE_BIND_JSON_H
#define SLUICE_BIND_JSON_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Set field 'json' of the table on top of the stack to { codec, ARRAY }. */
void json_add_functions(lua_State *L);

/* How many of the first bytes stand in a JSON string as they are: valid UTF-8 but quotes,
 * backslashes, control characters and separators. */
size_t json_plain_run(const char *p, size_t n);

/* Whether a character of so many bytes is U+0085, U+2028 or U+2029, which end a line for
 * some readers. */
bool json_is_separator(const char *p, size_t length);

/* Push encode and decode. On the stack stand, as the arguments of a codec: the metatable of
 * arrays; nil, or another one that marks arrays, too; nil, or the light userdata that is an
 * empty array. */
void json_push_encode(lua_State *L);
void json_push_decode(lua_State *L);

#endif
