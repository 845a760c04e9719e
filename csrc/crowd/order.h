/* The order of events that have ids, and who got them.
 *
 * Each id gets the next number when a reader is the first to bring it, so that a reader's place
 * is one number; and is counted, so that in the end it is known how many readers lack it,
 * whatever the order in which they got it.
 *
 * Holds the newest ORDER_KEPT ids, as hashes; an older one that comes again gets a number
 * anew. [one thread] */
#ifndef SLUICE_CROWD_ORDER_H
#define SLUICE_CROWD_ORDER_H

#include <stdint.h>

#define ORDER_KEPT 65536u /* a power of two */

struct order_row {
    uint64_t hash;
    int64_t first_us;       /* when the first reader got it */
    uint32_t got, expected; /* readers: that have it; that were there then */
};

struct order {
    uint64_t head; /* the newest number; the first is 1 */
    uint64_t from; /* those after it are counted */
    uint64_t lost; /* what readers lack of those that are not kept any more */
    uint32_t open; /* readers that are there now: set by the owner */
    struct order_row rows[ORDER_KEPT]; /* by number */
    uint64_t numbers[2 * ORDER_KEPT];  /* by hash; 0: none */
};

/* The number of an id by its hash. 'after' is the number before it for who asks: most ids are
 * the next one. */
uint64_t order_of(struct order *o, uint64_t hash, uint64_t after);

/* One more reader has it. */
void order_got(struct order *o, uint64_t number);

/* What comes from now on is counted. */
void order_begin(struct order *o);

/* What readers that are still there lack of all that the first of them had by then. */
uint64_t order_lost(const struct order *o, int64_t until_us);

/* How far one reader has got in a row of numbers. Zero-initialised it has had none. */
struct place {
    uint64_t last;
    uint64_t seen; /* a bit for each of the 64 up to 'last' */
};

/* A number has come. By how much it is ahead of the last one; 0: it was missing until now; -1:
 * it has come before. */
int64_t place_take(struct place *p, uint64_t number);

#endif
