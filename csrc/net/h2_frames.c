/* The walk over frames; see h2_frames.h. */
#include "net/h2_frames.h"

#include "base/bounds.h"
#include "net/h2.h"

#include <string.h>

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY };
enum { WINDOW_UPDATE = 8, CONTINUATION = 9 };

#define FRAME_HEAD 9
#define UPDATE 4
#define ENTRY 6 /* of the settings */
#define INITIAL_WINDOW_SIZE 4

#define ACK 1
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

static uint32_t number_at(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t stream_of(const struct h2_frames *f) {
    return number_at(f->head + 5) & INT32_MAX;
}

/* One more frame begins. */
static void on_frame(struct h2_frames *f) {
    unsigned type = f->head[3], flags = f->head[4];
    f->left = length_of(f);
    f->n = f->more = 0;
    f->padded = type == DATA && (flags & PADDED) && !(flags & END_STREAM);
    f->holds = type == WINDOW_UPDATE && f->left == 4 && f->settled && !f->heads;
    f->lists = type == SETTINGS && !(flags & ACK) && f->left % ENTRY == 0;
    f->settled = f->settled || type == SETTINGS;
    if (type == HEADERS || type == CONTINUATION) on_headers(f, flags, type == HEADERS);
    else if (type == RST_STREAM) f->resets++;
    else if (type != DATA || (f->left == 0 && !(flags & END_STREAM))) f->useless++;
}

static size_t take_head(struct h2_frames *f, struct slice bytes, struct slice *give) {
    size_t n = FRAME_HEAD - f->n;
    if (n > bytes.n) n = bytes.n;
    memcpy(f->head + f->n, bytes.p, n);
    f->n += (uint8_t)n;
    f->begun = true;
    if (f->n < FRAME_HEAD) return n;
    on_frame(f);
    if (!f->holds) *give = slice_of((const char *)f->head, FRAME_HEAD);
    return n;
}

struct slice h2_frames_update(const struct h2_frames *f) {
    return slice_of((const char *)f->head, FRAME_HEAD + UPDATE);
}

/* Of an update: all of it is given when it says nothing. */
static void take_update(struct h2_frames *f, struct slice *give) {
    f->id = stream_of(f);
    f->amount = number_at(f->head + FRAME_HEAD) & INT32_MAX;
    f->news = f->amount > 0 ? H2_UPDATE : H2_NO_NEWS;
    if (f->amount == 0) *give = h2_frames_update(f);
}

/* Of a setting. A stream has to be ended by nghttp2 though no data of it may be sent: there its window is
 * never empty. */
static void take_entry(struct h2_frames *f, struct slice *give) {
    uint8_t *entry = f->head + FRAME_HEAD;
    f->more = 0;
    f->amount = number_at(entry + 2);
    bool initial = entry[0] == 0 && entry[1] == INITIAL_WINDOW_SIZE;
    if (initial && f->amount <= INT32_MAX) f->news = H2_INITIAL;
    if (f->news && f->amount == 0) entry[ENTRY - 1] = 1;
    *give = slice_of((const char *)entry, ENTRY);
}

static size_t take_some(struct h2_frames *f, struct slice bytes, struct slice *give) {
    size_t n = (f->holds ? (size_t)UPDATE : (size_t)ENTRY) - f->more;
    if (n > bytes.n) n = bytes.n;
    memcpy(f->head + FRAME_HEAD + f->more, bytes.p, n);
    f->more += (uint8_t)n;
    f->left -= (uint32_t)n;
    if (f->holds && f->more == UPDATE) take_update(f, give);
    else if (f->lists && f->more == ENTRY) take_entry(f, give);
    return n;
}

size_t h2_frames_next(struct h2_frames *f, struct slice bytes, struct slice *give) {
    *give = slice_of(NULL, 0);
    f->news = H2_NO_NEWS;
    if (f->left == 0) return take_head(f, bytes, give);
    if (f->holds || f->lists) return take_some(f, bytes, give);
    size_t n = bytes.n < f->left ? bytes.n : f->left;
    if (f->padded && (uint8_t)*bytes.p + 1U >= length_of(f)) f->useless++;
    f->padded = false;
    f->left -= (uint32_t)n;
    *give = slice_of(bytes.p, n);
    return n;
}

void h2_frames_begin(struct h2_frames *f, int64_t now_ms) {
    if (now_ms - f->since_ms < H2_FLOOD_MS) return;
    f->since_ms = now_ms;
    f->resets = f->useless = f->sent = f->answers = f->dropped = 0;
}

bool h2_frames_too_many(const struct h2_frames *f) {
    return f->resets > H2_RESETS_MAX + f->answers || f->pieces > H2_CONTINUATIONS_MAX ||
           f->useless > H2_USELESS_MAX + 2 * f->sent;
}

bool h2_frames_amid(const struct h2_frames *f) {
    bool half = f->n > 0 || (f->left > 0 && f->head[3] != DATA);
    return !f->begun || f->heads || half;
}
