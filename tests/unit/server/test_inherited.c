// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/inherited.h"

static void hand_over(const char *count, const char *names)
{
    char pid[16];

    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    (void)setenv("LISTEN_PID", pid, 1);
    (void)setenv("LISTEN_FDS", count, 1);
    (void)(names ? setenv("LISTEN_FDNAMES", names, 1) : unsetenv("LISTEN_FDNAMES"));
}

Test(inherited, counts_what_is_for_this_process)
{
    hand_over("3", NULL);
    cr_assert_eq(inherited_count(), 3);
    hand_over("x", NULL);
    cr_assert_eq(inherited_count(), 0);
    hand_over("99999999", NULL);
    cr_assert_eq(inherited_count(), 0);
    hand_over("3", NULL);
    (void)setenv("LISTEN_PID", "1", 1);
    cr_assert_eq(inherited_count(), 0);
    hand_over("3", "a:b:c");
    inherited_forget();
    cr_assert_eq(inherited_count(), 0);
    cr_assert_null(getenv("LISTEN_PID"));
    cr_assert_null(getenv("LISTEN_FDS"));
    cr_assert_null(getenv("LISTEN_FDNAMES"));
}

Test(inherited, tells_names_apart)
{
    hand_over("4", "lan::viaduct.socket");
    cr_assert(str_eq(inherited_name(0), STR("lan")));
    cr_assert_eq(inherited_name(1).len, 0);
    cr_assert(str_eq(inherited_name(2), STR("viaduct.socket")));
    cr_assert_eq(inherited_name(3).len, 0);
    hand_over("1", NULL);
    cr_assert_eq(inherited_name(0).len, 0);
}

Test(inherited, takes_listening_sockets_alone)
{
    struct sockaddr_storage at;
    char error[128] = "";
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_geq(fd, 3);
    cr_assert_eq(inherited_take((size_t)fd - 3, &at, error, sizeof(error)), -ENOTSOCK);
    cr_assert_str_not_empty(error);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(inherited_take((size_t)fd - 3, &at, error, sizeof(error)), fd);
    cr_assert_eq(at.ss_family, AF_INET);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    (void)close(fd);
}
