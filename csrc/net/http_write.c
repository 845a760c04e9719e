/* Response heads.
 *
 *     HTTP/1.1 200 OK                        status line, also to HTTP/1.0 clients
 *     Content-Type: application/json         fields of the application, checked
 *     Date: Sun, 06 Nov 1994 08:49:37 GMT
 *     Content-Length: 2                      framing last, always ours
 *
 * The stream head keeps the order and the spelling of its fields: clients and proxies
 * were measured with exactly these bytes. Bounded by what the caller gives; one growth of
 * the buffer per answer. RFC 9110 section 15 (status), 5.6.7 (dates), RFC 9112 section 4.
 * [any thread] */
#include "net/http_write.h"

#include "base/planted.h"
#include "base/status.h"
#include "base/utf8.h"
#include "net/http_bytes.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct reason {
    int status;
    const char *phrase;
    const char *code;
    const char *message;
} reasons[] = {
    {200, "OK", NULL, NULL},
    {201, "Created", NULL, NULL},
    {202, "Accepted", NULL, NULL},
    {204, "No Content", NULL, NULL},
    {206, "Partial Content", NULL, NULL},
    {301, "Moved Permanently", NULL, NULL},
    {302, "Found", NULL, NULL},
    {303, "See Other", NULL, NULL},
    {304, "Not Modified", NULL, NULL},
    {307, "Temporary Redirect", NULL, NULL},
    {308, "Permanent Redirect", NULL, NULL},
    {400, "Bad Request", "EBADREQUEST", "the request cannot be understood"},
    {401, "Unauthorized", "EAUTH", "credentials are needed"},
    {403, "Forbidden", "EDENIED", "this is not allowed"},
    {404, "Not Found", "ENOTFOUND", "there is nothing here"},
    {405, "Method Not Allowed", "EMETHOD", "this path does not take this method"},
    {406, "Not Acceptable", "EACCEPT", "this cannot be sent in an accepted type"},
    {408, "Request Timeout", "ETIMEOUT", "the request took too long to arrive"},
    {409, "Conflict", "ECONFLICT", "the request contradicts what is stored"},
    {410, "Gone", "ETRIMMED", "this is gone for good"},
    {411, "Length Required", "ELENGTH", "the body needs a length"},
    {412, "Precondition Failed", "ECONFLICT", "what is here is not what was asked for"},
    {413, "Content Too Large", "ETOOBIG", "the body is too large"},
    {414, "URI Too Long", "ETOOBIG", "the request line is too long"},
    {415, "Unsupported Media Type", "EMEDIA", "the body has a type that is not taken"},
    {417, "Expectation Failed", "EEXPECT", "only 100-continue can be expected"},
    {421, "Misdirected Request", "EHOST", "this server does not answer for that host"},
    {422, "Unprocessable Content", "EBADFIELD", "the request makes no sense"},
    {426, "Upgrade Required", "EVERSION", "another protocol is needed"},
    {428, "Precondition Required", "ECONFLICT", "a condition is needed"},
    {429, "Too Many Requests", "ERATE", "too many requests"},
    {431, "Request Header Fields Too Large", "ETOOBIG", "the head is too large"},
    {500, "Internal Server Error", "EINTERNAL", "the server failed"},
    {501, "Not Implemented", "EMETHOD", "the method or coding is not implemented"},
    {502, "Bad Gateway", "EUPSTREAM", "another server failed"},
    {503, "Service Unavailable", "EBUSY", "the server is busy, try again"},
    {504, "Gateway Timeout", "ETIMEOUT", "the answer took too long"},
    {505, "HTTP Version Not Supported", "EVERSION", "only HTTP/1.0 and 1.1 are spoken"},
};

static const struct reason *reason_of(int status) {
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status) return &reasons[i];
    static const struct reason none = {0, "", NULL, NULL};
    return &none;
}

const char *http_reason(int status) {
    return reason_of(status)->phrase;
}

const char *http_error_code(int status) {
    const char *code = reason_of(status)->code;
    return code ? code : status < 500 ? "EBADREQUEST" : "EINTERNAL";
}

/* Not strftime: its names follow the locale of the process. The remainders change nothing
 * but tell the compiler how long the text can get. */
