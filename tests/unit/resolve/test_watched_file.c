// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../faults.h"
#include "base/mem.h"
#include "resolve/watched_file.h"

static char path[64];

static void setup(void)
{
    int fd;

    (void)strcpy(path, "/tmp/viaduct-watched-XXXXXX");
    fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "hello", 5), 5);
    cr_assert_eq(close(fd), 0);
}

static void teardown(void)
{
    (void)unlink(path);
}

TestSuite(watched_file, .init = setup, .fini = teardown);

Test(watched_file, first_look_is_a_change_and_then_none)
{
    struct watched_file file;

    watched_file_init(&file, path);
    cr_expect(watched_file_changed(&file, 0));
    cr_expect_not(watched_file_changed(&file, 0));
    cr_expect_not(watched_file_changed(&file, 5000));
}

Test(watched_file, failed_reading_is_tried_again_a_second_later)
{
    struct watched_file file;

    watched_file_init(&file, path);
    cr_expect(watched_file_changed(&file, 0));
    watched_file_failed(&file);
    cr_expect_not(watched_file_changed(&file, 999));
    cr_expect(watched_file_changed(&file, 1000));
    cr_expect_not(watched_file_changed(&file, 2000));
}

Test(watched_file, sees_it_go_and_come)
{
    struct watched_file file;

    watched_file_init(&file, path);
    cr_expect(watched_file_changed(&file, 0));
    cr_assert_eq(unlink(path), 0);
    cr_expect(watched_file_changed(&file, 1000));
    cr_expect_not(watched_file_changed(&file, 2000));
    cr_assert_eq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
    cr_expect(watched_file_changed(&file, 3000));
}

Test(watched_file, reads_all_up_to_a_limit)
{
    struct watched_file file;
    char *text = NULL;
    size_t len = 0;

    watched_file_init(&file, path);
    cr_assert_eq(watched_file_read(&file, 5, &text, &len), 0);
    cr_expect_eq(len, 5);
    cr_expect_eq(memcmp(text, "hello", 5), 0);
    mem_free(text);
    cr_expect_eq(watched_file_read(&file, 4, &text, &len), -EFBIG);
}

Test(watched_file, reads_a_file_that_tells_no_size)
{
    struct watched_file file;
    char *text = NULL;
    size_t len = 0;

    watched_file_init(&file, "/proc/self/status");
    cr_assert_eq(watched_file_read(&file, 1 << 20, &text, &len), 0);
    cr_expect_gt(len, 100);
    mem_free(text);
}

Test(watched_file, does_not_wait_for_a_pipe)
{
    struct watched_file file;
    char *text = NULL;
    size_t len = 1;

    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    watched_file_init(&file, path);
    cr_expect_eq(watched_file_read(&file, 100, &text, &len), 0);
    cr_expect_eq(len, 0);
}

static char *text;
static size_t text_len;

static void free_text(void)
{
    mem_free(text);
    text = NULL;
}

static int read_it(void)
{
    struct watched_file file;

    watched_file_init(&file, path);
    return watched_file_read(&file, 1000, &text, &text_len);
}

Test(watched_file, says_when_memory_is_out)
{
    cr_expect_gt(fail_each_allocation(free_text, read_it), 0);
    cr_expect_eq(text_len, 5);
    free_text();
}

Test(watched_file, says_when_it_may_not_be_opened)
{
    char name[300];
    struct watched_file file;

    memset(name, 'x', sizeof(name));
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    watched_file_init(&file, name);
    cr_expect_eq(watched_file_read(&file, 1000, &text, &text_len), -ENAMETOOLONG);
}
