/* Header fields by their grammar; see http_field.h.
 *
 *     Accept: text/html, text/plain;q=0.5     lines of one name are one list,
 *     accept: a/b;x="1,2" , ,                  read in order: three elements
 *
 * Nothing is joined or copied: a walk remembers its line and its place in it. Bounded by
 * the head that was parsed (HTTP_HEAD_MAX, HTTP_FIELDS_MAX). */
#include "net/http_field.h"

#include "base/planted.h"
#include "net/http_bytes.h"

bool http_field_has(struct http_fields all, const char *lower) {
    return http_field_value(all, lower).p != NULL;
}

struct slice http_field_value(struct http_fields all, const char *lower) {
    for (size_t i = 0; i < all.n; i++)
        if (http_is(all.p[i].name, lower)) return all.p[i].value;
    return slice_of(NULL, 0);
}

/* ---- Lists -------------------------------------------------------------------------- */

struct http_list http_list_of(struct http_fields all, const char *lower) {
    return (struct http_list){.all = all, .lower = lower};
}

struct http_list http_list_in(struct slice value) {
    return (struct http_list){.rest = value};
}

/* Behind the quoted string that starts at p, or the end when it is never closed. */
static const char *skip_quoted(const char *p, const char *end) {
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\' && p + 1 < end) p++;
    return p < end ? p + 1 : end;
}

/* Cut what stands before the first comma off 'rest'. */
static struct slice cut_element(struct slice *rest) {
    const char *start = rest->p, *end = rest->p + rest->n, *p = start;
    while (p < end && *p != ',') p = *p == '"' ? skip_quoted(p, end) : p + 1;
    *rest = p < end ? slice_of(p + 1, (size_t)(end - p - 1)) : slice_of(NULL, 0);
    return http_trim(slice_of(start, (size_t)(p - start)));
}

/* Go to the next line of that name. */
static bool next_line(struct http_list *list) {
    if (PLANTED(102) && list->next > 0) return false;
    while (list->next < list->all.n) {
        const struct http_field *f = &list->all.p[list->next++];
        if (!http_is(f->name, list->lower)) continue;
        list->rest = f->value;
        return true;
    }
    return false;
}

bool http_list_next(struct http_list *list, struct slice *element) {
    while (list->rest.p || next_line(list)) {
        const struct slice next = cut_element(&list->rest);
        if (next.n == 0 && !list->empties) continue;
        *element = next;
        return true;
    }
    return false;
}

/* Is an element this token, whatever argument stands behind it? */
static bool is_token(struct slice element, const char *token) {
    const char *end = element.p + element.n;
    const char *stop = http_span(element.p, end, HTTP_TOKEN);
    if (stop < end && !strchr("=; \t", *stop)) return false;
    return http_is(slice_of(element.p, (size_t)(stop - element.p)), token);
}

bool http_field_has_token(struct http_fields all, const char *lower, const char *token) {
    struct http_list list = http_list_of(all, lower);
    for (struct slice element; http_list_next(&list, &element);)
        if (is_token(element, token)) return true;
    return false;
}

bool http_field_only_token(struct http_fields all, const char *lower, const char *token) {
    struct http_list list = http_list_of(all, lower);
    for (struct slice element; http_list_next(&list, &element);)
        if (!is_token(element, token)) return false;
    return true;
}

/* ---- Parameters --------------------------------------------------------------------- */

struct param {
    struct slice name;
    struct slice value; /* of a quoted string: what is between the quotes */
    bool quoted;
};

static struct slice skip(struct slice s, size_t n) {
    return slice_of(s.p + n, s.n - n);
}

static struct slice take_token(struct slice *rest) {
    const char *stop = http_span(rest->p, rest->p + rest->n, HTTP_TOKEN);
    const struct slice token = slice_of(rest->p, (size_t)(stop - rest->p));
    *rest = skip(*rest, token.n);
    return token;
}

/* A token or a quoted string; false when there is neither. */
static bool take_value(struct slice *rest, struct param *out) {
    out->quoted = rest->n > 0 && rest->p[0] == '"';
    if (!out->quoted) {
        out->value = take_token(rest);
        return out->value.n > 0;
    }
    const char *end = rest->p + rest->n, *stop = skip_quoted(rest->p, end);
    const size_t n = (size_t)(stop - rest->p);
    if (n < 2 || stop[-1] != '"') return false;
    out->value = slice_of(rest->p + 1, n - 2);
    *rest = skip(*rest, n);
    return true;
}

