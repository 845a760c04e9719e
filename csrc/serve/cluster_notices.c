/* What nodes tell each other, on its way to the app; see cluster/notice.h.
 *
 * The feed never waits for an app that is stuck: beyond a bound notices are dropped, and the app is
 * told that it missed some as soon as there is room. */
#include "serve/cluster_inner.h"

#include "base/mem.h"
#include "cluster/notice.h"
#include "serve/to_app.h"

static struct slice put(char **at, struct slice from) {
    struct slice to = slice_of(*at, from.n);
    if (from.n > 0) memcpy(*at, from.p, from.n);
    *at += from.n;
    return to;
}

static uint32_t size_of(const struct notice_message *m) {
    return (uint32_t)(m->name.n + m->to.n + m->text.n);
}

static bool has_room(struct cluster *c, size_t n) {
    return atomic_load(&c->notices) < NOTICES_MAX &&
           atomic_load(&c->notices_bytes) + n <= NOTICES_BYTES;
}

static void post(struct cluster *c, struct notice_message *m) {
    atomic_fetch_add(&c->notices, 1);
    atomic_fetch_add(&c->notices_bytes, size_of(m));
    mailbox_post(&c->hub->app->mailbox, &m->message, app_on_notice);
    c->released = true; /* it is woken */
}

static struct notice_message *copy(const struct cluster *c, const struct entry *e) {
    struct notice_message *m = mem_try(sizeof *m + e->event.n + e->key.n + e->data.n);
    if (!m) return NULL;
    memset(m, 0, sizeof *m);
    char *at = m->bytes;
    m->letter = e->letter;
    m->is_own = slice_eq(e->slot, slice_str(node_machine(c->node)->slot));
    m->name = put(&at, e->event);
    m->to = put(&at, e->key);
    m->text = put(&at, e->data);
    return m;
}

void cluster_say_missed(struct cluster *c) {
    if (!c->has_missed || !has_room(c, 0)) return;
    post(c, mem_new(sizeof(struct notice_message)));
    c->has_missed = false;
}

void cluster_say_reaped(struct cluster *c) {
    struct notice_message *m = mem_new(sizeof *m);
    m->letter = NOTICE_REAPED;
    m->name = slice_str("reaped");
    m->text = slice_str("true");
    m->is_own = true;
    post(c, m);
}

void cluster_pass_notice(struct cluster *c, const struct entry *e) {
    size_t n = e ? e->event.n + e->key.n + e->data.n : 0;
    bool fits = has_room(c, n);
    struct notice_message *m = e && fits ? copy(c, e) : NULL;
    c->has_missed = c->has_missed || !m;
    cluster_say_missed(c);
    if (m) post(c, m);
}

static struct notice_message *heard(struct slice channel, size_t more) {
    struct notice_message *m = mem_try(sizeof *m + channel.n + more);
    if (!m) return NULL;
    memset(m, 0, sizeof *m);
    m->letter = NOTICE_HEARD;
    char *at = m->bytes;
    m->name = put(&at, channel);
    m->to = m->text = slice_of(at, 0);
    return m;
}

static void post_heard(struct cluster *c, struct notice_message *m) {
    c->has_missed = c->has_missed || !m;
    cluster_say_missed(c);
    if (m) post(c, m);
}

/* Its text: 'r' when it removes its key, else ' '; its name; NUL; its data. */
void cluster_pass_event(struct cluster *c, const struct entry *e) {
    size_t more = e->key.n + 1 + e->event.n + 1 + e->data.n;
    struct notice_message *m = NULL;
    if (has_room(c, e->channel.n + more)) m = heard(e->channel, more);
    if (m) {
        char *at = m->bytes + e->channel.n;
        m->is_own = slice_eq(e->slot, slice_str(node_machine(c->node)->slot));
        m->to = put(&at, e->key);
        m->text = slice_of(at, more - e->key.n);
        put(&at, slice_of(e->remove ? "r" : " ", 1));
        put(&at, e->event);
        put(&at, slice_of("", 1));
        put(&at, e->data);
    }
    post_heard(c, m);
}

void cluster_pass_loaded(struct cluster *c, struct slice channel) {
    post_heard(c, has_room(c, channel.n) ? heard(channel, 0) : NULL);
}

void cluster_took_notice(struct cluster *c, struct notice_message *m) {
    atomic_fetch_sub(&c->notices_bytes, size_of(m));
    atomic_fetch_sub(&c->notices, 1);
    mem_free(m);
}
