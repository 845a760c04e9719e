/* A mail and its conversation; see mail.h. */
#include "edge/mail.h"

#include "base/bounds.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/status.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define MECHANISMS "AUTH=PLAIN;AUTH=LOGIN;AUTH=CRAM-MD5"

struct reply {
    char text[MAIL_REPLY_MAX];
    size_t n;
};

struct mail {
    CURL *easy;
    CURLcode code;
    struct buf message;
    size_t sent;
    struct curl_slist *to;
    size_t n_to, asked; /* recipients that curl has named to the server */
    struct reply *replies;
    struct reply last;
    int status;
    bool of_recipient; /* the next reply is */
    bool last_of_recipient;
    bool quit; /* what is said from here on says nothing of the mail */
    bool signs, signed_in, no_auth;
    char text[CURL_ERROR_SIZE];
    pthread_mutex_t lock;
    int fds[MAIL_SOCKETS_MAX]; /* under the lock, as 'cut'; -1: free */
    bool cut;
};

/* ---- What is asked -------------------------------------------------------------------- */

/* In an envelope: printable ASCII without what ends an address. */
static bool is_address(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '<' || s.p[i] == '>')
            return false;
    return s.n > 0 && s.n <= MAIL_ADDRESS_MAX;
}

int mail_check(const struct http_ask *ask) {
    const struct mail_ask *mail = ask->mail;
    if (!is_address(mail->from) || mail->n_to == 0) return E_BADFIELD;
    if (mail->n_to > MAIL_TO_MAX) return E_TOOBIG;
    for (size_t i = 0; i < mail->n_to; i++)
        if (!is_address(mail->to[i])) return E_BADFIELD;
    return http_ask_check_url(ask->url, "smtp", "smtps");
}

static int add_recipient(struct mail *m, struct slice address) {
    char text[MAIL_ADDRESS_MAX + 3] = "<";
    memcpy(text + 1, address.p, address.n);
    text[address.n + 1] = '>';
    struct curl_slist *list = curl_slist_append(m->to, text);
    if (!list) return E_NOMEM;
    m->to = list;
    return 0;
}

/* ---- The conversation ----------------------------------------------------------------- */

static void keep_reply(struct mail *m, const char *p, size_t n) {
    struct reply *r = &m->last;
    while (n > 0 && (p[n - 1] == '\n' || p[n - 1] == '\r')) n--;
    r->n = n < sizeof r->text ? n : sizeof r->text;
    memcpy(r->text, p, r->n);
    m->status = (p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0');
    if (m->of_recipient && m->asked <= m->n_to) m->replies[m->asked - 1] = *r;
    m->last_of_recipient = m->of_recipient;
    m->of_recipient = false;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Lines of the server. "250-…" is followed by another one of the same reply. */
static void hear(struct mail *m, const char *p, size_t n) {
    while (n > 0) {
        const char *eol = memchr(p, '\n', n);
        size_t line = eol ? (size_t)(eol - p) + 1 : n;
        bool ends = line >= 4 && is_digit(p[0]) && is_digit(p[1]) && is_digit(p[2]) &&
                    p[3] != '-';
        if (ends && !m->quit) keep_reply(m, p, line);
        p += line;
        n -= line;
    }
}

/* Whoever reads or writes returns. */
static void shut(struct mail *m, int how) {
    for (int i = 0; i < MAIL_SOCKETS_MAX; i++)
        if (m->fds[i] >= 0) shutdown(m->fds[i], how);
}

static bool starts(const char *p, size_t n, const char *word) {
    return n >= strlen(word) && memcmp(p, word, strlen(word)) == 0;
}

/* Nobody waits for the answer to QUIT. A mail that is to be signed is not sent without. */
static void say(struct mail *m, const char *p, size_t n) {
    m->of_recipient = starts(p, n, "RCPT TO:");
    if (m->of_recipient) m->asked++;
    m->signed_in |= starts(p, n, "AUTH ");
    m->no_auth |= m->signs && !m->signed_in && starts(p, n, "MAIL FROM:");
    m->quit |= starts(p, n, "QUIT") || m->no_auth;
    if (!m->quit) return;
    pthread_mutex_lock(&m->lock);
    shut(m, m->no_auth ? SHUT_RDWR : SHUT_RD);
    pthread_mutex_unlock(&m->lock);
}

static int on_debug(CURL *easy, curl_infotype kind, char *p, size_t n, void *context) {
    (void)easy;
    if (kind == CURLINFO_HEADER_IN) hear(context, p, n);
    else if (kind == CURLINFO_HEADER_OUT) say(context, p, n);
    return 0;
}

/* No child of the app inherits a connection. */
static curl_socket_t open_socket(void *context, curlsocktype purpose,
                                 struct curl_sockaddr *a) {
    struct mail *m = context;
    (void)purpose;
    int i = 0;
    pthread_mutex_lock(&m->lock);
    while (i < MAIL_SOCKETS_MAX && m->fds[i] >= 0) i++;
    bool good = i < MAIL_SOCKETS_MAX && !m->cut;
    int fd = good ? socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol) : -1;
    if (fd >= 0) m->fds[i] = fd;
    pthread_mutex_unlock(&m->lock);
    return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

/* Closed under the lock: mail_cut must not meet another one with its number. */
static int close_socket(void *context, curl_socket_t fd) {
    struct mail *m = context;
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < MAIL_SOCKETS_MAX; i++)
        if (m->fds[i] == fd) m->fds[i] = -1;
    int rc = close(fd);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static bool is_cut(struct mail *m) {
    pthread_mutex_lock(&m->lock);
    bool cut = m->cut;
    pthread_mutex_unlock(&m->lock);
    return cut;
}

/* Where there is no socket to shut, as in a look-up. */
static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c,
                       curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    return is_cut(context);
}

static size_t on_read(char *p, size_t size, size_t n, void *context) {
    struct mail *m = context;
    size_t left = m->message.n - m->sent;
    n *= size;
    if (n > left) n = left;
    memcpy(p, m->message.p + m->sent, n);
    m->sent += n;
    return n;
}

static bool set_text(CURL *e, CURLoption option, struct slice s) {
    char *text = mem_strndup(s.p, s.n);
    bool good = curl_easy_setopt(e, option, text) == CURLE_OK;
    mem_free(text);
    return good;
}

static void set_ends(struct mail *m, CURL *e) {
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, m->text);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, m);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, m);
    curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(e, CURLOPT_XFERINFODATA, m);
}

