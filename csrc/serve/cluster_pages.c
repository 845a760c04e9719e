/* Pages of what durable logs have beyond memory, for the I/O threads: what fan/history.h asks for is read from
 * Redis, made into frames on the cluster's thread, and posted to the thread that asked. An epoch that begins
 * meanwhile is posted before the page, and the page is wanted no more. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/status.h"
#include "serve/cluster_inner.h"
#include "serve/to_io.h"

/* A question under way. */
struct page {
    struct message message;
    struct list node; /* in cluster->pages */
    struct node_page inner;
    struct page_request *request;
    struct lane *lane;
};

static void answer(struct page *p, int err) {
    struct page_request *r = p->request;
    r->err = err;
    list_remove(&p->node);
    mailbox_post(&p->lane->loop->mailbox, &r->message, io_on_page);
    mem_free(p);
}

/* ---- Answers ----------------------------------------------------------------------------- */

/* What is too old is as good as trimmed. */
static int add_frame(struct page_request *r, const struct entry *e,
                     const struct news_fill *how) {
    if (e->kind == FEED_MARK) return 0;
    if (news_is_old(e, how)) {
        if (e->seq > r->floor) r->floor = e->seq;
        return 0;
    }
    r->frames[r->n] = news_frame(r->channel, e, how);
    if (!r->frames[r->n]) return E_NOMEM;
    r->n++;
    return 0;
}

/* All of them, or none. */
static int make_frames(struct page_request *r, const struct reply *history,
                       const struct news_fill *how) {
    int err = 0;
    r->frames = mem_try((history->n + 1) * sizeof *r->frames);
    if (!r->frames) return E_NOMEM;
    for (uint32_t i = 0; i < history->n && err == 0; i++) {
        struct entry e;
        err = entry_of_history(&history->items[i], &e);
        if (err == 0) err = add_frame(r, &e, how);
    }
    if (err == 0) return 0;
    while (r->n > 0) frame_unref(r->frames[--r->n]);
    mem_free(r->frames);
    r->frames = NULL;
    return err;
}

void cluster_on_page(void *owner, struct node_page *inner,
                     const struct script_paged *read) {
    struct cluster *c = owner;
    struct page *p = container_of(inner, struct page, inner);
    struct page_request *r = p->request;
    struct policy policy = cluster_policy(c, r->channel);
    int64_t now_ms = clock_ms();
    struct news_fill how = {.epoch = node_machine(c->node)->epoch,
                            .clock = {node_time_ms(c->node) - now_ms, now_ms},
                            .ttl_ms = policy.ttl_ms};
    r->floor = read->floor;
    r->given = read->given;
    int err = make_frames(r, read->history, &how);
    if (r->newest > 0) r->above = read->above > r->floor ? read->above : r->floor;
    answer(p, err);
}

/* ---- Questions --------------------------------------------------------------------------- */

static void on_page(void *owner, struct message *message) {
    struct cluster *c = owner;
    struct page *p = container_of(message, struct page, message);
    list_add(&c->pages, &p->node);
    node_page(c->node, &p->inner);
}

/* [the I/O thread] */
static int on_read(void *owner, struct page_request *r) {
    struct cluster_history *h = owner;
    if (!h->lane->hub->cluster) return E_CLOSED;
    struct page *p = mem_try(sizeof *p);
    if (!p) return E_NOMEM;
    *p = (struct page){.request = r,
                       .lane = h->lane,
                       .inner.ask = {.channel = r->channel,
                                     .above = r->above,
                                     .upto = r->upto,
                                     .joined = r->joined,
                                     .newest = r->newest,
                                     .events = r->events_max,
                                     .bytes = r->bytes_max}};
    list_init(&p->node);
    mailbox_post(&h->cluster->loop.mailbox, &p->message, on_page);
    return 0;
}

const struct fan_history *cluster_history(struct cluster *c, struct lane *lane) {
    struct cluster_history *h = &c->histories[lane->index];
    *h = (struct cluster_history){{.read = on_read, .owner = h}, c, lane};
    return &h->history;
}

void cluster_drop_pages(struct cluster *c) {
    while (!list_empty(&c->pages)) {
        struct page *p = container_of(c->pages.next, struct page, node);
        list_remove(&p->inner.page.node);
        answer(p, E_CLOSED);
    }
}
