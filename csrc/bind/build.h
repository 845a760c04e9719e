/* What this build of Sluice is made of. */
#ifndef SLUICE_BIND_BUILD_H
#define SLUICE_BIND_BUILD_H

#include <lua.h>

/* Put build into the table on top of the stack. */
void build_add_functions(lua_State *L);

#endif
