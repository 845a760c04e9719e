/* The shared part of a server; see hub.h. */
#include "serve/hub.h"

#include "base/clock.h"
#include "base/rand.h"
#include "net/tls_server.h"
#include "serve/to_io.h"

#include <sys/resource.h>

void hub_init(struct hub *hub, struct serve_options *options, struct loop *app) {
    *hub = (struct hub){.options = *options, .app = app};
    *options = (struct serve_options){0};
    serve_options_defaults(&hub->options);
    pthread_mutex_init(&hub->gate, NULL);
    pthread_mutex_init(&hub->clients_lock, NULL);
    pools_init(&hub->clients);
    struct rlimit files;
    bool limited =
        getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY;
    hub->max_descriptors = limited ? files.rlim_cur : 0;
    limits_init(&hub->limits);
    rand_bytes(hub->poll_key, sizeof hub->poll_key);
    mailbox_init(&hub->deferred, app->mailbox.owner);
    atomic_init(&hub->news_wanted, true);
    seq_init(&hub->seq, NULL, 0, io_on_frame);
}

void hub_deinit(struct hub *hub) {
    mailbox_deinit(&hub->deferred);
    seq_deinit(&hub->seq);
    limits_deinit(&hub->limits);
    tls_server_free(hub->tls);
    pthread_mutex_destroy(&hub->gate);
    pthread_mutex_destroy(&hub->clients_lock);
    pools_deinit(&hub->clients);
    serve_options_free(&hub->options);
}

void hub_add(struct hub *hub, struct lane *lane) {
    assert(hub->n_lanes < IO_THREADS_MAX);
    hub->lanes[hub->n_lanes++] = lane;
    seq_add_target(&hub->seq, &lane->loop->mailbox);
}

void hub_clear(struct hub *hub) {
    hub->n_lanes = hub->seq.n = 0;
}

void hub_note_stop(struct hub *hub) {
    int64_t none = 0;
    atomic_compare_exchange_strong(&hub->stop_ms, &none, clock_ms());
}

static uint64_t read_count(const _Atomic uint64_t *count) {
    return atomic_load_explicit(count, memory_order_relaxed);
}

struct hub_totals hub_totals(const struct hub *hub) {
    struct hub_totals sum = {0};
    for (unsigned i = 0; i < hub->n_lanes; i++) {
        const struct lane_counters *c = &hub->lanes[i]->counters;
        sum.requests += read_count(&c->requests);
        sum.accepted += read_count(&c->accepted);
        sum.connections += read_count(&c->connections);
        sum.streams += read_count(&c->streams);
        sum.delivered += read_count(&c->delivered);
        sum.delivered_bytes += read_count(&c->delivered_bytes);
        sum.slow += read_count(&c->slow);
        sum.compressions += read_count(&c->compressions);
        sum.compressed_from += read_count(&c->compressed_from);
        sum.compressed_to += read_count(&c->compressed_to);
        sum.rings += read_count(&c->rings);
        sum.tls_handshakes += read_count(&c->tls_handshakes);
        sum.tls_resumed += read_count(&c->tls_resumed);
        for (int k = 0; k < TLS_FAILURES; k++)
            sum.tls_failed += read_count(&c->tls_failed[k]);
    }
    return sum;
}
