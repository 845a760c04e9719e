/* Defaults of a server. */
#include "serve/options.h"

#include "base/bounds.h"
#include "base/mem.h"

#include <unistd.h>

static void set_default(int64_t *value, int64_t otherwise) {
    if (*value <= 0) *value = otherwise;
}

static unsigned default_threads(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores <= 2 ? 1 : (unsigned)cores - 1;
}

void serve_options_defaults(struct serve_options *o) {
    if (!o->host) o->host = mem_strndup("127.0.0.1", 9);
    if (o->io_threads == 0) o->io_threads = default_threads();
    if (o->io_threads > IO_THREADS_MAX) o->io_threads = IO_THREADS_MAX;
    if (o->max_body == 0) o->max_body = MAX_BODY_DEFAULT;
    if (o->memory == 0) o->memory = MEMORY_DEFAULT;
    if (o->max_connections == 0) o->max_connections = CONNECTIONS_MAX_DEFAULT;
    set_default(&o->heartbeat_ms, HEARTBEAT_MS);
    set_default(&o->head_timeout_ms, HEAD_TIMEOUT_MS);
    set_default(&o->idle_timeout_ms, IDLE_TIMEOUT_MS);
    set_default(&o->body_timeout_ms, BODY_TIMEOUT_MS);
    set_default(&o->request_timeout_ms, REQUEST_TIMEOUT_MS);
    set_default(&o->stall_timeout_ms, STALL_TIMEOUT_MS);
    set_default(&o->late_head_ms, LATE_HEAD_MS);
    if (o->drain_ms < 0) o->drain_ms = DRAIN_MS;
}

void serve_options_free(struct serve_options *o) {
    for (size_t i = 0; i < o->n_hosts; i++) mem_free((char *)o->hosts[i].p);
    mem_free(o->hosts);
    mem_free(o->host);
    mem_free(o->control);
    mem_free(o->admin_key);
    mem_free(o->metrics_host);
    mem_free(o->tls_host);
    for (int i = 0; i < o->n_tls; i++) {
        mem_free((char *)o->tls[i].certificate);
        mem_free((char *)o->tls[i].key);
    }
    mem_free(o->tls);
    *o = (struct serve_options){0};
}
