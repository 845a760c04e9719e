/* Request heads, in two steps.
 *
 * Scanning goes from left to right and knows only bytes and limits. It stops at the first
 * byte that cannot be right, so garbage, bare line ends and oversized heads are refused
 * before they are complete. The request line is judged as soon as it is whole.
 *
 *     GET /a?b HTTP/1.1 CR LF  Host: x CR LF  CR LF
 *     `- scan_line -----------´`- scan_field -´
 *
 * Judging looks at the fields once the empty line is there: Host, body length,
 * Connection, Expect. Because judging never happens on a part of the fields, an error has
 * the same status however the head was cut. A line that is too long is refused only then.
 *
 * A call that continues an earlier one walks the lines it has checked with memchr and
 * checks only what is new: a head that comes byte by byte costs a memchr per byte, not
 * a parse. Bounded by HTTP_LINE_MAX, HTTP_HEAD_MAX and HTTP_FIELDS_MAX.
 * RFC 9112 sections 2, 3, 5, 6, 9.3; RFC 9110 sections 7.2, 10.1.1. [any thread] */
#include "net/http_parse.h"

#include "base/planted.h"
#include "net/http_bytes.h"

#include <string.h>

/* What a scan is given and where it stands. Scanners return 1 when they are through and
 * else the answer of http_parse_head: 0 or minus a status. */
struct scan {
    const char *at;   /* the next byte */
    const char *end;  /* of the bytes there are, or of the limit when that is nearer */
    const char *seen; /* bytes before it were checked by an earlier call */
    int over; /* the answer when 'end' is reached: 0, or minus the limit's status */
};

/* Let the scan reach at most 'limit' bytes behind 'start'. */
static void scan_limit(struct scan *s, const char *start, const char *end, size_t limit,
                       int status) {
    bool reached = (size_t)(end - start) >= limit;
    s->end = reached ? start + limit : end;
    s->over = reached ? -status : 0;
}

/* Move over bytes of 'set'; those that were checked before end at the first 'stop'. */
static void scan_span(struct scan *s, enum http_byte set, char stop) {
    if (s->seen > s->at) {
        const char *hit = memchr(s->at, stop, (size_t)(s->seen - s->at));
        s->at = hit ? hit : s->seen;
        if (hit) return;
    }
    s->at = set == HTTP_VALUE ? http_span_value(s->at, s->end)
                              : http_span(s->at, s->end, set);
}

static int scan_crlf(struct scan *s) {
    if (s->at == s->end) return s->over;
    if (s->at[0] != '\r') return -400;
    if (s->at + 1 == s->end) return s->over;
    if (s->at[1] != '\n') return -400;
    s->at += 2;
    return 1;
}

/* Empty lines that old clients leave behind a body. */
static int scan_blank_lines(struct scan *s) {
    for (int lines = 0; s->at < s->end && *s->at == '\r'; lines++) {
        if (lines == HTTP_BLANK_LINES_MAX) return -400;
        const int got = scan_crlf(s);
        if (got <= 0) return got;
    }
    return s->at < s->end ? 1 : 0;
}

static int scan_method(struct scan *s, struct slice *method) {
    const char *start = s->at;
    const char *most =
        s->end - start > HTTP_METHOD_MAX ? start + HTTP_METHOD_MAX + 1 : s->end;
    s->at = http_span(start, most, HTTP_TOKEN);
    *method = slice_of(start, (size_t)(s->at - start));
    if (method->n > HTTP_METHOD_MAX) return -501;
    if (s->at == s->end) return s->over;
    if (method->n == 0 || *s->at != ' ') return -400;
    s->at++;
    return 1;
}

static int scan_target(struct scan *s, struct slice *target) {
    const char *start = s->at;
    scan_span(s, HTTP_TARGET, ' ');
    *target = slice_of(start, (size_t)(s->at - start));
    if (s->at == s->end) return s->over;
    if (target->n == 0 || *s->at != ' ') return -400;
    s->at++;
    return 1;
}

static int scan_version(struct scan *s, const char **version) {
    static const char shape[] = "HTTP/0.0";
    *version = s->at;
    for (size_t i = 0; i < sizeof shape - 1; i++, s->at++) {
        if (s->at == s->end) return s->over;
        const bool fits =
            shape[i] == '0' ? http_byte_is(*s->at, HTTP_DIGIT) : *s->at == shape[i];
        if (!fits) return -400;
    }
    return scan_crlf(s);
}

static int scan_field(struct scan *s, struct http_field *f) {
    const char *start = s->at;
    scan_span(s, HTTP_TOKEN, ':');
    f->name = slice_of(start, (size_t)(s->at - start));
    if (s->at == s->end) return s->over;
    if (f->name.n == 0 || *s->at != ':') return -400;

    start = ++s->at;
    scan_span(s, HTTP_VALUE, '\r');
    f->value = http_trim(slice_of(start, (size_t)(s->at - start)));
    if (PLANTED(111)) f->value.n = (size_t)(s->at - f->value.p);
    return scan_crlf(s);
}

