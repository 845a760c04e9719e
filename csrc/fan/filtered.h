/* The audiences of a channel that have a filter, and how they are found: when a stream
 * subscribes by what makes them, when an event comes by its key. A channel may have any number
 * of them, so each has an index; those without a filter are few and need none. [one thread] */
#ifndef SLUICE_FAN_FILTERED_H
#define SLUICE_FAN_FILTERED_H

#include "fan/audience.h"

/* How one is found. */
struct indexed {
    struct map_node node; /* in fan->filtered; key: the bytes of the audience's key */
    struct list in_chan;  /* in 'typed' or 'keyed' of its channel */
    struct audience *audience;
    struct interest *interest; /* in 'by_key' of its channel, one for each key */
};

/* Those of a channel. */
struct filtered {
    struct list typed; /* struct indexed: without a list of keys; asked one by one */
    struct list keyed; /* with one */
    struct map by_key; /* struct interested: the keyed ones */
};

/* An audience that named a key, and which of its interests this is. */
struct entry {
    struct audience *audience;
    uint32_t which;
};

/* All audiences that named one key, side by side. */
struct interested {
    struct map_node node;
    struct entry *entries;
    uint32_t n, cap;
    uint32_t key_n;
    char key[];
};

static inline struct audience *filtered_at(const struct list *in_chan) {
    return container_of(in_chan, struct indexed, in_chan)->audience;
}

map_key_fn filtered_key; /* of fan->filtered */

/* NULL: there is none. */
struct audience *filtered_find(const struct fan *fan, const struct audience_key *key);

int filtered_add(struct fan *fan, struct audience *a); /* 0 or E_NOMEM */
void filtered_remove(struct fan *fan, struct audience *a);

/* Its key changes between the two. */
void filtered_hide(struct fan *fan, struct audience *a);
void filtered_show(struct fan *fan, struct audience *a);

#endif
