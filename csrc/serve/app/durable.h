/* Durable channels: the store as the app sees it.
 *
 *   app thread        commit ──▶ store_submit                        take in, answer(ticket)
 *                                    │                                   ▲            ▲
 *   store thread                 gather, number, COMMIT, fsync ──▶ release ────▶ done ─┘
 *                                                                    │
 *   I/O threads                                                      ▼ fan_frame
 *
 * An operation is made, checked and encoded on the app's thread, so that what is refused is
 * refused at once; then it belongs to the store until its answer comes. Its event gets its
 * number when its group is on the disk, and goes to all threads through the sequencer: no
 * client sees what could still be lost. The app's replica takes it in before the answer.
 *
 * This is the only file that knows both the store and the fan. [the app's thread, where
 * nothing else is said] */
#ifndef SLUICE_SERVE_APP_DURABLE_H
#define SLUICE_SERVE_APP_DURABLE_H

#include "serve/app/server.h"
#include "store/store.h"

struct durable_place {
    const char *folder; /* the data folder; or */
    struct disk *disk;  /* a disk in memory. Shares */
    bool weak;          /* for specs: commits do not wait for the disk */
};

/* ---- Life --------------------------------------------------------------------------- */

/* Open the store, take its epoch and numbers, and let the app's replica have what it knows
 * of channels. After the first server_configure; of a server that runs the store adopts the
 * epoch and the head. 0, or an error of store_open or store_begin and a sentence. */
int durable_open(struct server *s, const struct durable_place *place,
                 struct store_start *start, const char **why);

/* The fan of an I/O thread begins: it gets what the app's replica has, and pages of what only
 * the store has. Before its thread runs. */
void durable_restore(struct server *s, struct fan *fan, struct lane *lane);

/* Carry out operations from now on. 0 or a negative errno. */
int durable_run(struct server *s);

/* Finish what is queued, with the clean mark; what comes of it is in the mailboxes still.
 * When the disk hangs the process ends. No other thread of the server runs. */
void durable_close(struct server *s);
void durable_kill(struct server *s); /* as if the process died. Rehearsals only */
void durable_free(struct server *s); /* when the mailbox is empty */

/* What is stored, before durable_run: as of store_each_pair and store_each_task. E_STORE
 * when there is no store, or it runs already. */
int durable_each_pair(struct server *s, int (*fn)(void *, const struct store_pair *),
                      void *arg, uint32_t *damaged);
int durable_each_task(struct server *s, int (*fn)(void *, const struct store_task *),
                      void *arg, uint32_t *damaged);

bool durable_stats(struct server *s, struct store_stats *out); /* false: no store */

/* ---- Other policies ------------------------------------------------------------------ */

/* Whether they make something durable, or no longer, or of another kind that is or was. */
bool durable_converts(const struct server *s, const struct policy_set *policies);

/* Let the store convert, in the order of events: then all replicas switch, and what the
 * configuration says comes into force before its answer. Until then publishes go by both
 * policies: to the store when one of them says so. E_BUSY while another is under way, or
 * what was queued behind one; E_CLOSED, E_NOMEM. */
int durable_convert(struct server *s, const struct configuration *wanted,
                    uint64_t *ticket);
bool durable_is_busy(const struct server *s); /* E_BUSY would be answered */

/* The policies of the server are others, which convert nothing: what the store keeps of a
 * channel may differ. */
void durable_limits(struct server *s);

/* ---- Without threads ---------------------------------------------------------------- */

bool durable_step(struct server *s);
int64_t durable_next(const struct server *s); /* clock_ms; INT64_MAX: never */
void durable_pace(struct server *s, int64_t commit_us, bool early); /* see store_pace */
void durable_hold(struct server *s, bool on);                       /* see store_hold */

/* ---- Operations --------------------------------------------------------------------- */

/* Whether events of this channel go through the store. */
bool durable_has(const struct server *s, struct slice channel);

struct commit {
    struct event event;
    bool update;    /* only while its key is there */
    bool is_judged; /* in a cluster: only while it has this value; p NULL: none */
    struct slice expected;
    bool is_owned;            /* in a cluster: it goes when this node dies */
    bool is_kept;             /* in a cluster: as if its channel were durable */
    struct slice idempotency; /* empty: none */
    uint64_t lease; /* in a cluster: of who leads, for which alone it is; 0: none */
};

/* Each gives a ticket, which on_answer brings back, once with is_final; or refuses at once:
 * what publish refuses, E_STORE (there is no store), E_BUSY, E_CLOSED. All copy. */
int durable_commit(struct server *s, const struct commit *c, uint64_t *ticket);
int durable_pair(struct server *s, const struct store_pair *p, bool remove,
                 uint64_t *ticket);
int durable_task(struct server *s, const struct store_task *t, bool remove,
                 uint64_t *ticket);

struct answer {
    uint64_t ticket;
    bool is_final; /* false: E_TIMEOUT, and one more answer says what became of it */
    int err; /* 0, E_STORE, E_TIMEOUT (its result is unknown), E_NOTFOUND (an update without
              * its key), or what a publish in memory refuses */
    bool is_event, has_id, is_duplicate;
    bool is_deposed;   /* E_BUSY: whoever asked leads the cluster no more */
    const char *epoch; /* of its number; NULL: ours */
    uint64_t seq;
    uint32_t subscribers;
};

#endif
