/* See sum.h. Signed, since SQLite then keeps them in four bytes. */
#include "store/sum.h"

#include "base/crc32c.h"

#include <endian.h>

static uint32_t number(uint32_t c, int64_t value) {
    uint64_t bytes = htole64((uint64_t)value);
    return crc32c(c, &bytes, sizeof bytes);
}

static uint32_t text(uint32_t c, struct slice s) {
    c = number(c, (int64_t)s.n);
    return s.n > 0 ? crc32c(c, s.p, s.n) : c;
}

/* All numbers before the texts in one go: each event has its sum. */
static uint32_t row(char table, int64_t chan, const struct store_row *r) {
    uint64_t head[] = {htole64((uint64_t)table), htole64((uint64_t)chan), htole64(r->seq),
                       htole64((uint64_t)r->at_ms), htole64((uint64_t)r->expires_ms)};
    uint32_t c = crc32c(0, head, sizeof head);
    return text(text(text(c, r->name), r->key), r->data);
}

int64_t sum_head(struct slice epoch, uint64_t last, uint64_t commits, bool clean) {
    uint32_t c = text(number(0, 'h'), epoch);
    return (int32_t)number(number(number(c, (int64_t)last), (int64_t)commits), clean);
}

int64_t sum_channel(const struct sum_channel *ch) {
    uint32_t c = text(number(number(0, 'c'), ch->id), ch->name);
    c = number(number(number(c, ch->kind), ch->durable), (int64_t)ch->floor);
    c = number(number(c, (int64_t)ch->events), (int64_t)ch->bytes);
    return (int32_t)number(c, (int64_t)ch->counted);
}

int64_t sum_event(int64_t chan, uint64_t prev, const struct store_row *r) {
    uint64_t tail[] = {htole64(prev), htole64(r->remove)};
    return (int32_t)crc32c(row('e', chan, r), tail, sizeof tail);
}

int64_t sum_lost(int64_t chan, uint64_t prev, const struct store_row *r) {
    return ~sum_event(chan, prev, r);
}

int64_t sum_newest(int64_t chan, const struct store_row *r) {
    return (int32_t)row('n', chan, r);
}

int64_t sum_key(int64_t chan, struct slice key, uint64_t seq, int64_t at_ms) {
    uint32_t c = text(number(number(0, 'k'), chan), key);
    return (int32_t)number(number(c, (int64_t)seq), at_ms);
}

int64_t sum_pair(const struct store_pair *p) {
    return (int32_t)text(text(text(number(0, 'p'), p->store), p->key), p->value);
}

int64_t sum_task(const struct store_task *t) {
    return (int32_t)number(text(text(text(number(0, 't'), t->id), t->name), t->data),
                           t->due_ms);
}