const char *http_date_text(struct http_date *date, int64_t now) {
    if (date->text[0] && date->second == now) return date->text;
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const time_t second = (time_t)now;
    struct tm tm = {0};
    gmtime_r(&second, &tm);
    snprintf(date->text, sizeof date->text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
             days + 3 * tm.tm_wday, tm.tm_mday % 100, months + 3 * tm.tm_mon,
             (tm.tm_year + 1900) % 10000, tm.tm_hour % 100, tm.tm_min % 100,
             tm.tm_sec % 100);
    date->second = now;
    return date->text;
}

int http_field_check(struct slice name, struct slice value) {
    static const char *const ours[] = {
        "content-length", "transfer-encoding", "connection", "keep-alive",
        "upgrade",        "trailer",           "te",         "date"};
    if (name.n == 0 || !http_all(name, HTTP_TOKEN)) return E_BADFIELD;
    if (!http_all(value, HTTP_VALUE)) return E_BADFIELD;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (http_is(name, ours[i])) return E_BADFIELD;
    return 0;
}

/* ---- Pieces of a head ------------------------------------------------------------- */

static int add_line(struct buf *b, const char *name, const char *value, size_t n) {
    int err = buf_adds(b, name);
    if (!err) err = buf_add(b, value, n);
    return err ? err : buf_add(b, "\r\n", 2);
}

static int add_length(struct buf *b, size_t length) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + length % 10);
        length /= 10;
    } while (length);
    return add_line(b, "Content-Length: ", digits + at, sizeof digits - at);
}

