/* Header fields by their grammar; see http_field.h.
 *
 *     Accept: text/html, text/plain;q=0.5     lines of one name are one list,
 *     accept: a/b;x="1,2" , ,                  read in order: three elements
 *
 * Nothing is joined or copied: a walk remembers its line and its place in it. Bounded by
 * the head that was parsed (HTTP_HEAD_MAX, HTTP_FIELDS_MAX). */
#include "net/http_field.h"

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
        *element = cut_element(&list->rest);
        if (element->n > 0 || list->empties) return true;
    }
    return false;
}

bool http_field_has_token(struct http_fields all, const char *lower, const char *token) {
    struct http_list list = http_list_of(all, lower);
    for (struct slice element; http_list_next(&list, &element);) {
        const char *end = element.p + element.n;
        const char *stop = http_span(element.p, end, HTTP_TOKEN);
        if (stop < end && !strchr("=; \t", *stop)) continue;
        if (http_is(slice_of(element.p, (size_t)(stop - element.p)), token)) return true;
    }
    return false;
}
