/* The life of a report; see report.h. */
#include "serve/report.h"

#include "base/mem.h"

void report_free(struct report *r) {
    if (!r) return;
    while (!list_empty(&r->tallies))
        tally_free(container_of(r->tallies.next, struct tally, node));
    mem_free(r);
}
