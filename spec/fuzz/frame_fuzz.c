/* Fuzz target for csrc/fan/frame.c: whatever a publisher hands over, a client reads exactly
 * that event and no other. What comes out of the encoder goes through a parser written here
 * after the WHATWG rules (HTML, 9.2.6), and must be what went in, with line ends made LF
 * and with NUL and invalid UTF-8 replaced.
 *
 * Input: a byte of flags, the lengths of name and key, name, key, then the data. */
#include "base/bounds.h"
#include "base/status.h"
#include "fan/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCH "abcdefg234567"

/* Holds with assertions off as well. */
#define MUST(fact)                                                             \
    do {                                                                       \
        if (!(fact)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* A growing text of this file's own. */
struct text {
    char *p;
    size_t n, cap;
};

static void put(struct text *t, char c) {
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 256;
        t->p = realloc(t->p, t->cap);
        if (!t->p) abort();
    }
    t->p[t->n++] = c;
}

static void put_all(struct text *t, const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) put(t, p[i]);
}

static bool is(const struct text *t, const char *p, size_t n) {
    return t->n == n && (n == 0 || memcmp(t->p, p, n) == 0);
}

/* ---- What must come out ------------------------------------------------------------- */

/* How many bytes of one character, by its number; 0 when they are none. */
static size_t character(const unsigned char *p, size_t left) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80             ? 1
               : (p[0] & 0xe0) == 0xc0 ? 2
               : (p[0] & 0xf0) == 0xe0 ? 3
               : (p[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    if (n == 0 || n > left) return 0;
    uint32_t number = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        number = number << 6 | (p[i] & 0x3f);
    }
    bool surrogate = number >= 0xd800 && number <= 0xdfff;
    return number < least[n] || number > 0x10ffff || surrogate ? 0 : n;
}

static struct text repaired(const char *p, size_t n, bool lines) {
    struct text out = {0};
    for (size_t i = 0; i < n;) {
        size_t length = p[i] ? character((const unsigned char *)p + i, n - i) : 0;
        if (lines && (p[i] == '\r' || p[i] == '\n')) {
            if (p[i] == '\r' && i + 1 < n && p[i + 1] == '\n') i++;
            put(&out, '\n');
        } else if (length > 0) {
            put_all(&out, p + i, length);
        } else {
            put_all(&out, "\xef\xbf\xbd", 3);
        }
        i += length > 0 ? length : 1;
    }
    return out;
}

static bool is_name(const char *p, size_t n) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._:-";
    static const char *const reserved[] = {"hello", "reset", "sync",
                                           "bye",   "error", "open"};
    for (size_t i = 0; i < n; i++)
        if (!p[i] || !strchr(allowed, p[i])) return false;
    for (size_t i = 0; i < 6; i++)
        if (strlen(reserved[i]) == n && memcmp(p, reserved[i], n) == 0) return false;
    return n <= 64; /* none at all is "message" */
}

/* ---- A client ----------------------------------------------------------------------- */

struct client {
    struct text line, name, data, id; /* of the block that is being read */
    bool after_cr, has_id;
    int events;
    struct text last_name, last_data;
};

static void take_over(struct text *to, const struct text *from) {
    to->n = 0;
    put_all(to, from->p, from->n);
}

static void dispatch(struct client *c) {
    if (c->data.n > 0) {
        c->events++;
        c->data.n--; /* the last line end */
        take_over(&c->last_data, &c->data);
        take_over(&c->last_name, &c->name);
        if (c->last_name.n == 0) put_all(&c->last_name, "message", 7);
    }
    c->data.n = c->name.n = 0;
}

static void field(struct client *c, const char *value, size_t n, const char *name,
                  size_t name_n) {
    if (name_n == 4 && memcmp(name, "data", 4) == 0) {
        put_all(&c->data, value, n);
        put(&c->data, '\n');
    } else if (name_n == 5 && memcmp(name, "event", 5) == 0) {
        c->name.n = 0;
        put_all(&c->name, value, n);
    } else if (name_n == 2 && memcmp(name, "id", 2) == 0) {
        c->has_id = true;
        c->id.n = 0;
        put_all(&c->id, value, n);
    } else {
        fprintf(stderr, "the field '%.*s' is none of the encoder's\n", (int)name_n, name);
        abort();
    }
}

