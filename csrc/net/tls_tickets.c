/* Ticket keys; see tls_tickets.h. AES-256-CBC and HMAC-SHA-256, as in RFC 5077, section 4. */
#include "net/tls_tickets.h"

#include "base/bounds.h"
#include "base/clock.h"
#include "base/mem.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#define NAME_BYTES 16 /* OpenSSL's */

struct key {
    unsigned char name[NAME_BYTES], cipher[32], mac[32];
};

struct tls_tickets {
    pthread_mutex_t lock;         /* for a copy: never while something is computed */
    struct key keys[TICKET_KEYS]; /* the newest first */
    int n;
    int64_t made_ms;
};

/* With the lock. */
static int add_key(struct tls_tickets *k) {
    struct key fresh;
    if (RAND_priv_bytes((unsigned char *)&fresh, sizeof fresh) != 1) return 0;
    memmove(k->keys + 1, k->keys, (TICKET_KEYS - 1) * sizeof fresh);
    k->keys[0] = fresh;
    if (k->n < TICKET_KEYS) k->n++;
    k->made_ms = clock_ms();
    OPENSSL_cleanse(&fresh, sizeof fresh);
    return 1;
}

struct tls_tickets *tls_tickets_new(void) {
    struct tls_tickets *k = mem_new(sizeof *k);
    pthread_mutex_init(&k->lock, NULL);
    if (add_key(k)) return k;
    tls_tickets_free(k);
    return NULL;
}

void tls_tickets_free(struct tls_tickets *k) {
    if (!k) return;
    pthread_mutex_destroy(&k->lock);
    OPENSSL_cleanse(k, sizeof *k);
    mem_free(k);
}

void tls_tickets_rotate(struct tls_tickets *k) {
    pthread_mutex_lock(&k->lock);
    add_key(k);
    pthread_mutex_unlock(&k->lock);
}

/* The newest key; after hours without a handshake more than one is due. */
static void newest(struct tls_tickets *k, struct key *out) {
    pthread_mutex_lock(&k->lock);
    int64_t due = (clock_ms() - k->made_ms) / (TICKET_ROTATE_S * INT64_C(1000));
    for (int i = 0; i < TICKET_KEYS && i < due; i++) add_key(k);
    *out = k->keys[0];
    pthread_mutex_unlock(&k->lock);
}

/* Its place from the newest on, or -1. */
static int find(struct tls_tickets *k, const unsigned char *name, struct key *out) {
    struct key now;
    newest(k, &now); /* what is too old is gone */
    OPENSSL_cleanse(&now, sizeof now);
    int at = -1;
    pthread_mutex_lock(&k->lock);
    for (int i = 0; i < k->n && at < 0; i++)
        if (CRYPTO_memcmp(k->keys[i].name, name, NAME_BYTES) == 0) at = i;
    if (at >= 0) *out = k->keys[at];
    pthread_mutex_unlock(&k->lock);
    return at;
}

static int set_mac(EVP_MAC_CTX *mac, struct key *key) {
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, params);
}

static int seal(struct tls_tickets *k, unsigned char *name, unsigned char *iv,
                EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac) {
    struct key key;
    newest(k, &key);
    memcpy(name, key.name, NAME_BYTES);
    int ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
             EVP_EncryptInit_ex2(cipher, EVP_aes_256_cbc(), key.cipher, iv, NULL) == 1 &&
             set_mac(mac, &key) == 1;
    OPENSSL_cleanse(&key, sizeof key);
    return ok ? 1 : -1;
}

/* 1: good; 2: good, and to be replaced; 0: a key that nobody knows. */
static int unseal(struct tls_tickets *k, const unsigned char *name, unsigned char *iv,
                  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac) {
    struct key key;
    int at = find(k, name, &key);
    if (at < 0) return 0;
    int ok = EVP_DecryptInit_ex2(cipher, EVP_aes_256_cbc(), key.cipher, iv, NULL) == 1 &&
             set_mac(mac, &key) == 1;
    OPENSSL_cleanse(&key, sizeof key);
    if (!ok) return -1;
    return at == 0 ? 1 : 2;
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL calls it so */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seals) {
    struct tls_tickets *k = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    return seals ? seal(k, name, iv, cipher, mac) : unseal(k, name, iv, cipher, mac);
}

int tls_tickets_use(struct tls_tickets *k, SSL_CTX *context) {
    static const unsigned char ours[] = "sluice";
    SSL_CTX_set_timeout(context, TICKET_LIFE_S);
    return SSL_CTX_set_app_data(context, k) == 1 &&
           SSL_CTX_set_num_tickets(context, 1) == 1 &&
           SSL_CTX_set_session_id_context(context, ours, sizeof ours - 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1;
}
