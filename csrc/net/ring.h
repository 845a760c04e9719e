/* A ring: writes to many sockets that enter the kernel together (io_uring).
 *
 *     write, write, … write     at most RING_BATCH, each to another socket
 *     one system call           the kernel does them one after the other
 *     the results               all there when the call returns: MSG_DONTWAIT lets none wait
 *
 * So nothing outlives the call, and a write is what it is with send(). It pays for three writes
 * and more, whatever their size (two cost the same, one costs 5 to 11 % more). The first bytes of
 * a stream are such writes; accepting and reading are no part of it: in batches of 63 that spares
 * 0.3 us of the 40 of a connect, in batches of 4 it costs more, and before Linux 6.10 no accept in
 * a ring returns at once when nobody waits. It is there where
 * Sluice is built with liburing and the kernel, which may forbid it, gives one: otherwise
 * ring_new says why not. Its memory is some 40 KB, whatever comes. [one thread] */
#ifndef SLUICE_NET_RING_H
#define SLUICE_NET_RING_H

#include "net/sock.h"

#include <stddef.h>

/* A ring that has proved that it does what is said above. It may change hands until
 * ring_begin. 0 or a negative errno: -ENOSYS where there is none. */
int ring_new(struct ring **out);
void ring_free(struct ring *r); /* NULL is fine */

/* From here on the calling thread uses it, and no other may. 0 or a negative errno. */
int ring_begin(struct ring *r);

/* Send 1 to RING_BATCH writes now, to different sockets, and set their results. False when it
 * has failed, and will fail again: those whose result is SOCK_QUEUED were not begun. */
bool ring_send(struct ring *r, struct sock_write *writes, uint32_t n);

/* "yes", and what the kernel has of what makes it quick. */
#define RING_TEXT_MAX 80
void ring_describe(const struct ring *r, char *text, size_t size);

/* Why ring_new failed, and what to do. Never NULL. */
const char *ring_problem(int err);

#endif
