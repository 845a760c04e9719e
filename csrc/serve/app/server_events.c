/* Publishing, and what others publish; see server.h. */
#include "base/clock.h"
#include "base/status.h"
#include "serve/app/memory.h"
#include "serve/app/registry.h"
#include "serve/app/server.h"

/* ---- The app's replica ---------------------------------------------------------------- */

static void take_frame(struct server *s, struct frame *f) {
    const struct chan *c = chans_find(&s->fan.chans, f->channel);
    size_t before = c ? memory_of(c) : 0;
    fan_frame(&s->fan, f);
    if (!c) c = chans_find(&s->fan.chans, f->channel);
    memory_changed(s, c, before);
    s->published++;
    s->published_bytes += f->text.n;
}

void app_on_frame(void *owner, struct message *m) {
    struct frame_post *post = container_of(m, struct frame_post, message);
    take_frame(owner, post->frame);
    frame_unref(post->frame);
}

void server_take_in(struct server *s, struct message *own) {
    ASSERT_OWNER(&s->loop);
    for (struct message *next; own; own = next) {
        next = own->next;
        own->deliver(s, own);
    }
}

/* ---- Publishing ----------------------------------------------------------------------- */

int server_publish(struct server *s, const struct event *event, struct published *out) {
    ASSERT_OWNER(&s->loop);
    struct chan *c;
    int err = chans_get(&s->fan.chans, event->channel, &c);
    if (err < 0) return err;
    struct event hashed = *event;
    hashed.channel_hash = c->node.hash; /* for all who look the channel up */
    bool keyless = event->key.n == 0;
    struct frame *f = NULL;
    out->has_id = c->kind != CHANNEL_STATE;
    if (c->policy.key.n > 0 && keyless) err = E_KEY;
    else err = frame_new(&f, &hashed, out->has_id, s->hub.n_lanes);
    if (err == 0) err = memory_check(s);
    struct message *own = NULL;
    if (err == 0) {
        f->at_ms = clock_ms();
        if (event->ttl_ms > 0) f->expires_ms = f->at_ms + event->ttl_ms;
        f->before = c->bytes;
        f->patient = policy_period(&c->policy) >= PATIENT_LEAST_MS;
        err = seq_publish(&s->hub.seq, f, &own);
    }
    if (err == 0) {
        if (own) server_take_in(s, own);
        size_t before = memory_of(c);
        fan_frame(&s->fan, f);
        memory_changed(s, c, before);
        s->published++;
        s->published_bytes += f->text.n;
        out->seq = f->seq;
        server_catch_up(s);
        out->subscribers = registry_count(s, event->channel, hashed.channel_hash);
    } else {
        chans_release(&s->fan.chans, c);
    }
    if (f) frame_unref(f);
    return err;
}
