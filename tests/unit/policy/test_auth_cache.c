// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "../faults.h"
#include "policy/auth_cache.h"

static struct auth_printer printer;
static struct auth_cache cache;

static void set_up(void)
{
    cr_assert_eq(auth_printer_init(&printer), 0);
    auth_cache_init(&cache);
    auth_cache_renew(&cache, 3);
}

static void tear_down(void)
{
    auth_cache_deinit(&cache);
}

TestSuite(auth_cache, .init = set_up, .fini = tear_down);

static struct auth_print print_of(const char *user, const char *password, const char *hash)
{
    struct auth_print print;

    auth_printer_make(&printer, str_of(user), str_of(password), str_of(hash), &print);
    return print;
}

static enum auth_memory find(size_t user, struct auth_print print, uint64_t now_ms)
{
    uint64_t until_ms = 0;

    return auth_cache_find(&cache, user, &print, now_ms, &until_ms);
}

static void put_right(size_t user, struct auth_print print, uint64_t until_ms)
{
    auth_cache_put_right(&cache, user, &print, until_ms);
}

static void put_wrong(struct auth_print print, uint64_t until_ms)
{
    auth_cache_put_wrong(&cache, &print, until_ms);
}

Test(auth_cache, prints_tell_all_three_parts_apart)
{
    struct auth_print print = print_of("user", "password", "hash");
    struct auth_print same = print_of("user", "password", "hash");
    const struct auth_print others[] = {
        print_of("User", "password", "hash"), print_of("user", "passwore", "hash"),
        print_of("user", "password", "hasi"), print_of("user", "password", ""),
        print_of("userp", "assword", "hash"), print_of("user", "passwordh", "ash"),
        print_of("use", "rpassword", "hash"), print_of("user", "", "passwordhash"),
        print_of("", "userpassword", "hash"),
    };

    cr_expect(auth_print_eq(&print, &same));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        cr_expect_not(auth_print_eq(&print, &others[i]), "%zu", i);
    }
}

Test(auth_cache, prints_of_another_process_are_others)
{
    struct auth_print print = print_of("user", "password", "hash");
    struct auth_print other;

    cr_assert_eq(auth_printer_init(&printer), 0);
    other = print_of("user", "password", "hash");
    cr_expect_not(auth_print_eq(&print, &other));
}

Test(auth_cache, remembers_the_right_until_their_time)
{
    struct auth_print print = print_of("a", "b", "c");
    uint64_t until_ms = 0;

    cr_expect_eq(find(1, print, 0), AUTH_UNSEEN);
    put_right(1, print, 1000);
    cr_expect_eq(auth_cache_find(&cache, 1, &print, 999, &until_ms), AUTH_SEEN_RIGHT);
    cr_expect_eq(until_ms, 1000);
    cr_expect_eq(find(1, print, 1000), AUTH_UNSEEN);
    cr_expect_eq(find(0, print, 0), AUTH_UNSEEN, "another user");
    cr_expect_eq(find(AUTH_NO_USER, print, 0), AUTH_UNSEEN, "no user");
    cr_expect_eq(find(1, print_of("a", "x", "c"), 0), AUTH_UNSEEN);
}

Test(auth_cache, does_not_take_a_zero_print_for_one_that_was_seen)
{
    struct auth_print zero = {{0}};

    cr_expect_eq(find(0, zero, 0), AUTH_UNSEEN);
    cr_expect_eq(find(AUTH_NO_USER, zero, 0), AUTH_UNSEEN);
}

Test(auth_cache, a_users_new_password_takes_the_place_of_the_old)
{
    put_right(2, print_of("a", "old", "c"), 1000);
    put_right(2, print_of("a", "new", "c"), 1000);
    cr_expect_eq(find(2, print_of("a", "new", "c"), 0), AUTH_SEEN_RIGHT);
    cr_expect_eq(find(2, print_of("a", "old", "c"), 0), AUTH_UNSEEN);
}

Test(auth_cache, remembers_the_wrong_until_their_time)
{
    struct auth_print print = print_of("a", "b", "c");

    put_wrong(print, 1000);
    cr_expect_eq(find(0, print, 999), AUTH_SEEN_WRONG);
    cr_expect_eq(find(AUTH_NO_USER, print, 999), AUTH_SEEN_WRONG);
    cr_expect_eq(find(0, print, 1000), AUTH_UNSEEN);
}

/* Whatever number of wrong ones comes: the right ones stay, and the last wrong ones. */
Test(auth_cache, wrong_ones_push_out_no_right_one)
{
    struct auth_print right = print_of("user", "right", "hash");

    put_right(0, right, 1000000);
    for (unsigned i = 0; i < 10000; i++) {
        char password[] = {(char)('a' + i % 26), (char)('a' + i / 26 % 26), (char)('a' + i / 676),
                           '\0'};

        put_wrong(print_of("user", password, "hash"), 1000 + i);
        cr_assert_eq(find(0, print_of("user", password, "hash"), 0), AUTH_SEEN_WRONG);
    }
    cr_expect_eq(find(0, right, 0), AUTH_SEEN_RIGHT);
}

/* Of those that share a set, what would be forgotten first anyway gives way. */
Test(auth_cache, wrong_ones_give_way_by_their_time)
{
    struct auth_print prints[AUTH_CACHE_WAYS + 1] = {0};

    for (unsigned i = 0; i < ARRAY_LEN(prints); i++) {
        prints[i].bytes[AUTH_PRINT_BYTES - 1] = (uint8_t)(i + 1);
        put_wrong(prints[i], i == 3 ? 1000 : 2000 + i);
    }
    for (unsigned i = 0; i < ARRAY_LEN(prints); i++) {
        cr_expect_eq(find(0, prints[i], 0), i == 3 ? AUTH_UNSEEN : AUTH_SEEN_WRONG, "%u", i);
    }
}

Test(auth_cache, forgets_when_the_users_change)
{
    struct auth_print right = print_of("a", "b", "c");
    struct auth_print wrong = print_of("a", "x", "c");

    put_right(1, right, 1000);
    put_wrong(wrong, 1000);
    auth_cache_renew(&cache, 3);
    cr_expect_eq(find(1, right, 0), AUTH_UNSEEN);
    cr_expect_eq(find(1, wrong, 0), AUTH_UNSEEN);
    auth_cache_renew(&cache, 1);
    put_right(1, right, 1000);
    cr_expect_eq(find(1, right, 0), AUTH_UNSEEN, "there is no such user any more");
}

Test(auth_cache, without_memory_nothing_is_remembered)
{
    struct auth_print print = print_of("a", "b", "c");

#ifdef MEM_FAULTS
    mem_fail(1, 1);
    auth_cache_renew(&cache, 3);
    cr_expect_eq(mem_failed(), 1);
    put_right(1, print, 1000);
    cr_expect_eq(find(1, print, 0), AUTH_UNSEEN);
#endif
    auth_cache_renew(&cache, SIZE_MAX / 2);
    put_right(1, print, 1000);
    cr_expect_eq(find(1, print, 0), AUTH_UNSEEN);
}
