// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log/journal.h"

static bool has(int fd, const char *stream)
{
    (void)(stream ? setenv("JOURNAL_STREAM", stream, 1) : unsetenv("JOURNAL_STREAM"));
    return journal_has(fd);
}

Test(journal, is_known_by_device_and_inode)
{
    int ends[2];
    struct stat stat;
    char name[64];
    char other[64];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(fstat(ends[1], &stat), 0);
    (void)snprintf(name, sizeof(name), "%llu:%llu", (unsigned long long)stat.st_dev,
                   (unsigned long long)stat.st_ino);
    (void)snprintf(other, sizeof(other), "%llu:%llu", (unsigned long long)stat.st_dev,
                   (unsigned long long)stat.st_ino + 1);
    cr_assert(has(ends[1], name));
    cr_assert_not(has(ends[1], other));
    cr_assert_not(has(STDOUT_FILENO, name));
    cr_assert_not(has(-1, name));
    (void)close(ends[0]);
    (void)close(ends[1]);
}

Test(journal, is_not_what_is_no_name)
{
    static const char *const wrong[] = {NULL, "", ":", "1", "1:", ":1", "1:x", "-1:-1", "1:2:3"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert_not(has(STDOUT_FILENO, wrong[i]));
    }
}

Test(journal, numbers_levels_as_syslog_does)
{
    cr_assert(str_eq(journal_prefix(LOG_ERROR), STR("<3>")));
    cr_assert(str_eq(journal_prefix(LOG_WARNING), STR("<4>")));
    cr_assert(str_eq(journal_prefix(LOG_NOTICE), STR("<5>")));
    cr_assert(str_eq(journal_prefix(LOG_INFO), STR("<6>")));
    cr_assert(str_eq(journal_prefix(LOG_DEBUG), STR("<7>")));
    cr_assert_eq(journal_prefix(LOG_DEBUG).len, JOURNAL_PREFIX_LEN);
}