static void end_line(struct client *c) {
    const char *p = c->line.p;
    size_t n = c->line.n;
    const char *colon = n > 0 ? memchr(p, ':', n) : NULL;
    if (n == 0) {
        dispatch(c);
    } else if (!colon) {
        field(c, "", 0, p, n);
    } else if (colon > p) {
        size_t at = (size_t)(colon - p), from = at + 1;
        if (from < n && p[from] == ' ') from++;
        field(c, p + from, n - from, p, at);
    }
    c->line.n = 0;
}

static void client_read(struct client *c, const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool second = c->after_cr && p[i] == '\n';
        c->after_cr = p[i] == '\r';
        if (second) continue;
        if (p[i] == '\r' || p[i] == '\n') end_line(c);
        else put(&c->line, p[i]);
    }
}

static void client_free(struct client *c) {
    struct text *all[] = {&c->line, &c->name,      &c->data,
                          &c->id,   &c->last_name, &c->last_data};
    for (size_t i = 0; i < 6; i++) free(all[i]->p);
}

/* ---- The target --------------------------------------------------------------------- */

struct input {
    bool has_id;
    uint64_t seq;
    struct event event;
};

static struct slice cut(const char **p, size_t *left, size_t n) {
    if (n > *left) n = *left;
    struct slice s = slice_of(*p, n);
    *p += n;
    *left -= n;
    return s;
}

static struct input read_input(const char *p, size_t n) {
    static const uint64_t numbers[] = {1, 9, 10, 999999999, UINT64_MAX};
    struct input in = {.has_id = p[0] & 1, .seq = numbers[(unsigned char)p[0] / 2 % 5]};
    size_t name_n = (unsigned char)p[1] % 70, key_n = (unsigned char)p[2];
    p += 3;
    n -= 3;
    in.event.channel = slice_str("a/b");
    in.event.name = cut(&p, &n, name_n);
    in.event.key = cut(&p, &n, key_n);
    in.event.data = slice_of(p, n);
    return in;
}

static void check_wire(const struct frame *f) {
    MUST(f->body.p >= f->text.p && f->body.p + f->body.n < f->text.p + f->text.n);
    MUST(!memchr(f->text.p, '\r', f->text.n) && !memchr(f->text.p, '\0', f->text.n));
    for (size_t i = 0, length; i < f->text.n; i += length) {
        length = character((const unsigned char *)f->text.p + i, f->text.n - i);
        MUST(length > 0);
    }
}

static void check_read(const struct frame *f, const struct input *in,
                       const struct text *data) {
    struct client c = {0};
    char id[64];
    int id_n = snprintf(id, sizeof id, EPOCH "-%llu", (unsigned long long)in->seq);
    const char *name = in->event.name.n ? in->event.name.p : "message";
    size_t name_n = in->event.name.n ? in->event.name.n : 7;
    for (int turn = 1; turn <= 2; turn++) { /* a second one reads the same */
        client_read(&c, f->text.p, f->text.n);
        MUST(c.events == turn && c.line.n == 0 && c.data.n == 0);
        MUST(is(&c.last_data, data->p, data->n));
        MUST(is(&c.last_name, name, name_n));
        MUST(c.has_id == in->has_id && (!in->has_id || is(&c.id, id, (size_t)id_n)));
    }
    client_free(&c);
}

static void check_payload(const struct frame *f, const struct text *data) {
    struct buf payload = {0};
    MUST(frame_payload(f, &payload) == 0);
    MUST(is(data, payload.p, payload.n));
    buf_free(&payload);
}

static void check_repair(struct slice data) {
    struct text want = repaired(data.p, data.n, false);
    struct buf got = {0};
    MUST(frame_repair(data, &got) == 0);
    MUST(is(&want, got.p, got.n));
    buf_free(&got);
    free(want.p);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n) {
    if (n < 3) return 0;
    struct input in = read_input((const char *)bytes, n);
    struct text data = repaired(in.event.data.p, in.event.data.n, true);
    struct frame *f = NULL;
    int err = frame_new(&f, &in.event, in.has_id, 2);
    bool good_name = is_name(in.event.name.p, in.event.name.n);
    bool fits = in.event.data.n <= EVENT_BYTES_MAX && data.n <= EVENT_BYTES_MAX;
    MUST(err == (!good_name ? E_BADFIELD : fits ? 0 : E_TOOBIG));
    check_repair(in.event.data);
    if (err == 0) {
        frame_number(f, EPOCH, in.seq);
        MUST(f->text.n <= FRAME_BYTES_MAX && frame_data_bytes(in.event.data) == data.n);
        check_wire(f);
        check_read(f, &in, &data);
        check_payload(f, &data);
        frame_unref(f);
    }
    MUST(frame_live() == 0);
    free(data.p);
    return 0;
}
