/* The service manager of the machine (systemd, or what speaks as it does): sockets that it hands
 * over, what it is told, and the journal that reads stderr. Both protocols are a variable of the
 * environment and a datagram; when they are used is decided in lua/sluice/live/manager.lua. */
#ifndef SLUICE_BIND_MANAGER_H
#define SLUICE_BIND_MANAGER_H

#include <lua.h>
#include <stdbool.h>

/* Whether stderr leads to the journal: JOURNAL_STREAM names what it is. */
bool manager_reads_log(void);

/* Put listening, notify and pid into the table on top of the stack. */
void manager_add_functions(lua_State *L);

#endif
