/* sluice.core: programs that a command starts, and that do not outlive it. */
#ifndef SLUICE_BIND_CHILD_H
#define SLUICE_BIND_CHILD_H

#include <lua.h>

/* Put the functions into the table on top of the stack. */
void child_add_functions(lua_State *L);

#endif
