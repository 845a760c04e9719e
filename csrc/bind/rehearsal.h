/* A server in a rehearsal as Lua sees it (see serve/rehearsal.h); for lua/sluice/testing. */
#ifndef SLUICE_BIND_REHEARSAL_H
#define SLUICE_BIND_REHEARSAL_H

#include <lua.h>

void rehearsal_add_methods(lua_State *L); /* to the server's table on top of the stack */
void rehearsal_add_functions(lua_State *L); /* to the module's table */

#endif
