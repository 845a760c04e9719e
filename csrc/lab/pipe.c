/* A direction that delays; see pipe.h.
 *
 * Each piece that came has a time at which it may go, behind the piece in front of it. What is limited by bandwidth earns credit as time passes, at most for
 * LAB_BURST_MS, so that a pause is not made up for. */
#include "lab/pipe.h"

#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"

#include <assert.h>
#include <string.h>

#define THOUSAND 1000

void pipe_free(struct pipe *p) {
    uint64_t random = p->random;
    mem_free(p->bytes);
    *p = (struct pipe){.random = random};
}

uint32_t pipe_room(const struct pipe *p, int64_t bandwidth) {
    int64_t most = LAB_PIPE_BYTES;
    if (bandwidth > 0 && bandwidth < most) most = bandwidth;
    if (most < LAB_PIPE_LEAST) most = LAB_PIPE_LEAST;
    return p->n < most ? (uint32_t)most - p->n : 0;
}

static int64_t due_of(struct pipe *p, const struct pipe_now *now) {
    int64_t due = now->ms + now->latency_ms;
    if (now->jitter_ms > 0)
        due += (int64_t)(rand_next(&p->random) % (uint64_t)(now->jitter_ms + 1));
    if (now->hold_ms > 0) due = (due / now->hold_ms + 1) * now->hold_ms;
    p->last_due = due;
    return due;
}

/* One more piece; when there are too many, the last one grows and comes later. */
static void note(struct pipe *p, int64_t due, uint32_t n) {
    uint32_t at = (p->first + p->n_pieces) % LAB_PIECES_MAX;
    uint32_t last = (at + LAB_PIECES_MAX - 1) % LAB_PIECES_MAX;
    bool joins = p->n_pieces > 0 && p->pieces[last].due == due;
    if (joins || p->n_pieces == LAB_PIECES_MAX) {
        p->pieces[last].due = due;
        p->pieces[last].n += n;
        return;
    }
    p->pieces[at] = (struct pipe_piece){due, n};
    p->n_pieces++;
}

int pipe_put(struct pipe *p, const struct pipe_now *now, struct slice bytes) {
    assert(bytes.n <= LAB_PIPE_BYTES - p->n);
    if (!p->bytes) p->bytes = mem_try(LAB_PIPE_BYTES);
    if (!p->bytes) return E_NOMEM;
    if (p->from + p->n + bytes.n > LAB_PIPE_BYTES) {
        memmove(p->bytes, p->bytes + p->from, p->n);
        p->from = 0;
    }
    memcpy(p->bytes + p->from + p->n, bytes.p, bytes.n);
    p->n += (uint32_t)bytes.n;
    note(p, due_of(p, now), (uint32_t)bytes.n);
    return 0;
}

void pipe_close(struct pipe *p, const struct pipe_now *now, enum pipe_end end) {
    if (p->end == PIPE_OPEN) (void)due_of(p, now);
    p->end = end;
}

static void ripen(struct pipe *p, int64_t ms) {
    while (p->n_pieces > 0 && p->pieces[p->first].due <= ms) {
        p->ready += p->pieces[p->first].n;
        p->first = (p->first + 1) % LAB_PIECES_MAX;
        p->n_pieces--;
    }
}

/* How many bytes the bandwidth allows, and when it will allow some more. */
static uint32_t allowed(struct pipe *p, const struct pipe_now *now, int64_t *more_at) {
    int64_t most = now->bandwidth * LAB_BURST_MS;
    if (most < THOUSAND) most = THOUSAND;
    int64_t passed = now->ms - p->credit_ms;
    if (passed > LAB_BURST_MS * 100) passed = LAB_BURST_MS * 100;
    p->credit += passed * now->bandwidth;
    p->credit_ms = now->ms;
    if (p->credit > most) p->credit = most;
    int64_t wanted = now->bandwidth * LAB_STEP_MS;
    if (wanted < THOUSAND) wanted = THOUSAND;
    *more_at = now->ms + (wanted + now->bandwidth - 1) / now->bandwidth;
    return (uint32_t)(p->credit / THOUSAND);
}

struct slice pipe_look(struct pipe *p, const struct pipe_now *now, int64_t *again) {
    struct slice out = {p->bytes ? p->bytes + p->from : NULL, 0};
    *again = INT64_MAX;
    if (now->stalled) {
        p->credit_ms = now->ms;
        return out;
    }
    ripen(p, now->ms);
    int64_t more_at = now->ms; /* for a piece that is smaller than what is ready */
    uint32_t n = p->ready;
    if (now->bandwidth > 0) {
        uint32_t most = allowed(p, now, &more_at);
        if (n > most) n = most;
    } else {
        p->credit = 0;
        p->credit_ms = now->ms;
    }
    if (now->byte_at_a_time && n > 1) n = 1;
    if (n < p->ready) *again = now->byte_at_a_time && n > 0 ? now->ms : more_at;
    else if (p->n_pieces > 0) *again = p->pieces[p->first].due;
    else if (p->end != PIPE_OPEN) *again = p->last_due;
    out.n = n;
    return out;
}

void pipe_took(struct pipe *p, uint32_t n) {
    assert(n <= p->ready);
    p->from += n;
    p->n -= n;
    p->ready -= n;
    if (p->n == 0) p->from = 0;
    p->credit -= (int64_t)n * THOUSAND;
    if (p->credit < 0) p->credit = 0; /* there was no limit */
}

enum pipe_end pipe_ended(struct pipe *p, const struct pipe_now *now) {
    if (p->n > 0 || now->stalled || now->ms < p->last_due) return PIPE_OPEN;
    return p->end;
}
