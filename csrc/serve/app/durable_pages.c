/* Pages of a durable log for the I/O threads: what fan/history.h asks for is read by the
 * store's reading thread, made into frames there, and posted to the thread that asked. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/status.h"
#include "serve/app/durable_inner.h"
#include "serve/to_io.h"

/* A question under way. */
struct page {
    struct store_read read;
    struct page_request *request;
    struct lane_history *history;
};

int64_t durable_boot_ms(void) {
    return (int64_t)(clock_wall() * 1000) - clock_ms();
}

struct frame_row durable_row(struct slice channel, const struct store_row *r,
                             int64_t boot_ms) {
    return (struct frame_row){.event = {.channel = channel,
                                        .name = r->name,
                                        .key = r->key,
                                        .data = r->data,
                                        .remove = r->remove},
                              .seq = r->seq,
                              .at_ms = r->at_ms,
                              .expires_ms = r->expires_ms,
                              .boot_ms = boot_ms};
}

/* All of them, or none. */
static int make_frames(struct page_request *r, const struct store_page *page,
                       const char *epoch) {
    int64_t boot_ms = durable_boot_ms();
    if (page->n == 0) return 0;
    r->frames = mem_try(page->n * sizeof *r->frames);
    if (!r->frames) return E_NOMEM;
    int err = 0;
    for (; err == 0 && r->n < page->n; r->n += err == 0) {
        struct frame_row row = durable_row(r->channel, &page->rows[r->n], boot_ms);
        err = frame_restore(&r->frames[r->n], &row, true, epoch);
    }
    if (err == 0) return 0;
    while (r->n > 0) frame_unref(r->frames[--r->n]);
    mem_free(r->frames);
    r->frames = NULL;
    return err;
}

/* [the store's reading thread] */
static void store_on_page(void *owner, struct store_read *read) {
    struct page *p = owner;
    struct page_request *r = p->request;
    struct lane_history *h = p->history;
    r->err = read->err;
    if (r->err == 0) r->err = make_frames(r, &read->page, h->durable->hub->seq.epoch);
    r->above = read->above;
    r->floor = read->page.floor;
    r->given = read->page.upto;
    store_page_free(&read->page);
    mem_free(p);
    mailbox_post(&h->lane->loop->mailbox, &r->message, io_on_page);
}

/* [the I/O thread] */
static int on_read(void *owner, struct page_request *r) {
    struct lane_history *h = owner;
    if (!h->durable->store) return E_CLOSED;
    struct page *p = mem_try(sizeof *p);
    if (!p) return E_NOMEM;
    *p = (struct page){.request = r,
                       .history = h,
                       .read = {.kind = STORE_READ_PAGE,
                                .channel = r->channel,
                                .above = r->above,
                                .head = r->upto,
                                .newest = r->newest,
                                .newest_head = r->joined,
                                .rows_max = r->events_max,
                                .bytes_max = r->bytes_max,
                                .done = store_on_page,
                                .owner = p}};
    int err = store_read(h->durable->store, &p->read);
    if (err < 0) mem_free(p);
    return err;
}

const struct fan_history *durable_history(struct durable *d, struct lane *lane) {
    struct lane_history *h = &d->histories[lane->index];
    *h = (struct lane_history){
        .history = {.read = on_read, .owner = h}, .durable = d, .lane = lane};
    return &h->history;
}
