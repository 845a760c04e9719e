/* Counting and refusing; see limits.h. */
#include "serve/limits.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/planted.h"

#include <assert.h>

/* Who has streams, and how many. */
struct holder {
    struct map_node node;
    uint32_t n, key_n;
    char key[];
};

/* What somebody has sent that has not been made up for yet. */
struct bucket {
    uint64_t who; /* a hash with a key of this process */
    int64_t at_ms;
    double used; /* at that time */
};

#define WAYS 4 /* buckets that one hash may have */

static const char *const names[LIMITS] = {
    [LIMIT_STREAMS_OF_ADDRESS] = "max_streams_per_address",
    [LIMIT_STREAMS_OF_USER] = "max_streams_per_user",
    [LIMIT_REQUESTS_OF_ADDRESS] = "max_requests_per_address",
    [LIMIT_REQUESTS_OF_USER] = "max_requests_per_user"};

const char *limit_name(enum limit which) {
    return names[which];
}

static bool is_of_user(enum limit which) {
    return which == LIMIT_STREAMS_OF_USER || which == LIMIT_REQUESTS_OF_USER;
}

static bool is_of_requests(enum limit which) {
    return which == LIMIT_REQUESTS_OF_ADDRESS || which == LIMIT_REQUESTS_OF_USER;
}

static struct slice holder_key(const struct map_node *node) {
    const struct holder *h = container_of(node, const struct holder, node);
    return slice_of(h->key, h->key_n);
}

/* ---- Life --------------------------------------------------------------------------- */

void limits_init(struct limits *l) {
    *l = (struct limits){0};
    pthread_mutex_init(&l->mutex, NULL);
    for (int i = 0; i < 2; i++) map_init(&l->streams[i], holder_key);
    for (int i = 0; i < LIMITS; i++) l->told[i].at_ms = INT64_MIN / 2;
}

void limits_deinit(struct limits *l) {
    for (int i = 0; i < 2; i++) {
        for (struct map_node *node; (node = map_next(&l->streams[i], NULL));) {
            map_remove(&l->streams[i], node);
            mem_free(container_of(node, struct holder, node));
        }
        map_deinit(&l->streams[i]);
    }
    for (int i = 0; i < LIMITS; i++) mem_free(l->buckets[i]);
    mem_free(l->exempt);
    pthread_mutex_destroy(&l->mutex);
}

static double used_at(const struct bucket *b, double per_ms, int64_t now_ms) {
    double since = now_ms > b->at_ms ? (double)(now_ms - b->at_ms) : 0;
    double used = b->used - since * per_ms;
    return used > 0 ? used : 0;
}

/* What was used up to now fills at the old rate, and is not held against anybody for longer
 * than a minute of the new one. */
static void settle(struct bucket *all, double before, double after) {
    int64_t now_ms = clock_ms();
    for (int i = 0; i < LIMIT_BUCKETS; i++) {
        double used = used_at(&all[i], before / LIMIT_PER_MS, now_ms);
        all[i].used = used < after || PLANTED(506) ? used : after;
        all[i].at_ms = now_ms;
    }
}

static void set_most(struct limits *l, enum limit which, uint32_t most) {
    uint32_t before =
        atomic_exchange_explicit(&l->most[which], most, memory_order_relaxed);
    if (before == most || !is_of_requests(which)) return;
    if (before == 0) {
        l->buckets[which] = mem_new(LIMIT_BUCKETS * sizeof *l->buckets[which]);
    } else if (most > 0) {
        settle(l->buckets[which], before, most);
    } else {
        mem_free(l->buckets[which]);
        l->buckets[which] = NULL;
    }
}

void limits_configure(struct limits *l, const struct limits_set *set) {
    pthread_mutex_lock(&l->mutex);
    for (enum limit i = 0; i < LIMITS; i++) set_most(l, i, set->most[i]);
    mem_free(l->exempt);
    l->exempt = mem_new((set->n_exempt + 1) * sizeof *l->exempt);
    l->n_exempt = set->n_exempt;
    if (l->n_exempt > 0) memcpy(l->exempt, set->exempt, l->n_exempt * sizeof *l->exempt);
    pthread_mutex_unlock(&l->mutex);
}

/* ---- Who it is ---------------------------------------------------------------------- */

struct whom {
    struct in6_addr address, client; /* of a user: none; and without what it may choose */
    struct slice key;
};

/* False: what has no address, as the operator's own socket. */
static bool find_whom(enum limit which, struct slice who, struct whom *out) {
    out->key = who;
    if (is_of_user(which)) return true;
    if (!address_read(who, &out->address)) return false;
    out->client = out->address;
    if (!PLANTED(505)) address_cut(&out->client);
    out->key = slice_of((const char *)&out->client, sizeof out->client);
    return true;
}

static bool is_exempt(const struct limits *l, enum limit which, const struct whom *whom) {
    for (size_t i = 0; i < l->n_exempt && !is_of_user(which); i++)
        if (address_is_in(&whom->address, &l->exempt[i])) return true;
    return false;
}

/* ---- Streams ------------------------------------------------------------------------ */

static struct map *streams_of(struct limits *l, enum limit which) {
    return &l->streams[is_of_user(which)];
}

static struct holder *find_holder(struct limits *l, enum limit which, struct slice key) {
    struct map_node *node = map_get(streams_of(l, which), key);
    return node ? container_of(node, struct holder, node) : NULL;
}

