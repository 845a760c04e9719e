/* The options of a server. Times in milliseconds; zero means the default
 * of bounds.h where there is one. */
#ifndef SLUICE_SERVE_OPTIONS_H
#define SLUICE_SERVE_OPTIONS_H

#include "base/bounds.h"
#include "base/slice.h"
#include "net/tls_server.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether what streams are sent goes through a ring (net/ring.h) of each I/O thread. */
enum ring_use {
    RING_OFF,
    RING_AUTO, /* where there is one; the log says why not */
    RING_ON    /* without one the server does not start */
};

struct serve_options {
    char *host; /* owned, as are the names of hosts */
    uint16_t port;
    /* Sockets that listen already, instead of host and port: borrowed, they stay open. */
    int handed[HANDED_MAX];
    unsigned n_handed;
    int tls_handed;      /* the one that speaks TLS, instead of tls_port; 0: none */
    unsigned io_threads; /* 0: the cores less one, at least one */
    int64_t heartbeat_ms, drain_ms;
    int64_t head_timeout_ms, idle_timeout_ms, body_timeout_ms;
    int64_t request_timeout_ms, stall_timeout_ms, late_head_ms;
    uint64_t max_body;
    uint64_t memory; /* of events in all channels */
    uint32_t max_connections;
    char *control; /* path of the Unix socket; "{port}" in it is replaced; NULL: none */
    bool control_needed; /* a server without it does not start */
    char *metrics_host;  /* owned: where scrapers and agents have ports of their own */
    bool has_metrics, has_agent;       /* whether they have */
    uint16_t metrics_port, agent_port; /* 0: a free one */
    uint16_t tls_port;                 /* 0: a free one */
    int n_tls;                         /* pairs in tls; 0: no TLS */
    struct tls_files *tls; /* owned, with their paths: certificates and keys */
    char *tls_host;        /* NULL: as host */
    char *admin_key;       /* opens "/-/" on the TCP port; NULL: nothing does */
    bool trace;            /* requests belong to traces: see trace.h */
    bool h2c;              /* HTTP/2 on the plain port, for clients that know it */
    bool tls_redirect;     /* what comes over the plain port is sent to that of TLS */
    bool trust_proxy;      /* take the client's address from X-Forwarded-For */
    bool rehearsal;        /* no threads, no listeners: see rehearsal.h */
    enum ring_use io_uring;
    bool delay_writes; /* for specs: what streams are sent leaves at the end of a turn */
    bool signals;      /* TERM, INT and HUP are ours */
    struct slice *hosts; /* names in Host that are answered besides localhost */
    size_t n_hosts;
};

void serve_options_defaults(struct serve_options *o);
void serve_options_free(struct serve_options *o);

#endif
