/* Parts and their sum; see count.h. */
#include "base/count.h"

static atomic_uint next_part;
static _Thread_local unsigned part; /* 0: none yet */

unsigned count_part(void) {
    if (part == 0)
        part = 1 + atomic_fetch_add_explicit(&next_part, 1, memory_order_relaxed) %
                       COUNT_PARTS;
    return part - 1;
}

long count_sum(struct count *c) {
    long sum = 0;
    for (int i = 0; i < COUNT_PARTS; i++) sum += atomic_load(&c->parts[i].n);
    return sum;
}
