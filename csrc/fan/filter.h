/* Filters: which events of a channel a subscriber wants, by event name and by key.
 *
 * Equal filters of one thread are one object (interned), so that streams with the same
 * filters share their gathered blocks, and comparing two filters is comparing pointers.
 * A NULL filter wants everything; an empty list wants nothing. [one thread] */
#ifndef SLUICE_FAN_FILTER_H
#define SLUICE_FAN_FILTER_H

#include "base/map.h"
#include "fan/frame.h"

struct filter;

/* One list of names or keys; 'given': an empty list is not the same as none. */
struct filter_list {
    const struct slice *items;
    uint32_t n;
    bool given;
};

map_key_fn filter_map_key; /* of the map that they are in */

/* The filter for these lists: a new one or the one that is there (shares; unref it).
 * *out is NULL when neither list is given. 0 or E_NOMEM. */
int filter_intern(struct map *filters, struct filter_list types, struct filter_list keys,
                  struct filter **out);

/* The same with what is not given taken from 'base' (which may be NULL). */
int filter_change(struct map *filters, const struct filter *base,
                  struct filter_list types, struct filter_list keys, struct filter **out);
struct filter *filter_ref(struct filter *f); /* NULL is fine, as for all of these */
void filter_unref(struct filter *f);

bool filter_wants(const struct filter *f, const struct frame *frame);

/* Its lists; NULL: none are given (borrows). */
void filter_lists(const struct filter *f, struct filter_list *types,
                  struct filter_list *keys);

/* Whether it has a list of names. */
bool filter_has_types(const struct filter *f);

/* Whether it has a list of keys, how many are in it, and the i-th of them. */
bool filter_has_keys(const struct filter *f);
uint32_t filter_n_keys(const struct filter *f);
struct slice filter_key(const struct filter *f, uint32_t i);

#endif
