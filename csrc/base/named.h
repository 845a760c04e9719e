/* Structs in a map, each with a name of its own.
 *
 * The struct begins with a struct named; its name lies behind it, in the same allocation.
 * [one thread at a time] */
#ifndef SLUICE_BASE_NAMED_H
#define SLUICE_BASE_NAMED_H

#include "base/map.h"

struct named {
    struct map_node node;
    struct slice name;
};

void named_init(struct map *m);

/* One more, of so many bytes, zeroed but for its name (copied), whose name is not in the map yet. It is
 * the caller's to free, when it is out of the map. */
void *named_add(struct map *m, size_t size, struct slice name);
void *named_get(const struct map *m, struct slice name); /* NULL when absent */

#endif
