/* sluice.core: functions of the host beside the server: folders, file systems, the runtime
 * folder, and one request over a Unix socket for the command line. */
#ifndef SLUICE_BIND_HOST_H
#define SLUICE_BIND_HOST_H

#include <lua.h>

/* Put them into the table on top of the stack. */
void host_add_functions(lua_State *L);

#endif
