/* Commands to all fans at once, the app's own too; see command.h. */
#include "serve/app/command.h"

#include "serve/app/accounts.h"
#include "serve/app/memory.h"
#include "serve/to_io.h"

static void send_all(struct server *s, const struct io_command *what) {
    server_take_in(s, to_io_all(&s->hub, what));
}

void command_trim(struct server *s, struct slice channel, uint64_t seq, enum lost_by by) {
    ASSERT_OWNER(&s->loop);
    send_all(s, &(struct io_command){
                    .kind = IO_TRIM, .channel = channel, .seq = seq, .by = by});
    struct chan *c = chans_find(&s->fan.chans, channel);
    size_t before = c ? memory_of(c) : 0;
    fan_trim(&s->fan, channel, seq, by);
    if (c) memory_changed(s, c, before);
}

void command_drop(struct server *s, struct slice channel) {
    ASSERT_OWNER(&s->loop);
    char name[CHANNEL_NAME_MAX]; /* the slice may be the channel's own */
    memcpy(name, channel.p, channel.n);
    send_all(s, &(struct io_command){.kind = IO_DROP, .channel = channel});
    struct chan *c = chans_find(&s->fan.chans, channel);
    if (c) s->held -= memory_of(c); /* nothing is left of it */
    fan_drop(&s->fan, channel);
    accounts_release(s, slice_of(name, channel.n));
}

void command_configure(struct server *s, struct routes *routes,
                       struct policy_set *policies) {
    ASSERT_OWNER(&s->loop);
    send_all(s, &(struct io_command){
                    .kind = IO_CONFIGURE, .routes = routes, .policies = policies});
    fan_policies(&s->fan, policies);
    memory_recount(s);
}
