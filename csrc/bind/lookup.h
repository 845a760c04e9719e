/* The address of a server that a command is pointed at. */
#ifndef SLUICE_BIND_LOOKUP_H
#define SLUICE_BIND_LOOKUP_H

#include "bind/l_aux.h"

#include <sys/socket.h>

/* The first address of a name (NUL-terminated); IPv4 for localhost, as servers here listen. 0 or
 * E_ADDRESS. Blocks. */
int lx_find_address(struct slice host, uint16_t port, struct sockaddr_storage *to,
                    socklen_t *to_n);

/* A port, which is 0 when it is absent, of the table at 'index'. */
uint16_t lx_field_port(lua_State *L, int index, const char *name);

#endif
