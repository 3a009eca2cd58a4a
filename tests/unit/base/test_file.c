// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../faults.h"
#include "base/file.h"

static char path[64];
static char *text;
static size_t len;

static void put(const char *content)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    cr_assert_eq(close(fd), 0);
}

static void setup(void)
{
    (void)strcpy(path, "/tmp/viaduct-file-XXXXXX");
    cr_assert_eq(close(mkstemp(path)), 0);
    put("hello");
}

static void teardown(void)
{
    mem_free(text);
    (void)unlink(path);
}

TestSuite(file, .init = setup, .fini = teardown);

static void rewind_mtime(void)
{
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

Test(file, stamp_tells_when_another_file_stands_there)
{
    struct file_stamp first = file_look(path);
    struct file_stamp second = file_look(path);
    char other[80];

    cr_expect(first.exists);
    cr_expect(file_stamp_eq(&first, &second));
    (void)snprintf(other, sizeof(other), "%s.new", path);
    cr_assert_eq(rename(path, other), 0);
    second = file_look(path);
    cr_expect_not(second.exists);
    cr_expect_not(file_stamp_eq(&first, &second));
    put("hello");
    second = file_look(path);
    cr_expect_not(file_stamp_eq(&first, &second), "another inode");
    (void)unlink(other);
}

Test(file, stamp_tells_size_and_times)
{
    struct file_stamp first = file_look(path);
    struct file_stamp second;

    put("hello!");
    second = file_look(path);
    cr_expect_neq(first.size_bytes, second.size_bytes);
    cr_expect_not(file_stamp_eq(&first, &second));
    first = second;
    rewind_mtime();
    second = file_look(path);
    cr_expect_eq(second.mtime.tv_sec, 1);
    cr_expect_not(file_stamp_eq(&first, &second));
}

Test(file, stamps_of_nothing_are_the_same)
{
    struct file_stamp none = {0};
    struct file_stamp gone = file_look("/nowhere/at/all");

    cr_expect(file_stamp_eq(&none, &gone));
}

Test(file, reads_all_up_to_a_limit_with_the_stamp)
{
    struct file_stamp expected = file_look(path);
    struct file_stamp stamp = {0};

    cr_assert_eq(file_read(path, 5, &stamp, &text, &len), 0);
    cr_expect_eq(len, 5);
    cr_expect_eq(memcmp(text, "hello", 5), 0);
    cr_expect(file_stamp_eq(&stamp, &expected));
    mem_free(text);
    text = NULL;
    cr_expect_eq(file_read(path, 4, &stamp, &text, &len), -EFBIG);
}

Test(file, reads_a_file_that_tells_no_size)
{
    cr_assert_eq(file_read("/proc/self/status", 1 << 20, NULL, &text, &len), 0);
    cr_expect_gt(len, 100);
}

Test(file, refuses_what_is_no_file_without_waiting)
{
    cr_expect_eq(file_read("/tmp", 100, NULL, &text, &len), FILE_NOT_REGULAR);
    cr_expect_eq(file_read("/dev/zero", 100, NULL, &text, &len), FILE_NOT_REGULAR);
    cr_assert_eq(unlink(path), 0);
    cr_expect_eq(file_read(path, 100, NULL, &text, &len), -ENOENT);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(file_read(path, 100, NULL, &text, &len), FILE_NOT_REGULAR);
}

static void free_text(void)
{
    mem_free(text);
    text = NULL;
}

static int read_it(void)
{
    return file_read(path, 1000, NULL, &text, &len);
}

Test(file, says_when_memory_is_out)
{
    cr_expect_gt(fail_each_allocation(free_text, read_it), 0);
    cr_expect_eq(len, 5);
}