static struct holder *add_holder(struct limits *l, enum limit which, struct slice key) {
    struct holder *h = mem_new(sizeof *h + key.n + 1);
    memcpy(h->key, key.p, key.n);
    h->key_n = (uint32_t)key.n;
    map_add(streams_of(l, which), &h->node);
    return h;
}

static bool has_room(const struct limits *l, enum limit which, const struct whom *whom,
                     const struct holder *h) {
    uint32_t most = atomic_load_explicit(&l->most[which], memory_order_relaxed);
    if (PLANTED(501)) most += most > 0;
    return most == 0 || !h || h->n < most || is_exempt(l, which, whom);
}

bool limits_enter(struct limits *l, enum limit which, struct slice who) {
    struct whom whom;
    if (!find_whom(which, who, &whom)) return true;
    pthread_mutex_lock(&l->mutex);
    struct holder *h = find_holder(l, which, whom.key);
    bool may = has_room(l, which, &whom, h);
    if (may && !h) h = add_holder(l, which, whom.key);
    if (may) h->n++;
    pthread_mutex_unlock(&l->mutex);
    return may;
}

void limits_leave(struct limits *l, enum limit which, struct slice who) {
    struct whom whom;
    if (!find_whom(which, who, &whom)) return;
    pthread_mutex_lock(&l->mutex);
    struct holder *h = find_holder(l, which, whom.key);
    assert(h);
    if (--h->n == 0) {
        map_remove(streams_of(l, which), &h->node);
        mem_free(h);
    }
    pthread_mutex_unlock(&l->mutex);
}

/* ---- Requests ----------------------------------------------------------------------- */

/* Theirs; or the one of which the least is used. */
static struct bucket *find_bucket(struct bucket *all, uint64_t who, double per_ms,
                                  int64_t now_ms) {
    struct bucket *ways = &all[who % (LIMIT_BUCKETS / WAYS) * WAYS], *fullest = ways;
    for (int i = 0; i < WAYS; i++) {
        if (ways[i].who == who) return &ways[i];
        if (used_at(&ways[i], per_ms, now_ms) < used_at(fullest, per_ms, now_ms))
            fullest = &ways[i];
    }
    *fullest = (struct bucket){.who = who, .at_ms = now_ms};
    return fullest;
}

static unsigned take_one(struct bucket *b, double most, int64_t now_ms) {
    double per_ms = most / LIMIT_PER_MS, used = used_at(b, per_ms, now_ms);
    double over = used + 1 - most;
    b->used = over > 1e-6 && !PLANTED(508) ? used : used + 1;
    if (now_ms > b->at_ms) b->at_ms = now_ms;
    if (over <= 1e-6) return 0;
    double seconds = over / per_ms / 1000;
    return (unsigned)(seconds + 1 - 1e-6); /* rounded up */
}

unsigned limits_ask(struct limits *l, enum limit which, struct slice who,
                    int64_t now_ms) {
    if (atomic_load_explicit(&l->most[which], memory_order_relaxed) == 0) return 0;
    struct whom whom;
    if (!find_whom(which, who, &whom)) return 0;
    unsigned wait = 0;
    pthread_mutex_lock(&l->mutex);
    double most = atomic_load_explicit(&l->most[which], memory_order_relaxed);
    if (most > 0 && !is_exempt(l, which, &whom)) {
        double per_ms = most / LIMIT_PER_MS;
        struct bucket *b =
            find_bucket(l->buckets[which], map_hash(whom.key), per_ms, now_ms);
        wait = take_one(b, most, now_ms);
    }
    pthread_mutex_unlock(&l->mutex);
    return wait;
}

/* ---- What the operator is told ------------------------------------------------------ */

static const char *message(enum limit which) {
    switch (which) {
    case LIMIT_STREAMS_OF_ADDRESS:
        return "an address has as many streams as max_streams_per_address: "
               "it gets no more";
    case LIMIT_STREAMS_OF_USER:
        return "a user has as many streams as max_streams_per_user: they get no more";
    case LIMIT_REQUESTS_OF_ADDRESS:
        return "an address sends more requests than max_requests_per_address a minute: "
               "they are refused";
    default:
        return "a user sends more requests than max_requests_per_user a minute: they are "
               "refused";
    }
}

/* How many since the last line; 0: it is not time for another. Under the mutex. */
static uint64_t news(struct limits *l, enum limit which) {
    int64_t now_ms = clock_ms();
    uint64_t all = atomic_fetch_add(&l->refused[which], 1) + 1;
    if (now_ms - l->told[which].at_ms < LIMIT_TELL_MS) return 0;
    uint64_t n = all - l->told[which].refused;
    l->told[which].at_ms = now_ms;
    l->told[which].refused = all;
    return n;
}

void limits_refused(struct limits *l, enum limit which, struct slice who,
                    bool is_proxied) {
    pthread_mutex_lock(&l->mutex);
    uint64_t n = news(l, which);
    pthread_mutex_unlock(&l->mutex);
    if (n == 0) return;
    struct log_field fields[4] = {
        {.name = is_of_user(which) ? "user" : "address", .text = who.p, .text_n = who.n},
        {.name = "limit", .number = atomic_load(&l->most[which])},
        {.name = "refused", .number = (double)n}};
    size_t n_fields = 3;
    if (is_proxied && !is_of_user(which))
        fields[n_fields++] = (struct log_field){
            .name = "hint", .text = "it may be a proxy: see --trust-proxy"};
    log_write(LOG_WARN, message(which), fields, n_fields);
}