/* Cut "; name=value" off 'rest'. 1; 0: nothing is left; -1: it is no parameter. */
static int take_param(struct slice *rest, struct param *out) {
    do { /* empty ones are passed over */
        *rest = http_trim(*rest);
        if (rest->n == 0) return 0;
        if (rest->p[0] != ';') return -1;
        *rest = http_trim(skip(*rest, 1));
    } while (rest->n == 0 || rest->p[0] == ';');
    out->name = take_token(rest);
    if (out->name.n == 0 || rest->n == 0 || rest->p[0] != '=') return -1;
    *rest = skip(*rest, 1);
    return take_value(rest, out) ? 1 : -1;
}

/* ---- Media types -------------------------------------------------------------------- */

/* Cut "type/subtype" off 'rest'; p is NULL when there is none. */
static struct slice take_type(struct slice *rest) {
    const char *start = rest->p;
    const struct slice type = take_token(rest);
    if (type.n == 0 || rest->n == 0 || rest->p[0] != '/') return slice_of(NULL, 0);
    *rest = skip(*rest, 1);
    const struct slice subtype = take_token(rest);
    if (subtype.n == 0) return slice_of(NULL, 0);
    return slice_of(start, type.n + 1 + subtype.n);
}

struct slice http_media_type(struct slice value) {
    struct slice rest = http_trim(value);
    const struct slice type = take_type(&rest);
    struct param param;
    int got = type.p ? 1 : -1;
    while (got > 0) got = take_param(&rest, &param);
    return got < 0 ? slice_of(NULL, 0) : type;
}

/* A weight in thousandths, or -1 when it is none. ".5" is taken: Java's own client sends it. */
static int read_weight(const struct param *param) {
    const struct slice s = param->quoted ? slice_str("") : param->value;
    size_t at = s.n > 0 && (s.p[0] == '0' || s.p[0] == '1') ? 1 : 0;
    const bool one = at == 1 && s.p[0] == '1';
    int weight = one ? 1000 : 0;
    if (at == s.n) return s.n ? weight : -1;
    if (s.p[at++] != '.' || s.n == 1) return -1;
    for (int place = 100; at < s.n; at++, place /= 10) {
        if (!http_byte_is(s.p[at], HTTP_DIGIT) || (one && s.p[at] != '0')) return -1;
        weight += place * (s.p[at] - '0');
        if (weight == 0 && s.p[at] != '0') weight = 1; /* beyond the third digit */
    }
    return weight;
}

/* How closely a range names a type: 0 not at all, 1 as any, 2 as any of its kind, 3 by its
 * name. */
static int closeness(struct slice range, const char *type) {
    const size_t kind = (size_t)(strchr(type, '/') + 1 - type);
    if (http_is(range, type)) return 3;
    if (slice_eq_lit(range, "*/*")) return 1;
    if (range.n != kind + 1 || range.p[kind] != '*') return 0;
    for (size_t i = 0; i < kind; i++)
        if (http_lower(range.p[i]) != type[i]) return 0;
    return 2;
}

/* One range of Accept: its closeness to a type, and its weight by '*weight'; 0 also for
 * what is no range. Parameters name another representation than ours, which has none; but
 * all that we write is UTF-8. */
static int read_range(struct slice rest, const char *type, int *weight) {
    const bool bare = rest.p[0] == '*' && (rest.n == 1 || strchr("; \t", rest.p[1]));
    struct slice range = slice_str("*/*"); /* "*" in old clients, Java's among them */
    if (bare) rest = skip(rest, 1);
    else range = take_type(&rest);
    if (!range.p) return 0;
    int close = closeness(range, type), got;
    struct param param;
    *weight = 1000;
    bool weighed = false;
    while ((got = take_param(&rest, &param)) > 0) {
        const bool is_weight = !weighed && http_is(param.name, "q");
        if (is_weight && (*weight = read_weight(&param)) < 0) return 0;
        if (is_weight) weighed = true;
        else if (weighed) continue; /* extensions of the weight: none are known */
        else if (http_is(param.name, "charset") && http_is(param.value, "utf-8"))
            close += close == 3;
        else close = 0;
    }
    return got < 0 ? 0 : close;
}

int http_accepts(struct http_fields all, const char *type) {
    struct http_list list = http_list_of(all, "accept");
    int best = 0, wanted = 0;
    bool asked = false;
    for (struct slice element; http_list_next(&list, &element); asked = true) {
        int weight = 0;
        const int close = read_range(element, type, &weight);
        if (close == 0 || close < best) continue;
        if (PLANTED(104)) weight = 1;
        if (close > best || weight > wanted) wanted = weight;
        best = close;
    }
    if (!asked) return 1;
    return wanted > 0 ? 8 * wanted + best : 0;
}

/* ---- Codings ------------------------------------------------------------------------ */

/* One element of Accept-Encoding: how closely it names a coding (2 by its name, 1 as any, 0 not at
 * all), and its weight. "x-gzip" is an old name of gzip (RFC 9110 8.4.1.3). */
