/* Listening sockets: one per I/O thread on the same port (SO_REUSEPORT), so that the
 * kernel spreads connections and no socket is handed over.
 *
 * Options are set once here; accepted sockets inherit them. */
#ifndef SLUICE_SERVE_IO_LISTENER_H
#define SLUICE_SERVE_IO_LISTENER_H

#include <netinet/in.h>
#include <stdint.h>

/* Whether the port can be ours alone. SO_REUSEPORT would let a second server of the same
 * user share it in silence, and half of the clients with it. 0, E_ADDRESS or a negative
 * errno. */
int listener_check(const char *host, uint16_t port);

/* Bind and listen on host (an address, or "localhost") and *port; 0 takes a free one and
 * reports it. A peer may take nothing for 'stall_ms' before the kernel gives it up. The
 * descriptor, E_ADDRESS or a negative errno. */
int listener_open(const char *host, uint16_t *port, int64_t stall_ms);

/* The same on a socket that listens already, the manager's of this machine or another process's
 * (borrows; several threads may have it). What waits there when this process ends is the next
 * one's. The port is set when it has one. The descriptor, a copy, or a negative errno. */
int listener_adopt(int fd, uint16_t *port, int64_t stall_ms);

/* From now on a connection waits in the kernel until its first bytes are there, or a second has passed:
 * the client speaks first. (TCP_DEFER_ACCEPT; tcp(7)) */
void listener_await_request(int fd);

/* The next connection: its descriptor, or a negative errno (-EAGAIN: none). */
int listener_accept(int fd, struct in6_addr *peer);

#endif
