/* Budgets: which channels send more bytes a minute than the option 'budget' of their policy.
 *
 * What the workers report of a channel with a budget (see accounts.h) is added up in a meter:
 * the last minute in BUDGET_STEPS steps. A channel is over its budget from the moment on when
 * these are more, until they are BUDGET_CLEAR of it or less, or there is none any more. A
 * meter lives until a minute has passed without a byte, also when its channel goes. [app] */
#ifndef SLUICE_SERVE_APP_BUDGETS_H
#define SLUICE_SERVE_APP_BUDGETS_H

#include "base/list.h"
#include "base/map.h"

struct server;

struct budgets {
    struct map meters;   /* by channel */
    struct list by_use;  /* the same, first the one that was used longest ago */
    struct list over;    /* those over their budget */
    struct list changed; /* those of which server->events is not told yet */
    uint32_t n_over;
};

/* What a channel sent in the last minute. */
struct budget_state {
    uint64_t bytes, budget; /* budget 0: none, and nothing is known */
    bool over;
};

void budgets_init(struct budgets *b);
void budgets_deinit(struct budgets *b);

/* So many bytes went out to subscribers of a channel. */
void budgets_add(struct server *s, struct slice channel, uint64_t bytes);

/* Report those that are over their budget now, or no more. */
void budgets_tell(struct server *s);

/* As time passes: once a second. */
void budgets_look(struct server *s, int64_t now_ms);

/* Count those that are over in their groups (see groups.h). */
void budgets_measure(struct server *s);

struct budget_state budgets_of(struct server *s, struct slice channel);

#endif
