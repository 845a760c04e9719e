/* Filling templates and narrowing filters; see narrow.h. */
#include "serve/io/narrow.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/number.h"
#include "fan/tick.h"
#include "net/url.h"

#include <float.h>

/* Everything that lives until the plan is made. */
struct work {
    struct sub_spec specs[STREAM_CHANNELS_MAX];
    char names[STREAM_CHANNELS_MAX][CHANNEL_NAME_MAX + 1];
    struct slice keys[FILTER_ITEMS_MAX], types[FILTER_ITEMS_MAX];
    struct slice narrowed[2 * STREAM_CHANNELS_MAX * FILTER_ITEMS_MAX];
    size_t n_narrowed;
    char *text, *text_end; /* decoded values */
};

/* ---- Channels ----------------------------------------------------------------------- */

static struct slice param(const struct request *r, struct slice name) {
    for (int i = 0; i < r->n_params; i++)
        if (slice_eq(r->params[i].name, name)) return r->params[i].value;
    return slice_of("", 0);
}

/* Replace ":name" segments by the path's values. NULL, or why the result is no channel. */
static const char *fill(const struct request *r, struct slice template, char *out,
                        struct slice *name) {
    size_t n = 0;
    for (size_t i = 0; i <= template.n;) {
        size_t end = i;
        while (end < template.n && template.p[end] != '/') end++;
        struct slice segment = slice_of(template.p + i, end - i);
        if (segment.n > 1 && segment.p[0] == ':')
            segment = param(r, slice_of(segment.p + 1, segment.n - 1));
        if (n + segment.n + 1 > CHANNEL_NAME_MAX)
            return "a channel name has 1 to 128 bytes";
        if (i > 0) out[n++] = '/';
        if (memchr(segment.p, '/', segment.n))
            return "a parameter is one segment of the path";
        memcpy(out + n, segment.p, segment.n);
        n += segment.n;
        i = end + 1;
    }
    *name = slice_of(out, n);
    return pattern_check_channel(*name);
}

/* ---- Filters ------------------------------------------------------------------------ */

/* Add the comma-separated items of one decoded value. */
static bool split(struct slice value, struct slice *items, uint32_t *n) {
    while (value.n > 0) {
        const char *comma = memchr(value.p, ',', value.n);
        size_t length = comma ? (size_t)(comma - value.p) : value.n;
        if (length > 0) {
            if (*n == FILTER_ITEMS_MAX) return false;
            items[(*n)++] = slice_of(value.p, length);
        }
        value = comma ? slice_of(comma + 1, value.n - length - 1) : slice_of(NULL, 0);
    }
    return true;
}

/* All values of one query parameter. 0, 400 (badly encoded) or 422 (too many). */
static int read_items(const struct request *r, struct work *w, const char *name,
                      struct slice *items, struct filter_list *out) {
    struct slice rest = r->query;
    unsigned count = 0;
    struct url_param p;
    *out = (struct filter_list){.items = items};
    while (url_query_next(&rest, &count, &p) > 0) {
        if (url_name_is(p.name, name) <= 0) continue; /* the query was checked */
        int n = url_decode(p.value, true, w->text_end);
        if (n < 0) return 400;
        out->given = true;
        if (!split(slice_of(w->text_end, (size_t)n), items, &out->n)) return 422;
        w->text_end += n;
    }
    return 0;
}

/* What is in both; the plan's own list when the query has none. */
static struct filter_list intersect(struct work *w, struct filter_list bound,
                                    struct filter_list wanted) {
    if (!wanted.given) return bound;
    if (!bound.given) return wanted;
    struct filter_list out = {.items = &w->narrowed[w->n_narrowed], .given = true};
    for (uint32_t i = 0; i < wanted.n; i++)
        for (uint32_t k = 0; k < bound.n; k++) {
            if (!slice_eq(wanted.items[i], bound.items[k])) continue;
            w->narrowed[w->n_narrowed++] = wanted.items[i];
            out.n++;
            break;
        }
    return out;
}

/* ---- Rates -------------------------------------------------------------------------- */

#define NUMBER_MAX 32 /* characters of a number */

static bool is_rate(char *text, size_t n, double *out) {
    text[n] = '\0';
    return number_read(text, out) == text + n && *out >= RATE_LEAST && *out <= DBL_MAX;
}

/* The period that the client asks for; 0: none. 0, 400 or 422. */
static int read_period(const struct request *r, const char *name, uint32_t *out) {
    char text[NUMBER_MAX + 1];
    double rate;
    *out = 0;
    int n = url_query_get(r->query, name, text, NUMBER_MAX);
    if (n == -404) return 0;
    if (n == -400) return 400;
    if (n < 0 || !is_rate(text, (size_t)n, &rate)) return 422;
    *out = tick_period_of_rate(rate);
    return 0;
}

/* ---- The plan ----------------------------------------------------------------------- */

/* What the client asks for beside its path. */
struct narrowing {
    struct filter_list keys, types;
    uint32_t period_ms;
};

static const char *or_else(const char *name, const char *usual) {
    return name ? name : usual;
}

static int read_query(const struct request *r, struct work *w, struct narrowing *wanted,
                      struct narrow_fault *fault) {
    const struct route *route = r->route;
    *fault = (struct narrow_fault){or_else(route->keys_as, "keys"), "at most 100 items"};
    int status = read_items(r, w, fault->field, w->keys, &wanted->keys);
    if (status) return status;
    fault->field = or_else(route->types_as, "types");
    status = read_items(r, w, fault->field, w->types, &wanted->types);
    if (status) return status;
    *fault =
        (struct narrow_fault){or_else(route->rate_as, "max_rate"),
                              "a number of events per second, from 1/60, is expected"};
    return read_period(r, fault->field, &wanted->period_ms);
}

static int narrow_all(const struct request *r, struct work *w,
                      const struct narrowing *wanted, struct narrow_fault *fault) {
    *fault = (struct narrow_fault){0};
    const struct plan *plan = r->route->plan;
    for (uint32_t i = 0; i < plan->n; i++) {
        struct sub_spec *spec = &w->specs[i];
        *spec = plan->specs[i];
        spec->keys = intersect(w, spec->keys, wanted->keys);
        spec->types = intersect(w, spec->types, wanted->types);
        if (wanted->period_ms > spec->period_ms) spec->period_ms = wanted->period_ms;
        fault->message = fill(r, plan->specs[i].channel, w->names[i], &spec->channel);
        if (fault->message) return 404;
    }
    return 0;
}

int narrow_plan(const struct request *r, struct plan **out, struct narrow_fault *fault) {
    const struct plan *plan = r->route->plan;
    struct work *w = mem_try(sizeof *w);
    char *text = mem_try(r->query.n + 1);
    struct narrowing wanted;
    int status = w && text ? 0 : 503;
    if (status == 0) {
        w->n_narrowed = 0;
        w->text = w->text_end = text;
        status = read_query(r, w, &wanted, fault);
    }
    if (status == 0) status = narrow_all(r, w, &wanted, fault);
    if (status == 0 &&
        !(*out = plan_new(&(struct plan_spec){w->specs, plan->n, plan->options})))
        status = 503;
    mem_free(text);
    mem_free(w);
    return status;
}