static int add_status(struct buf *b, int status) {
    if (status == 200) return buf_adds(b, "HTTP/1.1 200 OK\r\n");
    return buf_addf(b, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
}

static int add_list(struct buf *b, struct http_fields fields) {
    int err = 0;
    for (size_t i = 0; i < fields.n && !err; i++) {
        const struct http_field *f = &fields.p[i];
        err = http_field_check(f->name, f->value);
        if (!err) err = buf_add(b, f->name.p, f->name.n);
        if (!err) err = add_line(b, ": ", f->value.p, f->value.n);
    }
    return err;
}

/* Those of every answer first. */
static int add_fields(struct buf *b, const struct http_to *to,
                      struct http_fields fields) {
    int err = add_list(b, to->always);
    return err ? err : add_list(b, fields);
}

/* What a status must come with (RFC 9110 15.5.2, 15.5.6). Bearer opens no window in a
 * browser; what has no path, as CONNECT, takes no method. */
static int add_due(struct buf *b, int status, struct http_fields fields) {
    if (status == 401 && !http_field_has(fields, "www-authenticate"))
        return buf_adds(b, "WWW-Authenticate: Bearer\r\n");
    if (status == 405 && !http_field_has(fields, "allow"))
        return buf_adds(b, "Allow: \r\n");
    return 0;
}

static int add_date(struct buf *b, const struct http_to *to) {
    const char *text = http_date_text(to->date, to->now);
    return add_line(b, "Date: ", text, strlen(text));
}

/* Connection, where the version does not say it already. */
static int add_connection(struct buf *b, const struct http_to *to) {
    if (to->minor == HTTP_2) return 0;
    if (!to->keep_alive) return buf_adds(b, "Connection: close\r\n");
    return to->minor == 0 && !PLANTED(109) ? buf_adds(b, "Connection: keep-alive\r\n")
                                           : 0;
}

/* The buffer as it was at length 'start' when something failed. */
static int finish(struct buf *b, size_t start, int err) {
    if (err) b->n = start;
    return err;
}

/* ---- Answers ---------------------------------------------------------------------- */

static bool is_bodiless(int status) {
    return status == 204 || status == 304;
}

int http_write_head(struct buf *b, const struct http_to *to, int status,
                    struct http_fields fields, size_t length) {
    if (status < 200 || status > 599) return E_INVAL;
    const size_t start = b->n;
    int err = buf_reserve(b, 512);
    if (!err) err = add_status(b, status);
    if (!err) err = add_fields(b, to, fields);
    if (!err) err = add_due(b, status, fields);
    if (!err) err = add_date(b, to);
    if (!err) err = add_connection(b, to);
    if (!err && !is_bodiless(status) && length != HTTP_NO_LENGTH)
        err = add_length(b, length);
    if (!err) err = buf_add(b, "\r\n", 2);
    return finish(b, start, err);
}

int http_write_answer(struct buf *b, const struct http_to *to, int status,
                      struct http_fields fields, struct slice body) {
    const bool bare = is_bodiless(status) || (to->is_head && !PLANTED(110));
    const size_t start = b->n;
    int err = buf_reserve(b, 512 + (bare ? 0 : body.n));
    if (!err) err = http_write_head(b, to, status, fields, body.n);
    if (!err && !bare) err = buf_add(b, body.p, body.n);
    return finish(b, start, err);
}

int http_write_continue(struct buf *b) {
    return buf_adds(b, "HTTP/1.1 100 Continue\r\n\r\n");
}

int http_write_stream(struct buf *b, const struct http_to *to,
                      struct http_fields fields) {
    static const char head[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Type: text/event-stream\r\n"
                               "Cache-Control: no-store, no-transform\r\n"
                               "X-Accel-Buffering: no\r\n"
                               "X-Content-Type-Options: nosniff\r\n";
    const bool close = to->minor == 0 || (to->minor == 1 && !to->keep_alive);
    const size_t start = b->n;
    int err = buf_add(b, head, sizeof head - 1);
    if (!err) err = add_fields(b, to, fields);
    if (!err) err = add_date(b, to);
    if (!err && to->minor == 1) err = buf_adds(b, "Transfer-Encoding: chunked\r\n");
    if (!err && close) err = buf_adds(b, "Connection: close\r\n");
    if (!err) err = buf_add(b, "\r\n", 2);
    return finish(b, start, err);
}

/* ---- Errors ----------------------------------------------------------------------- */

/* A JSON string of any bytes: what is no UTF-8 becomes U+FFFD. */
static int add_json(struct buf *b, const char *text) {
    int err = buf_add(b, "\"", 1);
    for (size_t left = strlen(text); left > 0 && !err;) {
        const size_t n = utf8_length((const unsigned char *)text, left);
        const char c = *text;
        if (n == 0) err = buf_adds(b, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\') err = buf_addf(b, "\\%c", c);
        else if (n == 1 && (c < 0x20 || c == 0x7f)) err = buf_addf(b, "\\u%04x", c);
        else err = buf_add(b, text, n);
        text += n ? n : 1;
        left -= n ? n : 1;
    }
    return err ? err : buf_add(b, "\"", 1);
}

static const char *message_of(const struct http_error *e) {
    if (e->message) return e->message;
    const char *message = reason_of(e->status)->message;
    if (message) return message;
    return e->status < 500 ? "the request was refused" : "the server failed";
}

static int add_error(struct buf *b, const struct http_error *e) {
    int err = buf_adds(b, "{\"error\":{\"code\":");
    if (!err) err = add_json(b, e->code ? e->code : http_error_code(e->status));
    if (!err) err = buf_adds(b, ",\"message\":");
    if (!err) err = add_json(b, message_of(e));
    if (!err && e->field) err = buf_adds(b, ",\"field\":");
    if (!err && e->field) err = add_json(b, e->field);
    return err ? err : buf_adds(b, "}}");
}

/* The fields of every error answer, then those of the caller. */
static int add_error_head(struct buf *b, const struct http_to *to, int status,
                          struct http_fields fields, size_t body) {
    static const char common[] = "Content-Type: application/json\r\n"
                                 "Cache-Control: no-store\r\n"
                                 "X-Content-Type-Options: nosniff\r\n";
    int err = add_status(b, status);
    if (!err) err = buf_add(b, common, sizeof common - 1);
    if (!err) err = PLANTED(114) ? add_list(b, fields) : add_fields(b, to, fields);
    if (!err) err = add_due(b, status, fields);
    if (!err) err = add_date(b, to);
    if (!err) err = add_connection(b, to);
    if (!err) err = add_length(b, body);
    return err ? err : buf_add(b, "\r\n", 2);
}

int http_write_error(struct buf *b, const struct http_to *to, const struct http_error *e,
                     struct http_fields fields) {
    if (e->status < 400 || e->status > 599) return E_INVAL;
    struct buf body = {0};
    const size_t start = b->n;
    int err = add_error(&body, e);
    if (!err) err = add_error_head(b, to, e->status, fields, body.n);
    if (!err && !to->is_head) err = buf_add(b, body.p, body.n);
    buf_free(&body);
    return finish(b, start, err);
}
