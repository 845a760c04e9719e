/* A machine and its link; see node.h. */
#include "cluster/node.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/status.h"
#include "cluster/node_inner.h"

#include <stdio.h>

#define FOLLOW_BLOCK_MS 1000
#define FOLLOW_ENTRIES 512
#define FOLLOW_AGAIN_MS 2 /* what found no room is read again */

/* ---- Out ------------------------------------------------------------------------------- */

void node_break(struct node *n, const char *why) {
    if (!n->broken) n->broken = why;
}

static void note_sent(struct node *n, int err) {
    if (err < 0) node_break(n, "what is to be asked of Redis finds no room");
}

void node_send(struct node *n, unsigned tag, struct buf *command, int err) {
    if (err == 0) err = link_send(n->link, LINK_SCRIPTS, tag, command, 0);
    note_sent(n, err);
    buf_free(command);
}

/* A write, and behind it what waits for that: its answer says what became of both. */
static void keep(struct node *n, unsigned tag, struct buf *command, int err) {
    uint32_t wait_ms = n->durable.wait_ms;
    if (err == 0) err = link_send(n->link, LINK_KEEP, KEEP_WRITTEN, command, 0);
    if (err == 0) err = script_wait(command, n->durable.replicas, wait_ms);
    if (err == 0) err = link_send(n->link, LINK_KEEP, tag, command, wait_ms);
    note_sent(n, err);
    buf_free(command);
}

static void on_call(void *owner, const struct cluster_call *call) {
    struct node *n = owner;
    struct buf command = {0};
    int err = E_CLOSED;
    n->kinds[call->tag] = call->kind;
    n->sizes[call->tag] = call->n;
    if (link_is_up(n->link)) err = node_write_call(n, &command, call);
    if (call->kind == CALL_KEEP) keep(n, call->tag, &command, err);
    else node_send(n, call->tag, &command, err);
}

static void follow(struct node *n) {
    struct buf command = {0};
    int err = link_is_up(n->link) ? 0 : E_CLOSED;
    if (err == 0)
        err = script_follow(&command, link_scripts(n->link), n->machine.pos,
                            FOLLOW_ENTRIES, FOLLOW_BLOCK_MS);
    if (err == 0)
        err = link_send(n->link, LINK_FEED, n->generation, &command, FOLLOW_BLOCK_MS);
    note_sent(n, err);
    n->reading = true;
    buf_free(&command);
}

/* One XREAD at a time: what is under way ends first, and brings nothing. */
static void on_follow(void *owner, uint64_t pos) {
    struct node *n = owner;
    (void)pos; /* the machine's */
    n->generation++;
    if (!n->reading) follow(n);
}

static void on_dial(void *owner) {
    link_dial(((struct node *)owner)->link);
}

static void is_down(struct node *n, const char *why, bool refused) {
    bool was_refused = n->refusal != SCRIPT_OK;
    n->refusal = SCRIPT_OK;
    if (was_refused && n->calls->refuses) n->calls->refuses(n->owner, NULL, true);
    n->calls->tell(n->owner, why, refused);
}

static void on_hang_up(void *owner) {
    struct node *n = owner;
    char why[LINK_WHY_MAX];
    link_lacks(n->link, why, sizeof why);
    if (n->machine.silent) is_down(n, why, false);
    link_close(n->link);
    ev_timer_stop(n->loop->ev, &n->again);
    n->generation++;
    n->reading = false;
    n->broken = NULL;
    for (unsigned i = 0; i < CLUSTER_CALLS_MAX; i++) loading_drop(&n->loads[i]);
}

/* ---- To its owner ---------------------------------------------------------------------- */

static bool on_release(void *owner, const struct cluster_entry *e) {
    const struct node *n = owner;
    return n->calls->release(n->owner, e->event);
}

static void on_fill(void *owner, struct slice channel, void *fill, bool lost, bool more) {
    const struct node *n = owner;
    (void)channel;
    n->calls->fill(n->owner, fill, lost, more);
}

static void on_page(void *owner, struct cluster_page *p, const void *read) {
    const struct node *n = owner;
    n->calls->page(n->owner, container_of(p, struct node_page, page), read);
}

