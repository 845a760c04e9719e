/* The schedule of a network's faults; see weather.h. Each kind draws from a sequence of its
 * own, so that an option more leaves the times of the others as they are. */
#include "lab/weather.h"

#include "base/rand.h"

static int64_t every(const struct weather *w, enum weather_kind kind) {
    switch (kind) {
    case WEATHER_CUT: return w->faults.cut_ms;
    case WEATHER_STALL: return w->faults.stall_ms > 0 ? w->faults.stall_every_ms : 0;
    case WEATHER_AWAY: return w->faults.away_ms > 0 ? w->faults.away_every_ms : 0;
    default: return 0; /* it is slow by hand only */
    }
}

static int64_t lasts(const struct weather *w, enum weather_kind kind) {
    if (kind == WEATHER_STALL) return w->faults.stall_ms;
    return kind == WEATHER_AWAY ? w->faults.away_ms : 0;
}

/* Half of the time up to one and a half of it. */
static void draw(struct weather *w, enum weather_kind kind, int64_t from) {
    struct weather_row *row = &w->rows[kind];
    int64_t mean = every(w, kind);
    row->begins_at = WEATHER_NEVER;
    if (mean <= 0) return;
    row->begins_at =
        from + mean / 2 + (int64_t)(rand_next(&row->random) % (uint64_t)(mean + 1));
}

void weather_init(struct weather *w, const struct lab_faults *faults, uint64_t seed,
                  int64_t now) {
    bool is_new = w->rows[WEATHER_CUT].ends_at == 0;
    w->faults = *faults;
    for (int kind = 0; kind < WEATHER_KINDS; kind++) {
        struct weather_row *row = &w->rows[kind];
        row->random = seed + (uint64_t)kind;
        row->random = rand_next(&row->random);
        if (is_new) row->ends_at = WEATHER_NEVER;
        draw(w, (enum weather_kind)kind, now);
    }
}

static int64_t soonest(const struct weather_row *row) {
    return row->begins_at < row->ends_at ? row->begins_at : row->ends_at;
}

int64_t weather_at(const struct weather *w) {
    int64_t at = WEATHER_NEVER;
    for (int kind = 0; kind < WEATHER_KINDS; kind++)
        if (soonest(&w->rows[kind]) < at) at = soonest(&w->rows[kind]);
    return at;
}

/* The row's own time: it is over, or begins (again). */
static void happen(struct weather *w, enum weather_kind kind, struct weather_event *out) {
    struct weather_row *row = &w->rows[kind];
    *out = (struct weather_event){.kind = kind, .begins = row->begins_at < row->ends_at};
    if (!out->begins) {
        row->ends_at = WEATHER_NEVER;
        return;
    }
    out->ms = lasts(w, kind);
    if (out->ms > 0) row->ends_at = row->begins_at + out->ms;
    draw(w, kind, row->begins_at + out->ms);
}

bool weather_next(struct weather *w, int64_t now, struct weather_event *out) {
    int64_t at = weather_at(w);
    if (at > now) return false;
    for (int kind = 0; kind < WEATHER_KINDS; kind++) {
        if (soonest(&w->rows[kind]) != at) continue;
        happen(w, (enum weather_kind)kind, out);
        return true;
    }
    return false;
}

void weather_begin(struct weather *w, enum weather_kind kind, int64_t now, int64_t ms) {
    w->rows[kind].ends_at = now + ms;
}

void weather_calm(struct weather *w, int64_t now) {
    for (int kind = 0; kind < WEATHER_KINDS; kind++)
        if (weather_is(w, (enum weather_kind)kind)) w->rows[kind].ends_at = now;
}

bool weather_is(const struct weather *w, enum weather_kind kind) {
    return w->rows[kind].ends_at != WEATHER_NEVER;
}

int64_t weather_bandwidth(const struct weather *w) {
    return weather_is(w, WEATHER_SLOW) ? w->bandwidth : w->faults.bandwidth;
}
