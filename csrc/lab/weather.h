/* When the faults of a whole network happen: a machine without a clock and without sockets.
 * Times come in, what happens comes out; equal seeds and options make equal times, whatever
 * is sent. What a person asks for meanwhile goes on top. Times are of the caller's clock, in
 * ms. [owner] */
#ifndef SLUICE_LAB_WEATHER_H
#define SLUICE_LAB_WEATHER_H

#include "lab/faults.h"

enum weather_kind {
    WEATHER_CUT,
    WEATHER_STALL,
    WEATHER_AWAY,
    WEATHER_SLOW,
    WEATHER_KINDS
};

/* Something begins, for 'ms' (a cut: 0), or what began is over. */
struct weather_event {
    enum weather_kind kind;
    bool begins;
    int64_t ms;
};

/* One kind: when the next begins, when this one is over; WEATHER_NEVER. */
struct weather_row {
    uint64_t random;
    int64_t begins_at, ends_at;
};

struct weather {
    struct lab_faults faults;
    int64_t bandwidth; /* bytes a second while it is slow; set by the owner */
    struct weather_row rows[WEATHER_KINDS];
};

#define WEATHER_NEVER INT64_MAX

/* From 'now' on; of the faults only those of the whole network matter. What is under way
 * goes on, unless the weather is new (zeroed). */
void weather_init(struct weather *w, const struct lab_faults *faults, uint64_t seed,
                  int64_t now);

/* The next event that is due at 'now': true, and it has happened. Call until false. */
bool weather_next(struct weather *w, int64_t now, struct weather_event *out);

/* When to ask again; WEATHER_NEVER. */
int64_t weather_at(const struct weather *w);

/* By hand: it begins at 'now' and lasts so long; asked for again, from then on. A cut needs
 * no weather; how slow is in 'bandwidth'. */
void weather_begin(struct weather *w, enum weather_kind kind, int64_t now, int64_t ms);

/* Whatever is under way is over at 'now'. */
void weather_calm(struct weather *w, int64_t now);

bool weather_is(const struct weather *w, enum weather_kind kind); /* under way */
int64_t weather_bandwidth(const struct weather *w);               /* 0: no limit */

#endif
