/* What a conversion brings to the fans of all threads, each at the same place of the order:
 * made by the store's thread, shared by the messages, freed with the last. */
#ifndef SLUICE_SERVE_CONVERSION_H
#define SLUICE_SERVE_CONVERSION_H

#include "fan/fan.h"

#include <stdatomic.h>

struct conversion {
    atomic_uint refs;
    struct fan_conversion brings;
    struct fan_floor *floors; /* room for as many as there are patterns */
    struct slice *keyed;      /* owned names */
    struct frame **newest;    /* with a reference each */
    uint32_t cap_keyed, cap_newest;
};

/* One reference (shares the set). */
struct conversion *conversion_new(struct policy_set *policies);
struct conversion *conversion_ref(struct conversion *c);
void conversion_unref(struct conversion *c); /* NULL is fine */

void conversion_add_floor(struct conversion *c, struct slice pattern, uint64_t floor);
void conversion_add_keyed(struct conversion *c, struct slice channel); /* copies */
/* A newest value of the channel that was added last (takes). E_NOMEM: it is let go. */
int conversion_add_newest(struct conversion *c, struct frame *f);

#endif
