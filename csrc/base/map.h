/* A hash map from bytes to structs that embed a map_node.
 *
 * Names of channels, keys and clients come from outside, so the hash is SipHash-1-3
 * with a key drawn once per process: no peer can choose colliding names. The map
 * allocates buckets only; when they cannot grow it goes on with longer chains. A node is a
 * link and no more: it is owned by its struct, which has the key. [one thread at a time] */
#ifndef SLUICE_BASE_MAP_H
#define SLUICE_BASE_MAP_H

#include "base/list.h"
#include "base/slice.h"

#include <stdint.h>

struct map_node {
    struct map_node *next;
};

/* The key of a node (borrows from the struct that embeds it). It stays the same while the node
 * is in the map. */
typedef struct slice map_key_fn(const struct map_node *node);

struct map {
    struct map_node **buckets;
    map_key_fn *key_of;
    size_t size; /* of buckets: a power of two, or 0 */
    size_t n;
};

void map_init(struct map *m, map_key_fn *key_of);
void map_deinit(struct map *m); /* frees the buckets, not the nodes */

uint64_t map_hash(struct slice key);

/* A mark of a text and, by 'before', of those that went before it: the same in every process. It
 * keeps no secret. [any thread] */
uint64_t map_mark(uint64_t before, struct slice text);

/* NULL when absent. */
struct map_node *map_get(const struct map *m, struct slice key);
struct map_node *map_get_hashed(const struct map *m, struct slice key, uint64_t hash);

/* Add a node whose key is not in the map yet. */
void map_add(struct map *m, struct map_node *node);
void map_remove(struct map *m, struct map_node *node);

/* Walk in no order: pass NULL first. Ask for the next node before removing one. */
struct map_node *map_next(const struct map *m, struct map_node *node);

#endif
