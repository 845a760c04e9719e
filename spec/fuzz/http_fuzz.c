/* Fuzz target for csrc/net: a request head, its body and its target, from a peer that means
 * harm. The answer must not depend on how the bytes were cut, slices must lie in the
 * input, and what was accepted must have the properties that the rest relies on.
 *
 * Input: four bytes that choose the cuts, then what the peer sends. Each piece is given
 * in a block of exactly its size, so that ASan sees one byte read too far. */
#include "base/buf.h"
#include "net/address.h"
#include "net/http_bytes.h"
#include "net/http_chunks.h"
#include "net/http_parse.h"
#include "net/http_write.h"
#include "net/origin.h"
#include "net/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX 5000

/* Holds with assertions off as well. */
#define MUST(fact)                                                             \
    do {                                                                       \
        if (!(fact)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); \
            abort();                                                           \
        }                                                                      \
    } while (0)

static uint32_t cut_state;

/* Length of the next piece: often small, at least 1. */
static size_t next_cut(void) {
    cut_state = cut_state * 1664525u + 1013904223u;
    const uint32_t r = cut_state >> 8;
    return r % 4 == 0 ? 1 : r % 4 == 1 ? 1 + r / 4 % 8 : 1 + r / 4 % 700;
}

static char *copy(const char *p, size_t n) {
    char *block = malloc(n ? n : 1);
    if (!block) abort();
    if (n) memcpy(block, p, n);
    return block;
}

/* ---- Heads ------------------------------------------------------------------------ */

static void check_slice(const struct slice *s, const char *p, size_t used) {
    if (!s->p || slice_eq_lit(*s, "/")) return; /* "/" may be ours */
    MUST(s->p >= p && s->p + s->n <= p + used);
}

static void check_head(const struct http_head *h, const char *p, size_t used) {
    const struct slice *slices[] = {&h->method, &h->target, &h->path, &h->query,
                                    &h->host};
    for (size_t i = 0; i < 5; i++) check_slice(slices[i], p, used);
    MUST(used >= 4 && memcmp(p + used - 4, "\r\n\r\n", 4) == 0);
    MUST(used <= HTTP_HEAD_MAX + 2 * HTTP_BLANK_LINES_MAX);
    MUST(h->n_fields <= HTTP_FIELDS_MAX);
    MUST(h->content_length <= INT64_MAX);
    MUST(h->path.n > 0 && (h->path.p[0] == '/' || slice_eq_lit(h->path, "*")));
    MUST(h->host.p ? http_host_valid(h->host) : h->minor == 0);
    MUST(h->body == HTTP_BODY_NONE || h->content_length > 0 ||
         h->body == HTTP_BODY_CHUNKED);
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http_field *f = &h->fields[i];
        check_slice(&f->name, p, used);
        check_slice(&f->value, p, used);
        MUST(f->name.n > 0 && http_all(f->name, HTTP_TOKEN));
        MUST(http_all(f->value, HTTP_VALUE));
        MUST(f->value.n == 0 || (f->value.p[0] != ' ' && f->value.p[0] != '\t'));
    }
}

static bool same_head(const struct http_head *a, const struct http_head *b) {
    bool same = a->verb == b->verb && a->minor == b->minor && a->body == b->body &&
                a->content_length == b->content_length && a->status == b->status &&
                a->keep_alive == b->keep_alive && a->n_fields == b->n_fields &&
                a->expect_continue == b->expect_continue &&
                slice_eq(a->method, b->method) && slice_eq(a->target, b->target) &&
                slice_eq(a->path, b->path) && slice_eq(a->query, b->query) &&
                slice_eq(a->host, b->host);
    for (unsigned i = 0; same && i < a->n_fields; i++)
        same = slice_eq(a->fields[i].name, b->fields[i].name) &&
               slice_eq(a->fields[i].value, b->fields[i].value);
    return same;
}

