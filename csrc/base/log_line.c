/* Lines of the log; see log_line.h. */
#include "base/log_line.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/number.h"
#include "base/utf8.h"

#include <math.h>
#include <time.h>

/* The buffer, and the first failure. */
struct out {
    struct buf *b;
    bool json, journal;
    enum log_level level;
    int err;
};

static void add(struct out *o, const char *p, size_t n) {
    if (!o->err) o->err = buf_add(o->b, p, n);
}

static void adds(struct out *o, const char *text) {
    add(o, text, strlen(text));
}

static struct slice slice_or_text(const char *p, size_t n) {
    return n ? slice_of(p, n) : slice_str(p);
}

/* ---- Escapes ------------------------------------------------------------------------ */

static void add_hidden(struct out *o, uint32_t code) {
    if (o->err) return;
    if (code < 0x10000) o->err = buf_addf(o->b, "\\u%04x", (unsigned)code);
    else if (!o->json) o->err = buf_addf(o->b, "\\u{%x}", (unsigned)code);
    else
        o->err =
            buf_addf(o->b, "\\u%04x\\u%04x", 0xd800 + (unsigned)((code - 0x10000) >> 10),
                     0xdc00 + (unsigned)(code & 0x3ff));
}

/* As syslog counts: 3 is an error, 7 for debugging. */
static void add_priority(struct out *o) {
    static const char *const marks[] = {"<7>", "<6>", "<4>", "<3>"};
    if (o->journal) adds(o, marks[o->level]);
}

/* The message goes on in a line of its own. */
static void add_break(struct out *o) {
    adds(o, "\n");
    add_priority(o);
    adds(o, "    ");
}

/* The first character of 's', of which there is one; returns its length. */
static size_t add_character(struct out *o, struct slice s, bool quote) {
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = utf8_length(p, s.n);
    if (n == 0) {
        if (!o->err) o->err = buf_addf(o->b, o->json ? "\\\\x%02x" : "\\x%02x", p[0]);
        return 1;
    }
    if (p[0] == '\n' && !quote) add_break(o);
    else if (p[0] == '\n') adds(o, "\\n");
    else if (quote && (p[0] == '"' || p[0] == '\\'))
        adds(o, p[0] == '"' ? "\\\"" : "\\\\");
    else if (utf8_is_hidden(utf8_code(p, n))) add_hidden(o, utf8_code(p, n));
    else add(o, s.p, n);
    return n;
}

static bool is_plain(char c) {
    return c > ' ' && c <= '~' && c != '"' && c != '\\';
}

#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))

/* Whether all eight are plain: a zero byte shows in the high bit of (w - 1) & ~w. */
static bool are_plain(const char *p) {
    uint64_t w;
    memcpy(&w, p, 8);
    uint64_t quote = w ^ EACH('"'), back = w ^ EACH('\\'), delete = w ^ EACH(0x7f);
    uint64_t low = (w - EACH(' ' + 1)) & ~w;
    uint64_t found = ((quote - EACH(1)) & ~quote) | ((back - EACH(1)) & ~back) |
                     ((delete - EACH(1)) & ~delete) | low | w;
    return (found & EACH(0x80)) == 0;
}

static size_t plain_run(struct slice s) {
    size_t i = 0;
    while (s.n - i >= 8 && are_plain(s.p + i)) i += 8;
    while (i < s.n && is_plain(s.p[i])) i++;
    return i;
}

/* A text that is too long is cut between two characters. */
static size_t cut(struct slice s) {
    if (s.n <= LOG_TEXT_MAX) return s.n;
    size_t n = LOG_TEXT_MAX;
    while (n > LOG_TEXT_MAX - 4 && (s.p[n] & 0xc0) == 0x80) n--;
    return n;
}

static void add_escaped(struct out *o, struct slice s, bool quote) {
    size_t all = s.n;
    s.n = cut(s);
    bool whole = s.n == all;
    while (s.n > 0) {
        size_t n = plain_run(s);
        if (n > 0) add(o, s.p, n);
        else n = add_character(o, s, quote);
        s = slice_of(s.p + n, s.n - n);
    }
    if (!whole && !o->err) o->err = buf_addf(o->b, "... (%zu bytes)", all);
}

static char *put(char *at, struct slice s) {
    memcpy(at, s.p, s.n);
    return at + s.n;
}

/* Most texts need no escape: they are copied with what stands around them. */
static bool add_plain(struct out *o, struct slice before, struct slice s,
                      struct slice after) {
    size_t n = before.n + s.n + after.n;
    if (s.n > LOG_TEXT_MAX || plain_run(s) < s.n) return false;
    if (!o->err) o->err = buf_reserve(o->b, n);
    if (o->err) return true;
    put(put(put(o->b->p + o->b->n, before), s), after);
    o->b->n += n;
    return true;
}

