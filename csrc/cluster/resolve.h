/* The addresses of a host name, without waiting for them. An address as text is answered without a
 * thread; a name by one that ends by itself, however long that takes, and whether or not
 * somebody still wants to know. */
#ifndef SLUICE_CLUSTER_RESOLVE_H
#define SLUICE_CLUSTER_RESOLVE_H

#include "base/bounds.h"
#include "cluster/wire.h"
#include "run/loop.h"

struct resolved {
    struct wire_address addresses[LINK_ADDRESSES_MAX];
    unsigned n;
    char why[128]; /* n = 0: why there is none */
};

struct resolve;

/* 'fn' is called on the loop's thread, never inside of this call, with the result (borrowed). The
 * resolve is gone then. */
typedef void resolve_fn(void *owner, const struct resolved *r);
struct resolve *resolve_start(struct loop *loop, const char *host, uint16_t port,
                              resolve_fn *fn, void *owner);
void resolve_forget(struct resolve *r); /* takes; fn is not called. NULL is fine */

#endif
