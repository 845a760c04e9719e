/* sluice.core.listener: TCP connections for a command that serves a few readers from one
 * thread, such as `sluice replay --serve`. A server of apps is csrc/serve. */
#ifndef SLUICE_BIND_LISTENER_H
#define SLUICE_BIND_LISTENER_H

#include <lua.h>

/* Put the function into the table on top of the stack. */
void listener_add_functions(lua_State *L);

#endif
