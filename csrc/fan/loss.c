/* Noting and finding; see loss.h. */
#include "fan/loss.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

static const char *const words[LOST_CAUSES] = {
    [LOST_UNKNOWN] = "",       [LOST_HISTORY] = "history", [LOST_TTL] = "ttl",
    [LOST_MEMORY] = "memory",  [LOST_RELOAD] = "reload",   [LOST_FORGOTTEN] = "forgotten",
    [LOST_STORED] = "stored",  [LOST_UNREAD] = "unread",   [LOST_ROOM] = "room",
    [LOST_BACKLOG] = "backlog"};

const char *loss_word(enum lost_by by) {
    assert(by < LOST_CAUSES);
    return words[by];
}

void losses_note(struct losses **losses, enum lost_by by, uint64_t upto) {
    struct losses *l = *losses;
    if (!l) l = *losses = mem_new(sizeof *l);
    if (l->n > 0 && l->by[l->n - 1] == by) {
        l->upto[l->n - 1] = upto;
        return;
    }
    if (l->n == LOSSES_KEPT) {
        l->n--;
        memmove(l->upto, l->upto + 1, l->n * sizeof *l->upto);
        memmove(l->by, l->by + 1, l->n * sizeof *l->by);
    }
    l->upto[l->n] = upto;
    l->by[l->n++] = (uint8_t)by;
}

enum lost_by losses_find(const struct losses *losses, uint64_t above,
                         enum lost_by absent) {
    for (unsigned i = 0; losses && i < losses->n; i++)
        if (losses->upto[i] > above) return (enum lost_by)losses->by[i];
    return absent;
}
