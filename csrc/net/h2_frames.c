/* The walk over frames; see h2_frames.h. */
#include "net/h2_frames.h"

#include "base/bounds.h"
#include "net/h2.h"

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY };
enum { WINDOW_UPDATE = 8, CONTINUATION = 9 };

#define END_STREAM 1
#define END_HEADERS 4
#define PADDED 8

void h2_frames_init(struct h2_frames *f) {
    *f = (struct h2_frames){.left = sizeof H2_PREFACE - 1};
}

static void on_headers(struct h2_frames *f, unsigned flags, bool first) {
    f->heads = !(flags & END_HEADERS);
    f->pieces = first ? 0 : f->pieces + 1;
}

static uint32_t length_of(const struct h2_frames *f) {
    return (uint32_t)f->head[0] << 16 | (uint32_t)f->head[1] << 8 | f->head[2];
}

/* One more frame begins. */
static void on_frame(struct h2_frames *f) {
    unsigned type = f->head[3], flags = f->head[4];
    f->left = length_of(f);
    f->n = 0;
    f->padded = type == DATA && (flags & PADDED) && !(flags & END_STREAM);
    if (type == HEADERS || type == CONTINUATION) on_headers(f, flags, type == HEADERS);
    else if (type == RST_STREAM) f->resets++;
    else if (type != DATA || (f->left == 0 && !(flags & END_STREAM))) f->useless++;
}

/* Bytes of a frame, or of the preface. */
static void pass(struct h2_frames *f, const char *bytes, size_t n) {
    if (f->padded && (uint8_t)*bytes + 1U >= length_of(f)) f->useless++;
    f->padded = false;
    f->left -= (uint32_t)n;
}

static void begin_window(struct h2_frames *f, int64_t now_ms) {
    if (now_ms - f->since_ms < H2_FLOOD_MS) return;
    f->since_ms = now_ms;
    f->resets = f->useless = f->sent = f->dropped = 0;
}

bool h2_frames_too_many(const struct h2_frames *f) {
    return f->resets > H2_RESETS_MAX || f->pieces > H2_CONTINUATIONS_MAX ||
           f->useless > H2_USELESS_MAX + 2 * f->sent;
}

bool h2_frames_take(struct h2_frames *f, struct slice bytes, int64_t now_ms) {
    begin_window(f, now_ms);
    for (size_t at = 0; at < bytes.n;) {
        size_t left = bytes.n - at;
        if (f->left > 0) {
            size_t n = left < f->left ? left : f->left;
            pass(f, bytes.p + at, n);
            at += n;
            continue;
        }
        f->begun = true;
        f->head[f->n++] = (uint8_t)bytes.p[at++];
        if (f->n < sizeof f->head) continue;
        on_frame(f);
        if (h2_frames_too_many(f)) return false;
    }
    return true;
}

bool h2_frames_amid(const struct h2_frames *f) {
    bool half = f->n > 0 || (f->left > 0 && f->head[3] != DATA);
    return !f->begun || f->heads || half;
}