static void set_conversation(struct mail *m, CURL *e) {
    curl_easy_setopt(e, CURLOPT_VERBOSE, 1L); /* or the debug function is not called */
    curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, on_debug);
    curl_easy_setopt(e, CURLOPT_DEBUGDATA, m);
    curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(e, CURLOPT_READDATA, m);
    curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)m->message.n);
    curl_easy_setopt(e, CURLOPT_MAIL_RCPT, m->to);
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
#if LIBCURL_VERSION_NUM >= 0x080200
    curl_easy_setopt(e, CURLOPT_MAIL_RCPT_ALLOWFAILS, 1L);
#else
    curl_easy_setopt(e, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
#endif
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
#else
    curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_SMTP | CURLPROTO_SMTPS));
#endif
}

/* Put it all into the handle. */
static int apply(struct mail *m, const struct http_ask *ask) {
    const struct mail_ask *mail = ask->mail;
    CURL *easy = m->easy;
    char from[MAIL_ADDRESS_MAX + 3] = "<";
    memcpy(from + 1, mail->from.p, mail->from.n);
    from[mail->from.n + 1] = '>';
    http_ask_limits(ask, easy);
    set_conversation(m, easy);
    set_ends(m, easy);
    long tls = mail->starttls ? CURLUSESSL_ALL : CURLUSESSL_NONE;
    curl_easy_setopt(easy, CURLOPT_USE_SSL, tls);
    bool good = set_text(easy, CURLOPT_URL, ask->url) &&
                curl_easy_setopt(easy, CURLOPT_MAIL_FROM, from) == CURLE_OK;
    m->signs = mail->user.n > 0;
    if (m->signs) /* by a user and a password: curl would prefer GSSAPI, say, and fail */
        good = good && set_text(easy, CURLOPT_USERNAME, mail->user) &&
               set_text(easy, CURLOPT_PASSWORD, mail->password) &&
               curl_easy_setopt(easy, CURLOPT_LOGIN_OPTIONS, MECHANISMS) == CURLE_OK;
    return good ? 0 : E_NOMEM;
}

int mail_new(struct mail **out, const struct http_ask *ask) {
    struct mail *m = mem_new(sizeof *m);
    for (int i = 0; i < MAIL_SOCKETS_MAX; i++) m->fds[i] = -1;
    pthread_mutex_init(&m->lock, NULL);
    m->n_to = ask->mail->n_to;
    m->replies = mem_new(m->n_to * sizeof *m->replies);
    int err = buf_add(&m->message, ask->body.p, ask->body.n);
    for (size_t i = 0; i < m->n_to && err == 0; i++)
        err = add_recipient(m, ask->mail->to[i]);
    m->easy = err == 0 ? curl_easy_init() : NULL;
    if (err == 0) err = m->easy ? apply(m, ask) : E_NOMEM;
    if (err < 0) {
        mail_free(m);
        return err;
    }
    *out = m;
    return 0;
}

void mail_free(struct mail *m) {
    if (!m) return;
    curl_easy_cleanup(m->easy); /* first: it closes its sockets */
    pthread_mutex_destroy(&m->lock);
    buf_free(&m->message);
    curl_slist_free_all(m->to);
    mem_free(m->replies);
    mem_free(m);
}

void mail_perform(struct mail *m) {
    m->code = is_cut(m) ? CURLE_ABORTED_BY_CALLBACK : curl_easy_perform(m->easy);
    curl_easy_cleanup(m->easy);
    m->easy = NULL;
    m->no_auth |= m->code == CURLE_LOGIN_DENIED && m->status < 400;
    if (m->no_auth)
        snprintf(m->text, sizeof m->text,
                 "there is a user to sign in, and the server offers neither PLAIN nor "
                 "LOGIN nor CRAM-MD5");
}

void mail_cut(struct mail *m) {
    pthread_mutex_lock(&m->lock);
    m->cut = true;
    shut(m, SHUT_RDWR);
    pthread_mutex_unlock(&m->lock);
}

/* ---- What came of it ------------------------------------------------------------------ */

CURLcode mail_code(const struct mail *m) {
    return m->code;
}

const char *mail_text(const struct mail *m) {
    return m->text;
}

bool mail_lacks_auth(const struct mail *m) {
    return m->no_auth;
}

bool mail_is_of_recipient(const struct mail *m) {
    return m->last_of_recipient;
}

int mail_status(const struct mail *m) {
    return m->status;
}

struct slice mail_reply(const struct mail *m) {
    return slice_of(m->last.text, m->last.n);
}

struct slice mail_reply_to(const struct mail *m, size_t i) {
    return slice_of(m->replies[i].text, m->replies[i].n);
}

size_t mail_recipients(const struct mail *m) {
    return m->n_to;
}