static void on_add(void *owner, void *fill, const struct cluster_entry *e) {
    (void)owner;
    fill_add(fill, e->event);
}

static void on_drop(void *owner, void *fill) {
    (void)owner;
    fill_free(fill);
}

static void on_epoch(void *owner, uint64_t base) {
    const struct node *n = owner;
    n->calls->epoch(n->owner, base);
}

static void on_reaped(void *owner) {
    const struct node *n = owner;
    n->calls->reaped(n->owner);
}

static void on_missed(void *owner) {
    const struct node *n = owner;
    n->calls->missed(n->owner);
}

static void on_answer(void *owner, struct cluster_publish *p, int err) {
    const struct node *n = owner;
    n->calls->answer(n->owner, container_of(p, struct node_publish, publish), err);
}

static void on_changed(void *owner) {
    const struct node *n = owner;
    n->calls->changed(n->owner);
}

static void on_lead(void *owner) {
    const struct node *n = owner;
    if (n->calls->lead) n->calls->lead(n->owner);
}

static int64_t on_answered(void *owner) {
    const struct node *n = owner;
    return n->calls->answered ? n->calls->answered(n->owner)
                              : INT64_MAX - CLUSTER_STUCK_MS;
}

static const struct machine_ops ops = {.dial = on_dial,
                                       .hang_up = on_hang_up,
                                       .call = on_call,
                                       .follow = on_follow,
                                       .release = on_release,
                                       .fill = on_fill,
                                       .page = on_page,
                                       .add = on_add,
                                       .drop = on_drop,
                                       .epoch = on_epoch,
                                       .missed = on_missed,
                                       .reaped = on_reaped,
                                       .answer = on_answer,
                                       .changed = on_changed,
                                       .lead = on_lead,
                                       .answered = on_answered};

/* ---- Time ------------------------------------------------------------------------------ */

/* The end of every turn: what broke is told, and the machine's next time is set. */
static void settle(struct node *n) {
    while (n->broken) {
        const char *why = n->broken;
        n->broken = NULL;
        n->calls->tell(n->owner, why, false);
        machine_broken(&n->machine);
    }
    int64_t next = machine_next(&n->machine), now = clock_boot_ms();
    double left = next > now ? (double)(next - now) / 1000 : 0;
    if (left > 1) left = 1; /* to see that it slept */
    ev_timer_stop(n->loop->ev, &n->timer);
    ev_timer_set(&n->timer, left, 0);
    ev_timer_start(n->loop->ev, &n->timer);
}

static enum machine_keep keep_of(const struct node *n) {
    if (link_keeps_by_wait(n->link)) return KEEP_BY_CALL;
    bool is_safe = link_server(n->link)->safe == SAFE_YES;
    return n->durable.on_disk && is_safe ? KEEP_BY_ANSWER : KEEP_NOT;
}

static void begin(struct node *n) {
    if (link_is_up(n->link)) machine_keeps(&n->machine, keep_of(n));
    machine_clock(&n->machine, clock_boot_ms());
}

static void on_timer(struct ev_loop *ev, struct ev_timer *timer, int events) {
    struct node *n = container_of(timer, struct node, timer);
    (void)ev, (void)events;
    begin(n);
    settle(n);
}

/* ---- The feed -------------------------------------------------------------------------- */

static enum cluster_entry_kind kind_of(const struct entry *e) {
    switch (e->kind) {
    case FEED_LOG:
    case FEED_KEYED:
    case FEED_STATE: return ENTRY_EVENT;
    case FEED_MARK: return ENTRY_MARK;
    case FEED_EPOCH: return ENTRY_EPOCH;
    case FEED_NOTICE: return ENTRY_NOTICE;
    default: return ENTRY_OTHER;
    }
}

