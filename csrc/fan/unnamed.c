/* One walk over the lines, and over the JSON in them; see unnamed.h. */
#include "fan/unnamed.h"

#include "base/blank.h"
#include "base/bounds.h"

#include <string.h>

/* ---- JSON --------------------------------------------------------------------------- */

int unnamed_escaped(struct buf *out, struct slice text) {
    int err = buf_reserve(out, text.n);
    for (size_t i = 0, from = 0; i <= text.n && err == 0; i++) {
        unsigned char c = i < text.n ? (unsigned char)text.p[i] : 0;
        if (i < text.n && c >= 0x20 && c != '"' && c != '\\') continue;
        if (i > from) err = buf_add(out, text.p + from, i - from);
        from = i + 1;
        if (err < 0 || i == text.n) break;
        if (c == '"' || c == '\\') err = buf_addf(out, "\\%c", c);
        else if (c == '\n') err = buf_adds(out, "\\n");
        else if (c == '\t') err = buf_adds(out, "\\t");
        else err = buf_addf(out, "\\u%04x", c);
    }
    return err;
}

int unnamed_string(struct buf *out, struct slice text) {
    int err = buf_adds(out, "\"");
    if (err == 0) err = unnamed_escaped(out, text);
    return err < 0 ? err : buf_adds(out, "\"");
}

/* What is left to look at of a text. */
struct rest {
    const char *p, *end;
};

static bool is_one_of(char c, const char *set) {
    return c != '\0' && strchr(set, c);
}

static void skip_blanks(struct rest *r) {
    while (r->p < r->end && blank_in_json(*r->p)) r->p++;
}

static bool take(struct rest *r, char c) {
    if (r->p == r->end || *r->p != c) return false;
    r->p++;
    return true;
}

static bool take_word(struct rest *r, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0) return false;
    r->p += n;
    return true;
}

static bool take_digits(struct rest *r) {
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') r->p++;
    return r->p > from;
}

static bool take_number(struct rest *r) {
    take(r, '-');
    if (!take(r, '0') && !take_digits(r)) return false;
    if (take(r, '.') && !take_digits(r)) return false;
    if (!take(r, 'e') && !take(r, 'E')) return true;
    if (!take(r, '+')) take(r, '-');
    return take_digits(r);
}

static bool take_escape(struct rest *r) {
    if (!take(r, 'u')) return r->p < r->end && is_one_of(*r->p++, "\"\\/bfnrt");
    for (int i = 0; i < 4; i++, r->p++)
        if (r->p == r->end || !is_one_of(*r->p, "0123456789abcdefABCDEF")) return false;
    return true;
}

static bool take_string(struct rest *r) {
    if (!take(r, '"')) return false;
    while (r->p < r->end && (unsigned char)*r->p >= 0x20) {
        char c = *r->p++;
        if (c == '"') return true;
        if (c == '\\' && !take_escape(r)) return false;
    }
    return false;
}

static bool take_value(struct rest *r, int depth);

/* What stands between brackets; in an object each value has a name. */
static bool take_list(struct rest *r, char close, int depth) {
    skip_blanks(r);
    if (take(r, close)) return true;
    do {
        skip_blanks(r);
        if (close == '}') {
            if (!take_string(r)) return false;
            skip_blanks(r);
            if (!take(r, ':')) return false;
        }
        if (!take_value(r, depth)) return false;
    } while (take(r, ','));
    return take(r, close);
}

/* A value and the blanks around it. */
static bool take_value(struct rest *r, int depth) {
    skip_blanks(r);
    bool good;
    if (r->p == r->end || depth > JSON_DEPTH_MAX) return false;
    if (take(r, '{')) good = take_list(r, '}', depth + 1);
    else if (take(r, '[')) good = take_list(r, ']', depth + 1);
    else if (*r->p == '"') good = take_string(r);
    else if (*r->p == 't') good = take_word(r, "true");
    else if (*r->p == 'f') good = take_word(r, "false");
    else if (*r->p == 'n') good = take_word(r, "null");
    else good = take_number(r);
    skip_blanks(r);
    return good;
}

static bool is_json(struct slice text) {
    struct rest r = {text.p, text.p + text.n};
    return text.n > 0 && take_value(&r, 0) && r.p == r.end;
}

/* ---- Events ------------------------------------------------------------------------- */

struct event_read {
    struct slice name, id;
    struct buf data; /* its lines */
    bool any;        /* it has data */
};

/* Line ends in JSON stand between values: blanks are as good there. */
static int add_data(struct buf *out, struct buf *data) {
    if (!is_json(buf_slice(data))) return unnamed_string(out, buf_slice(data));
    for (size_t i = 0; i < data->n; i++)
        if (data->p[i] == '\n') data->p[i] = ' ';
    return buf_add(out, data->p, data->n);
}

static int end_event(struct buf *out, struct event_read *e) {
    struct slice name = e->name.n > 0 ? e->name : slice_str("message");
    int err = 0;
    if (e->any) {
        err = buf_adds(out, "data: {\"type\":");
        if (err == 0) err = unnamed_string(out, name);
        if (err == 0) err = buf_adds(out, ",\"id\":");
        if (err == 0 && e->id.n > 0) err = unnamed_string(out, e->id);
        else if (err == 0) err = buf_adds(out, "null");
        if (err == 0) err = buf_adds(out, ",\"data\":");
        if (err == 0) err = add_data(out, &e->data);
        if (err == 0) err = buf_adds(out, "}\n");
    }
    if (err == 0 && e->id.n > 0) err = buf_addf(out, "id: %.*s\n", (int)e->id.n, e->id.p);
    e->name = e->id = slice_of(NULL, 0);
    e->data.n = 0;
    e->any = false;
    return err < 0 ? err : buf_adds(out, "\n");
}

static bool is_field(struct slice line, const char *name, struct slice *value) {
    size_t n = strlen(name);
    if (line.n < n || memcmp(line.p, name, n) != 0) return false;
    *value = slice_of(line.p + n, line.n - n);
    return true;
}

static int read_line(struct buf *out, struct event_read *e, struct slice line) {
    struct slice value;
    int err = 0;
    if (line.n == 0) return end_event(out, e);
    if (is_field(line, "event: ", &e->name) || is_field(line, "id: ", &e->id)) return 0;
    if (is_field(line, "data: ", &value)) {
        if (e->any) err = buf_adds(&e->data, "\n");
        e->any = true;
        return err < 0 ? err : buf_add(&e->data, value.p, value.n);
    }
    err = buf_add(out, line.p, line.n);
    return err < 0 ? err : buf_adds(out, "\n");
}

int unnamed(struct buf *out, struct slice text) {
    struct event_read e = {0};
    int err = 0;
    for (size_t at = 0; at < text.n && err == 0;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        err = read_line(out, &e, slice_of(text.p + at, n));
        at += n + 1;
    }
    buf_free(&e.data);
    return err;
}
