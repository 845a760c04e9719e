/* The watched set; see watch.h. */
#include "serve/app/watch.h"

#include "base/bounds.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

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

/* Without inotify, which a user has few of, libev looks at the files from time to time. */
static void check_inotify(const char *path) {
    static bool logged; /* once in a process; the app's thread alone calls this */
    int fd = fault_here() ? -1 : inotify_init1(IN_CLOEXEC);
    int err = fd < 0 ? errno : 0;
    bool full = fd >= 0 && inotify_add_watch(fd, path, IN_ATTRIB) < 0 && errno == ENOSPC;
    if (full) err = errno;
    if (fd >= 0) close(fd);
    if (err == 0 || logged) return;
    logged = true;
    log_printf(LOG_WARN, "a saved file is noticed after up to 5 s: inotify says: %s%s",
               status_text(-err), full ? " (fs.inotify.max_user_watches)" : "");
}

int watch_set(struct server *s, const struct slice *paths, size_t n) {
    ASSERT_OWNER(&s->loop);
    if (n > WATCHED_FILES_MAX) return E_FULL;
    clear(s);
    if (n == 0) return 0;
    s->watched = mem_new(n * sizeof *s->watched);
    for (; s->n_watched < n; s->n_watched++) {
        struct slice path = paths[s->n_watched];
        struct watched *w = mem_new(sizeof *w + path.n + 1);
        memcpy(w->path, path.p, path.n);
        w->server = s;
        /* libev asks every 5 s for a file that is away, unless it is given a time */
        ev_stat_init(&w->stat, on_stat, w->path, WATCH_AGAIN_S);
        w->stat.data = w;
        ev_stat_start(s->loop.ev, &w->stat);
        s->watched[s->n_watched] = w;
    }
    check_inotify(s->watched[0]->path);
    return 0;
}
