// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../faults.h"
#include "auth_cases.h"
#include "conf/conf.h"
#include "policy/auth_users.h"

static struct auth_users *users;
static struct conf_messages messages;
static char line[2048];

static void tear_down(void)
{
    auth_users_unref(users);
    users = NULL;
    conf_messages_deinit(&messages);
}

TestSuite(auth_users, .fini = tear_down);

static int parse(const char *text)
{
    tear_down();
    return auth_users_parse(str_of(text), "users", &messages, &users);
}

static const char *message(size_t i)
{
    cr_assert_lt(i, messages.count);
    conf_message_format(&messages.items[i], line, sizeof(line));
    return line;
}

/* The text has one fault, and it is this. */
static void expect_fault(const char *text, const char *fault)
{
    cr_assert_eq(parse(text), AUTH_USERS_BAD, "%s", text);
    cr_expect_null(users);
    cr_assert_eq(messages.count, 1);
    cr_expect_eq(messages.error_count, 1);
    cr_expect_str_eq(message(0), fault);
}

static const char *hash_of(const char *name)
{
    const struct auth_user *user = auth_users_find(users, str_of(name));

    return user ? user->hash.ptr : NULL;
}

Test(auth_users, reads_names_and_hashes)
{
    cr_assert_eq(parse("alice:" BCRYPT_SECRET "\nbob:" SHA512_SECRET "\n"), 0);
    cr_expect_eq(auth_users_count(users), 2);
    cr_expect_str_eq(hash_of("alice"), BCRYPT_SECRET);
    cr_expect_str_eq(hash_of("bob"), SHA512_SECRET);
    cr_expect_null(hash_of("Alice"), "names are told apart by case");
    cr_expect_null(hash_of("alic"));
    cr_expect_str_eq(auth_users_path(users), "users");
    cr_expect_eq(auth_users_find(users, STR("alice"))->index, 0);
    cr_expect_eq(auth_users_find(users, STR("bob"))->index, 1);
}

Test(auth_users, comments_blank_lines_and_line_ends_do_not_count)
{
    cr_assert_eq(parse("# who may\n\n  \t\r\nalice:" BCRYPT_SECRET
                       "  \r\n#bob:secret\ncarl:" BCRYPT_OTHER ":Carl, of the third floor"),
                 0);
    cr_expect_eq(auth_users_count(users), 2);
    cr_expect_str_eq(hash_of("alice"), BCRYPT_SECRET);
    cr_expect_str_eq(hash_of("carl"), BCRYPT_OTHER);
}

Test(auth_users, a_byte_order_mark_is_no_part_of_a_name)
{
    cr_assert_eq(parse("\xef\xbb\xbf"
                       "alice:" BCRYPT_SECRET "\n"),
                 0);
    cr_expect_str_eq(hash_of("alice"), BCRYPT_SECRET);
    cr_assert_eq(parse("\xef\xbb\xbf# who may\n"), 0);
}

Test(auth_users, empty_file_has_nobody)
{
    cr_assert_eq(parse("# nobody yet\n"), 0);
    cr_expect_eq(auth_users_count(users), 0);
    cr_expect_null(auth_users_stand_in(users, STR("alice")));
    cr_expect_null(auth_users_find(users, STR("alice")));
}

Test(auth_users, names_may_hold_blanks_and_any_letters)
{
    cr_assert_eq(parse("Jean Claude:" BCRYPT_SECRET "\nJos\xc3\xa9:" BCRYPT_SECRET
                       "\na@example.com:" BCRYPT_SECRET "\n*:" BCRYPT_SECRET),
                 0);
    cr_expect_not_null(hash_of("Jean Claude"));
    cr_expect_not_null(hash_of("Jos\xc3\xa9"));
    cr_expect_not_null(hash_of("a@example.com"));
    cr_expect_not_null(hash_of("*"));
}

#define ANEW "; write it anew with htpasswd -B"

Test(auth_users, refuses_each_bad_line_by_its_number)
{
    expect_fault("\nalice", "users:2: expected NAME:HASH, as htpasswd writes it");
    expect_fault(":" BCRYPT_SECRET, "users:1: the user's name is missing");
    expect_fault(" alice:" BCRYPT_SECRET, "users:1: a blank before or behind the user's name");
    expect_fault("alice\t:" BCRYPT_SECRET, "users:1: the user's name holds a control character");
    expect_fault("al\x1b[31mice:" BCRYPT_SECRET,
                 "users:1: the user's name holds a control character");
    expect_fault("alice:" APR1_SECRET, "users:1: user alice: MD5 ($apr1$) is too weak" ANEW);
    expect_fault("alice:" SHA1_SECRET, "users:1: user alice: SHA-1 ({SHA}) is too weak" ANEW);
    expect_fault("alice:" DES_SECRET, "users:1: user alice: DES or plain text is too weak" ANEW);
    expect_fault("alice:secret", "users:1: user alice: plain text is too weak" ANEW);
    expect_fault("alice:", "users:1: user alice: plain text is too weak" ANEW);
    expect_fault("alice:$2y$10$abc", "users:1: user alice: this is no whole bcrypt hash" ANEW);
    expect_fault("alice:" BCRYPT_SECRET "\nbob:" BCRYPT_SECRET "\n\nalice:" BCRYPT_OTHER,
                 "users:4: user alice: stands in line 1 already");
}

