/* Files with a cache and a platter, and what goes wrong with them; see disk.h. */
#include "store/disk.h"

#include "base/bounds.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"
#include "store/disk_file.h"

#include <assert.h>
#include <stdio.h>

#define SECTOR 512

/* ---- Images ------------------------------------------------------------------------- */

static bool image_put(struct buf *image, const char *p, size_t n, uint64_t at) {
    size_t end = (size_t)at + n;
    if (end > image->n) {
        if (buf_reserve(image, end - image->n) < 0) return false;
        memset(image->p + image->n, 0, end - image->n);
        image->n = end;
    }
    if (n > 0) memcpy(image->p + at, p, n);
    return true;
}

static void image_shorten(struct buf *image, uint64_t size) {
    if (size < image->n) image->n = (size_t)size;
}

static void apply(struct disk_file *f, const struct disk_write *w) {
    bool done = true;
    if (w->truncates) image_shorten(&f->platter, w->at);
    else done = image_put(&f->platter, w->bytes, w->n, w->at);
    assert(done);
    (void)done;
}

/* Some of the sectors that it touches. */
static void tear(struct disk *d, struct disk_file *f, const struct disk_write *w) {
    for (size_t from = 0; from < w->n;) {
        size_t to = from + SECTOR - (size_t)(w->at + from) % SECTOR;
        if (to > w->n) to = w->n;
        if (rand_next(&d->rand) & 1)
            image_put(&f->platter, w->bytes + from, to - from, w->at + from);
        from = to;
    }
}

static void drop_first(struct disk_file *f) {
    struct disk_write *w = f->first;
    f->first = w->next;
    if (!f->first) f->last = &f->first;
    mem_free(w);
}

/* ---- Files -------------------------------------------------------------------------- */

struct disk_file *disk_find(struct disk *d, struct slice name) {
    for (struct list *l = d->files.next; l != &d->files; l = l->next) {
        struct disk_file *f = container_of(l, struct disk_file, node);
        if (f->name && slice_eq(slice_str(f->name), name)) return f;
    }
    return NULL;
}

struct disk_file *disk_make(struct disk *d, const char *name) {
    struct disk_file *f = mem_new(sizeof *f);
    if (name) f->name = mem_strndup(name, strlen(name));
    f->last = &f->first;
    list_init(&f->handles);
    list_add(&d->files, &f->node);
    return f;
}

void disk_free_regions(struct disk_file *f) {
    for (unsigned i = 0; i < DISK_REGIONS_MAX; i++) {
        mem_free(f->regions[i]);
        f->regions[i] = NULL;
    }
}

void disk_forget(struct disk_file *f) {
    assert(list_empty(&f->handles));
    while (f->first) drop_first(f);
    disk_free_regions(f);
    buf_free(&f->cache);
    buf_free(&f->platter);
    list_remove(&f->node);
    mem_free(f->name);
    mem_free(f);
}

/* ---- Death -------------------------------------------------------------------------- */

enum fate { DROP, KEEP, TEAR };

/* A power cut: some of what waits reaches the platter, and that is the file. Most cuts have
 * one fate for all, since the last writes are what matters. */
static void cut_file(struct disk *d, struct disk_file *f) {
    unsigned style = (unsigned)(rand_next(&d->rand) % 4);
    while (f->first) {
        unsigned fate = style < 3 ? style : (unsigned)(rand_next(&d->rand) % 3);
        if (fate == KEEP || (fate == TEAR && f->first->truncates)) apply(f, f->first);
        else if (fate == TEAR) tear(d, f, f->first);
        drop_first(f);
    }
    f->cache.n = 0;
    if (!image_put(&f->cache, f->platter.p, f->platter.n, 0)) assert(!"memory");
}

static void cut(struct disk *d) {
    for (struct list *l = d->files.next; l != &d->files; l = l->next)
        cut_file(d, container_of(l, struct disk_file, node));
}

static void revive(struct disk *d, bool cuts) {
    pthread_mutex_lock(&d->lock);
    d->life++;
    if (cuts) cut(d);
    d->dead = d->locked = false;
    d->death = (struct disk_fault){0};
    for (struct list *l = d->files.next, *next; l != &d->files; l = next) {
        next = l->next;
        struct disk_file *f = container_of(l, struct disk_file, node);
        disk_free_regions(f);
        f->n_maps = 0;
        if (!f->name && list_empty(&f->handles)) disk_forget(f);
    }
    pthread_mutex_unlock(&d->lock);
}

void disk_kill(struct disk *d) {
    revive(d, false);
}

void disk_cut(struct disk *d) {
    revive(d, true);
}

/* ---- Changes ------------------------------------------------------------------------ */

static bool is_due(struct disk_fault *fault) {
    if (fault->left == 0) return false;
    if (fault->left > 1) {
        fault->left--;
        return false;
    }
    fault->left = fault->ever ? 1 : 0;
    return true;
}

/* Whether this step is the last one of this life. */
static bool dies(struct disk *d) {
    d->steps++;
    return is_due(&d->death);
}

static int die(struct disk *d) {
    if (d->death_cuts) cut(d);
    d->dead = true;
    return SQLITE_IOERR;
}

static bool change(struct disk_file *f, const void *p, size_t n, uint64_t at,
                   bool truncates) {
    struct disk_write *w = mem_try(sizeof *w + n);
    if (!w) return false;
    *w = (struct disk_write){.at = at, .n = n, .truncates = truncates};
    if (n > 0) memcpy(w->bytes, p, n);
    if (!truncates && !image_put(&f->cache, p, n, at)) {
        mem_free(w);
        return false;
    }
    if (truncates) image_shorten(&f->cache, at);
    *f->last = w;
    f->last = &w->next;
    return true;
}

