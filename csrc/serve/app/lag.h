/* How long whoever wants something from the app's loop had to wait: the longest turn of the
 * loop, and the most that a timer came late, of the last LAG_SECONDS.
 *
 * The worst of some seconds, not the last: who looks every ten seconds must see a stall of
 * 200 ms between two looks. [app] */
#ifndef SLUICE_SERVE_APP_LAG_H
#define SLUICE_SERVE_APP_LAG_H

#include "base/bounds.h"
#include "base/histogram.h"

#include <ev.h>
#include <stdint.h>

struct app_lag {
    struct ev_loop *ev; /* NULL: not started */
    struct ev_check woke;
    struct ev_prepare sleeps;
    int64_t woke_us, second_us;    /* 0: not yet */
    int64_t worst_us[LAG_SECONDS]; /* of each second; [0]: the one that goes on */
    struct histogram turns;        /* in us: of the loop */
};

void app_lag_start(struct app_lag *l, struct ev_loop *ev); /* borrows the loop */
void app_lag_stop(struct app_lag *l);
void app_lag_second(struct app_lag *l); /* a timer of one second has come */
double app_lag_ms(const struct app_lag *l);

#endif
