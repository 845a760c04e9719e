/* Certificates of a server; see certificates.h. */
#include "serve/app/certificates.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "net/tls_server.h"
#include "serve/io/handshake.h"
#include "serve/io/listener.h"
#include "serve/io/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SOON_S (14 * 86400) /* a certificate that ends before is worth a warning */

/* What tells one state of a file from the next; zero: it is away. */
struct look {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct certificates {
    struct ev_timer timer;
    struct look *seen; /* of each certificate and key: when they were read last */
    struct look *last; /* when they were looked at last */
    char why[CERTIFICATES_WHY_MAX];
};

static struct look look_at(const char *path) {
    struct stat st;
    struct look look;
    memset(&look, 0, sizeof look); /* padding too: they are compared as bytes */
    if (stat(path, &st) < 0) return look;
    look.device = st.st_dev;
    look.inode = st.st_ino;
    look.size = st.st_size;
    look.changed = st.st_ctim;
    return look;
}

static size_t looks_size(const struct server *s) {
    return (size_t)s->hub.options.n_tls * 2 * sizeof(struct look);
}

static void look_at_all(const struct server *s, struct look *out) {
    for (int i = 0; i < s->hub.options.n_tls; i++) {
        out[2 * i] = look_at(s->hub.options.tls[i].certificate);
        out[2 * i + 1] = look_at(s->hub.options.tls[i].key);
    }
}

/* ---- Reading ------------------------------------------------------------------------ */

static void warn_of_end(struct server *s) {
    int which;
    double left = (double)tls_server_expires(s->hub.tls, &which) - clock_wall();
    const char *path = s->hub.options.tls[which].certificate;
    if (left >= SOON_S) return;
    if (left <= 0)
        log_printf(LOG_WARN, "the TLS certificate %s has expired: browsers refuse it",
                   path);
    else
        log_printf(LOG_WARN, "the TLS certificate %s expires in %.0f h", path,
                   left / 3600);
}

int certificates_reload(struct server *s, char why[CERTIFICATES_WHY_MAX]) {
    ASSERT_OWNER(&s->loop);
    const struct serve_options *o = &s->hub.options;
    if (!s->certificates) return 0;
    struct look *now = mem_new(looks_size(s));
    look_at_all(s, now); /* before: what changes meanwhile is seen again */
    bool others = memcmp(now, s->certificates->seen, looks_size(s)) != 0;
    mem_free(s->certificates->seen);
    s->certificates->seen = now;
    int err = tls_server_load(s->hub.tls, o->tls, o->n_tls, why, CERTIFICATES_WHY_MAX);
    if (err < 0) return err;
    warn_of_end(s);
    return others;
}

/* Whether they are others than those that were read, and have been still since the last look:
 * a certificate and its key are not replaced at once. */
static bool have_changed(struct server *s) {
    struct certificates *c = s->certificates;
    struct look *now = mem_new(looks_size(s));
    look_at_all(s, now);
    bool still = memcmp(now, c->last, looks_size(s)) == 0;
    mem_free(c->last);
    c->last = now;
    return still && memcmp(now, c->seen, looks_size(s)) != 0;
}

static void on_timer(struct ev_loop *ev, struct ev_timer *timer, int events) {
    (void)ev, (void)events;
    struct server *s = timer->data;
    char why[CERTIFICATES_WHY_MAX];
    if (!have_changed(s)) return;
    if (certificates_reload(s, why) >= 0)
        log_printf(LOG_INFO, "TLS certificates read anew");
    else log_printf(LOG_ERROR, "%s; those in use go on", why);
}

/* ---- Life --------------------------------------------------------------------------- */

/* A socket for one more worker: of its own, or of what was handed over. */
static int open_one(struct server *s, const char *host) {
    const struct serve_options *o = &s->hub.options;
    if (o->tls_handed > 0)
        return listener_adopt(o->tls_handed, &s->tls_port, o->stall_timeout_ms);
    return listener_open(host, &s->tls_port, o->stall_timeout_ms);
}

static int listen_at(struct server *s) {
    const struct serve_options *o = &s->hub.options;
    const char *host = o->tls_host ? o->tls_host : o->host;
    s->tls_port = o->tls_port;
    int err = o->tls_handed > 0 ? 0 : listener_check(host, s->tls_port);
    for (unsigned i = 0; err == 0 && i < s->hub.n_lanes; i++) {
        int fd = open_one(s, host);
        if (fd < 0) err = fd;
        else handshakes_listen(&s->workers[i], fd, o->tls_handed > 0);
    }
    if (err == 0 && o->tls_redirect) s->hub.redirect_port = s->tls_port;
    return err;
}

int certificates_open(struct server *s) {
    ASSERT_OWNER(&s->loop);
    if (s->hub.options.n_tls == 0 || s->hub.options.rehearsal) return 0;
    struct certificates *c = mem_new(sizeof *c);
    s->certificates = c;
    c->seen = mem_new(looks_size(s));
    c->last = mem_new(looks_size(s));
    ev_timer_init(&c->timer, on_timer, TLS_LOOK_S, TLS_LOOK_S);
    c->timer.data = s;
    s->hub.tls = tls_server_new();
    if (!s->hub.tls) return E_NOMEM;
    int err = certificates_reload(s, c->why);
    return err < 0 ? err : listen_at(s);
}

void certificates_watch(struct server *s) {
    ASSERT_OWNER(&s->loop);
    if (s->certificates) ev_timer_start(s->loop.ev, &s->certificates->timer);
}

const char *certificates_problem(const struct server *s) {
    return s->certificates && s->certificates->why[0] ? s->certificates->why : NULL;
}

void certificates_close(struct server *s) {
    struct certificates *c = s->certificates;
    if (!c) return;
    ev_timer_stop(s->loop.ev, &c->timer);
    mem_free(c->seen);
    mem_free(c->last);
    mem_free(c);
    s->certificates = NULL;
    s->tls_port = 0;
}
