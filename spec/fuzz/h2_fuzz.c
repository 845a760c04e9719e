/* Fuzz target for csrc/net/h2: a client that means harm, in frames.
 *
 * The input is a list of what the client and the app do, so that frames are whole more often than
 * chance would have them: a byte that says what, then what it needs. Judged is what comes out: a
 * head that one parser reads to its end, an exchange that is named only while it lives, and frames that
 * are frames, within the windows that the client gave, for streams that live. */
#include "base/buf.h"
#include "net/h2.h"
#include "net/http_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Holds with assertions off as well. */
#define MUST(fact)                                                             \
    do {                                                                       \
        if (!(fact)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); \
            abort();                                                           \
        }                                                                      \
    } while (0)

#define EXCHANGES_MAX 512
#define FRAME_HEAD 9
#define FRAME_MAX 16384
#define WINDOW 65535
#define IDS 128 /* of streams that are judged: those below 256 */

enum {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    UPDATE
};

struct exchange {
    struct h2_stream stream;
    size_t has; /* bytes to send */
    bool body, answered, ends, ended, left;
};

struct world {
    struct h2 *h;
    struct exchange *list[EXCHANGES_MAX];
    unsigned n;
    bool over;
    /* What a judge beside it sees of both directions. */
    struct buf in, out;
    uint64_t granted, taken; /* bytes of DATA, on the connection */
    int64_t initial;
    int64_t windows[IDS]; /* of streams, by half their id */
    bool headed[IDS];     /* the head of an answer is out */
    int64_t now_ms;
};

/* What is left of the input. */
struct input {
    const uint8_t *p;
    size_t n;
};

static uint8_t next(struct input *in) {
    if (in->n == 0) return 0;
    in->n--;
    return *in->p++;
}

static struct slice next_bytes(struct input *in, size_t most) {
    size_t n = most < in->n ? most : in->n;
    struct slice s = slice_of((const char *)in->p, n);
    in->p += n;
    in->n -= n;
    return s;
}

/* ---- What comes out ----------------------------------------------------------------- */