static uint64_t used(const struct disk *d) {
    uint64_t n = 0;
    for (const struct list *l = d->files.next; l != &d->files; l = l->next)
        n += container_of(l, struct disk_file, node)->cache.n;
    return n;
}

int disk_write(struct disk *d, struct disk_file *f, const void *p, size_t n,
               uint64_t at) {
    bool last = dies(d), fails = is_due(&d->write);
    if (last || fails) { /* a part of it may have been done */
        size_t part = (size_t)(rand_next(&d->rand) % (n + 1));
        if (part > 0) change(f, p, part, at, false);
        return last ? die(d) : SQLITE_IOERR_WRITE;
    }
    uint64_t more = at + n > f->cache.n ? at + n - f->cache.n : 0;
    if (d->limit > 0 && used(d) + more > d->limit) return SQLITE_FULL;
    return change(f, p, n, at, false) ? SQLITE_OK : SQLITE_IOERR_NOMEM;
}

int disk_shorten(struct disk *d, struct disk_file *f, uint64_t size) {
    if (dies(d)) {
        if (rand_next(&d->rand) & 1) change(f, NULL, 0, size, true);
        return die(d);
    }
    return change(f, NULL, 0, size, true) ? SQLITE_OK : SQLITE_IOERR_NOMEM;
}

int disk_sync(struct disk *d, struct disk_file *f) {
    while (d->hangs) pthread_cond_wait(&d->woken, &d->lock);
    bool last = dies(d), fails = is_due(&d->sync);
    if (last && rand_next(&d->rand) & 1) return die(d);
    while (f->first) {
        if (!fails || rand_next(&d->rand) & 1) apply(f, f->first);
        drop_first(f);
    }
    if (last) return die(d);
    return fails ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

/* ---- The disk ----------------------------------------------------------------------- */

struct disk *disk_new(uint64_t seed) {
    struct disk *d = mem_new(sizeof *d);
    d->rand = seed;
    atomic_init(&d->users, 1);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->woken, NULL);
    list_init(&d->files);
    disk_vfs_init(d);
    gather_vfs_begin(&d->gather_vfs, &d->vfs);
    return d;
}

void disk_free(struct disk *d) {
    if (!d || atomic_fetch_sub(&d->users, 1) > 1) return;
    gather_vfs_end(&d->gather_vfs);
    while (!list_empty(&d->files))
        disk_forget(container_of(d->files.next, struct disk_file, node));
    pthread_cond_destroy(&d->woken);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

const char *disk_vfs(const struct disk *d) {
    return d->gather_vfs.name;
}

static void set_fault(struct disk *d, struct disk_fault *fault, long n, bool ever) {
    pthread_mutex_lock(&d->lock);
    *fault = (struct disk_fault){.left = n, .ever = ever};
    pthread_mutex_unlock(&d->lock);
}

void disk_die_in(struct disk *d, long n, bool cuts) {
    d->death_cuts = cuts;
    set_fault(d, &d->death, n, false);
}

bool disk_is_dead(const struct disk *d) {
    return d->dead;
}

void disk_fail_write(struct disk *d, long n, bool ever) {
    set_fault(d, &d->write, n, ever);
}

void disk_fail_sync(struct disk *d, long n, bool ever) {
    set_fault(d, &d->sync, n, ever);
}

void disk_limit(struct disk *d, uint64_t bytes) {
    pthread_mutex_lock(&d->lock);
    d->limit = bytes;
    pthread_mutex_unlock(&d->lock);
}

void disk_hang(struct disk *d, bool on) {
    pthread_mutex_lock(&d->lock);
    d->hangs = on;
    pthread_cond_broadcast(&d->woken);
    pthread_mutex_unlock(&d->lock);
}

int disk_lock(struct disk *d) {
    pthread_mutex_lock(&d->lock);
    int err = d->locked ? E_LOCKED : 0;
    d->locked = true;
    pthread_mutex_unlock(&d->lock);
    if (err == 0) atomic_fetch_add(&d->users, 1);
    return err;
}

void disk_unlock(struct disk *d) {
    pthread_mutex_lock(&d->lock);
    d->locked = false;
    pthread_mutex_unlock(&d->lock);
    disk_free(d);
}

/* ---- For specs that damage it -------------------------------------------------------- */

bool disk_has(struct disk *d, struct slice name) {
    pthread_mutex_lock(&d->lock);
    bool has = disk_find(d, name) != NULL;
    pthread_mutex_unlock(&d->lock);
    return has;
}

struct slice disk_bytes(struct disk *d, struct slice name) {
    struct disk_file *f = disk_find(d, name);
    return f ? buf_slice(&f->cache) : slice_of("", 0);
}

void disk_put(struct disk *d, const char *name, struct slice bytes) {
    struct disk_file *f = disk_find(d, slice_str(name));
    if (!f) f = disk_make(d, name);
    f->cache.n = f->platter.n = 0;
    image_put(&f->cache, bytes.p, bytes.n, 0);
    image_put(&f->platter, bytes.p, bytes.n, 0);
}

void disk_flip(struct disk *d, struct slice name, uint64_t bit) {
    struct disk_file *f = disk_find(d, name);
    struct buf *images[] = {&f->cache, &f->platter};
    for (int i = 0; i < 2; i++)
        if (bit / 8 < images[i]->n)
            images[i]->p[bit / 8] = (char)(images[i]->p[bit / 8] ^ (1 << bit % 8));
}

void disk_truncate(struct disk *d, struct slice name, uint64_t bytes) {
    struct disk_file *f = disk_find(d, name);
    image_shorten(&f->cache, bytes);
    image_shorten(&f->platter, bytes);
}

long disk_steps(const struct disk *d) {
    return d->steps;
}
