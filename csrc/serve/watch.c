/* The watched set; see watch.h. */
#include "serve/watch.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/status.h"

struct watched {
    struct ev_stat stat;
    struct server *server;
    char path[];
};

static void on_stat(struct ev_loop *ev, struct ev_stat *stat, int events) {
    (void)ev, (void)events;
    struct watched *w = stat->data;
    if (w->server->events->on_changed)
        w->server->events->on_changed(w->server->context, w->path);
}

static void clear(struct server *s) {
    for (size_t i = 0; i < s->n_watched; i++) {
        ev_stat_stop(s->loop.ev, &s->watched[i]->stat);
        mem_free(s->watched[i]);
    }
    mem_free(s->watched);
    s->watched = NULL;
    s->n_watched = 0;
}

int watch_set(struct server *s, const struct slice *paths, size_t n) {
    if (n > WATCHED_FILES_MAX) return E_FULL;
    clear(s);
    if (n == 0) return 0;
    s->watched = mem_new(n * sizeof *s->watched);
    for (; s->n_watched < n; s->n_watched++) {
        struct slice path = paths[s->n_watched];
        struct watched *w = mem_new(sizeof *w + path.n + 1);
        memcpy(w->path, path.p, path.n);
        w->server = s;
        ev_stat_init(&w->stat, on_stat, w->path, 0);
        w->stat.data = w;
        ev_stat_start(s->loop.ev, &w->stat);
        s->watched[s->n_watched] = w;
    }
    return 0;
}
