/* Records: what the writing thread knows of each channel and pattern in the file, with a
 * way back when a transaction fails.
 *
 * Before a transaction changes a record it touches it, which keeps the old values; records
 * that are made in one vanish with it. Counters are read from the file when a channel is
 * first used. Rows are never deleted: the floor of a channel outlives it. [store thread] */
#ifndef SLUICE_STORE_RECORD_H
#define SLUICE_STORE_RECORD_H

#include "base/map.h"
#include "store/db.h"
#include "store/op.h"

struct record_state {
    enum store_kind kind;
    bool durable;
    bool counted; /* events, bytes, keys, oldest_ms are exact */
    bool unclean; /* rows at or below the floor may still be there */
    uint64_t floor;
    uint64_t last;          /* the newest row's number, or the floor */
    uint64_t events, bytes; /* above the floor; up to 'counted_to' if not counted */
    uint64_t counted_to;
    uint32_t keys;     /* newest values */
    int64_t oldest_ms; /* when the oldest event above the floor was accepted; 0: none */
};

/* What a new one is. */
struct record_as {
    enum store_kind kind;
    bool durable;
    uint64_t floor;
};

struct record {
    struct map_node node; /* in records->by_name */
    struct slice key;     /* the name */
    int64_t id;
    struct store_policy policy; /* its limits; asked for when the serial is old */
    unsigned policy_serial;
    struct record_state now, before;
    struct record *touched; /* the next one of the transaction */
    bool is_touched, is_new;
    char name[];
};

struct records {
    struct map by_name;
    struct record **all; /* in order of id */
    uint32_t n, cap;
    struct record *touched;
    struct record
        *found; /* the last one that was asked for: mostly it is asked for again */
};

map_key_fn record_key;

/* Read all rows. 0, E_DAMAGED or as db.h. */
int records_load(struct records *rs, struct db *db);
void records_free(struct records *rs);

struct record *record_find(struct records *rs, struct slice name); /* NULL */
/* The same by its id: they lie in the order of those. */
const struct record *record_by_id(const struct records *rs, int64_t id);

/* Whether it is a log of one channel: states, and patterns, have no rows of events. */
bool record_has_events(const struct record *r);

/* Add one and its row, in a transaction. 0, E_FULL (CHANNELS_MAX), or as db.h. */
int record_add(struct records *rs, struct db *db, struct slice name,
               const struct record_as *as, struct record **out);

void record_touch(struct records *rs, struct record *r);

/* Write its row: floor, kind, durability, counters. */
int record_write(struct record *r, struct db *db);

/* Make its counters exact. Only reads. */
int record_count(struct record *r, struct db *db);

/* The transaction is in the file, or nothing of it is. */
void records_commit(struct records *rs);
void records_rollback(struct records *rs);

#endif
