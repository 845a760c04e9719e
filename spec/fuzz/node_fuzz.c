/* Fuzz target for csrc/cluster/node.c and what is below it: a server that says what is true, and between that
 * whatever it likes, on any of its connections. What a node releases has rising numbers, what it loads too, each
 * publish is answered once, and nothing is left behind.
 *
 * Input: one step after the other (see step). */
#include "base/bounds.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cluster/node.h"
#include "cluster/wire.h"

#include <stdio.h>
#include <stdlib.h>

/* Holds with assertions off as well. */
#define MUST(fact)                                                             \
    do {                                                                       \
        if (!(fact)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); \
            abort();                                                           \
        }                                                                      \
    } while (0)

#define REPLIES_MAX 64 /* that a connection is owed; more are forgotten */
#define EPOCH "aaaaaaaaaaaaa"
#define ID_REST "123456789012345678901234567890123456789"
#define ID "0123456789012345678901234567890123456789"

struct owed { /* the true replies of a connection */
    struct wire *wire;
    struct resp *commands;
    struct buf replies[REPLIES_MAX];
    unsigned n;
};

struct world {
    struct loop loop;
    struct node *node;
    struct owed owed[LINK_LANES];
    struct list publishes;
    uint64_t released, seq;
    int64_t now_ms;
};

struct publish {
    struct list node;
    struct node_publish inner;
};

/* ---- The owner of the node ---------------------------------------------------------------- */

static struct node_policy on_policy(void *owner, struct slice channel) {
    (void)owner;
    return (struct node_policy){channel.n ? *channel.p : 'l', 100, 600};
}

static bool on_release(void *owner, const struct entry *e) {
    struct world *w = owner;
    MUST(e->seq > w->released && e->data.n <= EVENT_BYTES_MAX);
    w->released = e->seq;
    return true;
}

static void on_fill(void *owner, struct fill *f, bool lost, bool more) {
    uint64_t above = 0;
    (void)owner, (void)lost, (void)more;
    for (const struct list *at = f->events.next; at != &f->events; at = at->next) {
        const struct fill_entry *e = container_of(at, struct fill_entry, node);
        MUST(e->entry.seq > above);
        above = e->entry.seq;
    }
    for (const struct list *at = f->values.next; at != &f->values; at = at->next)
        MUST(container_of(at, struct fill_entry, node)->entry.seq > 0);
    fill_free(f);
}

static void on_epoch(void *owner, uint64_t base) {
    struct world *w = owner;
    if (base < w->released) w->released = base;
}

static void on_nothing(void *owner) {
    (void)owner;
}

static void on_answer(void *owner, struct node_publish *inner, int err) {
    struct publish *p = container_of(inner, struct publish, inner);
    (void)owner, (void)err;
    list_remove(&p->node);
    mem_free(p);
}

static void on_tell(void *owner, const char *why, bool refused) {
    (void)owner, (void)refused;
    MUST(why && *why);
}

static const struct node_calls CALLS = {.policy = on_policy,
                                        .release = on_release,
                                        .fill = on_fill,
                                        .epoch = on_epoch,
                                        .missed = on_nothing,
                                        .reaped = on_nothing,
                                        .answer = on_answer,
                                        .changed = on_nothing,
                                        .tell = on_tell};

/* ---- What is true -------------------------------------------------------------------------- */

static void add_bulk(struct buf *out, const char *text) {
    MUST(buf_addf(out, "$%zu\r\n%s\r\n", strlen(text), text) == 0);
}

static void add_list(struct buf *out, const char *const *texts) {
    unsigned n = 0;
    while (texts[n]) n++;
    MUST(buf_addf(out, "*%u\r\n", n) == 0);
    for (unsigned i = 0; i < n; i++) add_bulk(out, texts[i]);
}

#define ADD_LIST(out, ...) add_list(out, (const char *const[]){__VA_ARGS__, NULL})

