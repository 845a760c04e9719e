/* Filling templates and narrowing filters; see narrow.h. */
#include "serve/narrow.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "net/url.h"

#include <stdio.h>

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

/* Replace ":name" segments by the path's values. False when the result is no channel. */
static bool fill(const struct request *r, struct slice template, char *out,
                 struct slice *name) {
    size_t n = 0;
    for (size_t i = 0; i <= template.n;) {
        size_t end = i;
        while (end < template.n && template.p[end] != '/') end++;
        struct slice segment = slice_of(template.p + i, end - i);
        if (segment.n > 1 && segment.p[0] == ':')
            segment = param(r, slice_of(segment.p + 1, segment.n - 1));
        if (n + segment.n + 1 > CHANNEL_NAME_MAX) return false;
        if (i > 0) out[n++] = '/';
        if (memchr(segment.p, '/', segment.n)) return false; /* one segment, never two */
        memcpy(out + n, segment.p, segment.n);
        n += segment.n;
        i = end + 1;
    }
    *name = slice_of(out, n);
    return pattern_check_channel(*name) == NULL;
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

/* All values of one query parameter. False: too many or badly encoded. */
static bool wishes(const struct request *r, struct work *w, const char *name,
                   struct slice *items, struct filter_list *out) {
    struct slice rest = r->query;
    unsigned count = 0;
    struct url_param p;
    *out = (struct filter_list){.items = items};
    while (url_query_next(&rest, &count, &p) > 0) {
        if (!slice_eq(p.name, slice_str(name))) continue;
        int n = url_decode(p.value, true, w->text_end);
        if (n < 0) return false;
        out->given = true;
        if (!split(slice_of(w->text_end, (size_t)n), items, &out->n)) return false;
        w->text_end += n;
    }
    return true;
}

/* What both want; without a wish the plan's own list. */
static struct filter_list meet(struct work *w, struct filter_list bound,
                               struct filter_list wish) {
    if (!wish.given) return bound;
    if (!bound.given) return wish;
    struct filter_list out = {.items = &w->narrowed[w->n_narrowed], .given = true};
    for (uint32_t i = 0; i < wish.n; i++)
        for (uint32_t k = 0; k < bound.n; k++) {
            if (!slice_eq(wish.items[i], bound.items[k])) continue;
            w->narrowed[w->n_narrowed++] = wish.items[i];
            out.n++;
            break;
        }
    return out;
}

int narrow_plan(const struct request *r, struct plan **out) {
    const struct plan *plan = r->route->plan;
    struct work *w = mem_try(sizeof *w);
    char *text = mem_try(r->query.n + 1);
    int status = w && text ? 0 : 503;
    if (status == 0) {
        struct filter_list keys, types;
        w->n_narrowed = 0;
        w->text = w->text_end = text;
        const char *keys_as = r->route->keys_as ? r->route->keys_as : "keys";
        const char *types_as = r->route->types_as ? r->route->types_as : "types";
        if (!wishes(r, w, keys_as, w->keys, &keys) ||
            !wishes(r, w, types_as, w->types, &types))
            status = 400;
        for (uint32_t i = 0; i < plan->n && status == 0; i++) {
            w->specs[i] = plan->specs[i];
            w->specs[i].keys = meet(w, plan->specs[i].keys, keys);
            w->specs[i].types = meet(w, plan->specs[i].types, types);
            if (!fill(r, plan->specs[i].channel, w->names[i], &w->specs[i].channel))
                status = 404;
        }
    }
    if (status == 0 && !(*out = plan_new(w->specs, plan->n, plan->heartbeat)))
        status = 503;
    mem_free(text);
    mem_free(w);
    return status;
}
