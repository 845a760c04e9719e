/* Publishing; see server.h. */
#include "base/clock.h"
#include "base/status.h"
#include "serve/app/memory.h"
#include "serve/app/registry.h"
#include "serve/app/server.h"

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
    size_t before = memory_of(c);
    if (err == 0) {
        f->at_ms = clock_ms();
        if (event->ttl_ms > 0) f->expires_ms = f->at_ms + event->ttl_ms;
        f->before = c->bytes;
        f->patient = policy_period(&c->policy) >= PATIENT_LEAST_MS;
        err = seq_publish(&s->hub.seq, f);
    }
    if (err == 0) {
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