/* All calls have as many numbers of keys and words as they have: a publish is given one number. */
static void add_script(struct world *w, struct buf *out, enum script which) {
    char seq[24];
    if (which == SCRIPT_PUB) w->seq++;
    snprintf(seq, sizeof seq, "%llu", (unsigned long long)w->seq);
    switch (which) {
    case SCRIPT_JOIN:
        ADD_LIST(out, "OK", EPOCH, "f1", seq, "", "1", ID, ID, "0", "1000000", "0");
        return;
    case SCRIPT_PUB: ADD_LIST(out, "OK", seq); return;
    case SCRIPT_BEAT:
        ADD_LIST(out, "OK", seq, "1000000", "0", "1", "ab", "ab", "1", "5000");
        return;
    case SCRIPT_LOAD:
        MUST(buf_addf(out, "*5\r\n+OK\r\n+%s\r\n+1\r\n+0\r\n", seq) == 0);
        MUST(buf_adds(out, "*6\r\n+0\r\n+0\r\n+0\r\n+0\r\n*0\r\n*0\r\n") == 0);
        return;
    case SCRIPT_PROBE: ADD_LIST(out, "OK"); return;
    default: ADD_LIST(out, "OK", seq, "1000000", "0", "1"); return;
    }
}

static void add_reply(struct world *w, struct buf *out, const struct reply *command) {
    struct slice name = reply_text(command, 0), sha = reply_text(command, 1);
    if (slice_eq_lit(name, "INFO")) {
        add_bulk(out, "run_id:" ID "\r\nmaster_replid:" ID "\r\nredis_version:7.2.0\r\n"
                      "role:master\r\naof_enabled:1\r\n");
    } else if (slice_eq_lit(name, "CONFIG")) {
        ADD_LIST(out, "appendonly", "yes", "appendfsync", "always");
    } else if (slice_eq_lit(name, "SCRIPT")) {
        char digest[] = "A" ID_REST;
        for (int i = 0; i < SCRIPTS; i++)
            if (slice_eq(reply_text(command, 2), slice_str(script_text((enum script)i))))
                digest[0] = (char)('A' + i);
        add_bulk(out, digest);
    } else if (slice_eq_lit(name, "EVALSHA") && sha.n == 40) {
        add_script(w, out, (enum script)(sha.p[0] - 'A'));
    } else if (slice_eq_lit(name, "XREAD")) {
        MUST(buf_adds(out, "*-1\r\n") == 0);
    } else if (slice_eq_lit(name, "WAITAOF")) {
        MUST(buf_adds(out, "*2\r\n:1\r\n:0\r\n") == 0);
    } else {
        MUST(buf_adds(out, "+OK\r\n") == 0);
    }
}

/* ---- Connections --------------------------------------------------------------------------- */

static void forget(struct owed *o) {
    for (unsigned i = 0; i < o->n; i++) buf_free(&o->replies[i]);
    o->n = 0;
    resp_free(o->commands);
    o->commands = NULL;
    o->wire = NULL;
}

static void read_commands(struct world *w, struct owed *o) {
    struct buf said = {0};
    const struct reply *command;
    wire_take(o->wire, &said);
    MUST(resp_feed(o->commands, buf_slice(&said)) == 0);
    while (resp_next(o->commands, &command) > 0) {
        if (o->n == REPLIES_MAX) continue;
        o->replies[o->n] = (struct buf){0};
        add_reply(w, &o->replies[o->n++], command);
    }
    buf_free(&said);
}

/* What is new: connections, and what they say. */
static void look(struct world *w) {
    for (unsigned lane = 0; lane < LINK_LANES; lane++) {
        struct owed *o = &w->owed[lane];
        struct wire *wire = link_wire(node_link(w->node), (enum link_lane)lane);
        if (wire != o->wire || (wire && !wire_is_open(wire))) forget(o);
        if (!wire) continue;
        if (!o->wire) o->commands = resp_new();
        o->wire = wire;
        if (!wire_is_open(wire)) wire_accept(wire);
        if (link_wire(node_link(w->node), (enum link_lane)lane) == wire)
            read_commands(w, o);
    }
}

