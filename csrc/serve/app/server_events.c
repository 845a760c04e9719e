/* Publishing, and what others publish; see server.h. */
#include "base/clock.h"
#include "base/status.h"
#include "serve/app/durable.h"
#include "serve/app/memory.h"
#include "serve/app/registry.h"
#include "serve/app/server.h"

/* ---- The app's replica ---------------------------------------------------------------- */

/* 'c' is the frame's channel; NULL: there is none yet. */
static void take_frame(struct server *s, const struct chan *c, struct frame *f) {
    size_t before = c ? memory_of(c) : 0;
    fan_frame(&s->fan, f);
    if (!c) c = chans_find_of(&s->fan.chans, f);
    memory_changed(s, c, before);
    s->published++;
    s->published_bytes += f->text.n;
    struct group *group = groups_of(s, c);
    group->published++;
    group->published_bytes += f->text.n;
}

void app_on_frame(void *owner, struct message *m) {
    struct server *s = owner;
    struct frame *f = container_of(m, struct frame_post, message)->frame;
    take_frame(s, chans_find_of(&s->fan.chans, f), f);
    frame_unref(f);
}

void server_take_in(struct server *s, struct message *own) {
    ASSERT_OWNER(&s->loop);
    for (struct message *next; own; own = next) {
        next = own->next;
        own->deliver(s, own);
    }
}

/* ---- Publishing ----------------------------------------------------------------------- */

static bool has_ids(const struct chan *c) {
    return c->kind != CHANNEL_STATE && !c->policy->local;
}

int server_encode(struct server *s, const struct event *event, unsigned posts,
                  struct chan **c, struct frame **out) {
    struct event hashed = *event;
    hashed.channel_hash = map_hash(event->channel); /* for all who look the channel up */
    int err = chans_get_hashed(&s->fan.chans, event->channel, hashed.channel_hash, c);
    if (err < 0) return err;
    struct frame *f = NULL;
    if ((*c)->policy->key.n > 0 && event->key.n == 0) err = E_KEY;
    else err = frame_new(&f, &hashed, has_ids(*c), posts);
    if (err == 0) err = memory_check(s);
    if (err < 0) {
        chans_release(&s->fan.chans, *c);
        if (f) frame_unref(f);
        return err;
    }
    f->local = (*c)->policy->local;
    f->at_us = clock_us();
    f->at_ms = f->at_us / 1000;
    if (event->ttl_ms > 0) f->expires_ms = f->at_ms + event->ttl_ms;
    f->before = (*c)->kept->encoded;
    chan_keep(*c)->encoded += frame_lines(f).n;
    f->patient = policy_period((*c)->policy) >= PATIENT_LEAST_MS;
    *out = f;
    return 0;
}

int server_post(struct server *s, const struct chan *c, struct frame *f) {
    ASSERT_OWNER(&s->loop);
    struct message *own = NULL;
    int err = seq_publish(&s->hub.seq, f, &own);
    if (own) server_take_in(s, own);
    if (err != 0) return err;
    take_frame(s, c, f);
    return 0;
}

static int publish(struct server *s, const struct event *event, struct published *out) {
    struct chan *c;
    struct frame *f;
    int err = server_encode(s, event, s->hub.n_lanes, &c, &f);
    if (err < 0) return err;
    out->has_id = f->has_id;
    bool stored = c->policy->durable || (s->durable && durable_has(s, event->channel));
    if (s->hub.cluster && !f->local) err = E_BUSY; /* a reload made it one of all nodes */
    else err = stored ? E_STORE : server_post(s, c, f);
    if (err == 0) {
        out->seq = f->seq;
        server_catch_up(s);
        out->subscribers = registry_count(s, event->channel, f->channel_hash);
    } else {
        chan_keep(c)->encoded = f->before;
        chans_release(&s->fan.chans, c);
    }
    frame_unref(f);
    return err;
}

int server_publish(struct server *s, const struct event *event, struct published *out) {
    ASSERT_OWNER(&s->loop);
    int err = publish(s, event, out);
    while (err > 0) err = publish(s, event, out);
    return err;
}
