/* What the keys of a cluster hold, read back: an entry of the feed, of a history, a newest value.
 *
 * What is read came from another process: nothing in it is believed before it was looked at.
 * All slices borrow the reply. [any thread] */
#ifndef SLUICE_CLUSTER_ENTRY_H
#define SLUICE_CLUSTER_ENTRY_H

#include "cluster/resp.h"

enum entry_kind {
    FEED_LOG = 'l',
    FEED_KEYED = 'k',
    FEED_STATE = 's',
    FEED_MARK = 'v', /* events were lost here; channel "": of all channels */
    FEED_EPOCH =
        'E', /* a new epoch began: event = its name, key = the old one's, prior = the base */
    FEED_NOTICE = 't', /* what a node tells all; of which kind: 'letter' */
    FEED_OTHER = 'x'   /* of a kind that this version does not know: only seq */
};

struct entry {
    enum entry_kind kind;
    char letter; /* FEED_NOTICE: see cluster/notice.h */
    uint64_t seq;
    uint64_t prior; /* the number of the channel's event before it */
    bool is_bound;  /* ... is not known: nothing above 'prior' came before it */
    bool remove, is_idempotent;
    struct slice channel, event, key, data;
    struct slice evicted;     /* the field (event, NUL, key) that went for want of room */
    struct slice slot, token; /* who published it, and what told it from others there */
    int64_t time_ms, expires_ms;
};

/* An item of script_followed's list: 0, or E_INVAL when it makes no sense; then out->seq is its
 * number, or 0 when not even that can be read. */
int entry_of_feed(const struct reply *r, struct entry *out);

/* The token as a number; 0 when it is none. */
uint64_t entry_token(const struct entry *e);

/* An item of script_loaded.history; kind is FEED_LOG or FEED_MARK, channel is empty. */
int entry_of_history(const struct reply *r, struct entry *out);

/* A pair of script_loaded.values; kind is FEED_STATE. */
int entry_of_value(const struct reply *field, const struct reply *value,
                   struct entry *out);

#endif
