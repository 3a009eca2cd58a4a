// SPDX-License-Identifier: MIT
#include "policy/auth_hash.h"

#include <crypt.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"

#define MAX_SECONDS 10
#define MAX_MIB 256
#define SHA_ROUNDS_DEFAULT 5000

_Static_assert(AUTH_PASSWORD_MAX < CRYPT_MAX_PASSPHRASE_SIZE, "the library takes the longest");
_Static_assert(AUTH_HASH_MAX < CRYPT_OUTPUT_SIZE, "the library takes the longest");

static const char alphabet[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* What a hash says about its own price. */
struct price {
    uint64_t work; /* in the scheme's own unit */
    uint64_t mem_bytes;
};

struct scheme {
    const char *prefix;
    const char *name;
    /* Reads what follows the prefix; false when it is not whole. */
    bool (*parse)(struct str rest, struct price *ret);
    uint64_t work_ns; /* of one unit of work, measured on one core at 3 GHz */
};

/* ------------------------------------------------------------------ the forms */

static bool is_crypt64(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!memchr(alphabet, s.ptr[i], sizeof(alphabet) - 1)) {
            return false;
        }
    }
    return true;
}

/* The value of one character; 64 and more: it is none. */
static unsigned crypt64(char c)
{
    const char *at = memchr(alphabet, c, sizeof(alphabet) - 1);

    return at ? (unsigned)(at - alphabet) : 64;
}

/* SALT$HASH at the end, the salt of at most salt_max characters. */
static bool ends_whole(struct str s, size_t salt_max, size_t hash_len)
{
    size_t salt_len = str_find(s, '$');

    return salt_len < s.len && salt_len <= salt_max && is_crypt64(str_head(s, salt_len)) &&
           s.len == salt_len + 1 + hash_len && is_crypt64(str_from(s, salt_len + 1));
}

/* NN$ and 22 characters of salt, 31 of hash: 2^NN times a key schedule. */
static bool parse_bcrypt(struct str rest, struct price *ret)
{
    uint64_t cost = 0;

    if (rest.len != 56 || rest.ptr[2] != '$' || !is_crypt64(str_from(rest, 3)) ||
        !str_parse_u64(str_head(rest, 2), 31, &cost) || cost < 4) {
        return false;
    }
    ret->work = (uint64_t)1 << cost;
    return true;
}

/* [rounds=N$]SALT$HASH */
static bool parse_sha(struct str rest, size_t hash_len, struct price *ret)
{
    struct str rounds = STR("rounds=");
    uint64_t count = SHA_ROUNDS_DEFAULT;

    if (str_starts(rest, rounds)) {
        struct str number = str_from(rest, rounds.len);

        number = str_head(number, str_find(number, '$'));
        if (!str_parse_u64(number, 999999999, &count) || count < 1000) {
            return false;
        }
        rest = str_from(rest, rounds.len + number.len + 1);
    }
    ret->work = count;
    return ends_whole(rest, 16, hash_len);
}

static bool parse_sha256(struct str rest, struct price *ret)
{
    return parse_sha(rest, 43, ret);
}

static bool parse_sha512(struct str rest, struct price *ret)
{
    return parse_sha(rest, 86, ret);
}

/* 2^log2_n blocks of 128 r bytes, gone through twice. */
static bool price_blocks(unsigned log2_n, uint64_t r, uint64_t p, struct price *ret)
{
    if (log2_n < 1 || log2_n > 31 || r < 1 || r > 65535 || p < 1 || p > 65535) {
        return false;
    }
    ret->work = ((uint64_t)1 << log2_n) * r * p;
    ret->mem_bytes = ((uint64_t)1 << log2_n) * r * 128;
    return true;
}

/* FNR$SALT$HASH: flavour, log2 of N less 1, r less 1, one character each as far as any known
 * program writes them (larger numbers would take more). */
static bool parse_yescrypt(struct str rest, struct price *ret)
{
    return rest.len > 4 && rest.ptr[3] == '$' && crypt64(rest.ptr[0]) < 48 &&
           crypt64(rest.ptr[1]) < 48 && crypt64(rest.ptr[2]) < 48 &&
           price_blocks(crypt64(rest.ptr[1]) + 1, crypt64(rest.ptr[2]) + 1, 1, ret) &&
           ends_whole(str_from(rest, 4), 86, 43);
}

/* 30 bits in five characters, the lowest first. */
static uint64_t crypt64_number(const char *five)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 5; i++) {
        value |= (uint64_t)crypt64(five[i]) << (6 * i);
    }
    return value;
}

/* NrrrrrpppppSALT$HASH: log2 of N, r, p. */
static bool parse_scrypt(struct str rest, struct price *ret)
{
    return rest.len > 11 && is_crypt64(str_head(rest, 11)) &&
           price_blocks(crypt64(rest.ptr[0]), crypt64_number(rest.ptr + 1),
                        crypt64_number(rest.ptr + 6), ret) &&
           ends_whole(str_from(rest, 11), 86, 43);
}