/* Parse whole and in pieces: equal answers. The head borrows from p. */
static int parse_head(const char *p, size_t n, struct http_head *whole) {
    static struct http_head cut;
    const int got = http_parse_head(p, n, 0, whole);
    if (got > 0) check_head(whole, p, (size_t)got);
    size_t seen = 0, have = 0;
    for (;;) {
        have += next_cut();
        if (have > n) have = n;
        char *piece = copy(p, have);
        const int part = http_parse_head(piece, have, seen, &cut);
        if (part != 0 || have == n) {
            MUST(part == got);
            MUST(got <= 0 || same_head(whole, &cut));
            free(piece);
            return got;
        }
        free(piece);
        seen = have;
    }
}

/* ---- Bodies ----------------------------------------------------------------------- */

/* Decode in pieces ('cuts') or whole; body bytes go to 'out'. Answers the bytes used, 0
 * or minus a status. */
static long decode(const char *p, size_t n, bool cuts, struct buf *out) {
    struct http_chunks c;
    http_chunks_init(&c, BODY_MAX);
    size_t used = 0;
    while (used < n) {
        size_t have = cuts ? next_cut() : n - used;
        if (have > n - used) have = n - used;
        char *piece = copy(p + used, have);
        struct slice data;
        const int got = http_chunks_next(&c, piece, have, &data);
        MUST(got <= (int)have && (got != 0));
        MUST(data.n == 0 || (data.p >= piece && data.p + data.n <= piece + have));
        if (buf_add(out, data.p, data.n) < 0) abort();
        free(piece);
        if (got < 0) return got;
        used += (size_t)got;
        if (c.done) break;
    }
    MUST(out->n == c.total && c.total <= BODY_MAX);
    return c.done ? (long)used : 0;
}

