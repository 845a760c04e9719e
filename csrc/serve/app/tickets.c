/* Numbers that come again; see tickets.h. */
#include "serve/app/tickets.h"

#include "base/mem.h"

uint64_t tickets_take(struct tickets *t) {
    return t->n_free > 0 ? t->free[--t->n_free] : ++t->used;
}

/* Without memory for it, it does not come again. */
void tickets_give_back(struct tickets *t, uint64_t ticket) {
    if (t->n_free == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        uint64_t *more = mem_resize(t->free, cap * sizeof *more);
        if (!more) return;
        t->free = more;
        t->cap = cap;
    }
    t->free[t->n_free++] = ticket;
}

void tickets_deinit(struct tickets *t) {
    mem_free(t->free);
}
