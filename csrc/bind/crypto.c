/* Digests, keys and hashes for Lua; see crypto.h. */
#include "bind/crypto.h"

#include "base/base64.h"
#include "base/bounds.h"
#include "base/rand.h"
#include "base/status.h"
#include "bind/l_aux.h"
#include "crypto/certificate.h"
#include "crypto/digest.h"
#include "crypto/pubkey.h"
#include "crypto/scrypt.h"

#include <openssl/crypto.h>

/* ---- Digests and texts -------------------------------------------------------------- */

static int push_digest(lua_State *L, const unsigned char digest[DIGEST_BYTES]) {
    lua_pushlstring(L, (const char *)digest, DIGEST_BYTES);
    return 1;
}

/* core.sha256(text) -> 32 bytes */
static int l_sha256(lua_State *L) {
    unsigned char digest[DIGEST_BYTES];
    digest_sha256(lx_checkslice(L, 1), digest);
    return push_digest(L, digest);
}

/* core.hmac_sha256(key, text) -> 32 bytes */
static int l_hmac_sha256(lua_State *L) {
    unsigned char digest[DIGEST_BYTES];
    if (digest_hmac(lx_checkslice(L, 1), lx_checkslice(L, 2), digest) < 0)
        return luaL_error(L, "out of memory");
    return push_digest(L, digest);
}

/* core.equal(a, b) -> whether they are, in a time that depends on the lengths only */
static int l_equal(lua_State *L) {
    lua_pushboolean(L, digest_equal(lx_checkslice(L, 1), lx_checkslice(L, 2)));
    return 1;
}

/* core.random_bytes(n) */
static int l_random_bytes(lua_State *L) {
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0 && n <= RANDOM_BYTES_MAX, 1, "0 to 65536 bytes");
    luaL_Buffer b;
    char *p = luaL_buffinitsize(L, &b, (size_t)n);
    if (n > 0) rand_bytes(p, (size_t)n);
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

/* core.base64url(bytes) -> text */
static int l_base64url(lua_State *L) {
    struct slice bytes = lx_checkslice(L, 1);
    size_t n = base64_url_size(bytes.n);
    luaL_Buffer b;
    base64_write_url(luaL_buffinitsize(L, &b, n), bytes);
    luaL_pushresultsize(&b, n);
    return 1;
}

/* core.from_base64url(text) -> bytes | nil: it is none */
static int l_from_base64url(lua_State *L) {
    struct slice text = lx_checkslice(L, 1);
    luaL_Buffer b;
    ssize_t n = base64_read_url(luaL_buffinitsize(L, &b, base64_bytes_max(text.n)), text);
    luaL_pushresultsize(&b, n < 0 ? 0 : (size_t)n);
    if (n < 0) lua_pushnil(L);
    return 1;
}

/* ---- Public keys -------------------------------------------------------------------- */

#define KEY_TYPE "sluice.key"

struct key_box {
    struct pubkey *key;
};

static int l_key_gc(lua_State *L) {
    struct key_box *box = luaL_checkudata(L, 1, KEY_TYPE);
    pubkey_free(box->key);
    box->key = NULL;
    return 0;
}

/* key:verify(text, signature) -> boolean */
static int l_key_verify(lua_State *L) {
    struct key_box *box = luaL_checkudata(L, 1, KEY_TYPE);
    struct slice text = lx_checkslice(L, 2), signature = lx_checkslice(L, 3);
    luaL_argcheck(L, box->key, 1, "a key that is not closed");
    lua_pushboolean(L, pubkey_verify(box->key, text, signature));
    return 1;
}

/* core.public_key("RS256" | "ES256", pem) or (…, modulus, exponent) or (…, x, y), as bytes
 * -> key | nil, message, code */
static int l_public_key(lua_State *L) {
    static const char *const names[] = {"RS256", "ES256", NULL};
    enum pubkey_kind kind = (enum pubkey_kind)luaL_checkoption(L, 1, NULL, names);
    struct slice first = lx_checkslice(L, 2), second = lx_optslice(L, 3);
    bool pem = lua_isnoneornil(L, 3);
    struct key_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    box->key = NULL;
    luaL_setmetatable(L, KEY_TYPE);
    const char *why = NULL;
    int err = 0;
    if (pem) err = pubkey_of_pem(&box->key, kind, first, &why);
    else if (kind == PUBKEY_RS256) err = pubkey_of_rsa(&box->key, first, second, &why);
    else err = pubkey_of_point(&box->key, first, second, &why);
    if (err < 0) return why ? lx_fail_text(L, err, why) : lx_fail(L, err);
    return 1;
}

/* ---- Passwords ---------------------------------------------------------------------- */

#define JOB_TYPE "sluice.scrypt"

struct job_box {
    struct scrypt_job *job;
};

