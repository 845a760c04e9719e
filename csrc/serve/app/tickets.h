/* Tickets of what is under way: small numbers that come again once they have had their last answer, so
 * what waits for them is a short array. [one thread] */
#ifndef SLUICE_SERVE_APP_TICKETS_H
#define SLUICE_SERVE_APP_TICKETS_H

#include <stddef.h>
#include <stdint.h>

struct tickets {
    uint64_t used; /* the highest one */
    uint64_t *free;
    size_t n_free, cap;
};

uint64_t tickets_take(struct tickets *t);
void tickets_give_back(struct tickets *t, uint64_t ticket);
void tickets_deinit(struct tickets *t);

#endif