Test(auth_users, refuses_a_nul_and_long_names)
{
    static const char with_nul[] = "al\0ice:" BCRYPT_SECRET;
    char text[AUTH_USER_MAX + 200];

    cr_assert_eq(
        auth_users_parse(str_make(with_nul, sizeof(with_nul) - 1), "users", &messages, &users),
        AUTH_USERS_BAD);
    cr_expect_str_eq(message(0), "users:1: the user's name holds a control character");
    memset(text, 'x', sizeof(text));
    (void)strcpy(text + AUTH_USER_MAX, ":" BCRYPT_SECRET);
    cr_assert_eq(parse(text), 0);
    (void)strcpy(text + AUTH_USER_MAX, "x:" BCRYPT_SECRET);
    expect_fault(text, "users:1: the user's name is longer than 255 bytes");
}

Test(auth_users, tells_all_errors_and_counts_beyond_the_tenth)
{
    char text[4096] = "";
    size_t len = 0;

    cr_assert_eq(parse("a\n:\nb:secret\nc:" BCRYPT_SECRET "\n"), AUTH_USERS_BAD);
    cr_expect_eq(messages.count, 3);
    cr_expect_str_eq(message(2), "users:3: user b: plain text is too weak" ANEW);
    for (size_t i = 0; i < 30; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "user%zu:secret\n", i);
    }
    cr_assert_eq(parse(text), AUTH_USERS_BAD);
    cr_assert_eq(messages.count, 11);
    cr_expect_str_eq(message(9), "users:10: user user9: plain text is too weak" ANEW);
    cr_expect_str_eq(message(10), "users: 20 more lines are wrong");
}

Test(auth_users, messages_never_show_a_password)
{
    cr_assert_eq(parse("hunter2\na:hunter2\nb:$6$hunter2\n:hunter2\n c:hunter2\n"), AUTH_USERS_BAD);
    cr_expect_eq(messages.count, 5);
    for (size_t i = 0; i < messages.count; i++) {
        cr_expect_null(strstr(message(i), "hunter2"), "%s", line);
    }
}

/* Every user for some names, and for one name always the same, after another reading too. */
Test(auth_users, unknown_names_have_somebody_to_stand_in)
{
    static const char text[] = "a:" SHA512_SECRET "\nb:" BCRYPT_10_SECRET "\nc:" YESCRYPT_SECRET;
    size_t first[300];
    size_t counts[3] = {0};
    char name[16];

    for (unsigned round = 0; round < 2; round++) {
        cr_assert_eq(parse(text), 0);
        for (size_t i = 0; i < ARRAY_LEN(first); i++) {
            const struct auth_user *user;

            (void)snprintf(name, sizeof(name), "name%zu", i);
            user = auth_users_stand_in(users, str_of(name));
            cr_assert_not_null(user);
            cr_expect(round == 0 || first[i] == user->index, "%s", name);
            first[i] = user->index;
            counts[user->index]++;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        cr_expect(counts[i] > 120 && counts[i] < 280, "user %zu: %zu of 600", i, counts[i]);
    }
}

Test(auth_users, ends_with_its_last_reference)
{
    struct auth_users *other;

    cr_assert_eq(parse("a:" BCRYPT_SECRET), 0);
    other = auth_users_ref(users);
    auth_users_unref(users);
    users = other;
    cr_expect_not_null(hash_of("a"));
}

/* ------------------------------------------------------------------ files */

static char path[64];

static void make_file(const char *text)
{
    int fd;

    (void)strcpy(path, "/tmp/viaduct-users-XXXXXX");
    fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(close(fd), 0);
}

static void remove_file(void)
{
    (void)unlink(path);
    tear_down();
}

static const struct conf_origin origin = {.file = "viaduct.ini", .line = 7};

static int load(void)
{
    return auth_users_load(path, origin, &messages, &users);
}

TestSuite(auth_users_file, .fini = remove_file);

Test(auth_users_file, is_read_with_its_stamp)
{
    struct file_stamp stamp;

    make_file("alice:" BCRYPT_SECRET "\n");
    stamp = file_look(path);
    cr_assert_eq(load(), 0);
    cr_expect_not_null(hash_of("alice"));
    cr_expect(file_stamp_eq(&stamp, auth_users_stamp(users)));
}

Test(auth_users_file, that_is_missing_is_told_where_it_is_named)
{
    (void)strcpy(path, "/nowhere/users");
    cr_assert_eq(load(), AUTH_USERS_BAD);
    cr_expect_str_eq(message(0),
                     "viaduct.ini:7: auth.users = /nowhere/users: No such file or directory");
    conf_messages_deinit(&messages);
    (void)strcpy(path, "/tmp");
    cr_assert_eq(load(), AUTH_USERS_BAD);
    cr_expect_str_eq(message(0), "viaduct.ini:7: auth.users = /tmp: not a regular file");
}

Test(auth_users_file, has_a_size_that_can_be_held)
{
    make_file("");
    cr_assert_eq(truncate(path, (off_t)AUTH_USERS_MAX_BYTES + 1), 0);
    cr_assert_eq(load(), AUTH_USERS_BAD);
    cr_expect_not_null(strstr(message(0), ": larger than 64 MiB"));
}

static void start_over(void)
{
    tear_down();
}

Test(auth_users_file, says_when_memory_is_out)
{
    make_file("alice:" BCRYPT_SECRET "\nbob:" SHA512_SECRET "\n# x\ncarl:" BCRYPT_OTHER "\n");
    cr_expect_gt(fail_each_allocation(start_over, load), 0);
    cr_expect_eq(auth_users_count(users), 3);
    cr_expect_eq(messages.count, 0);
}
