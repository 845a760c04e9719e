/* Encoding an event.
 *
 * A frame is one allocation: the struct, its posts, the names and the text:
 *
 *     struct frame | posts[] | channel | name | key | event: x\n data: …\n | id: E-S\n\n
 *                                                     ^ text
 *
 * The number is known only inside the sequencer's section, so the id is written last;
 * everything before it is done before the lock. It is also the last line for clients that
 * remember an id as they read its line: cut anywhere before it, they ask again. */
#include "fan/frame.h"

#include "base/bounds.h"
#include "base/count.h"
#include "base/decimal.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/status.h"
#include "base/utf8.h"

#include <assert.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define DIGITS_MAX 20
/* "id: " epoch "-" digits "\n\n" */
#define TAIL_MAX (4 + EPOCH_LENGTH + 1 + DIGITS_MAX + 2)

static struct count live;

/* ---- UTF-8 and lines ---------------------------------------------------------------- */

/* How many of the first bytes are printable ASCII or tab: they are copied as they are. */
static size_t plain_run(const char *p, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, 8);
        uint64_t low = (word - 0x2020202020202020u) & ~word;
        if ((word | low) & 0x8080808080808080u) break;
    }
    while (i < n && ((unsigned char)p[i] >= 0x20 || p[i] == '\t') && (p[i] & 0x80) == 0)
        i++;
    return i;
}

#define LINE_MORE (6 + 1) /* bytes around the data of one line */

/* What an event's data comes to. */
struct extent {
    size_t wire; /* bytes of the data lines */
    size_t data; /* bytes that a client gets of them */
};

/* One walk over the payload serves for counting (out == NULL) and for writing. */
static struct extent write_lines(char *out, struct slice data) {
    size_t n = 0, i = 0, line_ends = 0;
#define PUT(bytes, length)                           \
    do {                                             \
        if (out) memcpy(out + n, (bytes), (length)); \
        n += (length);                               \
    } while (0)
    PUT("data: ", 6);
    while (i < data.n) {
        size_t run = plain_run(data.p + i, data.n - i);
        PUT(data.p + i, run);
        i += run;
        if (i == data.n) break;
        unsigned char c = (unsigned char)data.p[i];
        if (c == '\n' || c == '\r') {
            i += (c == '\r' && i + 1 < data.n && data.p[i + 1] == '\n') ? 2 : 1;
            PUT("\ndata: ", LINE_MORE);
            line_ends++;
            continue;
        }
        size_t length =
            c == 0 ? 0 : utf8_length((const unsigned char *)data.p + i, data.n - i);
        if (length > 0) PUT(data.p + i, length);
        else PUT(REPLACEMENT, 3);
        i += length ? length : 1;
    }
    PUT("\n", 1);
#undef PUT
    return (struct extent){.wire = n, .data = n - LINE_MORE - 6 * line_ends};
}

/* The same for text that write_lines would copy as it is, as JSON mostly is. */
static struct extent measure(struct slice data, bool plain) {
    if (!plain) return write_lines(NULL, data);
    return (struct extent){.wire = data.n + LINE_MORE, .data = data.n};
}

size_t frame_data_bytes(struct slice data) {
    return write_lines(NULL, data).data;
}

int frame_repair(struct slice text, struct buf *out) {
    for (size_t i = 0; i < text.n;) {
        unsigned char c = (unsigned char)text.p[i];
        size_t n =
            c == 0 ? 0 : utf8_length((const unsigned char *)text.p + i, text.n - i);
        int err = n ? buf_add(out, text.p + i, n) : buf_add(out, REPLACEMENT, 3);
        if (err < 0) return err;
        i += n ? n : 1;
    }
    return 0;
}

/* ---- Names -------------------------------------------------------------------------- */

static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '.' || c == '_' || c == ':' || c == '-';
}

const char *frame_check_name(struct slice name) {
    if (name.n == 0 || name.n > EVENT_NAME_MAX)
        return "an event name has 1 to 64 characters";
    for (size_t i = 0; i < name.n; i++)
        if (!is_name_byte(name.p[i]))
            return "an event name may hold letters, digits and . _ : - only";
    if (slice_eq_lit(name, "hello") || slice_eq_lit(name, "reset") ||
        slice_eq_lit(name, "sync") || slice_eq_lit(name, "bye") ||
        slice_eq_lit(name, "error") || slice_eq_lit(name, "open"))
        return "the event names hello, reset, sync, bye, error and open are reserved";
    return NULL;
}

/* ---- Frames ------------------------------------------------------------------------- */

/* Copy 'from' to *at, move *at behind it and return where it is now. */
static struct slice put(char **at, struct slice from) {
    struct slice to = slice_of(*at, from.n);
    if (from.n > 0) memcpy(*at, from.p, from.n);
    *at += from.n;
    return to;
}

