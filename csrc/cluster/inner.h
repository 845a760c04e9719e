/* What the files of the machine share: machine.c has the connection and its calls, publishes.c
 * the publishes, follow.c the feed, warm.c the channels, pages.c parts of histories, lead.c the lead. */
#ifndef SLUICE_CLUSTER_INNER_H
#define SLUICE_CLUSTER_INNER_H

#include "base/planted.h"
#include "cluster/machine.h"

/* A rule does not hold: that one, or all of them, as in the plainest design. */
#define BROKEN(n) (PLANTED(n) || PLANTED(600))

enum warm_state { WARM_WANTED, WARM_ASKED, WARM_HELD, WARM_SHOWN };

/* A channel that somebody here follows. */
struct warm {
    struct map_node node;
    struct list list; /* of the machine, by its state; in none when it is shown */
    enum warm_state state;
    bool whole;    /* it is one of those behind a hole */
    bool lost;     /* its readers have missed something for good */
    bool chained;  /* 'last' is known */
    uint64_t last; /* the number of its newest event */
    uint64_t upto; /* WARM_HELD: the number of its load */
    void *fill;    /* WARM_HELD */
    size_t n;
    char name[];
};

/* ---- machine.c ---- */

/* A call is made; what is to be remembered until its answer goes in here. */
struct machine_sent *machine_call(struct machine *m, struct cluster_call *call);
bool machine_has_room(const struct machine *m); /* for one more call */
static inline bool machine_is_joined(const struct machine *m) {
    return m->state >= MACHINE_CATCHING_UP;
}
void machine_rejoin(struct machine *m); /* hang up, and dial again */
void machine_beat(struct machine *m);   /* unless one is under way */
/* Its place may be another one: the state, the doubt, what is held. */
void machine_moved(struct machine *m);

/* ---- publishes.c ---- */

void publishes_flush(struct machine *m);
void publishes_probe(struct machine *m); /* with each beat */
void publishes_number(struct machine *m, const struct machine_sent *sent,
                      const struct cluster_reply *reply);
void publishes_read(struct machine *m, uint64_t token, uint64_t seq);
void publishes_doubt(struct machine *m); /* the connection is gone */
void publishes_blind(struct machine *m); /* entries were passed over */
void publishes_settle(struct machine *m, bool hole);
void publishes_lose(struct machine *m, uint64_t base); /* numbers above it are void */
void publishes_keep(struct machine *m); /* ask for what is done and durable */
void publishes_kept(struct machine *m, int err);
void publishes_tick(struct machine *m);
int64_t publishes_next(const struct machine *m);

/* ---- follow.c ---- */

void follow_land(struct machine *m, uint64_t seq); /* behind a hole */

/* ---- pages.c ---- */

void pages_ask(struct machine *m); /* those that wait, as far as there is room */
void pages_read(struct machine *m, const struct machine_sent *sent,
                const struct cluster_reply *reply);
void pages_broken(struct machine *m); /* what was asked is not answered any more */

/* ---- lead.c ---- */

void lead_heard(struct machine *m, const struct machine_sent *sent,
                const struct cluster_reply *reply);
bool lead_would(const struct machine *m); /* it is ready to lead */
void lead_end(struct machine *m);
void lead_tick(struct machine *m);             /* its time may be over */
bool lead_wants_beat(const struct machine *m); /* now */
int64_t lead_next(const struct machine *m);

/* ---- warm.c ---- */

struct warm *warm_find(const struct machine *m, struct slice channel, uint64_t hash);
void warm_ask(struct machine *m); /* loads that are wanted, as far as there is room */
void warm_loaded(struct machine *m, const struct machine_sent *sent,
                 const struct cluster_reply *reply);
void warm_again(struct machine *m, struct warm *w, bool lost); /* load it anew */
void warm_all_again(struct machine *m); /* all of them, which are shown at one moment */
void warm_broken(struct machine *m);    /* what was asked is not answered any more */
void warm_show(struct machine *m);      /* what pos has reached */
void warm_drop_all(struct machine *m);  /* and show nothing */

#endif
