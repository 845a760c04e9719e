/* core.store: what is done to a store as a whole, for the command line. */
#ifndef SLUICE_BIND_STORE_TOOLS_H
#define SLUICE_BIND_STORE_TOOLS_H

#include <lua.h>

/* Put 'store' into the table on top of the stack. */
void store_tools_add(lua_State *L);

#endif
