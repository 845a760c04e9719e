/* Files and sentences; see wire_tls.h. */
#include "cluster/wire_tls.h"

#include <stdio.h>

struct tls_client *wire_tls_read(const struct wire_tls_options *o, char *why,
                                 size_t size) {
    char problem[256];
    struct tls_client *c = tls_client_new(o->ca, false, problem, sizeof problem);
    if (!c) {
        snprintf(why, size, "%s%s", o->ca ? "--cluster-ca: " : "", problem);
        return NULL;
    }
    if (!o->cert || tls_client_show(c, o->cert, o->key, problem, sizeof problem))
        return c;
    snprintf(why, size, "--cluster-cert and --cluster-key: %s", problem);
    tls_client_free(c);
    return NULL;
}

bool wire_tls_explain(const struct tls *t, const char *host, char *why, size_t size) {
    const char *text = tls_fault_text(t);
    switch (tls_fault(t)) {
    case TLS_FAULT_NONE: return false;
    case TLS_FAULT_PLAIN:
        snprintf(why, size,
                 "it speaks no TLS on this port: name its tls-port, or write redis: in "
                 "place of rediss:");
        break;
    case TLS_FAULT_TRUST:
        snprintf(why, size,
                 "nobody who is trusted vouches for its certificate (%s): name the "
                 "file of its CA with --cluster-ca",
                 text);
        break;
    case TLS_FAULT_EXPIRED:
        snprintf(why, size, "its certificate has expired: renew it there");
        break;
    case TLS_FAULT_EARLY:
        snprintf(why, size,
                 "its certificate is not valid yet: look at the clocks of both machines");
        break;
    case TLS_FAULT_NAME:
        snprintf(why, size,
                 "its certificate is not for '%s': name what it is for with "
                 "--cluster-sni",
                 host);
        break;
    case TLS_FAULT_WANTED:
        snprintf(why, size,
                 "it wants a certificate of ours: --cluster-cert and --cluster-key (or "
                 "set tls-auth-clients no there)");
        break;
    case TLS_FAULT_OURS:
        snprintf(why, size,
                 "it does not take the certificate of --cluster-cert (%s): its "
                 "tls-ca-cert-file has to vouch for that",
                 text);
        break;
    case TLS_FAULT_OTHER: snprintf(why, size, "TLS broke (%s)", text); break;
    }
    return true;
}
