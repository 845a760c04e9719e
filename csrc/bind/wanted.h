/* Whether anybody looks at what a function returns: what nobody looks at need not be made. */
#ifndef SLUICE_BIND_WANTED_H
#define SLUICE_BIND_WANTED_H

#include <lua.h>
#include <stdbool.h>

/* Find out whether this Lua can be asked. Once, before the first question. */
void wanted_learn(lua_State *L);

/* In a C function that a Lua function returns the results of: whether that one's caller drops
 * them all, as a statement does. When in doubt they are wanted. */
bool wanted_nothing(lua_State *L);

#endif
