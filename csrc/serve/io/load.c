/* Measuring and writing; see load.h. */
#include "serve/io/load.h"

#include "base/bounds.h"
#include "serve/cluster.h"

static void note(struct load *load, double *part, double value, const char *name) {
    *part = value;
    if (load->which && value <= load->worst) return;
    load->worst = value;
    load->which = name;
}

/* Of the fullest thread: each hands over requests by itself. */
static unsigned requests_of(const struct hub *hub) {
    unsigned most = 0;
    for (unsigned i = 0; i < hub->n_lanes; i++) {
        unsigned n =
            atomic_load_explicit(&hub->lanes[i]->queue.handed, memory_order_relaxed);
        if (n > most) most = n;
    }
    return most;
}

struct load load_of(const struct hub *hub) {
    struct load load = {0};
    double open = (double)hub_totals(hub).connections;
    note(&load, &load.connections, open / hub->options.max_connections, "connections");
    if (hub->max_descriptors > 0)
        note(&load, &load.descriptors,
             (open + DESCRIPTORS_OWN) / (double)hub->max_descriptors, "descriptors");
    note(&load, &load.requests, (double)requests_of(hub) / REQUESTS_QUEUED_MAX,
         "requests");
    return load;
}

bool load_has_room(struct hub *hub, const struct load *load) {
    bool was_full = atomic_load_explicit(&hub->full, memory_order_relaxed);
    bool full = load->worst >= (was_full ? LOAD_AGAIN : LOAD_FULL);
    if (full != was_full) atomic_store_explicit(&hub->full, full, memory_order_relaxed);
    return !full;
}

bool load_takes_more(struct hub *hub, const struct load *load) {
    bool stops = atomic_load(&hub->stopping) || atomic_load(&hub->draining);
    bool lacks = hub->cluster && cluster_lacks(hub->cluster) != CLUSTER_LACKS_NOTHING;
    return load_has_room(hub, load) && !stops && !lacks;
}

static double shown(double part) {
    return part < 1 ? part : 1;
}

int load_write(struct buf *b, const struct load *load, bool ready, bool as_weight) {
    if (as_weight) {
        int weight = (int)(100.5 - 100 * shown(load->worst));
        return ready ? buf_addf(b, "%d%%\n", weight > 0 ? weight : 1)
                     : buf_adds(b, "0%\n");
    }
    return buf_addf(b,
                    "{\"load\":%.3f,\"ready\":%s,\"most\":\"%s\",\"connections\":%.3f,"
                    "\"descriptors\":%.3f,\"requests\":%.3f}\n",
                    shown(load->worst), ready ? "true" : "false", load->which,
                    shown(load->connections), shown(load->descriptors),
                    shown(load->requests));
}