static enum cluster_taken take(struct node *n, struct entry *e, bool makes_sense) {
    char epoch[EPOCH_LENGTH + 1];
    struct cluster_entry c = {.kind = makes_sense ? kind_of(e) : ENTRY_OTHER,
                              .seq = e->seq,
                              .channel = e->channel,
                              .event = e};
    if (!makes_sense) return machine_entry(&n->machine, &c);
    c.is_state = e->kind == FEED_STATE;
    c.chained = e->kind != FEED_STATE && !e->is_bound && e->prior > 0;
    c.before = e->prior;
    c.slot = e->slot;
    c.token = entry_token(e);
    if (c.kind == ENTRY_EPOCH) {
        snprintf(epoch, sizeof epoch, "%.*s", (int)e->event.n, e->event.p);
        c.epoch = epoch;
        c.base = e->prior;
    }
    enum cluster_taken taken = machine_entry(&n->machine, &c);
    bool has_values = e->kind == FEED_KEYED || e->kind == FEED_STATE;
    if (taken == ENTRY_TAKEN && has_values && n->calls->read) n->calls->read(n->owner, e);
    return taken;
}

static void wait_to_read(struct node *n, uint32_t ms) {
    n->reading = true; /* until on_again */
    ev_timer_stop(n->loop->ev, &n->again);
    n->again_ms = clock_boot_ms() + ms;
    ev_timer_set(&n->again, ms / 1000.0, 0);
    ev_timer_start(n->loop->ev, &n->again);
}

/* Of the last of those that came together. */
static void note_lag(struct node *n, const struct entry *e) {
    int64_t lag_ms = e->time_ms > 0 ? node_time_ms(n) - e->time_ms : 0;
    n->figures.read_lag_ms = lag_ms > 0 ? lag_ms : 0;
}

static void take_entries(struct node *n, const struct reply *entries, uint32_t many) {
    enum cluster_taken taken = ENTRY_TAKEN;
    if (many == 0) machine_idle(&n->machine);
    for (uint32_t i = 0; i < many && taken == ENTRY_TAKEN; i++) {
        struct entry e;
        bool makes_sense = entry_of_feed(&entries[i], &e) == 0;
        if (!makes_sense) n->figures.bad_entries++;
        if (e.seq <= n->machine.pos) /* 0: no number */
            node_break(n, "Redis sends entries of the feed that it was not asked for");
        else taken = take(n, &e, makes_sense);
        if (n->broken) return;
        if (i + 1 == many && makes_sense) note_lag(n, &e);
    }
    if (taken != ENTRY_LATER) return;
    wait_to_read(n, FOLLOW_AGAIN_MS);
}

static bool follows(const struct node *n) {
    return n->machine.state >= MACHINE_CATCHING_UP && n->machine.jump == 0;
}

static void read_again(struct node *n) {
    ev_timer_stop(n->loop->ev, &n->again);
    n->reading = false;
    if (follows(n)) follow(n);
}

static void on_again(struct ev_loop *ev, struct ev_timer *timer, int events) {
    struct node *n = container_of(timer, struct node, again);
    (void)ev, (void)events;
    begin(n);
    read_again(n);
    settle(n);
}

static void on_feed(struct node *n, uint64_t generation, const struct reply *r) {
    const struct reply *entries;
    uint32_t many = 0;
    n->reading = false;
    if (generation == n->generation) {
        enum script_answer answer = script_followed(r, &entries, &many);
        if (answer != SCRIPT_OK) node_break(n, node_refusal(answer));
        else take_entries(n, entries, many);
    }
    if (!n->reading && !n->broken && follows(n)) follow(n);
}

/* ---- The link -------------------------------------------------------------------------- */

static void on_reply(void *owner, enum link_lane lane, uint64_t tag,
                     const struct reply *r) {
    struct node *n = owner;
    begin(n);
    if (link_is_up(n->link)) { /* else it slept, and has hung up */
        if (lane == LINK_FEED) on_feed(n, tag, r);
        else if (lane == LINK_KEEP) node_on_kept(n, tag, r);
        else node_on_script(n, (unsigned)tag, r);
    }
    settle(n);
}

static void on_up(void *owner, const struct link_server *server) {
    struct node *n = owner;
    (void)server;
    begin(n);
    if (link_is_up(n->link)) machine_dialled(&n->machine);
    settle(n);
}

static void on_down(void *owner, const char *why, bool refused) {
    struct node *n = owner;
    is_down(n, why, refused);
    begin(n);
    machine_broken(&n->machine);
    settle(n);
}

static void on_warn(void *owner, const char *what) {
    const struct node *n = owner;
    n->calls->tell(n->owner, what, false);
}

static const struct link_calls link_calls = {
    .up = on_up, .reply = on_reply, .down = on_down, .warn = on_warn};

