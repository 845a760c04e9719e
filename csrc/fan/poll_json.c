/* One walk over the lines; see poll_json.h. The text is our own: each line ends with LF, is
 * UTF-8, and has one space behind its colon. */
#include "fan/poll_json.h"

#include "fan/unnamed.h"

#include <string.h>

/* The event that is being read; and the lists. */
struct reading {
    struct slice name, id;
    struct buf data;  /* its lines, escaped, without the quotes */
    bool any;         /* it has data */
    struct slice raw; /* its first line of data */
    struct buf events, states, resets;
    struct slice hello, bye, cursor;
};

/* What is read as one event goes to its list. */
static int add_event(struct reading *r) {
    struct buf *b = r->id.n > 0 ? &r->events : &r->states;
    int err = b->n > 0 ? buf_adds(b, ",{") : buf_adds(b, "{");
    if (err == 0 && r->id.n > 0) err = buf_adds(b, "\"id\":");
    if (err == 0 && r->id.n > 0) err = unnamed_string(b, r->id);
    if (err == 0 && r->id.n > 0) err = buf_adds(b, ",");
    if (err == 0) err = buf_adds(b, "\"event\":");
    if (err == 0) err = unnamed_string(b, r->name.n > 0 ? r->name : slice_str("message"));
    if (err == 0) err = buf_adds(b, ",\"data\":\"");
    if (err == 0 && r->data.n > 0) err = buf_add(b, r->data.p, r->data.n);
    return err < 0 ? err : buf_adds(b, "\"}");
}

static int end_event(struct reading *r) {
    int err = 0;
    if (r->id.n > 0) r->cursor = r->id;
    if (slice_eq_lit(r->name, "hello")) r->hello = r->raw;
    else if (slice_eq_lit(r->name, "bye")) r->bye = r->raw;
    else if (slice_eq_lit(r->name, "reset")) {
        if (r->resets.n > 0) err = buf_adds(&r->resets, ",");
        if (err == 0) err = buf_add(&r->resets, r->raw.p, r->raw.n);
    } else if (r->any && !slice_eq_lit(r->name, "sync")) {
        err = add_event(r);
    }
    r->name = r->id = r->raw = slice_of(NULL, 0);
    r->data.n = 0;
    r->any = false;
    return err;
}

static int add_data(struct reading *r, struct slice line) {
    int err = r->any ? buf_adds(&r->data, "\\n") : 0;
    if (!r->any) r->raw = line;
    r->any = true;
    return err < 0 ? err : unnamed_escaped(&r->data, line);
}

/* Whether a line is of this field: then *value is what it says. */
static bool is_field(struct slice line, const char *name, struct slice *value) {
    size_t n = strlen(name);
    if (line.n < n || memcmp(line.p, name, n) != 0) return false;
    *value = slice_of(line.p + n, line.n - n);
    return true;
}

static int read_line(struct reading *r, struct slice line) {
    struct slice value;
    if (line.n == 0) return end_event(r);
    if (is_field(line, "data: ", &value)) return add_data(r, value);
    if (is_field(line, "event: ", &value)) r->name = value;
    else if (is_field(line, "id: ", &value)) r->id = value;
    return 0;
}

static int add_member(struct buf *b, const char *name, struct slice raw) {
    int err = buf_adds(b, name);
    return err < 0 || raw.n == 0 ? err : buf_add(b, raw.p, raw.n);
}

static int add_text(struct buf *b, const char *name, struct slice text) {
    int err = buf_adds(b, name);
    if (err < 0) return err;
    return text.n > 0 ? unnamed_string(b, text) : buf_adds(b, "null");
}

static int write_all(struct buf *b, const struct reading *r, struct slice token) {
    int err = add_member(b, "{\"events\":[", buf_slice(&r->events));
    if (err == 0) err = add_member(b, "],\"state\":[", buf_slice(&r->states));
    if (err == 0) err = add_member(b, "],\"reset\":[", buf_slice(&r->resets));
    if (err == 0) err = add_text(b, "],\"cursor\":", r->cursor);
    if (err == 0) err = add_text(b, ",\"poll\":", token);
    if (err == 0 && r->hello.n > 0) err = add_member(b, ",\"hello\":", r->hello);
    if (err == 0 && r->bye.n > 0) err = add_member(b, ",\"bye\":", r->bye);
    return err < 0 ? err : buf_adds(b, "}\n");
}

int poll_json(struct buf *b, struct slice text, struct slice cursor, struct slice token) {
    struct reading r = {.cursor = cursor};
    int err = 0;
    for (size_t at = 0; at < text.n && err == 0;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        err = read_line(&r, slice_of(text.p + at, n));
        at += n + 1;
    }
    if (err == 0) err = write_all(b, &r, token);
    buf_free(&r.data);
    buf_free(&r.events);
    buf_free(&r.states);
    buf_free(&r.resets);
    return err;
}
