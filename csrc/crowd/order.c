/* A ring by number beside a table by hash, of whose rows an old one may be taken at any time;
 * see order.h. */
#include "crowd/order.h"

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>

#define PROBES 16u

static bool is_kept(const struct order *o, uint64_t number) {
    return number > 0 && number <= o->head && o->head - number < ORDER_KEPT;
}

static bool is_of(const struct order *o, uint64_t number, uint64_t hash) {
    return is_kept(o, number) && o->rows[number % ORDER_KEPT].hash == hash;
}

static uint64_t *place_of(struct order *o, uint64_t hash, size_t probe) {
    return &o->numbers[(hash + probe) % (2 * ORDER_KEPT)];
}

/* How many readers lack it that were there then and still are. */
static uint32_t lack(const struct order *o, uint64_t number) {
    const struct order_row *row = &o->rows[number % ORDER_KEPT];
    uint32_t expected = row->expected < o->open ? row->expected : o->open;
    return number > o->from && row->got < expected ? expected - row->got : 0;
}

/* A new id: the next number, in a place that nobody needs, or else the oldest of those. */
static uint64_t add(struct order *o, uint64_t hash) {
    uint64_t *place = place_of(o, hash, 0);
    for (size_t i = 0; i < PROBES; i++) {
        uint64_t *other = place_of(o, hash, i);
        if (*other < *place) place = other;
    }
    if (o->head >= ORDER_KEPT) o->lost += lack(o, o->head + 1 - ORDER_KEPT);
    o->head++;
    o->rows[o->head % ORDER_KEPT] =
        (struct order_row){.hash = hash, .first_us = clock_us(), .expected = o->open};
    *place = o->head;
    return o->head;
}

uint64_t order_of(struct order *o, uint64_t hash, uint64_t after) {
    if (is_of(o, after + 1, hash)) return after + 1;
    for (size_t i = 0; i < PROBES; i++) {
        uint64_t number = *place_of(o, hash, i);
        if (is_of(o, number, hash)) return number;
    }
    return add(o, hash);
}

void order_got(struct order *o, uint64_t number) {
    if (is_kept(o, number)) o->rows[number % ORDER_KEPT].got++;
}

void order_begin(struct order *o) {
    o->from = o->head;
    o->lost = 0;
}

uint64_t order_lost(const struct order *o, int64_t until_us) {
    uint64_t lost = o->lost;
    uint64_t number = o->head > ORDER_KEPT ? o->head - ORDER_KEPT : 0;
    while (++number <= o->head)
        if (o->rows[number % ORDER_KEPT].first_us <= until_us) lost += lack(o, number);
    return lost;
}

int64_t place_take(struct place *p, uint64_t number) {
    if (number > p->last) {
        uint64_t ahead = number - p->last;
        p->seen = ahead < 64 ? p->seen << ahead | 1 : 1;
        p->last = number;
        return (int64_t)ahead;
    }
    uint64_t back = p->last - number, bit = back < 64 ? (uint64_t)1 << back : 0;
    if (!bit || (p->seen & bit)) return -1;
    p->seen |= bit;
    return 0;
}
