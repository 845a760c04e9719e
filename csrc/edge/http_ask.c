/* From an ask to a handle of curl; see http_ask.h. */
#include "edge/http_ask.h"

#include "base/bounds.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/version.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static bool is_token(struct slice s) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                    (c >= 'a' && c <= 'z') || (c && strchr(others, c));
        if (!good) return false;
    }
    return s.n > 0;
}

static bool is_value(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static int check_scheme(const char *url, const char *wanted, const char *secure) {
    char *scheme = NULL;
    CURLU *u = curl_url();
    if (!u) return E_NOMEM;
    int err =
        curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, wanted) == 0 || strcmp(scheme, secure) == 0)
            ? 0
            : E_INVAL;
    curl_free(scheme);
    curl_url_cleanup(u);
    return err;
}

int http_ask_check_url(struct slice url, const char *scheme, const char *secure) {
    if (url.n > HTTP_OUT_URL_MAX) return E_TOOBIG;
    if (!is_value(url)) return E_INVAL;
    char *text = mem_strndup(url.p, url.n);
    int err = check_scheme(text, scheme, secure);
    mem_free(text);
    return err;
}

int http_ask_check(const struct http_ask *ask) {
    if (!is_token(ask->method) || ask->method.n > HTTP_METHOD_MAX) return E_INVAL;
    for (size_t i = 0; i < ask->n_fields; i++)
        if (!is_token(ask->fields[i].name) || !is_value(ask->fields[i].value))
            return E_BADFIELD;
    return http_ask_check_url(ask->url, "http", "https");
}

static int add_line(struct curl_slist **fields, const char *line) {
    struct curl_slist *list = curl_slist_append(*fields, line);
    if (!list) return E_NOMEM;
    *fields = list;
    return 0;
}

/* "Name: value"; curl wants "Name;" for an empty one, and "Name:" leaves its own away. */
static int add_fields(const struct http_ask *ask, struct curl_slist **fields) {
    bool typed = false, agent = false;
    int err = add_line(fields, "Expect:");
    for (size_t i = 0; i < ask->n_fields && err == 0; i++) {
        struct slice name = ask->fields[i].name, value = ask->fields[i].value;
        struct buf line = {0};
        typed |= name.n == 12 && strncasecmp(name.p, "content-type", 12) == 0;
        agent |= name.n == 10 && strncasecmp(name.p, "user-agent", 10) == 0;
        err = buf_addf(&line, "%.*s%s%.*s", (int)name.n, name.p, value.n ? ": " : ";",
                       (int)value.n, value.p ? value.p : "");
        if (err == 0) err = buf_add(&line, "", 1);
        if (err == 0) err = add_line(fields, line.p);
        buf_free(&line);
    }
    if (err == 0 && !typed) err = add_line(fields, "Content-Type:");
    if (err == 0 && !agent) err = add_line(fields, "User-Agent: sluice/" SLUICE_VERSION);
    return err;
}

/* No child of the app inherits a connection. */
static curl_socket_t open_socket(void *context, curlsocktype purpose,
                                 struct curl_sockaddr *a) {
    (void)context, (void)purpose;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* Whom to trust in place of the system, as programs with OpenSSL are told it. */
static void set_trusted(CURL *e) {
    const char *file = getenv("SSL_CERT_FILE"); /* NOLINT(concurrency-mt-unsafe) */
    if (!file || file[0] == '\0') return;
    curl_easy_setopt(e, CURLOPT_CAINFO, file);
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
}

void http_ask_limits(const struct http_ask *ask, CURL *e) {
#if LIBCURL_VERSION_NUM >= 0x075700
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* wait for no resolver thread */
#endif
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, ask->unverified ? 0L : 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, ask->unverified ? 0L : 2L);
    set_trusted(e);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)ask->timeout_ms);
    int64_t connect_ms = ask->idle_ms > 0 ? ask->idle_ms : ask->timeout_ms;
    if (connect_ms > 0) curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
}

static int set_request(const struct http_ask *ask, CURL *e) {
    char *url = mem_strndup(ask->url.p, ask->url.n);
    char *method = mem_strndup(ask->method.p, ask->method.n);
    bool good = curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK;
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (ask->has_body) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->body.n);
        good &= curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS,
                                 ask->body.p ? ask->body.p : "") == CURLE_OK;
    }
    if (strcmp(method, "HEAD") != 0)
        good &= curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
    mem_free(method);
    mem_free(url);
    return good ? 0 : E_NOMEM;
}

/* A connection of its own, to the host itself: one that is kept or a proxy's says nothing. */
static void connect_only(CURL *e) {
    curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
}

static void set_protocol(CURL *e) {
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

int http_ask_apply(const struct http_ask *ask, CURL *easy, struct curl_slist **fields) {
    http_ask_limits(ask, easy);
    set_protocol(easy);
    if (ask->connect) connect_only(easy);
    if (ask->fresh) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    int err = set_request(ask, easy);
    if (err == 0) err = add_fields(ask, fields);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *fields);
    return err;
}
