// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/listener.h"

TestSuite(listener);

static char dir[] = "/tmp/viaduct-listener.XXXXXX";
static char path[sizeof(dir) + 8];
static char other[sizeof(dir) + 8];

static void make_dir(void)
{
    cr_assert(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/socket", dir);
    (void)snprintf(other, sizeof(other), "%s/other", dir);
}

static void remove_dir(void)
{
    (void)unlink(path);
    (void)unlink(other);
    (void)rmdir(dir);
}

static mode_t mode_of(const char *file)
{
    struct stat st;

    cr_assert_eq(lstat(file, &st), 0);
    return st.st_mode & 0777;
}

static void make_file(const char *file)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL, 0600);

    cr_assert(fd >= 0);
    (void)close(fd);
}

Test(listener, unix_socket_has_its_mode, .init = make_dir, .fini = remove_dir)
{
    const mode_t mode = 0622;
    int fd;

    cr_assert_eq(listener_open_unix(path, 0640, (gid_t)-1, &fd), 0);
    cr_assert_eq(mode_of(path), 0640);
    cr_assert_eq(listener_change_unix(path, (uid_t)-1, (gid_t)-1, &mode), 0);
    cr_assert_eq(mode_of(path), 0622);
    (void)close(fd);
}

Test(listener, nothing_but_a_socket_is_changed, .init = make_dir, .fini = remove_dir)
{
    const mode_t mode = 0666;

    make_file(other);
    cr_assert_eq(listener_change_unix(other, (uid_t)-1, (gid_t)-1, &mode), -ENOTSOCK);
    cr_assert_eq(mode_of(other), 0600);
    cr_assert_eq(listener_change_unix(path, (uid_t)-1, (gid_t)-1, &mode), -ENOENT);
}

Test(listener, no_link_is_followed, .init = make_dir, .fini = remove_dir)
{
    const mode_t mode = 0666;
    int fd;

    cr_assert_eq(listener_open_unix(other, 0600, (gid_t)-1, &fd), 0);
    cr_assert_eq(symlink(other, path), 0);
    cr_assert_eq(listener_change_unix(path, (uid_t)-1, (gid_t)-1, &mode), -ENOTSOCK);
    cr_assert_eq(mode_of(other), 0600);
    (void)close(fd);
}
