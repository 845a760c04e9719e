/* See named.h. */
#include "base/named.h"

#include "base/mem.h"

static struct slice key_of(const struct map_node *node) {
    return container_of(node, const struct named, node)->name;
}

void named_init(struct map *m) {
    map_init(m, key_of);
}

void *named_add(struct map *m, size_t size, struct slice name) {
    struct named *n = mem_new(size + name.n);
    char *mine = (char *)n + size;
    if (name.n > 0) memcpy(mine, name.p, name.n);
    n->name = slice_of(mine, name.n);
    map_add(m, &n->node);
    return n;
}

void *named_get(const struct map *m, struct slice name) {
    struct map_node *node = map_get(m, name);
    return node ? container_of(node, struct named, node) : NULL;
}