/* What write_lines writes for one line of printable ASCII. */
static void write_plain(char *out, struct slice data) {
    put(&out, slice_str("data: "));
    put(&out, data);
    put(&out, slice_str("\n"));
}

#define NAME_MORE (7 + 1) /* bytes around the name of an event */

/* "message" is what an event without a name is called. */
static size_t name_line(struct slice name) {
    return slice_eq_lit(name, "message") ? 0 : name.n + NAME_MORE;
}

static void write_name(char **at, struct slice name) {
    if (name_line(name) == 0) return;
    put(at, slice_str("event: "));
    put(at, name);
    put(at, slice_str("\n"));
}

int frame_new(struct frame **out, const struct event *event, bool has_id,
              unsigned posts) {
    struct slice name = event->name.n ? event->name : slice_str("message");
    if (frame_check_name(name)) return E_BADFIELD;
    if (event->key.n > EVENT_KEY_MAX || event->data.n > EVENT_BYTES_MAX) return E_TOOBIG;
    bool plain = plain_run(event->data.p, event->data.n) == event->data.n;
    struct extent extent = measure(event->data, plain);
    if (extent.data > EVENT_BYTES_MAX) return E_TOOBIG;

    size_t names = event->channel.n + name.n + event->key.n;
    size_t size = sizeof(struct frame) + posts * sizeof(struct frame_post) + names +
                  name_line(name) + extent.wire + TAIL_MAX;
    struct frame *f = mem_try(size);
    if (!f) return E_NOMEM;
    memset(f, 0, sizeof *f);
    atomic_init(&f->refs, 1);
    f->has_id = has_id;
    f->remove = event->remove;
    f->posts = (struct frame_post *)(f + 1);
    for (unsigned i = 0; i < posts; i++) f->posts[i].frame = f;
    char *at = (char *)(f->posts + posts);
    f->channel = put(&at, event->channel);
    f->name = put(&at, name);
    f->key = put(&at, event->key);
    f->channel_hash = event->channel_hash ? event->channel_hash : map_hash(f->channel);
    f->name_hash = map_hash(f->name);
    f->key_hash = map_hash(f->key);
    f->text.p = at;
    write_name(&at, name);
    if (plain) write_plain(at, event->data);
    else write_lines(at, event->data);
    f->body = slice_of(at, extent.wire);
    count_add(&live, 1);
    *out = f;
    return 0;
}

void frame_number(struct frame *f, const char *epoch, uint64_t seq) {
    assert(f->seq == 0 && seq > 0);
    f->seq = seq;
    char *at = (char *)f->body.p + f->body.n;
    if (f->has_id || PLANTED(2)) {
        char digits[DIGITS_MAX], *end = digits + DIGITS_MAX;
        char *first = decimal_before(end, seq);
        put(&at, slice_str("id: "));
        put(&at, slice_of(epoch, EPOCH_LENGTH));
        put(&at, slice_str("-"));
        put(&at, slice_of(first, (size_t)(end - first)));
        put(&at, slice_str("\n"));
    }
    put(&at, slice_str("\n"));
    f->text.n = (size_t)(at - f->text.p);
}

int frame_restore(struct frame **out, const struct frame_row *row, bool has_id,
                  const char *epoch) {
    int err = frame_new(out, &row->event, has_id, 0);
    if (err < 0) return err;
    struct frame *f = *out;
    f->at_ms = row->at_ms - row->boot_ms;
    if (row->expires_ms) f->expires_ms = row->expires_ms - row->boot_ms;
    if (row->expires_ms && f->expires_ms <= 0) f->expires_ms = 1; /* long over */
    frame_number(f, epoch, row->seq);
    return 0;
}

struct slice frame_lines(const struct frame *f) {
    return slice_of(f->text.p, (size_t)(f->body.p + f->body.n - f->text.p));
}

int frame_add_without_id(const struct frame *f, struct buf *out) {
    struct slice lines = frame_lines(f);
    int err = buf_add(out, lines.p, lines.n);
    return err < 0 ? err : buf_add(out, "\n", 1);
}

struct frame *frame_ref(struct frame *f) {
    frame_refs_add(f, 1);
    return f;
}

void frame_refs_add(struct frame *f, unsigned n) {
    atomic_fetch_add_explicit(&f->refs, n, memory_order_relaxed);
}

void frame_unref(struct frame *f) {
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1) return;
    count_add(&live, -1);
    mem_free(f);
}

int frame_payload(const struct frame *f, struct buf *out) {
    struct slice left = f->body;
    for (bool first = true; left.n > 0; first = false) {
        const char *end = memchr(left.p, '\n', left.n);
        size_t line = (size_t)(end - left.p);
        if (!first && buf_add(out, "\n", 1) < 0) return E_NOMEM;
        if (buf_add(out, left.p + 6, line - 6) < 0) return E_NOMEM;
        left = slice_of(end + 1, left.n - line - 1);
    }
    return 0;
}

long frame_live(void) {
    return count_sum(&live);
}