/* Field lines and the empty line behind them. */
static int scan_fields(struct scan *s, struct http_head *h) {
    for (;;) {
        if (s->at == s->end) return s->over;
        if (*s->at == '\r') return scan_crlf(s);
        if (h->n_fields == HTTP_FIELDS_MAX) return -431;
        const int got = scan_field(s, &h->fields[h->n_fields]);
        if (got <= 0) return got;
        h->n_fields++;
    }
}

/* ---- The request line ------------------------------------------------------------- */

static enum http_method method_of(struct slice m) {
    if (slice_eq_lit(m, "GET")) return HTTP_GET;
    if (slice_eq_lit(m, "POST")) return HTTP_POST;
    if (slice_eq_lit(m, "HEAD")) return HTTP_HEAD;
    if (slice_eq_lit(m, "OPTIONS")) return HTTP_OPTIONS;
    if (slice_eq_lit(m, "PUT")) return HTTP_PUT;
    if (slice_eq_lit(m, "PATCH")) return HTTP_PATCH;
    if (slice_eq_lit(m, "DELETE")) return HTTP_DELETE;
    return HTTP_OTHER;
}

bool http_host_valid(struct slice host) {
    if (host.n == 0 || host.n > HTTP_HOST_MAX) return false;
    const char *p = host.p, *end = host.p + host.n;
    if (*p == '[') { /* an IPv6 address */
        const char *open = ++p;
        while (p < end && (http_byte_is(*p, HTTP_HEX) || *p == ':' || *p == '.')) p++;
        if (p - open < 2 || p == end || *p != ']') return false;
        p++;
    } else {
        p = http_span(p, end, HTTP_HOST);
        if (p == host.p) return false;
    }
    if (p == end) return true;
    return *p == ':' && end - p <= 6 && http_span(p + 1, end, HTTP_DIGIT) == end;
}

/* "scheme://authority" of an absolute-form target: its length, or 0. */
static size_t absolute_prefix(struct slice t, struct slice *authority) {
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        const size_t n = strlen(schemes[i]);
        if (t.n < n || !http_is(slice_of(t.p, n), schemes[i])) continue;
        size_t stop = n;
        while (stop < t.n && t.p[stop] != '/' && t.p[stop] != '?') stop++;
        *authority = slice_of(t.p + n, stop - n);
        return stop;
    }
    return 0;
}

static int judge_target(struct http_head *h) {
    struct slice rest = h->target;
    if (slice_eq_lit(rest, "*")) {
        h->path = rest;
        return h->verb == HTTP_OPTIONS ? 1 : -400;
    }
    if (rest.p[0] != '/') {
        const size_t n = absolute_prefix(rest, &h->host);
        if (n == 0 || !http_host_valid(h->host)) return -400;
        rest = slice_of(rest.p + n, rest.n - n);
    }
    const char *mark = rest.n ? memchr(rest.p, '?', rest.n) : NULL;
    h->path = mark ? slice_of(rest.p, (size_t)(mark - rest.p)) : rest;
    if (mark) h->query = slice_of(mark + 1, rest.n - h->path.n - 1);
    if (h->path.n == 0) h->path = slice_str("/"); /* http://a?b */
    return 1;
}

static int judge_line(struct http_head *h, const char *version) {
    if (version[5] != '1') return -505;
    if (slice_eq_lit(h->method, "CONNECT")) return -405;
    h->minor = version[7] == '0' ? 0 : 1;
    h->verb = method_of(h->method);
    if (h->verb == HTTP_OTHER) h->status = slice_eq_lit(h->method, "TRACE") ? 405 : 501;
    return judge_target(h);
}

static int scan_line(struct scan *s, struct http_head *h) {
    const char *version = NULL;
    int got = scan_method(s, &h->method);
    if (got > 0) got = scan_target(s, &h->target);
    if (got > 0) got = scan_version(s, &version);
    if (got > 0) got = judge_line(h, version);
    return got;
}

/* ---- The fields ------------------------------------------------------------------- */

/* What the fields of one head add up to. */
struct sums {
    unsigned hosts, lengths;
    uint64_t length;
    bool close, keep, coded;
};

static int judge_host(struct http_head *h, struct sums *sums, struct slice value) {
    if (sums->hosts++ || !http_host_valid(value)) return -400;
    if (!h->host.p || PLANTED(107))
        h->host = value; /* else the target named another: that one counts */
    return 1;
}

