/* Matching walks both texts once, segment by segment; nothing is compiled. */
#include "base/pattern.h"

/* Cut the first segment off 'rest'; false when there is none left. */
static bool next_segment(struct slice *rest, struct slice *out) {
    if (!rest->p) return false;
    const char *slash = rest->n ? memchr(rest->p, '/', rest->n) : NULL;
    size_t n = slash ? (size_t)(slash - rest->p) : rest->n;
    *out = slice_of(rest->p, n);
    *rest = slash ? slice_of(slash + 1, rest->n - n - 1) : slice_of(NULL, 0);
    return true;
}

static bool is_word(struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c >= '0' && c <= '9') || c == '_';
        if (!good) return false;
    }
    return s.n > 0;
}

static struct slice tail(struct slice s) {
    return slice_of(s.p + 1, s.n - 1);
}

/* "*name" or "**": takes the rest. */
static bool takes_rest(struct slice segment) {
    return segment.n >= 2 && segment.p[0] == '*';
}

const char *pattern_check(struct slice pattern) {
    if (pattern.n == 0) return "a pattern may not be empty";
    if (pattern.n > PATTERN_MAX) return "a pattern may be 256 bytes long";
    int captures = 0;
    struct slice rest = pattern, segment;
    while (next_segment(&rest, &segment)) {
        if (segment.n == 0) continue;
        if (segment.p[0] == ':') {
            if (!is_word(tail(segment)))
                return "':' needs a name of letters, digits and _";
            captures++;
        } else if (segment.p[0] == '*' && segment.n > 1) {
            if (!slice_eq_lit(segment, "**") && !is_word(tail(segment)))
                return "'*' may stand alone, as '**', or before a name";
            if (rest.p) return "'**' and '*name' take the rest: nothing may follow";
            captures++;
        } else if (segment.n > 1 && memchr(segment.p, '*', segment.n)) {
            return "'*' stands for a whole segment";
        }
    }
    return captures > PATTERN_CAPTURES_MAX ? "more than 16 captures" : NULL;
}

/* Most of what is asked about differs in a letter, which takes no look at segments. */
static bool differs(struct slice pattern, struct slice name) {
    size_t i = 0, segment = 0;
    for (; i < pattern.n && i < name.n && pattern.p[i] == name.p[i]; i++)
        if (pattern.p[i] == '/') segment = i + 1;
    if (i == pattern.n || i == name.n) return false;
    return pattern.p[segment] != ':' && pattern.p[segment] != '*';
}

int pattern_match(struct slice pattern, struct slice name, struct capture *out) {
    int n = 0;
    if (differs(pattern, name)) return -1;
    struct slice want, have;
    while (next_segment(&pattern, &want)) {
        if (takes_rest(want)) {
            if (n == PATTERN_CAPTURES_MAX) return -1;
            bool named = want.p[1] != '*';
            out[n].name = named ? tail(want) : slice_str("rest");
            out[n++].value = name.p ? name : slice_of("", 0);
            return n;
        }
        if (!next_segment(&name, &have)) return -1;
        if (want.n > 1 && want.p[0] == ':') {
            if (have.n == 0 || n == PATTERN_CAPTURES_MAX) return -1;
            out[n].name = tail(want);
            out[n++].value = have;
        } else if (want.n == 1 && want.p[0] == '*') {
            if (have.n == 0) return -1;
        } else if (!slice_eq(want, have)) {
            return -1;
        }
    }
    return name.p ? -1 : n;
}

unsigned pattern_weight(struct slice pattern) {
    unsigned literal = 0, wild = 0;
    struct slice segment;
    while (next_segment(&pattern, &segment)) {
        bool is_wild = segment.n > 0 && (segment.p[0] == ':' || segment.p[0] == '*');
        if (takes_rest(segment)) wild += 16;
        if (is_wild) wild++;
        else if (wild == 0) literal += (unsigned)segment.n + 1;
    }
    return literal * 64 + (wild < 63 ? 63 - wild : 0);
}

bool pattern_is_literal(struct slice pattern) {
    struct slice segment;
    while (next_segment(&pattern, &segment))
        if (segment.n > 0 && (segment.p[0] == ':' || segment.p[0] == '*')) return false;
    return true;
}

static bool is_channel_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_.@+=~:-", c) != NULL);
}

const char *pattern_check_channel(struct slice name) {
    if (name.n == 0 || name.n > CHANNEL_NAME_MAX)
        return "a channel name has 1 to 128 bytes";
    struct slice segment;
    int segments = 0;
    while (next_segment(&name, &segment)) {
        if (++segments > CHANNEL_SEGMENTS_MAX)
            return "a channel name has at most 8 segments";
        if (segment.n == 0 || segment.n > CHANNEL_SEGMENT_MAX)
            return "a segment of a channel name has 1 to 64 bytes";
        if (segment.p[0] == ':' || segment.p[0] == '*')
            return "no segment of a channel name starts with ':' or '*', only those of a "
                   "pattern do";
        for (size_t i = 0; i < segment.n; i++)
            if (!is_channel_byte(segment.p[i]))
                return "a channel name may hold letters, digits and _ . @ + = ~ : - only";
    }
    return NULL;
}