static int l_job_gc(lua_State *L) {
    struct job_box *box = luaL_checkudata(L, 1, JOB_TYPE);
    scrypt_leave(box->job);
    box->job = NULL;
    return 0;
}

static int push_hash(lua_State *L, int err, unsigned char hash[SCRYPT_BYTES]) {
    if (err < 0) return lx_fail(L, err);
    lua_pushlstring(L, (const char *)hash, SCRYPT_BYTES);
    OPENSSL_cleanse(hash, SCRYPT_BYTES);
    return 1;
}

/* job:result() -> 32 bytes | false: not yet | nil, message, code */
static int l_job_result(lua_State *L) {
    struct job_box *box = luaL_checkudata(L, 1, JOB_TYPE);
    unsigned char hash[SCRYPT_BYTES];
    int err = 0;
    luaL_argcheck(L, box->job, 1, "a hash that is not closed");
    if (scrypt_done(box->job, &err, hash)) return push_hash(L, err, hash);
    lua_pushboolean(L, false);
    return 1;
}

static uint32_t check_cost(lua_State *L, int index) {
    lua_Integer n = luaL_checkinteger(L, index);
    return n < 0 || n > UINT32_MAX ? 0 : (uint32_t)n;
}

/* core.scrypt(password, salt, log2n, r, p[, aside]) -> 32 bytes; with 'aside' a job, computed
 * by a thread of its own | nil, message, code ("EBUSY": try again). With a random generator
 * that repeats itself, in tests, it computes at once in any case. */
static int l_scrypt(lua_State *L) {
    struct slice password = lx_checkslice(L, 1), salt = lx_checkslice(L, 2);
    struct scrypt_cost cost = {check_cost(L, 3), check_cost(L, 4), check_cost(L, 5)};
    unsigned char hash[SCRYPT_BYTES];
    if (!scrypt_is_sane(cost))
        return lx_fail_text(L, E_INVAL, "so much cannot be computed here");
    if (!lua_toboolean(L, 6) || rand_is_seeded())
        return push_hash(L, scrypt_hash(password, salt, cost, hash), hash);
    struct job_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    box->job = NULL;
    luaL_setmetatable(L, JOB_TYPE);
    int err = scrypt_start(&box->job, password, salt, cost);
    return err < 0 ? lx_fail(L, err) : 1;
}

/* ---- Certificates ------------------------------------------------------------------- */

static void set_text(lua_State *L, const char *name, const struct buf *text) {
    lua_pushlstring(L, text->p, text->n);
    lua_setfield(L, -2, name);
}

static int push_local(lua_State *L) {
    const struct certificate_local *c = lua_touserdata(L, 1);
    lua_createtable(L, 0, 3);
    set_text(L, "ca", &c->ca);
    set_text(L, "cert", &c->certificate);
    set_text(L, "key", &c->key);
    return 1;
}

/* core.local_certificate() -> { ca =, cert =, key = } as PEM | nil, message, code */
static int l_local_certificate(lua_State *L) {
    struct certificate_local made;
    lua_pushcfunction(L, push_local); /* protected: it allocates */
    int err = certificate_make_local(&made);
    if (err < 0) return lx_fail(L, err);
    lua_pushlightuserdata(L, &made);
    int failed = lua_pcall(L, 1, 1, 0);
    certificate_free_local(&made);
    return failed ? lua_error(L) : 1;
}

/* core.certificate_expires(pem) -> seconds since 1970 | nil, message, code */
static int l_certificate_expires(lua_State *L) {
    int64_t at = 0;
    int err = certificate_expires(lx_checkslice(L, 1), &at);
    if (err < 0) return lx_fail(L, err);
    lua_pushinteger(L, at);
    return 1;
}

/* ---- The table ---------------------------------------------------------------------- */

static void make_type(lua_State *L, const char *name, const char *method,
                      lua_CFunction fn, lua_CFunction gc) {
    if (luaL_newmetatable(L, name)) {
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, fn);
        lua_setfield(L, -2, method);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable"); /* the app has no use for it */
    }
    lua_pop(L, 1);
}

void crypto_add_functions(lua_State *L) {
    static const luaL_Reg functions[] = {{"sha256", l_sha256},
                                         {"hmac_sha256", l_hmac_sha256},
                                         {"equal", l_equal},
                                         {"random_bytes", l_random_bytes},
                                         {"base64url", l_base64url},
                                         {"from_base64url", l_from_base64url},
                                         {"public_key", l_public_key},
                                         {"scrypt", l_scrypt},
                                         {"local_certificate", l_local_certificate},
                                         {"certificate_expires", l_certificate_expires},
                                         {NULL, NULL}};
    /* a thread may still compute when the process ends: nothing is taken from it then */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    make_type(L, KEY_TYPE, "verify", l_key_verify, l_key_gc);
    make_type(L, JOB_TYPE, "result", l_job_result, l_job_gc);
    luaL_setfuncs(L, functions, 0);
}
