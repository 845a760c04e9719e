/* Checksums of rows: CRC-32C over every column, numbers as 8 bytes, bytes with their length
 * before them. A row of another table or channel never passes. [any thread] */
#ifndef SLUICE_STORE_SUM_H
#define SLUICE_STORE_SUM_H

#include "store/op.h"
#include "store/read.h"

/* A row of 'channels'. */
struct sum_channel {
    int64_t id;
    struct slice name;
    enum store_kind kind;
    bool durable;
    uint64_t floor, events, bytes, counted;
};

int64_t sum_head(struct slice epoch, uint64_t last, uint64_t commits, bool clean);
int64_t sum_channel(const struct sum_channel *c);
int64_t sum_event(int64_t chan, uint64_t prev, const struct store_row *r);
/* Of a row in place of events that are lost: it reads as a damaged one. */
int64_t sum_lost(int64_t chan, uint64_t prev, const struct store_row *r);
int64_t sum_newest(int64_t chan, const struct store_row *r);
int64_t sum_key(int64_t chan, struct slice key, uint64_t seq, int64_t at_ms);
int64_t sum_pair(const struct store_pair *p);
int64_t sum_task(const struct store_task *t);

#endif
