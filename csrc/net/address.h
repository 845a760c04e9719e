/* Addresses of clients as text. [any thread] */
#ifndef SLUICE_NET_ADDRESS_H
#define SLUICE_NET_ADDRESS_H

#include "base/slice.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define ADDRESS_TEXT_MAX 46 /* the longest IPv6 address and its NUL */

/* The usual text of an address; an IPv4 address that is mapped into IPv6 as IPv4. */
void address_format(const struct in6_addr *address, char out[ADDRESS_TEXT_MAX]);

/* Read what a proxy writes: "192.0.2.1", "2001:db8::1", each also with a port
 * ("192.0.2.1:80", "[2001:db8::1]:80"), and with a zone, which is passed over
 * ("fe80::1%eth0"). False when it is no address ("unknown"). */
bool address_read(struct slice text, struct in6_addr *out);

#define LISTENING_TEXT_MAX 112 /* a path of a Unix socket, and its NUL */

/* Where a socket listens: an address, and *port; or a path ("@name" without a file) and 0. 0 or
 * a negative errno: -EINVAL when it does not listen for streams. */
int address_listening(int fd, char out[LISTENING_TEXT_MAX], uint16_t *port);

/* A network; a single address is one, too. */
struct network {
    struct in6_addr address; /* IPv4 mapped */
    unsigned bits;           /* of the 128 that its addresses have in common */
};

/* Read "192.0.2.0/24", "2001:db8::/32" or an address. False when it is none of these. */
bool address_read_network(struct slice text, struct network *out);
bool address_is_in(const struct in6_addr *address, const struct network *network);

/* What tells one client from another: of an IPv6 address the /64 network, since a client
 * chooses the rest; an IPv4 address as it is. */
void address_cut(struct in6_addr *address);

#endif
