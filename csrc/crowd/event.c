/* One line at a time; see event.h. */
#include "crowd/event.h"

#include "base/bounds.h"
#include "base/map.h"
#include "base/status.h"

#include <stdlib.h>

/* ---- What the data say ---------------------------------------------------------------- */

/* What stands behind "name": in a JSON text; p is NULL when it is not there. */
static struct slice field_of(struct slice data, struct slice name) {
    const char *end = data.p + data.n;
    for (const char *p = data.p; p && p < end;) {
        p = memmem(p, (size_t)(end - p), name.p, name.n);
        if (!p) break;
        const char *at = p + name.n;
        bool quoted = p > data.p && p[-1] == '"' && at < end && *at == '"';
        for (at++; quoted && at < end && *at == ' ';) at++;
        if (quoted && at < end && *at == ':') {
            for (at++; at < end && *at == ' ';) at++;
            return slice_of(at, (size_t)(end - at));
        }
        p++;
    }
    return (struct slice){0};
}

static double number_of(struct slice text) {
    char copy[40];
    size_t n = text.n < sizeof copy - 1 ? text.n : sizeof copy - 1;
    if (n == 0) return 0;
    memcpy(copy, text.p, n);
    copy[n] = 0;
    return strtod(copy, NULL);
}

static int digits(const char *p, size_t n) {
    int value = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return -1;
        value = value * 10 + (p[i] - '0');
    }
    return value;
}

/* Days since 1970 of a date in the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "2026-11-29T20:05:23.104Z" in microseconds; 0 for others, and for other zones. */
static int64_t iso_us(struct slice text) {
    if (text.n < 20) return 0;
    const char *p = text.p;
    int year = digits(p, 4), month = digits(p + 5, 2), day = digits(p + 8, 2);
    int hour = digits(p + 11, 2), minute = digits(p + 14, 2), second = digits(p + 17, 2);
    if (year < 1970 || month < 1 || day < 1 || hour < 0 || minute < 0 || second < 0)
        return 0;
    int64_t us = 0, unit = 100000;
    size_t at = 19;
    if (p[at] == '.')
        for (at++; at < text.n && p[at] >= '0' && p[at] <= '9'; at++, unit /= 10)
            us += (p[at] - '0') * unit;
    if (at >= text.n || p[at] != 'Z') return 0;
    return ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60000000 +
           second * 1000000 + us;
}

/* A time since 1970: a text, or seconds or milliseconds by its size. */
static int64_t wall_us(struct slice text) {
    if (text.n > 0 && text.p[0] == '"') return iso_us(slice_of(text.p + 1, text.n - 1));
    double n = number_of(text);
    if (!(n > 0 && n < 1e14)) return 0;
    return (int64_t)(n < 1e11 ? n * 1e6 : n * 1e3);
}

static bool holds(struct slice data, struct slice words) {
    return memmem(data.p, data.n, words.p, words.n) != NULL;
}

/* The reason of a bye, when it is a word as Sluice's are. */
static void take_reason(struct event_state *e, struct slice data) {
    struct slice text = field_of(data, slice_str("reason"));
    size_t n = 0;
    if (!text.p || text.n == 0 || text.p[0] != '"') return;
    for (const char *p = text.p + 1; n + 1 < text.n && n + 1 < EVENT_REASON_MAX; n++) {
        if (!((p[n] >= 'a' && p[n] <= 'z') || p[n] == '_')) break;
        e->reason[n] = p[n];
    }
    e->reason[n] = '\0';
}

static void take_data(struct event_state *e, const struct event_words *words,
                      struct slice data) {
    e->has_data = true;
    if (e->kind == EVENT_BYE) take_reason(e, data);
    if (!e->is_sluice)
        e->greets |=
            holds(data, slice_str("\"client\":")) && holds(data, slice_str("\"epoch\":"));
    if (words->mark.n > 0 && holds(data, words->mark)) {
        e->is_own = true;
        e->n = (uint64_t)number_of(field_of(data, slice_str("n")));
        e->time_us = (int64_t)number_of(field_of(data, slice_str("t")));
        e->time_is_wall = false;
    } else if (words->time.n > 0) {
        struct slice text = field_of(data, words->time);
        if (text.p) e->time_us = wall_us(text);
        e->time_is_wall = true;
    }
}

/* ---- Lines ---------------------------------------------------------------------------- */

static enum event_kind kind_of(struct slice name) {
    if (slice_eq_lit(name, "hello")) return EVENT_HELLO;
    if (slice_eq_lit(name, "reset")) return EVENT_RESET;
    if (slice_eq_lit(name, "sync")) return EVENT_SYNC;
    if (slice_eq_lit(name, "bye")) return EVENT_BYE;
    return EVENT_OTHER;
}

static void begin(struct event_state *e) {
    *e = (struct event_state){.line = e->line, .is_sluice = e->is_sluice};
}

static void take_line(struct event_state *e, const struct event_words *words,
                      struct slice line, event_fn *fn, void *context) {
    if (line.n > 0 && line.p[line.n - 1] == '\r') line.n--;
    if (line.n == 0) {
        e->is_sluice |= (e->greets && e->kind == EVENT_HELLO) || e->reason[0];
        if (e->has_data) fn(context, e);
        begin(e);
        return;
    }
    const char *colon = memchr(line.p, ':', line.n);
    struct slice name = slice_of(line.p, colon ? (size_t)(colon - line.p) : line.n);
    size_t from = name.n < line.n ? name.n + 1 : name.n;
    if (from < line.n && line.p[from] == ' ') from++;
    struct slice value = slice_of(line.p + from, line.n - from);
    if (slice_eq_lit(name, "data")) {
        take_data(e, words, value);
    } else if (slice_eq_lit(name, "event")) {
        e->kind = kind_of(value);
    } else if (slice_eq_lit(name, "id")) {
        e->has_id = value.n > 0;
        e->id_hash = map_hash(value);
    }
}

/* Keep what has no line end yet. */
static int keep(struct event_state *e, struct slice part) {
    if (e->line.n + part.n > CROWD_LINE_MAX) return E_TOOBIG;
    return part.n > 0 ? buf_add(&e->line, part.p, part.n) : 0;
}

int event_feed(struct event_state *e, const struct event_words *words, struct slice bytes,
               event_fn *fn, void *context) {
    while (bytes.n > 0) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        struct slice part = slice_of(bytes.p, end ? (size_t)(end - bytes.p) : bytes.n);
        if (!end) return keep(e, part);
        if (e->line.n > 0) {
            int err = keep(e, part);
            if (err < 0) return err;
            part = buf_slice(&e->line);
        }
        take_line(e, words, part, fn, context);
        buf_free(&e->line);
        size_t used = (size_t)(end - bytes.p) + 1;
        bytes = slice_of(bytes.p + used, bytes.n - used);
    }
    return 0;
}

void event_deinit(struct event_state *e) {
    buf_free(&e->line);
}
