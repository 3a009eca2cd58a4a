// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "auth_cases.h"
#include "base/attr.h"
#include "policy/auth_hash.h"

static const char *const taken[] = {
    BCRYPT_SECRET, BCRYPT_B_SECRET, BCRYPT_A_SECRET,    YESCRYPT_SECRET, GOST_SECRET,
    SCRYPT_SECRET, SHA256_SECRET,   SHA256_5000_SECRET, SHA512_SECRET,   SHA512_5000_SECRET,
};

static char why_buf[256];

/* The reason of a refusal; "" when the hash is taken. */
static const char *judge(const char *hash)
{
    struct text why = TEXT_OVER(why_buf);
    uint64_t cost_ns = 0;
    int r = auth_hash_judge(str_of(hash), &cost_ns, &why);

    cr_assert(r == 0 || r == AUTH_HASH_BAD);
    cr_assert_eq(r == 0, why.len == 0, "%s", hash);
    cr_assert_eq(r == 0, cost_ns > 0);
    return text_cstr(&why);
}

static uint64_t cost_of(const char *hash)
{
    struct text why = TEXT_OVER(why_buf);
    uint64_t cost_ns = 0;

    cr_assert_eq(auth_hash_judge(str_of(hash), &cost_ns, &why), 0, "%s: %s", hash, text_cstr(&why));
    return cost_ns;
}

Test(auth_hash, takes_what_is_strong)
{
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        cr_expect_str_eq(judge(taken[i]), "", "%s", taken[i]);
    }
}

Test(auth_hash, refuses_what_is_weak_and_says_why)
{
    cr_expect_str_eq(judge(APR1_SECRET), "MD5 ($apr1$) is too weak");
    cr_expect_str_eq(judge(MD5_SECRET), "MD5 ($1$) is too weak");
    cr_expect_str_eq(judge(SHA1_SECRET), "SHA-1 ({SHA}) is too weak");
    cr_expect_str_eq(judge("{SSHA}abcdefgh"), "SHA-1 ({SSHA}) is too weak");
    cr_expect_str_eq(judge("$2x$04$Bnys2ozyscDjHYw.yV4FA.8NAi0FdPMw70nHhjD1bp2eWHc8WJnZy"),
                     "faulty bcrypt ($2x$) is too weak");
    cr_expect_str_eq(judge(DES_SECRET), "DES or plain text is too weak");
    cr_expect_str_eq(judge("secret"), "plain text is too weak");
    cr_expect_str_eq(judge(""), "plain text is too weak");
    cr_expect_str_eq(judge("$argon2id$v=19$m=65536,t=3,p=4$x$y"), "a hash of an unknown kind");
}

Test(auth_hash, never_shows_the_hash)
{
    cr_expect_null(strstr(judge("hunter2"), "hunter2"));
    cr_expect_null(strstr(judge("$6$saltsalt$hunter2"), "hunter2"));
}

/* Every hash cut short or made longer at its end is no whole one. */
Test(auth_hash, refuses_what_is_not_whole)
{
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        char cut[300];

        for (size_t len = 4; len < strlen(taken[i]); len++) {
            (void)snprintf(cut, sizeof(cut), "%.*s", (int)len, taken[i]);
            cr_expect_str_neq(judge(cut), "", "%s", cut);
        }
        (void)snprintf(cut, sizeof(cut), "%sx", taken[i]);
        cr_expect_str_neq(judge(cut), "", "%s", cut);
        (void)snprintf(cut, sizeof(cut), "%s", taken[i]);
        cut[strlen(cut) - 1] = '-';
        cr_expect_str_neq(judge(cut), "", "%s", cut);
    }
}

Test(auth_hash, refuses_a_hash_longer_than_any)
{
    char hash[600];

    memset(hash, 'x', sizeof(hash));
    memcpy(hash, "$6$", 3);
    hash[sizeof(hash) - 1] = '\0';
    cr_expect_str_eq(judge(hash), "this is no whole SHA-512 hash");
}

#define BCRYPT_TAIL "$Bnys2ozyscDjHYw.yV4FA.8NAi0FdPMw70nHhjD1bp2eWHc8WJnZy"
#define SHA512_TAIL                                                                                \
    "$Ka1HXkxpE9mNxnHV$nO5OzKlMPkz3f/Hn1t/wCDJVPBiMwPp1nX7sZd43rUe6trPhTX."                        \
    "G9M2acn1XjR36HxVFKJqJ67sge.utgyV2/0"
