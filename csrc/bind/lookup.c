/* Names by the system's resolver; see lookup.h. */
#include "bind/lookup.h"

#include "base/status.h"

#include <netdb.h>
#include <stdio.h>

int lx_find_address(struct slice host, uint16_t port, struct sockaddr_storage *to,
                    socklen_t *to_n) {
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *all;
    if (slice_eq_lit(host, "localhost")) hints.ai_family = AF_INET;
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host.p, service, &hints, &all) != 0) return E_ADDRESS;
    memcpy(to, all->ai_addr, all->ai_addrlen);
    *to_n = all->ai_addrlen;
    freeaddrinfo(all);
    return 0;
}

uint16_t lx_field_port(lua_State *L, int index, const char *name) {
    double port = lx_field_number(L, index, name, 0);
    luaL_argcheck(L, port >= 0 && port <= 65535, index, "a port is 0 to 65535");
    return (uint16_t)port;
}
