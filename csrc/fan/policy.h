/* Policies: what a channel keeps and how it treats readers.
 *
 * A set is immutable and shared by all threads. For one channel the options of all
 * matching patterns are merged one by one: for each option the most specific pattern
 * that sets it wins (more literal start, then fewer wildcards, then declared later). */
#ifndef SLUICE_FAN_POLICY_H
#define SLUICE_FAN_POLICY_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum channel_kind {
    CHANNEL_LOG,   /* every event in order, with ids */
    CHANNEL_STATE, /* the newest event per event name and key, without ids */
    CHANNEL_KEYED  /* a log whose newcomers get the newest per name and key */
};

enum slow_policy { SLOW_RESET, SLOW_CLOSE };

#define REWIND_ALL (-1)
#define REWIND_LATEST (-2)

/* Bits of 'set' in a rule: which options the app gave. */
enum policy_option {
    POLICY_HISTORY = 1,
    POLICY_BYTES = 2,
    POLICY_TTL = 4,
    POLICY_KEY = 8,
    POLICY_MAX_KEYS = 16,
    POLICY_REWIND = 32,
    POLICY_SLOW = 64,
    POLICY_MAX_RATE = 128,
    POLICY_BATCH = 256,
    POLICY_DURABLE = 512,
    POLICY_BUDGET = 1024,
    POLICY_SHARED = 2048
};

struct policy {
    bool latest;  /* history = "latest": a state */
    bool durable; /* its events are in the store, too */
    bool
        in_redis; /* ... in that of a cluster, which trims it as this says; set by chans */
    bool local;   /* shared = false: of one node, with numbers of its own and no ids */
    uint32_t history;       /* events */
    uint32_t held;          /* events of a durable log in memory; set by chans */
    uint64_t history_bytes; /* 0: no limit of its own */
    int64_t ttl_ms;         /* 0: events do not age */
    uint32_t period_ms;     /* states: the least time between two of a key; 0: none */
    uint32_t batch_ms;      /* events are collected for so long; 0: they go at once */
    uint64_t budget;  /* bytes a minute to all subscribers; more is reported; 0: none */
    struct slice key; /* field of the data; borrowed from the set */
    uint32_t max_keys;
    int32_t rewind; /* events for a newcomer, or REWIND_* */
    enum slow_policy slow;
    bool reads;           /* some matching pattern has a read rule */
    struct slice pattern; /* the most specific pattern; empty: undeclared */
    uint32_t rule;        /* ... and which of the set's it is, from 1 on; 0: undeclared */
};

struct policy_rule {
    char *pattern; /* owned, as is key */
    char *key;
    unsigned set;
    struct policy values;
};

struct policy_set;

/* Build a set from 'n' rules (copies). Returns owned, one reference. */
struct policy_set *policy_set_new(const struct policy_rule *rules, uint32_t n);
struct policy_set *policy_set_ref(struct policy_set *set);
void policy_set_unref(struct policy_set *set); /* NULL is fine */

/* Whether two sets (NULL: an empty one) hold the same patterns, in any order. */
bool policy_same_patterns(const struct policy_set *a, const struct policy_set *b);

bool policy_set_has(const struct policy_set *set, struct slice pattern);

/* Whether what a store keeps of durable channels may differ: kinds, durability, limits. */
bool policy_same_kept(const struct policy_set *a, const struct policy_set *b);

/* Its patterns (NULL: it has none), in no order that means something. Borrows. */
uint32_t policy_set_count(const struct policy_set *set);
struct slice policy_set_pattern(const struct policy_set *set, uint32_t i);

/* The merged policy of one channel; slices are borrowed from the set. */
struct policy policy_of(const struct policy_set *set, struct slice channel);

/* A set, and the policies that channels of one thread have by it: one object for all channels
 * whose merged policies are equal, which are few. */
struct policy_table {
    struct policy_set *set; /* NULL: no rules */
    struct shared_policy *shared;
};

/* The object for a policy that is merged from its set (copies). Lives as long as they do. */
const struct policy *policy_table_share(struct policy_table *all, const struct policy *p);
void policy_table_deinit(struct policy_table *all); /* unrefs the set */

enum channel_kind policy_kind(const struct policy *p);

/* Whether what leaves memory can be had in pages (fan/history.h). */
bool policy_is_paged(const struct policy *p);

/* The period of the ticks that all subscribers wait for; 0: none. Only a state may leave
 * events out; in a log a batch brings all of them together. */
uint32_t policy_period(const struct policy *p);

#endif