static const struct scheme schemes[] = {
    {"$2y$", "bcrypt", parse_bcrypt, 44000},        {"$2b$", "bcrypt", parse_bcrypt, 44000},
    {"$2a$", "bcrypt", parse_bcrypt, 44000},        {"$y$", "yescrypt", parse_yescrypt, 127},
    {"$gy$", "gost-yescrypt", parse_yescrypt, 127}, {"$7$", "scrypt", parse_scrypt, 256},
    {"$6$", "SHA-512", parse_sha512, 290},          {"$5$", "SHA-256", parse_sha256, 290},
};

/* ------------------------------------------------------------------ judging */

/* Kinds that htpasswd(1) and its likes write and that fall to anyone who gets hold of the file. */
static const struct {
    const char *prefix;
    const char *name;
} refused[] = {
    {"$apr1$", "MD5 ($apr1$)"},       {"$1$", "MD5 ($1$)"},   {"{SHA}", "SHA-1 ({SHA})"},
    {"{SSHA}", "SHA-1 ({SSHA})"},     {"$md5", "MD5 ($md5)"}, {"$3$", "NT hash ($3$)"},
    {"$2x$", "faulty bcrypt ($2x$)"},
};

static void tell_refused(struct str hash, struct text *why)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (str_starts(hash, str_of(refused[i].prefix))) {
            text_printf(why, "%s is too weak", refused[i].name);
            return;
        }
    }
    if (str_starts(hash, STR("$"))) {
        text_puts(why, "a hash of an unknown kind");
    } else if (hash.len == 13 && is_crypt64(hash)) {
        text_puts(why, "DES or plain text is too weak");
    } else {
        text_puts(why, "plain text is too weak");
    }
}

static int judge_price(const struct scheme *scheme, const struct price *price,
                       uint64_t *ret_cost_ns, struct text *why)
{
    uint64_t cost_ns;

    if (__builtin_mul_overflow(price->work, scheme->work_ns, &cost_ns) ||
        cost_ns / 1000000000 >= MAX_SECONDS) {
        text_printf(why, "to check it takes more than %d s: a lower cost is needed", MAX_SECONDS);
        return AUTH_HASH_BAD;
    }
    if (price->mem_bytes > (uint64_t)MAX_MIB << 20) {
        text_printf(why, "to check it takes more than %d MiB: a lower cost is needed", MAX_MIB);
        return AUTH_HASH_BAD;
    }
    *ret_cost_ns = cost_ns;
    return 0;
}

static bool library_knows(struct str hash)
{
    char setting[AUTH_HASH_MAX + 1];
    int r;

    memcpy(setting, hash.ptr, hash.len);
    setting[hash.len] = '\0';
    r = crypt_checksalt(setting);
    return r != CRYPT_SALT_INVALID && r != CRYPT_SALT_METHOD_DISABLED;
}

int auth_hash_judge(struct str hash, uint64_t *ret_cost_ns, struct text *why)
{
    struct price price = {0};

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        struct str prefix = str_of(schemes[i].prefix);

        if (!str_starts(hash, prefix)) {
            continue;
        }
        if (hash.len > AUTH_HASH_MAX || !schemes[i].parse(str_from(hash, prefix.len), &price)) {
            text_printf(why, "this is no whole %s hash", schemes[i].name);
            return AUTH_HASH_BAD;
        }
        if (!library_knows(hash)) {
            text_printf(why, "this machine's libcrypt cannot check %s", schemes[i].name);
            return AUTH_HASH_BAD;
        }
        return judge_price(&schemes[i], &price, ret_cost_ns, why);
    }
    tell_refused(hash, why);
    return AUTH_HASH_BAD;
}

/* ------------------------------------------------------------------ checking */

struct auth_hasher {
    struct crypt_data data;
};

struct auth_hasher *auth_hasher_new(void)
{
    return mem_zalloc(sizeof(struct auth_hasher));
}

void auth_hasher_free(struct auth_hasher *hasher)
{
    mem_free(hasher);
}

int auth_hasher_check(struct auth_hasher *hasher, const char *password, const char *hash,
                      bool *ret_equal)
{
    size_t len = strlen(hash);
    const char *made;

    errno = 0;
    made = crypt_rn(password, hash, &hasher->data, (int)sizeof(hasher->data));
    if (!made) {
        return errno != 0 ? -errno : -EINVAL;
    }
    *ret_equal = strlen(made) == len && secret_eq(made, hash, len);
    secret_wipe(hasher->data.output, sizeof(hasher->data.output));
    return 0;
}

const char *auth_hash_library_version(void)
{
    return XCRYPT_VERSION_STR;
}
