/* The blocks that were gathered last, for the streams that stand at the same cursor.
 *
 * An entry is found by its spans: for each subscription with something pending, its audience
 * and from where and how far it reads. It says what a stream gets with the block and where
 * that leaves it. Events, ticks and policies make the spans wrong: cache_clear. [one
 * thread] */
#ifndef SLUICE_FAN_CACHE_H
#define SLUICE_FAN_CACHE_H

#include "base/bounds.h"
#include "fan/block.h"

#include <stdbool.h>

struct audience;

/* What one subscription reads: of which channel, by which filter, from where, how far. */
struct cache_span {
    const struct audience *audience; /* compared, never read */
    uint64_t first;                  /* number of the first pending event */
    uint64_t upto;                   /* and how far it looks */
};

/* What one subscription gets from a block. */
struct cache_sent {
    uint32_t events, bytes;
    uint32_t wanted; /* of these events, those counted by its audience since it joined */
};

struct cache_entry {
    struct block *block; /* NULL: unused */
    uint32_t n;          /* spans */
    uint64_t shape;      /* of the feeds that it is for; 0: of streams */
    bool more;           /* something is left behind this block */
    uint64_t cursor;     /* of the stream, afterwards */
    uint64_t written;    /* the newest id in the block; 0: none */
    struct cache_span spans[GATHER_CHANNELS_MAX];
    uint64_t to[GATHER_CHANNELS_MAX]; /* where each state stands afterwards */
    struct cache_sent sent[GATHER_CHANNELS_MAX];
};

#define CACHE_BLOCKS 16

struct cache {
    struct cache_entry entries[CACHE_BLOCKS];
    uint32_t next; /* the entry that is filled next, counted on and on */
    uint32_t hot;  /* the one that was used last */
};

/* The entry of exactly these spans, of that shape; NULL. */
const struct cache_entry *cache_find(struct cache *c, const struct cache_span *spans,
                                     uint32_t n, uint64_t shape);

/* Make room for an entry: the oldest goes. The caller fills it, with a block. */
struct cache_entry *cache_add(struct cache *c);

void cache_clear(struct cache *c);

#endif
