/* Chained hash map; see map.h. SipHash: Aumasson and Bernstein, 2012. */
#include "base/map.h"

#include "base/mem.h"
#include "base/rand.h"

#include <assert.h>
#include <pthread.h>

static uint64_t hash_key[2], hash_of_nothing;
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static inline uint64_t rotate(uint64_t x, int by) {
    return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline uint64_t sip(uint64_t k0, uint64_t k1, struct slice key) {
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
                     k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
    const char *p = key.p;
    size_t left = key.n;
    for (; left >= 8; p += 8, left -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)key.n << 56;
    for (size_t i = 0; i < left; i++) last |= (uint64_t)(unsigned char)p[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* A test that seeds its dice gets one order of every walk as well. */
static void draw_key(void) {
    if (!rand_is_seeded()) rand_bytes(hash_key, sizeof hash_key);
    hash_of_nothing = sip(hash_key[0], hash_key[1], slice_of("", 0));
}

uint64_t map_hash(struct slice key) {
    pthread_once(&hash_once, draw_key);
    if (key.n == 0) return hash_of_nothing; /* most events have no key */
    return sip(hash_key[0], hash_key[1], key);
}

uint64_t map_mark(uint64_t before, struct slice text) {
    return sip(before, 0, text);
}

void map_init(struct map *m, map_key_fn *key_of) {
    *m = (struct map){.key_of = key_of};
}

void map_deinit(struct map *m) {
    mem_free(m->buckets);
    *m = (struct map){.key_of = m->key_of};
}

static struct map_node **bucket_of(const struct map *m, const struct map_node *node) {
    return &m->buckets[map_hash(m->key_of(node)) & (m->size - 1)];
}

struct map_node *map_get_hashed(const struct map *m, struct slice key, uint64_t hash) {
    if (m->size == 0) return NULL;
    struct map_node *node = m->buckets[hash & (m->size - 1)];
    while (node && !slice_eq(m->key_of(node), key)) node = node->next;
    return node;
}

struct map_node *map_get(const struct map *m, struct slice key) {
    return m->n == 0 ? NULL : map_get_hashed(m, key, map_hash(key));
}

static void grow(struct map *m) {
    size_t size = m->size ? m->size * 2 : 8;
    struct map_node **buckets = mem_try(size * sizeof *buckets);
    if (!buckets) return; /* longer chains, still right */
    memset(buckets, 0, size * sizeof *buckets);
    for (size_t i = 0; i < m->size; i++) {
        for (struct map_node *node = m->buckets[i], *next; node; node = next) {
            next = node->next;
            size_t at = map_hash(m->key_of(node)) & (size - 1);
            node->next = buckets[at];
            buckets[at] = node;
        }
    }
    mem_free(m->buckets);
    m->buckets = buckets;
    m->size = size;
}

void map_add(struct map *m, struct map_node *node) {
    if (m->n >= m->size) grow(m);
    if (m->size == 0) { /* the very first buckets must exist */
        m->buckets = mem_new(8 * sizeof *m->buckets);
        m->size = 8;
    }
    struct map_node **at = bucket_of(m, node);
    node->next = *at;
    *at = node;
    m->n++;
}

void map_remove(struct map *m, struct map_node *node) {
    struct map_node **at = bucket_of(m, node);
    while (*at != node) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    m->n--;
}

struct map_node *map_next(const struct map *m, struct map_node *node) {
    if (node && node->next) return node->next;
    size_t i = node ? (size_t)(bucket_of(m, node) - m->buckets) + 1 : 0;
    for (; i < m->size; i++)
        if (m->buckets[i]) return m->buckets[i];
    return NULL;
}
