/* Pages of histories, for readers of them; see machine.h. */
#include "cluster/inner.h"

static struct cluster_page *page_of(const struct list *node) {
    return container_of(node, struct cluster_page, node);
}

void machine_page(struct machine *m, struct cluster_page *p) {
    list_init(&p->node);
    list_add(&m->pages, &p->node);
    pages_ask(m);
}

static void send_page(struct machine *m, struct cluster_page *p) {
    struct cluster_call call = {.kind = CALL_PAGE, .page = p};
    list_remove(&p->node);
    list_add(&m->paging, &p->node);
    m->n_paging++;
    machine_call(m, &call)->page = p;
}

void pages_ask(struct machine *m) {
    while (machine_is_joined(m) && !list_empty(&m->pages) &&
           m->n_paging < CLUSTER_PAGES && machine_has_room(m))
        send_page(m, page_of(m->pages.next));
}

void pages_read(struct machine *m, const struct machine_sent *sent,
                const struct cluster_reply *reply) {
    m->n_paging--;
    list_remove(&sent->page->node);
    m->ops->page(m->owner, sent->page, reply->page);
}

void pages_broken(struct machine *m) {
    while (!list_empty(&m->pages)) { /* behind those that have waited longer */
        struct list *at = m->pages.next;
        list_remove(at);
        list_add(&m->paging, at);
    }
    if (!PLANTED(684)) list_take_all(&m->pages, &m->paging);
    list_init(&m->paging);
    m->n_paging = 0;
}
