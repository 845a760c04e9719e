/* Why events are not stored, and since when; see inner.h. The log has one line when trouble
 * begins and one when it ends, and another one only when its reason changes, at most every
 * STORE_SAY_MS. [the store's lock is held] */
#include "base/clock.h"
#include "base/log.h"
#include "store/inner.h"

static const char *const ends[TROUBLE_KINDS] = {
    [TROUBLE_COMMIT] = "events are stored again",
    [TROUBLE_LATE] = "the disk answers again",
    [TROUBLE_LOG] = "the file's log is emptied again"};

void trouble_begin(struct store *s, enum trouble_kind kind, const char *what,
                   const char *why) {
    struct trouble *t = &s->troubles[kind];
    int64_t now_us = clock_us();
    bool begins = !t->what;
    bool changes = t->what != what || t->why != why;
    t->what = what;
    t->why = why;
    if (begins) {
        t->since_us = now_us;
        t->refused = s->stats.refused;
        s->probe_us = now_us + STORE_PROBE_MS * 1000;
    } else if (!changes || now_us - t->told_us < STORE_SAY_MS * 1000) return;
    t->told_us = now_us;
    log_printf(LOG_ERROR, "store: %s: %s", what, why);
}

void trouble_end(struct store *s, enum trouble_kind kind) {
    struct trouble *t = &s->troubles[kind];
    if (!t->what) return;
    t->what = NULL;
    log_printf(LOG_INFO, "store: %s after %.1f s; %llu writes were refused", ends[kind],
               (double)(clock_us() - t->since_us) / 1e6,
               (unsigned long long)(s->stats.refused - t->refused));
}

const struct trouble *trouble_now(const struct store *s) {
    for (int i = 0; i < TROUBLE_KINDS; i++)
        if (s->troubles[i].what) return &s->troubles[i];
    return NULL;
}