static int read_coding(struct slice rest, const char *coding, int *weight) {
    const struct slice name = take_token(&rest);
    const bool old = http_is(name, "x-gzip") && strcmp(coding, "gzip") == 0;
    const int close = old || http_is(name, coding) ? 2 : slice_eq_lit(name, "*") ? 1 : 0;
    struct param param;
    int got;
    *weight = 1000;
    while ((got = take_param(&rest, &param)) > 0)
        if (http_is(param.name, "q") && (*weight = read_weight(&param)) < 0) return 0;
    return got < 0 ? 0 : close;
}

int http_accepts_coding(struct http_fields all, const char *coding) {
    struct http_list list = http_list_of(all, "accept-encoding");
    int best = 0, wanted = 0;
    for (struct slice element; http_list_next(&list, &element);) {
        int weight = 0;
        const int close = read_coding(element, coding, &weight);
        if (close == 0 || close < best) continue;
        if (close > best || weight > wanted) wanted = weight;
        best = close;
    }
    return wanted;
}

/* ---- Entity tags -------------------------------------------------------------------- */

/* Cut an entity tag off 'rest'; p is NULL when there is none. Quotes and commas are of
 * RFC 9110 8.8.3: nothing escapes anything. */
static struct slice take_tag(struct slice *rest) {
    const char *start = rest->p;
    const size_t mark = rest->n >= 2 && memcmp(start, "W/", 2) == 0 ? 2 : 0;
    if (rest->n < mark + 2 || start[mark] != '"') return slice_of(NULL, 0);
    const char *stop = memchr(start + mark + 1, '"', rest->n - mark - 1);
    if (!stop) return slice_of(NULL, 0);
    const struct slice tag = slice_of(start, (size_t)(stop + 1 - start));
    *rest = http_trim(skip(*rest, tag.n));
    return memchr(tag.p, ' ', tag.n) || memchr(tag.p, '\t', tag.n) ? slice_of(NULL, 0)
                                                                   : tag;
}

/* The tag without its W/: all that the weak comparison looks at. */
static struct slice opaque(struct slice tag) {
    return tag.n > 0 && tag.p[0] == 'W' && !PLANTED(103) ? skip(tag, 2) : tag;
}

/* Does a line list this tag? In the strong comparison weak ones are equal to none. */
static bool lists_tag(struct slice rest, struct slice tag, bool weak) {
    if (weak) tag = opaque(tag);
    for (;;) {
        while (rest.n > 0 && strchr(", \t", rest.p[0])) rest = skip(rest, 1);
        if (rest.n == 0) return false;
        const struct slice one = take_tag(&rest);
        if (!one.p || (rest.n > 0 && rest.p[0] != ',')) return false;
        if (slice_eq(weak ? opaque(one) : one, tag) && (weak || one.p[0] == '"'))
            return true;
        if (PLANTED(101)) return false;
    }
}

/* Does a field name this tag, over all its lines? "*" names any, alone. */
static bool names_tag(struct http_fields all, const char *lower, struct slice tag,
                      bool weak) {
    unsigned lines = 0;
    bool any = false;
    for (size_t i = 0; i < all.n; i++) {
        if (!http_is(all.p[i].name, lower)) continue;
        if (lists_tag(all.p[i].value, tag, weak)) return true;
        any = slice_eq_lit(all.p[i].value, "*");
        lines++;
    }
    return any && lines == 1;
}

bool http_match(struct http_fields all, struct slice tag) {
    return !http_field_has(all, "if-match") || names_tag(all, "if-match", tag, false);
}

bool http_none_match(struct http_fields all, struct slice tag) {
    return names_tag(all, "if-none-match", tag, true);
}

/* ---- One value ---------------------------------------------------------------------- */

struct slice http_credentials(struct slice value, const char *scheme) {
    const struct slice given = take_token(&value);
    const bool fits = http_is(given, scheme) && value.n > 0 && value.p[0] == ' ';
    value = http_trim(value);
    return fits && value.n > 0 ? value : slice_of(NULL, 0);
}

bool http_field_repeated(struct http_fields all) {
    static const struct slice single[] = {{"authorization", 13},
                                          {"content-type", 12},
                                          {"idempotency-key", 15},
                                          {"last-event-id", 13},
                                          {"origin", 6},
                                          {"sec-fetch-site", 14},
                                          {"x-admin-key", 11},
                                          {"x-api-key", 9},
                                          {"access-control-request-method", 29}};
    unsigned seen = 0;
    for (size_t i = 0; i < all.n; i++)
        for (unsigned k = 0; k < sizeof single / sizeof *single; k++) {
            if (all.p[i].name.n != single[k].n || !http_is(all.p[i].name, single[k].p))
                continue;
            if (seen & 1u << k) return true;
            seen |= 1u << k;
        }
    return false;
}
