// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "server/privileges.h"

static char error[200];

Test(privileges, stay_without_a_user)
{
    uid_t before = geteuid();

    cr_expect_eq(privileges_drop(NULL, error, sizeof(error)), 0);
    cr_expect_eq(geteuid(), before);
}

Test(privileges, user_that_does_not_exist_is_named)
{
    cr_expect_eq(privileges_drop("no-such-user", error, sizeof(error)), -ENOENT);
    cr_expect_str_eq(error, "server.user: there is no user no-such-user");
}

Test(privileges, users_are_found_by_name)
{
    uid_t uid = 7;

    cr_expect_eq(privileges_find("no-such-user", &uid), -ENOENT);
    cr_expect_eq(uid, 7);
    cr_expect_eq(privileges_find("root", &uid), 0);
    cr_expect_eq(uid, 0);
}

Test(privileges, user_that_one_is_already_needs_nothing)
{
    struct passwd *entry = getpwuid(geteuid());

    if (!entry) {
        cr_skip_test("the user of this process has no name");
    }
    cr_expect_eq(privileges_drop(entry->pw_name, error, sizeof(error)), 0);
}

Test(privileges, only_root_becomes_another_user_and_for_good)
{
    struct passwd *nobody = getpwnam("nobody");
    uid_t uid;

    cr_assert_not_null(nobody);
    uid = nobody->pw_uid;
    if (geteuid() == 0) {
        cr_expect_eq(privileges_drop("nobody", error, sizeof(error)), 0);
        cr_expect_eq(geteuid(), uid);
        cr_expect_neq(setuid(0), 0);
    }
    /* Now it is nobody of importance. */
    uid = geteuid();
    cr_expect_eq(privileges_drop("root", error, sizeof(error)), 0);
    cr_expect_eq(geteuid(), uid);
}
