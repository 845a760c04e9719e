/* A plan: which channels a stream follows and how, as an object of its own that may
 * cross threads. Immutable and counted; all text lives in the same allocation. */
#ifndef SLUICE_FAN_PLAN_H
#define SLUICE_FAN_PLAN_H

#include "fan/stream.h"

#include <stdatomic.h>

struct plan {
    atomic_uint refs;
    double heartbeat; /* seconds; < 0: the server's */
    bool plain;       /* no control events */
    uint32_t n;
    struct sub_spec specs[];
};

/* Copies the specs and all they point to. Owned; NULL when memory is out. */
struct plan *plan_new(const struct sub_spec *specs, uint32_t n, double heartbeat,
                      bool plain);
struct plan *plan_ref(struct plan *p);
void plan_unref(struct plan *p); /* NULL is fine */

#endif
