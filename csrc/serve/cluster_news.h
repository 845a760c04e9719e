/* What a cluster brings to all replicas at one place of the order of events, beside the events: filled
 * channels, other epochs, marks, and channels that are given up.
 *
 * One object for all threads, which is not changed once it is posted. */
#ifndef SLUICE_SERVE_CLUSTER_NEWS_H
#define SLUICE_SERVE_CLUSTER_NEWS_H

#include "cluster/fill.h"
#include "fan/shared.h"
#include "serve/hub.h"

enum news_kind { NEWS_FILLS, NEWS_EPOCH, NEWS_MARK, NEWS_DROP };

struct cluster_news {
    atomic_uint refs;
    enum news_kind kind;
    struct fan_fill *fills; /* NEWS_FILLS: owned, with their names and frames */
    uint32_t n;
    struct fan_epoch epoch; /* NEWS_EPOCH: into the two fields below */
    char name[EPOCH_LENGTH + 1];
    struct lineage lineage;
    struct slice channel; /* NEWS_MARK, NEWS_DROP: owned; empty: of all */
    uint64_t seq;         /* NEWS_MARK */
    bool own;             /* NEWS_MARK: of this node */
};

/* Owned. 'channel' is copied. */
struct cluster_news *news_new(enum news_kind kind, struct slice channel);
void news_unref(struct cluster_news *n);

/* What an entry's times are measured by. */
struct news_clock {
    int64_t boot_ms; /* the server's wall clock minus our monotonic one */
    int64_t now_ms;  /* our monotonic one */
};

/* How a channel was loaded; borrowed. */
struct news_fill {
    const char *epoch, *slot; /* of this node */
    struct news_clock clock;
    uint64_t upto;  /* nothing up to here is to come */
    int64_t ttl_ms; /* of its events; 0: they do not age */
    bool lost, is_state;
};

/* Whether it is too old by now, although Redis has it. */
bool news_is_old(const struct entry *e, const struct news_fill *how);

/* A frame of an entry; NULL: memory is out, or it makes none. */
struct frame *news_frame(struct slice channel, const struct entry *e,
                         const struct news_fill *how);

/* A channel as it was loaded, and what came behind that. */
void news_add_fill(struct cluster_news *n, const struct fill *f,
                   const struct news_fill *how);

/* The message of one thread. */
struct news_post {
    struct message message;
    struct cluster_news *news;
};

/* To all threads, at this place of the order (takes). */
void news_post(struct hub *hub, struct cluster_news *n);

/* Let a replica have it. */
void news_apply(struct fan *fan, const struct cluster_news *n);

#endif