static int judge_length(struct sums *sums, struct slice value) {
    if (sums->lengths++ || value.n == 0) return -400;
    for (size_t i = 0; i < value.n; i++) {
        if (!http_byte_is(value.p[i], HTTP_DIGIT)) return -400;
        const uint64_t digit = (uint64_t)(value.p[i] - '0');
        if (sums->length > (INT64_MAX - digit) / 10) return -400;
        sums->length = sums->length * 10 + digit;
    }
    return 1;
}

static void judge_connection(struct sums *sums, struct slice value) {
    struct http_list list = http_list_in(value);
    for (struct slice option; http_list_next(&list, &option);) {
        if (http_is(option, "close")) sums->close = true;
        if (http_is(option, "keep-alive")) sums->keep = true;
        if (PLANTED(106)) break;
    }
}

static void judge_expect(struct http_head *h, struct slice value) {
    struct http_list list = http_list_in(value);
    if (h->minor == 0) return;
    for (struct slice item; http_list_next(&list, &item);) {
        if (http_is(item, "100-continue")) h->expect_continue = true;
        else if (h->status == 0) h->status = 417;
    }
}

/* Is it, over all lines, exactly "chunked"? A coding we do not have is 501; a list that is
 * no list, or in which chunked is not the last and only once, has no length that two
 * parsers would agree on: 400. So are empty elements, which others read in two ways. */
static int judge_coding(const struct http_head *h) {
    bool chunked = false, others = false;
    struct http_list list = http_list_of(http_head_fields(h), "transfer-encoding");
    list.empties = true;
    for (struct slice coding; http_list_next(&list, &coding);) {
        const char *end = coding.p + coding.n;
        const char *stop = http_span(coding.p, end, HTTP_TOKEN);
        const bool bare = stop == end;
        if (chunked || stop == coding.p) return -400;
        if (!bare && *stop != ';' && *stop != ' ' && *stop != '\t') return -400;
        if (http_is(slice_of(coding.p, (size_t)(stop - coding.p)), "chunked")) {
            if (!bare) return -400;
            chunked = true;
        } else {
            others = true;
        }
    }
    return others ? -501 : 1;
}

static int judge_body(struct http_head *h, const struct sums *sums) {
    if (sums->coded) {
        if (sums->lengths || h->minor == 0) return -400;
        const int got = judge_coding(h);
        if (got < 0) return got;
        h->body = HTTP_BODY_CHUNKED;
    } else if (sums->length > 0) {
        h->body = HTTP_BODY_LENGTH;
        h->content_length = sums->length;
    }
    if (h->body == HTTP_BODY_NONE) h->expect_continue = false;
    return 1;
}

static int judge_field(struct http_head *h, struct sums *sums,
                       const struct http_field *f) {
    switch (f->name.n) {
    case 4:
        if (http_is(f->name, "host")) return judge_host(h, sums, f->value);
        break;
    case 6:
        if (http_is(f->name, "expect")) judge_expect(h, f->value);
        break;
    case 10:
        if (http_is(f->name, "connection")) judge_connection(sums, f->value);
        break;
    case 14:
        if (http_is(f->name, "content-length")) return judge_length(sums, f->value);
        break;
    case 17:
        if (http_is(f->name, "transfer-encoding")) sums->coded = true;
        break;
    default: break;
    }
    return 1;
}

static int judge_fields(struct http_head *h) {
    struct sums sums = {0};
    for (unsigned i = 0; i < h->n_fields; i++) {
        const int got = judge_field(h, &sums, &h->fields[i]);
        if (got < 0) return got;
    }
    if (sums.hosts == 0 && h->minor > 0) return -400;
    h->keep_alive = !sums.close && (h->minor > 0 || sums.keep);
    return judge_body(h, &sums);
}

/* A request line that is too long is refused when the fields behind it were read: the page
 * that wrote it may read the answer only when its Origin is known. */
static int refuse_line(struct http_head *h, int got) {
    if (got == 0) return 0;
    h->verb = method_of(h->method);
    if (!h->path.p) judge_target(h); /* as far as it came */
    return -414;
}

/* ---- The head --------------------------------------------------------------------- */

int http_parse_head(const char *p, size_t n, size_t seen, struct http_head *out) {
    if (n == 0) return 0;
    memset(out, 0, offsetof(struct http_head, fields));
    struct scan s = {.at = p, .end = p + n};
    int got = scan_blank_lines(&s);
    if (got <= 0) return got;

    const char *start = s.at;
    scan_limit(&s, start, p + n, HTTP_HEAD_MAX, 431);
    s.seen = seen < (size_t)(s.end - p) ? p + seen : s.end;
    got = scan_line(&s, out);
    const bool too_long = s.at - start > HTTP_LINE_MAX + (got > 0 ? 2 : 0);
    if (got > 0) got = scan_fields(&s, out);
    if (got > 0) got = judge_fields(out);
    if (too_long) got = refuse_line(out, got);
    return got > 0 ? (int)(s.at - p) : got;
}
