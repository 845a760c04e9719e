/* Rows of ended epochs; see lineage.h. */
#include "fan/lineage.h"

#include <string.h>

void lineage_add(struct lineage *l, const char *epoch, uint64_t base) {
    if (l->n < LINEAGE_MAX) l->n++;
    memmove(l->rows + 1, l->rows, (l->n - 1) * sizeof *l->rows);
    l->rows[0].base = base;
    memcpy(l->rows[0].epoch, epoch, EPOCH_LENGTH);
    l->rows[0].epoch[EPOCH_LENGTH] = '\0';
}

bool lineage_find(const struct lineage *l, const char *epoch, uint64_t *base) {
    for (unsigned i = 0; i < l->n; i++) {
        if (strcmp(l->rows[i].epoch, epoch) != 0) continue;
        *base = l->rows[i].base;
        return true;
    }
    return false;
}

/* Take the digits that a text begins with; false: there is none, or too many. */
static bool take_number(struct slice *text, uint64_t *out) {
    size_t i = 0;
    for (*out = 0; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++)
        *out = *out * 10 + (uint64_t)(text->p[i] - '0');
    *text = slice_of(text->p + i, text->n - i);
    return i > 0 && i <= 19;
}

void lineage_read(struct lineage *l, struct slice text) {
    *l = (struct lineage){0};
    while (l->n < LINEAGE_MAX && text.n > EPOCH_LENGTH + 1 &&
           text.p[EPOCH_LENGTH] == ':') {
        struct lineage_row *row = &l->rows[l->n];
        memcpy(row->epoch, text.p, EPOCH_LENGTH);
        row->epoch[EPOCH_LENGTH] = '\0';
        text = slice_of(text.p + EPOCH_LENGTH + 1, text.n - EPOCH_LENGTH - 1);
        if (!take_number(&text, &row->base)) return;
        l->n++;
        if (text.n == 0 || *text.p != ',') return;
        text = slice_of(text.p + 1, text.n - 1);
    }
}