static void add_string(struct out *o, struct slice s) {
    if (add_plain(o, slice_str("\""), s, slice_str("\""))) return;
    adds(o, "\"");
    add_escaped(o, s, true);
    adds(o, "\"");
}

/* In the text form a word stands as it is. */
static void add_word(struct out *o, struct slice s, bool is_name) {
    bool bare = !o->json && s.n > 0 && s.n <= LOG_TEXT_MAX && plain_run(s) == s.n &&
                !(is_name && memchr(s.p, '=', s.n));
    if (bare) add(o, s.p, s.n);
    else add_string(o, s);
}

/* ---- The line ----------------------------------------------------------------------- */

#define SECOND_LENGTH 19 /* 2026-11-22T09:00:00 */

/* The same for all lines of a second. */
static const char *second_text(time_t second) {
    static _Thread_local struct {
        time_t second;
        char text[SECOND_LENGTH + 1];
    } last;
    if (last.text[0] && last.second == second) return last.text;
    struct tm tm;
    gmtime_r(&second, &tm);
    strftime(last.text, sizeof last.text, "%Y-%m-%dT%H:%M:%S", &tm);
    last.second = second;
    return last.text;
}

void log_line_time(char out[LOG_TIME_LENGTH], double time) {
    time_t second = (time_t)time;
    int ms = (int)((time - (double)second) * 1000);
    memcpy(out, second_text(second), SECOND_LENGTH);
    out[SECOND_LENGTH] = '.';
    out[SECOND_LENGTH + 1] = (char)('0' + ms / 100);
    out[SECOND_LENGTH + 2] = (char)('0' + ms / 10 % 10);
    out[SECOND_LENGTH + 3] = (char)('0' + ms % 10);
    out[SECOND_LENGTH + 4] = 'Z';
}

static void add_time(struct out *o, double time) {
    char text[LOG_TIME_LENGTH];
    log_line_time(text, time ? time : clock_wall());
    add(o, text, sizeof text);
}

static void add_integer(struct out *o, int64_t n) {
    char text[NUMBER_TEXT_MAX];
    add(o, text, number_text_integer(text, n));
}

static void add_number(struct out *o, const struct log_field *f) {
    if (o->err) return;
    if (f->is_integer) add_integer(o, f->integer);
    else if (isfinite(f->number)) o->err = buf_add_number(o->b, f->number);
    else o->err = buf_adds(o->b, "null");
}

/* No field takes the place of what every line has. */
static bool is_taken(struct slice name) {
    return slice_eq_lit(name, "time") || slice_eq_lit(name, "level") ||
           slice_eq_lit(name, "message");
}

static void add_field(struct out *o, const struct log_field *f) {
    struct slice name = slice_or_text(f->name, f->name_n);
    if (o->json && is_taken(name)) {
        adds(o, ",\"_");
        add(o, name.p, name.n);
        adds(o, "\":");
    } else if (!o->json || !add_plain(o, slice_str(",\""), name, slice_str("\":"))) {
        adds(o, o->json ? "," : "  ");
        add_word(o, name, true);
        adds(o, o->json ? ":" : "=");
    }
    if (f->text) add_word(o, slice_or_text(f->text, f->text_n), false);
    else add_number(o, f);
}

static void add_begin(struct out *o, double time) {
    add_priority(o);
    if (o->json) adds(o, "{\"time\":\"");
    if (o->json || !o->journal) add_time(o, time);
}

int log_line_add_string(struct buf *b, struct slice text) {
    struct out o = {.b = b, .json = true};
    add_string(&o, text);
    return o.err;
}

#define LINE_USUAL 384 /* bytes */

int log_line_add(struct buf *b, struct log_form form, const struct log_message *m) {
    struct out o = {b, form.json, form.journal, m->level, buf_reserve(b, LINE_USUAL)};
    const char *name = log_level_name(m->level);
    add_begin(&o, m->time);
    if (form.json) {
        adds(&o, "\",\"level\":\"");
        adds(&o, name);
        adds(&o, "\",\"message\":");
        add_string(&o, m->text);
    } else {
        if (!o.err && !form.journal) o.err = buf_addf(b, " %-5s ", name);
        add_escaped(&o, m->text, false);
    }
    for (size_t i = 0; i < m->n; i++) add_field(&o, &m->fields[i]);
    adds(&o, form.json ? "}\n" : "\n");
    return o.err;
}
