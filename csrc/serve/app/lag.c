/* The app's loop between two sleeps; see lag.h. */
#include "serve/app/lag.h"

#include "base/clock.h"

#include <string.h>

static void note(struct app_lag *l, int64_t us) {
    if (us > l->worst_us[0]) l->worst_us[0] = us;
}

static void on_woke(struct ev_loop *ev, struct ev_check *check, int events) {
    (void)ev, (void)events;
    struct app_lag *l = check->data;
    l->woke_us = clock_us();
}

static void on_sleeps(struct ev_loop *ev, struct ev_prepare *prepare, int events) {
    (void)ev, (void)events;
    struct app_lag *l = prepare->data;
    if (!l->woke_us) return;
    int64_t us = clock_us() - l->woke_us;
    note(l, us);
    histogram_add(&l->turns, histogram_us, (uint64_t)us, 1);
}

void app_lag_start(struct app_lag *l, struct ev_loop *ev) {
    l->ev = ev;
    ev_check_init(&l->woke, on_woke);
    ev_set_priority(&l->woke, EV_MAXPRI); /* before all that is due */
    l->woke.data = l;
    ev_check_start(ev, &l->woke);
    ev_prepare_init(&l->sleeps, on_sleeps);
    ev_set_priority(&l->sleeps, EV_MINPRI); /* after all that others do there */
    l->sleeps.data = l;
    ev_prepare_start(ev, &l->sleeps);
}

void app_lag_stop(struct app_lag *l) {
    if (!l->ev) return;
    ev_check_stop(l->ev, &l->woke);
    ev_prepare_stop(l->ev, &l->sleeps);
    l->ev = NULL;
}

void app_lag_second(struct app_lag *l) {
    int64_t now = clock_us();
    if (l->second_us) note(l, now - l->second_us - 1000000);
    l->second_us = now;
    memmove(&l->worst_us[1], &l->worst_us[0], (LAG_SECONDS - 1) * sizeof l->worst_us[0]);
    l->worst_us[0] = 0;
}

double app_lag_ms(const struct app_lag *l) {
    int64_t worst = 0;
    for (int i = 0; i < LAG_SECONDS; i++)
        if (l->worst_us[i] > worst) worst = l->worst_us[i];
    return (double)worst / 1000;
}