static void judge_frame(struct world *w, const unsigned char *p, size_t n) {
    uint32_t id =
        (uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
    MUST(n <= FRAME_MAX && id < (1u << 31));
    MUST(p[3] != PUSH_PROMISE && p[3] != PRIORITY && p[3] <= 9);
    bool of_stream = p[3] == DATA || p[3] == HEADERS || p[3] == RST_STREAM;
    MUST(!of_stream || id % 2 == 1);
    if (p[3] == DATA) w->taken += n;
    MUST(w->taken <= w->granted);
    if (id >= 2 * IDS) return;
    if (p[3] == HEADERS) w->headed[id / 2] = true;
    if (p[3] != DATA) return;
    MUST(w->headed[id / 2]);
    w->windows[id / 2] -= (int64_t)n;
    MUST(n == 0 || w->windows[id / 2] >= 0);
}

/* Whole frames are judged and taken off. */
static void take_frames(struct buf *b, struct world *w,
                        void (*on)(struct world *, const unsigned char *, size_t)) {
    size_t at = 0;
    while (b->n - at >= FRAME_HEAD) {
        const unsigned char *p = (const unsigned char *)b->p + at;
        size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if (b->n - at < FRAME_HEAD + n) break;
        on(w, p, n);
        at += FRAME_HEAD + n;
    }
    buf_shift(b, at);
}

static void write_out(struct world *w, const char *bytes, size_t n) {
    MUST(buf_add(&w->out, bytes, n) == 0);
    take_frames(&w->out, w, judge_frame);
}

static void write_all(struct world *w, unsigned most) {
    static char room[H2_WRITE_BYTES];
    for (unsigned i = 0; i < most; i++) {
        size_t n = h2_write(w->h, room);
        MUST(n <= sizeof room);
        if (n == 0) return;
        write_out(w, room, n);
    }
}

/* ---- The app ------------------------------------------------------------------------ */

/* Text that reads as one request or as none: never as one and the beginning of another. */
static void judge_head(const struct buf *head) {
    static struct http_head parsed;
    int got = http_parse_head(head->p, head->n, 0, &parsed);
    MUST(got < 0 || (got > 0 && (size_t)got == head->n));
    MUST(got < 0 || parsed.minor == 1);
    MUST(got < 0 || parsed.body != HTTP_BODY_CHUNKED);
}

static struct exchange *of(const struct h2_stream *s) {
    return container_of(s, struct exchange, stream);
}

static struct h2_stream *on_begin(void *owner, struct buf *head, bool body) {
    struct world *w = owner;
    judge_head(head);
    buf_free(head);
    if (w->n == EXCHANGES_MAX) return NULL;
    struct exchange *x = calloc(1, sizeof *x);
    if (!x) abort();
    x->body = body;
    h2_stream_init(&x->stream);
    w->list[w->n++] = x;
    return &x->stream;
}

static void on_go_on(struct h2_stream *s) {
    MUST(!of(s)->left && s->id > 0 && s->id % 2 == 1);
}

static bool on_data(struct h2_stream *s, struct slice bytes) {
    struct exchange *x = of(s);
    MUST(x->body && !x->ended && !x->left);
    return bytes.n == 0 || bytes.p[0] != 'n';
}

static void on_end(struct h2_stream *s) {
    struct exchange *x = of(s);
    MUST(x->body && !x->ended && !x->left);
    x->ended = true;
}

static size_t on_size(const struct h2_stream *s, bool *last) {
    const struct exchange *x = of(s);
    MUST(x->answered && !x->left);
    *last = x->ends;
    return x->has;
}

static void on_pull(struct h2_stream *s, char *to, size_t n, bool last) {
    struct exchange *x = of(s);
    MUST(x->answered && !x->left && n <= x->has && (!last || x->ends));
    if (n > 0) memset(to, 'd', n);
    x->has -= n;
}

static struct world *the; /* closed has no owner */

static void forget(struct world *w, struct exchange *x) {
    for (unsigned i = 0; i < w->n; i++) {
        if (w->list[i] != x) continue;
        w->list[i] = w->list[--w->n];
        free(x);
        return;
    }
    MUST(!"an exchange that is gone is named");
}

static void on_closed(struct h2_stream *s) {
    forget(the, of(s));
}

static const char *const answers[] = {
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\nDate: x\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 404 Not Found\r\nX-A: \r\n\r\n"};

static void answer(struct world *w, struct exchange *x, uint8_t how) {
    if (x->answered) return;
    unsigned which = how % 4;
    char *text = strdup(answers[which]);
    bool bare = which != 2 && (how & 64);
    MUST(text && h2_answer(w->h, &x->stream, slice_str(text), bare) == 0);
    free(text);
    if (which == 2) return;
    x->answered = true;
    x->ends = x->ends || bare;
}

/* All of it at once, or nothing of it. */
static void write_now(struct world *w, struct exchange *x, size_t size) {
    static char room[H2_WRITE_BYTES], bytes[H2_WRITE_BYTES];
    if (!x->answered || x->ends || x->has > 0) return;
    size_t n = h2_write_now(w->h, &x->stream, slice_of(bytes, size), room);
    MUST(n == 0 || n == FRAME_HEAD + size);
    write_out(w, room, n);
}

/* The app does something with one of its exchanges. */
static void act(struct world *w, struct input *in) {
    uint8_t what = next(in), how = next(in);
    struct exchange *x = w->n > 0 ? w->list[next(in) % w->n] : NULL;
    if (!x) return;
    switch (what % 6) {
    case 0: answer(w, x, how); break;
    case 4: write_now(w, x, (size_t)(how + 1) * 70); break;
    case 1:
        if (!x->answered || x->ends) break;
        x->has += (size_t)how * 64;
        x->ends = how % 7 == 0;
        h2_wake(w->h, &x->stream);
        break;
    case 2: h2_credit(w->h, &x->stream, how); break;
    case 3: h2_wake(w->h, &x->stream); break;
    default: {
        h2_leave(w->h, &x->stream, !x->answered || (how & 1));
        forget(w, x);
    }
    }
}

/* ---- What goes in ------------------------------------------------------------------- */

static uint32_t number_at(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void see_settings(struct world *w, const unsigned char *p, size_t n) {
    for (size_t at = 0; at + 6 <= n; at += 6) {
        uint32_t window = number_at(p + at + 2);
        if (p[at] != 0 || p[at + 1] != 4 || window > INT32_MAX) continue;
        for (int i = 0; i < IDS; i++) w->windows[i] += (int64_t)window - w->initial;
        w->initial = window;
    }
}

static void see_frame(struct world *w, const unsigned char *p, size_t n) {
    uint32_t id = number_at(p + 5) & INT32_MAX;
    if (p[3] == SETTINGS && !(p[4] & 1) && n % 6 == 0) see_settings(w, p + FRAME_HEAD, n);
    if (p[3] != UPDATE || n != 4) return;
    uint32_t more = number_at(p + FRAME_HEAD) & INT32_MAX;
    if (id == 0) w->granted += more;
    else if (id < 2 * IDS) w->windows[id / 2] += more;
}

static void give(struct world *w, struct slice bytes) {
    if (w->over || bytes.n == 0) return;
    MUST(buf_add(&w->in, bytes.p, bytes.n) == 0);
    take_frames(&w->in, w, see_frame);
    char *exact = malloc(bytes.n); /* ASan sees one byte read too far */
    if (!exact) abort();
    memcpy(exact, bytes.p, bytes.n);
    w->over = !h2_receive(w->h, slice_of(exact, bytes.n), w->now_ms);
    free(exact);
}

static void give_frame(struct world *w, uint8_t type, uint8_t flags, uint32_t id,
                       struct slice payload) {
    char head[FRAME_HEAD] = {0, (char)(payload.n >> 8), (char)payload.n, (char)type,
                             (char)flags};
    for (int i = 0; i < 4; i++) head[5 + i] = (char)(id >> (24 - 8 * i));
    give(w, slice_of(head, FRAME_HEAD));
    give(w, payload);
}

/* A request as most are, and what the input has to add. */
static void give_request(struct world *w, struct input *in) {
    static const char *const starts[] = {"\x82\x84\x86\x41\x01x", "\x83\x84\x87\x41\x01x",
                                         "\x82\x86\x41\x01x\x04\x02/a", "\x82\x84\x86"};
    uint8_t how = next(in), id = next(in);
    char block[256];
    const char *start = starts[how % 4];
    size_t n = strlen(start);
    for (size_t i = 0; i < n; i++) block[i] = start[i];
    struct slice more = next_bytes(in, how & 32 ? next(in) % 200 : 0);
    if (more.n > 0) memcpy(block + n, more.p, more.n);
    uint8_t flags = (uint8_t)((how & 64 ? 0 : 1) | (how & 128 ? 0 : 4));
    give_frame(w, HEADERS, flags, id | 1u, slice_of(block, n + more.n));
}

static void step(struct world *w, struct input *in) {
    uint8_t what = next(in);
    switch (what % 8) {
    case 0: give_request(w, in); break;
    case 1: give_request(w, in); break;
    case 2:
    case 3: {
        uint8_t type = next(in) % 12, flags = next(in), id = next(in);
        size_t n = next(in);
        give_frame(w, type, flags, id, next_bytes(in, n));
        break;
    }
    case 4: give(w, next_bytes(in, next(in))); break;
    case 5: write_all(w, what / 8); break;
    case 6: w->now_ms += what; break;
    default: act(w, in);
    }
}

static void control(struct world *w, uint8_t how) {
    if (how == 1) h2_ping(w->h);
    if (how == 2) h2_announce(w->h);
    if (how == 3) h2_goaway(w->h);
    if (how == 4) h2_end(w->h, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct h2_ops ops = {.begin = on_begin,
                                      .go_on = on_go_on,
                                      .data = on_data,
                                      .end = on_end,
                                      .size = on_size,
                                      .pull = on_pull,
                                      .closed = on_closed};
    struct world w = {.granted = WINDOW, .initial = WINDOW, .now_ms = 1000};
    for (int i = 0; i < IDS; i++) w.windows[i] = WINDOW;
    struct input in = {data, size};
    the = &w;
    w.h = h2_new(&ops, &w);
    if (!w.h) return 0;
    uint8_t how = next(&in);
    if (how & 1) w.over = !h2_receive(w.h, slice_str(H2_PREFACE), w.now_ms);
    if (how & 2) give_frame(&w, SETTINGS, 0, 0, slice_of(NULL, 0));
    while (in.n > 0 && !w.over) {
        step(&w, &in);
        if (next(&in) == 255) control(&w, next(&in) % 8);
    }
    write_all(&w, 1000);
    h2_free(w.h);
    for (unsigned i = 0; i < w.n; i++) free(w.list[i]);
    buf_free(&w.in);
    buf_free(&w.out);
    return 0;
}
