/* The event parser of the load generator; see track.h.
 *
 * Data is a JSON object that begins {"n":12,"t":345, with n rising by one over all events
 * that a stream should get and t the publisher's clock in microseconds. */
#include "track.h"

#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 65536
#define WINDOW 64

void track_init(struct track *t, struct tally *tally, bool rounds) {
    *t = (struct track){.tally = tally, .rounds = rounds};
}

void track_deinit(struct track *t) {
    free(t->carry);
    t->carry = NULL;
}

static void forget_event(struct track *t) {
    t->event[0] = t->data[0] = 0;
    t->has_data = t->has_id = false;
}

void track_reconnect(struct track *t) {
    t->carried = 0;
    forget_event(t);
}

static bool read_number(const char *text, const char *field, uint64_t *out) {
    const char *at = strstr(text, field);
    if (!at) return false;
    at += strlen(field);
    char *end;
    *out = strtoull(at, &end, 10);
    return end != at;
}

/* Number n has come: next, after a gap, late, or again? */
static void judge(struct track *t, uint64_t n) {
    struct tally *tally = t->tally;
    if (!t->begun) {
        t->begun = true;
        t->last = n;
        t->seen = ~(uint64_t)0; /* what was before the first is none of our business */
        return;
    }
    if (n > t->last) {
        const uint64_t ahead = n - t->last;
        tally->lost += ahead - 1;
        t->seen = ahead < WINDOW ? (t->seen << ahead) | 1 : 1;
        t->last = n;
        return;
    }
    const uint64_t back = t->last - n;
    const uint64_t bit = back < WINDOW ? (uint64_t)1 << back : 0;
    if (!bit || (t->seen & bit)) {
        tally->repeated++;
        return;
    }
    t->seen |= bit;
    tally->lost--;
    tally->disordered++;
}

/* Ids are <epoch>-<seq> here; others (nchan's) are not judged. */
static void judge_id(struct track *t) {
    t->tally->ids++;
    const char *dash = strrchr(t->last_id, '-');
    if (!dash) return;
    const uint64_t seq = strtoull(dash + 1, NULL, 10);
    if (seq <= t->last_seq) t->tally->disordered++;
    t->last_seq = seq;
}

static bool is_control(struct track *t) {
    struct tally *tally = t->tally;
    if (strcmp(t->event, "hello") == 0) tally->hellos++;
    else if (strcmp(t->event, "reset") == 0) tally->resets++;
    else if (strcmp(t->event, "bye") == 0) tally->byes++;
    else if (strcmp(t->event, "sync") == 0) tally->syncs++;
    else return false;
    return true;
}

static void dispatch(struct track *t, uint64_t now_ns) {
    struct tally *tally = t->tally;
    uint64_t n, sent_us;
    /* As the standard says: an id counts once its block is whole. */
    if (t->has_id) memcpy(t->last_id, t->id, sizeof t->id);
    if (!t->has_data) return;
    if (is_control(t)) return;
    if (strcmp(t->event, "quote") == 0)
        return; /* values: some are replaced, none is owed */
    if (!read_number(t->data, "\"n\":", &n) ||
        !read_number(t->data, "\"t\":", &sent_us)) {
        tally->malformed++;
        return;
    }
    tally->events++;
    t->events++;
    if (t->reference) tally->ref_events++;
    judge(t, n);
    if (t->has_id) judge_id(t);
    if (now_ns > sent_us * 1000) hist_add(&tally->latency, now_ns - sent_us * 1000);
    if (t->rounds) tally_round(tally, n, sent_us, now_ns);
}

static void keep(char *into, size_t size, const char *p, size_t n) {
    if (n >= size) n = size - 1;
    memcpy(into, p, n);
    into[n] = 0;
}

/* The value of a field's line; the space behind its colon may be missing. NULL: another field. */
static const char *value_of(const char *p, size_t n, const char *field, size_t *left) {
    const size_t name = strlen(field);
    if (n < name + 1 || memcmp(p, field, name) != 0 || p[name] != ':') return NULL;
    const size_t at = name + (n > name + 1 && p[name + 1] == ' ' ? 2 : 1);
    *left = n - at;
    return p + at;
}

/* One line without its LF. */
static void take_line(struct track *t, const char *p, size_t n, uint64_t now_ns) {
    const char *value;
    size_t left;
    if (n == 0) {
        dispatch(t, now_ns);
        forget_event(t);
    } else if ((value = value_of(p, n, "data", &left))) {
        if (!t->has_data) keep(t->data, sizeof t->data, value, left);
        t->has_data = true;
    } else if ((value = value_of(p, n, "id", &left))) {
        keep(t->id, sizeof t->id, value, left);
        t->has_id = true;
    } else if ((value = value_of(p, n, "event", &left))) {
        keep(t->event, sizeof t->event, value, left);
    } else if (p[0] != ':' && !value_of(p, n, "retry", &left)) {
        t->tally->malformed++;
    }
}

static void carry(struct track *t, const char *p, size_t n) {
    if (!t->carry) t->carry = malloc(LINE_MAX_BYTES);
    if (!t->carry) abort();
    if (t->carried + n > LINE_MAX_BYTES) {
        t->tally->malformed++;
        t->carried = 0;
        return;
    }
    memcpy(t->carry + t->carried, p, n);
    t->carried += n;
}

void track_feed(struct track *t, const char *p, size_t n, uint64_t now_ns) {
    const char *end = p + n;
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf) {
            carry(t, p, (size_t)(end - p));
            return;
        }
        if (t->carried) {
            carry(t, p, (size_t)(lf - p));
            take_line(t, t->carry, t->carried, now_ns);
            t->carried = 0;
        } else {
            take_line(t, p, (size_t)(lf - p), now_ns);
        }
        p = lf + 1;
    }
}