/* The first reply that is owed is dropped, and that said. */
static void say(struct world *w, enum link_lane lane, struct slice bytes, bool is_true) {
    struct owed *o = &w->owed[lane];
    struct buf first = {0};
    if (!o->wire || link_wire(node_link(w->node), lane) != o->wire) return;
    if (o->n > 0) {
        first = o->replies[0];
        memmove(o->replies, o->replies + 1, --o->n * sizeof *o->replies);
    } else if (is_true) {
        return;
    }
    wire_hear(o->wire, is_true ? buf_slice(&first) : bytes);
    buf_free(&first);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static const char CHANNELS[] = "lks";

static void publish(struct world *w, unsigned which) {
    struct publish *p = mem_new(sizeof *p);
    struct slice channel = slice_of(CHANNELS + which % 3, 1);
    p->inner.publish.durable = which & 64;
    p->inner.event = (struct script_event){.kind = *channel.p,
                                           .channel = channel,
                                           .event = slice_str("message"),
                                           .key = slice_str(which % 3 ? "key" : ""),
                                           .data = slice_str("1"),
                                           .history = 100,
                                           .ttl_s = 600,
                                           .keys_max = 10};
    list_add(&w->publishes, &p->node);
    node_publish(w->node, &p->inner);
    node_flush(w->node);
}

static struct slice take(struct slice *in, size_t n) {
    if (n > in->n) n = in->n;
    struct slice out = slice_of(in->p, n);
    *in = slice_of(in->p + n, in->n - n);
    return out;
}

static unsigned take_byte(struct slice *in) {
    struct slice byte = take(in, 1);
    return byte.n ? (unsigned char)*byte.p : 0;
}

static void pass(struct world *w, int64_t ms) {
    w->now_ms += ms;
    clock_hold(w->now_ms * 1000, 0);
}

static void step(struct world *w, struct slice *in) {
    unsigned what = take_byte(in), n = take_byte(in);
    struct slice channel = slice_of(CHANNELS + n % 3, 1);
    switch (what % 8) {
    case 0:
        for (unsigned i = 0; i <= n % 32; i++) {
            for (unsigned lane = 0; lane < LINK_LANES; lane++)
                say(w, (enum link_lane)lane, channel, true);
            look(w);
        }
        break;
    case 1: say(w, LINK_SCRIPTS, take(in, n + 256 * (what / 8 % 4)), false); break;
    case 2: say(w, LINK_FEED, take(in, n + 256 * (what / 8 % 4)), false); break;
    case 3: say(w, LINK_KEEP, take(in, n), false); break;
    case 4: pass(w, n * 16); break;
    case 5: publish(w, n); break;
    case 6:
        if (n & 64) node_cool(w->node, channel);
        else (void)node_warm(w->node, channel);
        break;
    case 7:
        if (w->owed[n % LINK_LANES].wire &&
            link_wire(node_link(w->node), (enum link_lane)(n % LINK_LANES)))
            wire_cut(link_wire(node_link(w->node), (enum link_lane)(n % LINK_LANES)),
                     "cut");
        break;
    }
    node_step(w->node);
    look(w);
}

static void begin(struct world *w) {
    struct node_options o = {.link = {.path = "here",
                                      .name = "test",
                                      .client = "fuzz",
                                      .durable = {true, 0, 100},
                                      .by_hand = true},
                             .label = "fuzz",
                             .seed = 1};
    *w = (struct world){.seq = 10};
    list_init(&w->publishes);
    MUST(loop_init(&w->loop, w) == 0);
    pass(w, 1000000);
    MUST(node_new(&w->node, &w->loop, &o, &CALLS, w) == 0);
    for (unsigned i = 0; i < 40 && node_machine(w->node)->state != MACHINE_LIVE; i++) {
        struct slice truth = {"\0\1", 2};
        step(w, &truth);
        pass(w, 10);
    }
    MUST(node_machine(w->node)->state == MACHINE_LIVE);
}

static void end(struct world *w) {
    for (unsigned lane = 0; lane < LINK_LANES; lane++) forget(&w->owed[lane]);
    node_free(w->node);
    while (!list_empty(&w->publishes)) {
        struct publish *p = container_of(w->publishes.next, struct publish, node);
        list_remove(&p->node);
        mem_free(p);
    }
    loop_deinit(&w->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world w;
    struct slice in = slice_of((const char *)data, size);
    begin(&w);
    while (in.n > 0) step(&w, &in);
    end(&w);
    return 0;
}
