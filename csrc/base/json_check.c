/* One pass, with a bit for each array or object that is open; see json_check.h. */
#include "base/json_check.h"

#include "base/blank.h"
#include "base/bounds.h"

#include <stdint.h>
#include <string.h>

struct scan {
    const char *p, *end;
};

static void skip_blanks(struct scan *s) {
    while (s->p < s->end && blank_in_json(*s->p)) s->p++;
}

static bool take(struct scan *s, char c) {
    if (s->p == s->end || *s->p != c) return false;
    s->p++;
    return true;
}

static bool take_word(struct scan *s, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) return false;
    s->p += n;
    return true;
}

static bool take_digits(struct scan *s) {
    const char *first = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') s->p++;
    return s->p > first;
}

static bool is_number(struct scan *s) {
    take(s, '-');
    if (!take(s, '0') && !take_digits(s)) return false;
    if (take(s, '.') && !take_digits(s)) return false;
    if (!take(s, 'e') && !take(s, 'E')) return true;
    if (!take(s, '+')) take(s, '-');
    return take_digits(s);
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_escape(struct scan *s) {
    if (s->p == s->end) return false;
    char c = *s->p++;
    if (c != 'u') return c != '\0' && strchr("\"\\/bfnrt", c);
    for (int i = 0; i < 4; i++)
        if (s->p == s->end || !is_hex(*s->p++)) return false;
    return true;
}

static bool is_string(struct scan *s) {
    if (!take(s, '"')) return false;
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p++;
        if (c == '"') return true;
        if (c < 0x20 || (c == '\\' && !is_escape(s))) return false;
    }
    return false;
}

static bool is_scalar(struct scan *s) {
    if (s->p == s->end) return false;
    switch (*s->p) {
    case '"': return is_string(s);
    case 't': return take_word(s, "true");
    case 'f': return take_word(s, "false");
    case 'n': return take_word(s, "null");
    default: return is_number(s);
    }
}

static bool is_name(struct scan *s) {
    skip_blanks(s);
    if (!is_string(s)) return false;
    skip_blanks(s);
    return take(s, ':');
}

_Static_assert(JSON_DEPTH_MAX <= 64, "a bit for each");

/* Behind a value: what it ends, and whether another one follows. */
static bool go_on(struct scan *s, uint64_t objects, unsigned *depth) {
    while (*depth > 0) {
        bool in_object = objects >> (*depth - 1) & 1;
        skip_blanks(s);
        if (take(s, ',')) return !in_object || is_name(s);
        if (!take(s, in_object ? '}' : ']')) return false;
        --*depth;
    }
    return true;
}

/* Enter what begins here. False: it is wrong; '*opened': a value of it is next. */
static bool enter(struct scan *s, uint64_t *objects, unsigned *depth, bool *opened) {
    bool object = s->p < s->end && *s->p == '{';
    *opened = object || (s->p < s->end && *s->p == '[');
    if (!*opened) return is_scalar(s);
    if (*depth == JSON_DEPTH_MAX) return false;
    s->p++;
    skip_blanks(s);
    if (take(s, object ? '}' : ']')) {
        *opened = false;
        return true;
    }
    uint64_t bit = (uint64_t)1 << (*depth)++;
    *objects = object ? *objects | bit : *objects & ~bit;
    return !object || is_name(s);
}

bool json_is_value(struct slice text) {
    struct scan s = {text.p, text.p + text.n};
    uint64_t objects = 0;
    unsigned depth = 0;
    bool opened;
    do {
        skip_blanks(&s);
        if (!enter(&s, &objects, &depth, &opened)) return false;
        if (!opened && !go_on(&s, objects, &depth)) return false;
    } while (depth > 0);
    skip_blanks(&s);
    return s.p == s.end;
}

int json_add_string(struct buf *b, struct slice text) {
    int err = buf_add(b, "\"", 1);
    for (size_t i = 0, run = 0; i <= text.n && err == 0; i++) {
        unsigned char c = i < text.n ? (unsigned char)text.p[i] : '"';
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        err = buf_add(b, text.p + run, i - run);
        run = i + 1;
        if (err < 0 || i == text.n) break;
        if (c == '\n') err = buf_adds(b, "\\n");
        else if (c < 0x20) err = buf_addf(b, "\\u%04x", c);
        else err = buf_addf(b, "\\%c", c);
    }
    return err < 0 ? err : buf_add(b, "\"", 1);
}
