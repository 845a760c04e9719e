/* Decoding of paths and queries.
 *
 *     /a/./b%2fc/%2e%2e/d   ->   /a/d        dot segments count however they are spelled
 *     /a%2fb, /a%0ab        ->   -404        no segment holds a slash or a control byte
 *     /%2e%2e/x             ->   -400        nothing is above the root
 *
 * A query is decoded after it was split, never before. Bounded by the caller's buffer
 * (the result is never longer than the input) and URL_PARAMS_MAX. [any thread] */
#include "net/url.h"

#include "base/bounds.h"
#include "base/planted.h"
#include "net/http_bytes.h"

#include <assert.h>
#include <string.h>

/* Decode one byte of [*p, end): the byte, or -400. NUL is refused in every spelling: it
 * would end the text for code that opens a file by it. */
static int decode_byte(const char **p, const char *end) {
    const char c = *(*p)++;
    if (c != '%') return c ? (unsigned char)c : -400;
    if (end - *p < 2 || !http_byte_is((*p)[0], HTTP_HEX) ||
        !http_byte_is((*p)[1], HTTP_HEX))
        return -400;
    const int byte = (int)(http_hex((*p)[0]) << 4 | http_hex((*p)[1]));
    *p += 2;
    return byte ? byte : -400;
}

int url_decode(struct slice raw, bool form, char *out) {
    const char *p = raw.p, *end = raw.p + raw.n;
    size_t n = 0;
    while (p < end) {
        const bool plus = form && *p == '+';
        const int byte = decode_byte(&p, end);
        if (byte < 0) return byte;
        out[n++] = plus ? ' ' : (char)byte;
    }
    return (int)n;
}

/* May a path hold it as a segment? What climbs out of one (a slash), or is a line end or
 * another control byte to code that uses it, names nothing. */
static bool is_segment(struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f || (c == '/' && !PLANTED(108))) return false;
    }
    return true;
}

/* Where the segment before the slash at out[n - 1] starts, or 0 at the root. */
static size_t parent(const char *out, size_t n) {
    if (n <= 1) return 0;
    n--;
    while (out[n - 1] != '/') n--;
    return n;
}

/* The raw path is read segment by segment; out[0..n) always ends with a slash when a
 * segment begins, and a dot segment at the end leaves that slash. */
int url_path(struct slice raw, char *out) {
    assert(raw.n > 0 && raw.p[0] == '/');
    const char *p = raw.p + 1, *end = raw.p + raw.n;
    size_t n = 0;
    out[n++] = '/';
    for (;;) {
        const char *slash = p < end ? memchr(p, '/', (size_t)(end - p)) : NULL;
        const char *stop = slash ? slash : end;
        const int got = url_decode(slice_of(p, (size_t)(stop - p)), false, out + n);
        if (got < 0) return got;
        const struct slice segment = slice_of(out + n, (size_t)got);
        if (slice_eq_lit(segment, "..")) {
            n = parent(out, n);
            if (n == 0) return -400;
        } else if (!slice_eq_lit(segment, ".")) {
            if (!is_segment(segment)) return -404;
            n += segment.n;
            if (slash) out[n++] = '/';
        }
        if (!slash) return (int)n;
        p = slash + 1;
    }
}

int url_query_next(struct slice *rest, unsigned *count, struct url_param *out) {
    while (rest->n > 0) {
        const char *amp = memchr(rest->p, '&', rest->n);
        const size_t n = amp ? (size_t)(amp - rest->p) : rest->n;
        const char *equals = n ? memchr(rest->p, '=', n) : NULL;
        const size_t name = equals ? (size_t)(equals - rest->p) : n;
        const char *start = rest->p;
        const size_t used = amp ? n + 1 : n;
        *rest = slice_of(rest->p + used, rest->n - used);
        if (n == 0) continue;
        if (++*count > URL_PARAMS_MAX) return -400;
        out->name = slice_of(start, name);
        out->value = equals ? slice_of(equals + 1, n - name - 1) : slice_of(start + n, 0);
        return 1;
    }
    return 0;
}

/* Are all escapes sound? 0 or -400. */
static int check_escapes(struct slice raw) {
    for (const char *p = raw.p, *end = p + raw.n; p < end;)
        if (decode_byte(&p, end) < 0) return -400;
    return 0;
}

int url_query_check(struct slice query) {
    struct url_param param;
    unsigned count = 0;
    int got;
    while ((got = url_query_next(&query, &count, &param)) > 0)
        if (check_escapes(param.name) < 0 || check_escapes(param.value) < 0) return -400;
    return got;
}

int url_name_is(struct slice raw, const char *name) {
    bool same = true;
    for (const char *p = raw.p, *end = p + raw.n; p < end;) {
        const bool plus = *p == '+';
        const int byte = decode_byte(&p, end);
        if (byte < 0) return byte;
        if (same && *name == (plus ? ' ' : (char)byte)) name++;
        else same = false;
    }
    return same && *name == '\0';
}

int url_query_get(struct slice query, const char *name, char *out, size_t cap) {
    struct url_param param;
    unsigned count = 0;
    int got;
    while ((got = url_query_next(&query, &count, &param)) > 0) {
        const int match = url_name_is(param.name, name);
        if (match < 0) return match;
        if (!match) continue;
        if (check_escapes(param.value) < 0) return -400;
        if (param.value.n > cap) return -414;
        return url_decode(param.value, true, out);
    }
    return got < 0 ? got : -404;
}