static void check_chunks(const char *p, size_t n) {
    struct buf whole = {0}, cut = {0};
    const long a = decode(p, n, false, &whole), b = decode(p, n, true, &cut);
    MUST(a == b);
    MUST(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    buf_free(&whole);
    buf_free(&cut);
}

/* ---- Targets ---------------------------------------------------------------------- */

static void check_segments(const char *p, size_t n) {
    MUST(n > 0 && p[0] == '/');
    for (size_t start = 1, i = 1; i <= n; i++) {
        if (i < n && p[i] != '/') continue;
        const struct slice segment = slice_of(p + start, i - start);
        MUST(!slice_eq_lit(segment, ".") && !slice_eq_lit(segment, ".."));
        start = i + 1;
    }
}

static void check_path(struct slice raw) {
    if (raw.n == 0 || raw.p[0] != '/') return;
    char *in = copy(raw.p, raw.n), *out = copy(raw.p, raw.n);
    const int got = url_path(slice_of(in, raw.n), out);
    MUST(got == -400 || got == -404 || (got > 0 && (size_t)got <= raw.n));
    if (got > 0) check_segments(out, (size_t)got);
    for (int i = 0; i < got; i++) MUST((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
    free(in);
    free(out);
}

static void check_query(struct slice raw) {
    char *in = copy(raw.p, raw.n), *out = copy(raw.p, raw.n);
    struct slice rest = slice_of(in, raw.n);
    const int sound = url_query_check(rest);
    struct url_param param;
    unsigned count = 0;
    int got;
    while ((got = url_query_next(&rest, &count, &param)) > 0) {
        const int name = url_decode(param.name, true, out);
        const int value = url_decode(param.value, true, out);
        MUST(sound < 0 || (name >= 0 && value >= 0));
    }
    MUST(sound == 0 || sound == -400);
    MUST(sound < 0 || got == 0);
    const int found = url_query_get(slice_of(in, raw.n), "a", out, raw.n);
    MUST(found >= 0 ? (size_t)found <= raw.n : found == -400 || found == -404);
    free(in);
    free(out);
}

/* ---- Fields ----------------------------------------------------------------------- */

static void check_list(const struct http_head *h, const char *name) {
    struct http_list list = http_list_of(http_head_fields(h), name);
    size_t bytes = 0;
    for (struct slice element; http_list_next(&list, &element); bytes += element.n)
        MUST(element.n > 0 && element.p[0] != ' ' && element.p[element.n - 1] != '\t');
    MUST(bytes <= HTTP_HEAD_MAX);
}

/* What readers find must lie in the head; on a copy of each value, so that ASan sees a byte
 * read too far. */
static void check_fields(const struct http_head *h) {
    static const char *const names[] = {"accept", "if-none-match", "content-encoding",
                                        "expect"};
    for (size_t i = 0; i < 4; i++) check_list(h, names[i]);
    http_field_repeated(http_head_fields(h));
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct slice value = h->fields[i].value;
        char *p = copy(value.p, value.n);
        const struct slice one = slice_of(p, value.n);
        const struct http_field as[] = {{slice_str("accept"), one},
                                        {slice_str("if-match"), one},
                                        {slice_str("if-none-match"), one},
                                        {slice_str("accept-encoding"), one}};
        const struct http_fields all = {as, 4};
        http_accepts(all, "text/event-stream");
        for (int k = 0; k < 2; k++) {
            const int weight = http_accepts_coding(all, k ? "zstd" : "gzip");
            MUST(weight >= 0 && weight <= 1000);
        }
        http_match(all, slice_str("\"a\""));
        http_none_match(all, slice_str("\"a\""));
        http_field_has_token(all, "accept", "no-cache");
        const struct slice type = http_media_type(one),
                           key = http_credentials(one, "bearer");
        check_slice(&type, p, value.n);
        check_slice(&key, p, value.n);
        struct in6_addr address;
        address_read(one, &address);
        free(p);
    }
}

/* ---- Answers ---------------------------------------------------------------------- */

/* Echo the request's fields: what is written must be a head with exactly those lines. */
static void check_answer(const struct http_head *h) {
    struct http_date date = {0};
    const struct http_to to = {
        .date = &date, .now = 1700000000, .minor = h->minor, .keep_alive = h->keep_alive};
    const struct http_fields fields = {h->fields, h->n_fields};
    struct buf b = {0};
    const int err = http_write_answer(&b, &to, 200, fields, slice_of(NULL, 0));
    MUST(err == 0 || b.n == 0);
    size_t lines = 0;
    for (size_t i = 0; i < b.n; i++) lines += b.p[i] == '\n';
    const bool said = !h->keep_alive || h->minor == 0;
    MUST(err || lines == h->n_fields + 4 + said);
    buf_free(&b);

    const struct slice names[] = {slice_str("a.example"), slice_str("*.b.example")};
    struct http_field added[ORIGIN_FIELDS_MAX];
    const struct origin_policy policy = {names, 2, true, slice_str("60")};
    origin_host_allowed(h->host, names, 2);
    const struct http_fields sent = http_head_fields(h);
    MUST(origin_fields(&policy, h->method, sent, added) <= ORIGIN_FIELDS_MAX);
    origin_is_foreign(&policy, h->host, sent, false);
    origin_is_foreign(&policy, h->host, sent, true);
}

/* Any text may stand in an error. */
static void check_error(const char *p, size_t n) {
    struct http_date date = {0};
    const struct http_to to = {
        .date = &date, .now = 1700000000, .minor = 1, .keep_alive = true};
    char *text = copy(p, n + 1);
    text[n] = '\0';
    struct buf b = {0};
    const struct http_error e = {400, NULL, text, text};
    MUST(http_write_error(&b, &to, &e, (struct http_fields){0}) == 0);
    const char *body = memmem(b.p, b.n, "\r\n\r\n", 4);
    MUST(body);
    for (const char *c = body + 4; c < b.p + b.n; c++) MUST((unsigned char)*c >= 0x20);
    buf_free(&b);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static struct http_head head;
    if (size < 4) return 0;
    memcpy(&cut_state, bytes, 4);
    const size_t n = size - 4;
    char *p = copy((const char *)bytes + 4, n);
    const int used = parse_head(p, n, &head);
    if (used > 0) {
        check_path(head.path);
        check_query(head.query);
        check_fields(&head);
        check_answer(&head);
        if (head.body == HTTP_BODY_CHUNKED) check_chunks(p + used, n - (size_t)used);
    } else if (n > 0) {
        check_chunks(p, n); /* what is no head may be a body, a path, a query, a text */
        check_path(slice_of(p, n));
        check_query(slice_of(p, n));
        check_error(p, n - 1);
    }
    free(p);
    return 0;
}