/* ---- A node ---------------------------------------------------------------------------- */

int node_new(struct node **out, struct loop *loop, const struct node_options *o,
             const struct node_calls *calls, void *owner) {
    struct node *n = mem_new(sizeof *n);
    char slot[CLUSTER_SLOT_LENGTH + 1];
    int err = link_new(&n->link, loop, &o->link, &link_calls, n);
    if (err < 0) {
        mem_free(n);
        return err;
    }
    n->loop = loop;
    n->calls = calls;
    n->owner = owner;
    n->feed_events = o->feed_events;
    n->by_hand = o->link.by_hand;
    n->durable = o->link.durable;
    snprintf(n->label, sizeof n->label, "%s", o->label);
    rand_base32(slot, CLUSTER_SLOT_LENGTH);
    machine_init(&n->machine, &ops, n, slot, o->seed);
    ev_timer_init(&n->timer, on_timer, 0, 0);
    ev_timer_init(&n->again, on_again, 0, 0);
    ev_timer_start(loop->ev, &n->timer);
    *out = n;
    return 0;
}

void node_free(struct node *n) {
    if (!n) return;
    ev_timer_stop(n->loop->ev, &n->timer);
    ev_timer_stop(n->loop->ev, &n->again);
    link_free(n->link);
    for (unsigned i = 0; i < CLUSTER_CALLS_MAX; i++) loading_drop(&n->loads[i]);
    machine_deinit(&n->machine);
    buf_free(&n->marks);
    mem_free(n);
}

const struct machine *node_machine(const struct node *n) {
    return &n->machine;
}

void node_publish(struct node *n, struct node_publish *p) {
    begin(n);
    p->publish.channel = p->event.channel;
    p->publish.is_state = p->event.kind != FEED_LOG && p->event.kind != FEED_KEYED;
    p->publish.bytes = (uint32_t)(p->event.channel.n + p->event.event.n + p->event.key.n +
                                  p->event.data.n + 200);
    machine_publish(&n->machine, &p->publish);
}

void node_flush(struct node *n) {
    if (list_empty(&n->machine.queue)) return;
    begin(n);
    machine_flush(&n->machine);
    settle(n);
}

bool node_warm(struct node *n, struct slice channel) {
    bool is_here = machine_warm(&n->machine, channel);
    settle(n);
    return is_here;
}

bool node_reload(struct node *n) {
    bool reloads = machine_reload(&n->machine);
    settle(n);
    return reloads;
}

void node_cool(struct node *n, struct slice channel) {
    machine_cool(&n->machine, channel);
}

void node_page(struct node *n, struct node_page *p) {
    begin(n);
    machine_page(&n->machine, &p->page);
    settle(n);
}

bool node_ask(struct node *n, uint64_t *ticket) {
    begin(n);
    bool asks = machine_ask(&n->machine, ticket);
    settle(n);
    return asks;
}

void node_give_up_lead(struct node *n, bool gives_up) {
    begin(n);
    machine_give_up_lead(&n->machine, gives_up);
    settle(n);
}

struct link *node_link(const struct node *n) {
    return n->link;
}

void node_step(struct node *n) {
    int64_t now = clock_boot_ms();
    begin(n);
    if (ev_is_active(&n->again) && now >= n->again_ms) read_again(n);
    if (now - n->looked_ms >= link_look_ms(n->link)) {
        n->looked_ms = now;
        link_look(n->link);
    }
    settle(n);
}

int64_t node_next(const struct node *n) {
    int64_t at = machine_next(&n->machine);
    if (ev_is_active(&n->again) && n->again_ms < at) at = n->again_ms;
    return at;
}

const struct node_figures *node_figures(const struct node *n) {
    return &n->figures;
}

int64_t node_time_ms(const struct node *n) {
    return clock_boot_ms() + n->ahead_ms;
}

const char *node_label(const struct node *n) {
    return n->label;
}

const char *node_began_by(const struct node *n) {
    return n->began_by;
}

const char *node_unlike(const struct node *n) {
    return n->unlike;
}

uint32_t node_count(const struct node *n) {
    return n->nodes;
}

struct slice node_marks(const struct node *n) {
    return buf_slice(&n->marks);
}