#define YESCRYPT_TAIL "$ZXBbXOUvEQRU2yi5tNxuZ0$uSiGOTXGicN/z.EoGxFWAHHPRL7yKL.RrYExnndoRaC"

Test(auth_hash, refuses_what_nobody_can_wait_for)
{
    cr_expect_str_eq(judge("$2y$17" BCRYPT_TAIL), "");
    cr_expect_str_eq(judge("$2y$18" BCRYPT_TAIL),
                     "to check it takes more than 10 s: a lower cost is needed");
    cr_expect_str_eq(judge("$2y$31" BCRYPT_TAIL),
                     "to check it takes more than 10 s: a lower cost is needed");
    cr_expect_str_eq(judge("$2y$32" BCRYPT_TAIL), "this is no whole bcrypt hash");
    cr_expect_str_eq(judge("$2y$03" BCRYPT_TAIL), "this is no whole bcrypt hash");
    cr_expect_str_eq(judge("$6$rounds=999999999" SHA512_TAIL),
                     "to check it takes more than 10 s: a lower cost is needed");
    cr_expect_str_eq(judge("$6$rounds=999" SHA512_TAIL), "this is no whole SHA-512 hash");
    cr_expect_str_eq(judge("$6$rounds=" SHA512_TAIL), "this is no whole SHA-512 hash");
    cr_expect_str_eq(judge("$y$jFT" YESCRYPT_TAIL),
                     "to check it takes more than 256 MiB: a lower cost is needed");
    cr_expect_str_eq(judge("$y$jDT" YESCRYPT_TAIL), "");
    cr_expect_str_eq(judge("$7$GU..../....AVM5yvjWVwsW9LZva/"
                           "tei.$lAMMLXY9LIOnWqzjs7XGLfW44gzOvx3iThj9bJcCfQ6"),
                     "to check it takes more than 256 MiB: a lower cost is needed");
}

Test(auth_hash, knows_what_costs_more)
{
    cr_expect_gt(cost_of(BCRYPT_10_SECRET), cost_of(BCRYPT_SECRET));
    cr_expect_eq(cost_of(BCRYPT_10_SECRET), 64 * cost_of(BCRYPT_SECRET));
    cr_expect_eq(cost_of(SHA512_5000_SECRET), 5 * cost_of(SHA512_SECRET));
    cr_expect_gt(cost_of(BCRYPT_10_SECRET), cost_of(SHA512_5000_SECRET));
    cr_expect_gt(cost_of("$y$j9T" YESCRYPT_TAIL), cost_of(SHA512_5000_SECRET));
    cr_expect_gt(cost_of(BCRYPT_10_SECRET), cost_of("$y$j9T" YESCRYPT_TAIL));
}

Test(auth_hash, tells_right_from_wrong_in_every_kind)
{
    struct auth_hasher *hasher = auth_hasher_new();

    cr_assert_not_null(hasher);
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        bool equal = false;

        cr_expect_eq(auth_hasher_check(hasher, "secret", taken[i], &equal), 0);
        cr_expect(equal, "%s", taken[i]);
        cr_expect_eq(auth_hasher_check(hasher, "secreT", taken[i], &equal), 0);
        cr_expect_not(equal, "%s", taken[i]);
        cr_expect_eq(auth_hasher_check(hasher, "", taken[i], &equal), 0);
        cr_expect_not(equal, "%s", taken[i]);
    }
    auth_hasher_free(hasher);
}

Test(auth_hash, takes_the_longest_password)
{
    struct auth_hasher *hasher = auth_hasher_new();
    char password[AUTH_PASSWORD_MAX + 1];
    bool equal = true;

    memset(password, 'p', sizeof(password));
    password[AUTH_PASSWORD_MAX] = '\0';
    cr_expect_eq(auth_hasher_check(hasher, password, SHA512_SECRET, &equal), 0);
    cr_expect_not(equal);
    auth_hasher_free(hasher);
}

Test(auth_hash, says_when_the_library_fails)
{
    struct auth_hasher *hasher = auth_hasher_new();
    bool equal = false;

    cr_expect_lt(auth_hasher_check(hasher, "secret", "*0", &equal), 0);
    auth_hasher_free(hasher);
}
