/* Heads as text; see h2_text.h. */
#include "net/h2_text.h"

#include "base/bounds.h"
#include "base/status.h"
#include "net/http_bytes.h"

#include <string.h>

/* ---- Requests ----------------------------------------------------------------------- */

void h2_text_deinit(struct h2_text *t) {
    buf_free(&t->method);
    buf_free(&t->target);
    buf_free(&t->authority);
    buf_free(&t->fields);
    buf_free(&t->cookies);
    *t = (struct h2_text){0};
}

static bool is(struct slice s, const char *text) {
    return slice_eq(s, slice_str(text));
}

static bool has_line_end(struct slice s) {
    return s.n > 0 && (memchr(s.p, '\r', s.n) || memchr(s.p, '\n', s.n));
}

/* A scheme says which port need not be named, and else nothing that the connection does not. */
static int add_pseudo(struct h2_text *t, struct slice name, struct slice value) {
    if (is(name, ":method")) {
        if (!http_all(value, HTTP_TOKEN)) t->wrong = true;
        return buf_add(&t->method, value.p, value.n);
    }
    if (is(name, ":path")) {
        if (!http_all(value, HTTP_TARGET)) t->wrong = true;
        return buf_add(&t->target, value.p, value.n);
    }
    if (is(name, ":authority")) return buf_add(&t->authority, value.p, value.n);
    if (is(name, ":scheme")) t->https = http_is(value, "https");
    return 0;
}

static int add_crumb(struct h2_text *t, struct slice value) {
    int err = t->cookies.n > 0 ? buf_adds(&t->cookies, "; ") : 0;
    return err ? err : buf_add(&t->cookies, value.p, value.n);
}

/* Whether a Host says again what :authority, which comes before, has said (RFC 9113, 8.3.1). */
static bool says_again(const struct h2_text *t, struct slice host) {
    return http_same(http_host_of(host, t->https),
                     http_host_of(buf_slice(&t->authority), t->https));
}

static int add_line(struct buf *b, struct slice name, struct slice value) {
    int err = buf_add(b, name.p, name.n);
    if (err == 0) err = buf_add(b, ": ", 2);
    if (err == 0) err = buf_add(b, value.p, value.n);
    return err ? err : buf_add(b, "\r\n", 2);
}

/* What is behind the largest head is not kept: the parser refuses it before. */
int h2_text_add(struct h2_text *t, struct slice name, struct slice value) {
    size_t have = t->target.n + t->fields.n + t->cookies.n;
    if (have > HTTP_HEAD_MAX) t->full = true;
    if (t->full) return 0;
    if (has_line_end(value) || name.n == 0) t->wrong = true;
    if (t->wrong) return 0;
    if (name.p[0] == ':') return add_pseudo(t, name, value);
    if (is(name, "cookie")) return add_crumb(t, value);
    if (!http_all(name, HTTP_TOKEN)) t->wrong = true;
    if (is(name, "host") && says_again(t, value)) return 0;
    return add_line(&t->fields, name, value);
}

/* CONNECT has no path: its target is the authority. */
static struct slice target_of(const struct h2_text *t) {
    if (t->target.n == 0 && is(buf_slice(&t->method), "CONNECT"))
        return buf_slice(&t->authority);
    return buf_slice(&t->target);
}

int h2_text_finish(struct h2_text *t, struct buf *out) {
    struct slice target = target_of(t), host = slice_str("Host");
    bool wrong = t->wrong || t->method.n == 0 || target.n == 0;
    buf_init(out);
    int err = wrong ? E_INVAL : buf_add(out, t->method.p, t->method.n);
    if (err == 0) err = buf_add(out, " ", 1);
    if (err == 0) err = buf_add(out, target.p, target.n);
    if (err == 0) err = buf_adds(out, " HTTP/1.1\r\n");
    if (err == 0 && t->authority.n > 0)
        err = add_line(out, host, buf_slice(&t->authority));
    if (err == 0 && t->fields.n > 0) err = buf_add(out, t->fields.p, t->fields.n);
    if (err == 0 && t->cookies.n > 0)
        err = add_line(out, slice_str("cookie"), buf_slice(&t->cookies));
    if (err == 0) err = buf_add(out, "\r\n", 2);
    if (err < 0) buf_free(out);
    h2_text_deinit(t);
    return err;
}

/* ---- Answers ------------------------------------------------------------------------ */

size_t h2_text_head(struct slice text) {
    const char *end = memmem(text.p, text.n, "\r\n\r\n", 4);
    return end ? (size_t)(end - text.p) + 4 : 0;
}

size_t h2_text_lines(struct slice head) {
    size_t n = 0;
    for (size_t i = 0; i < head.n; i++) n += head.p[i] == '\n';
    return n;
}

static void make_lower(struct slice name) {
    char *p = (char *)name.p;
    for (size_t i = 0; i < name.n; i++) p[i] = http_lower(p[i]);
}

size_t h2_text_fields(struct slice head, struct http_field *out, struct slice *status) {
    const char *p = head.p, *end = head.p + head.n;
    size_t n = 0;
    *status = slice_of(p + sizeof "HTTP/1.1", 3);
    while ((p = memchr(p, '\n', (size_t)(end - p)))) {
        const char *line = ++p, *stop = memchr(p, '\r', (size_t)(end - p));
        if (!stop || stop == line) break;
        const char *colon = memchr(line, ':', (size_t)(stop - line));
        out[n].name = slice_of(line, (size_t)(colon - line));
        out[n].value = slice_of(colon + 2, (size_t)(stop - colon) - 2);
        make_lower(out[n++].name);
    }
    return n;
}
