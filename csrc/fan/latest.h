/* The newest event per event name and key, in order of sequence.
 *
 * One array serves everything: a newcomer's snapshot, live conflation and slow readers
 * are all "the next slot above the number I have", found by binary search. An update
 * leaves a hole at its old slot and takes a new slot at the end; when more than half
 * are holes the array is packed (amortised O(1)):
 *
 *     slots   [12 AAPL] [ hole ] [15 MSFT] [19 NVDA]   <- update of AAPL, number 23
 *             [ hole  ] [ hole ] [15 MSFT] [19 NVDA] [23 AAPL]
 *
 * A removal takes all events of its key out. In a state the removal itself is kept at
 * its slot until latest_forget_removals, so that streams that lag still see it.
 * Bounded by max_keys: above it the oldest value goes, and the oldest removal above as many
 * of those. [one thread] */
#ifndef SLUICE_FAN_LATEST_H
#define SLUICE_FAN_LATEST_H

#include "base/map.h"
#include "fan/frame.h"

struct latest_entry;

struct latest_slot {
    uint64_t seq;
    struct latest_entry *entry; /* NULL: a hole */
};

struct latest {
    struct map keys;
    struct latest_slot *slots;
    uint32_t n, cap; /* slots used, slots owned */
    uint32_t first;  /* below it are holes only */
    uint32_t live;   /* slots that are no holes */
    uint32_t removals;
    size_t bytes;  /* of the events in them */
    uint64_t lost; /* the newest slot that lagging readers are notified of: a removal that
                    * went before all had seen it, a value for which there was no memory */
};

struct latest *latest_new(void);    /* owned */
void latest_free(struct latest *l); /* NULL is fine */

/* Drop the oldest values above max_keys, and the oldest removals above as many. Returns how
 * many values went. */
uint32_t latest_limit(struct latest *l, uint32_t max_keys);

/* Put a frame (shares). Returns how many older entries had to go because of max_keys or
 * of memory: 0 nearly always. */
uint32_t latest_put(struct latest *l, struct frame *f, uint32_t max_keys);

/* Take everything of the frame's key out; with 'keep' the frame stays as a removal. */
void latest_remove(struct latest *l, struct frame *f, bool keep, uint32_t max_keys);
void latest_forget_removals(struct latest *l);

/* Drop what is not newer than 'seq' and withdrawn at that time (INT64_MAX: all of it). */
void latest_trim(struct latest *l, uint64_t seq, int64_t over_ms);

/* Drop what is newer than 'seq'; whether there was something. */
bool latest_cut(struct latest *l, uint64_t seq);

/* The first live slot with a number above 'seq'; l->n when there is none. */
uint32_t latest_after(const struct latest *l, uint64_t seq);
/* The next live slot behind slot i. */
uint32_t latest_next(const struct latest *l, uint32_t i);
struct frame *latest_at(const struct latest *l, uint32_t i); /* borrows */

/* The newest event of a key, or of a key and a name (empty: any), that is not withdrawn.
 * Borrows; NULL. */
struct frame *latest_find(const struct latest *l, struct slice key, struct slice name,
                          int64_t now_ms);

/* The newest value of all keys, or of those with a name, in the same way. */
struct frame *latest_newest(const struct latest *l, struct slice name, int64_t now_ms);

#endif
