// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/notify.h"

/* A manager's socket, in the abstract space so that no file is left. */
static int listen_at(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    size_t len = strlen(name);

    memcpy(at.sun_path, name, len);
    at.sun_path[0] = '\0';
    cr_assert_eq(
        bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
        0);
    return fd;
}

static void name_socket(char name[64])
{
    (void)snprintf(name, 64, "@viaduct-unit-%d", (int)getpid());
    cr_assert_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
}

static uint64_t watchdog_of(const char *usec, const char *pid)
{
    struct notify notify;

    cr_assert_eq(setenv("NOTIFY_SOCKET", "/nowhere", 1), 0);
    (void)(usec ? setenv("WATCHDOG_USEC", usec, 1) : unsetenv("WATCHDOG_USEC"));
    (void)(pid ? setenv("WATCHDOG_PID", pid, 1) : unsetenv("WATCHDOG_PID"));
    cr_assert_eq(notify_init(&notify), 0);
    notify_deinit(&notify);
    return notify.watchdog_ms;
}

Test(notify, is_off_without_the_variable)
{
    struct notify notify;

    (void)unsetenv("NOTIFY_SOCKET");
    cr_assert_eq(setenv("WATCHDOG_USEC", "1000000", 1), 0);
    cr_assert_eq(notify_init(&notify), 0);
    cr_assert_not(notify_is_on(&notify));
    cr_assert_eq(notify.watchdog_ms, 0);
    cr_assert_eq(notify_send(&notify, "READY=1\n"), 0);
    notify_deinit(&notify);
}

Test(notify, sends_one_datagram_each)
{
    struct notify notify;
    char name[64];
    char got[64] = "";
    int manager;

    name_socket(name);
    manager = listen_at(name);
    cr_assert_eq(notify_init(&notify), 0);
    cr_assert_eq(notify_send(&notify, "READY=1\n"), 0);
    cr_assert_eq(notify_send(&notify, "WATCHDOG=1\nSTATUS=x\n"), 0);
    cr_assert_eq(recv(manager, got, sizeof(got) - 1, 0), 8);
    cr_assert_str_eq(got, "READY=1\n");
    cr_assert_eq(recv(manager, got, sizeof(got) - 1, 0), 20);
    cr_assert_eq(recv(manager, got, sizeof(got) - 1, 0), -1);
    notify_deinit(&notify);
    cr_assert_not(notify_is_on(&notify));
    (void)close(manager);
}

Test(notify, finds_a_manager_that_has_begun_anew)
{
    struct notify notify;
    char name[64];
    int manager;

    name_socket(name);
    cr_assert_eq(notify_init(&notify), 0);
    cr_assert_eq(notify_send(&notify, "READY=1\n"), -ECONNREFUSED);
    manager = listen_at(name);
    cr_assert_eq(notify_send(&notify, "READY=1\n"), 0);
    (void)close(manager);
    cr_assert_eq(notify_send(&notify, "READY=1\n"), -ECONNREFUSED);
    notify_deinit(&notify);
}

Test(notify, waits_a_second_at_most_for_one_that_does_not_read)
{
    struct notify notify;
    char name[64];
    int manager;
    int r = 0;

    name_socket(name);
    manager = listen_at(name);
    cr_assert_eq(notify_init(&notify), 0);
    for (int i = 0; i < 100000 && r == 0; i++) {
        r = notify_send(&notify, "WATCHDOG=1\n");
    }
    cr_assert_eq(r, -EAGAIN);
    notify_deinit(&notify);
    (void)close(manager);
}

Test(notify, refuses_what_is_no_address)
{
    static const char *const wrong[] = {"", "/", "@", "relative", "vsock:2:1"};
    char longest[200];
    struct notify notify;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert_eq(setenv("NOTIFY_SOCKET", wrong[i], 1), 0);
        cr_assert_eq(notify_init(&notify), -EINVAL, "%s", wrong[i]);
        cr_assert_not(notify_is_on(&notify));
    }
    memset(longest, 'x', sizeof(longest));
    longest[0] = '/';
    longest[sizeof(notify.to.sun_path)] = '\0';
    cr_assert_eq(setenv("NOTIFY_SOCKET", longest, 1), 0);
    cr_assert_eq(notify_init(&notify), -EINVAL);
    longest[sizeof(notify.to.sun_path) - 1] = '\0';
    cr_assert_eq(setenv("NOTIFY_SOCKET", longest, 1), 0);
    cr_assert_eq(notify_init(&notify), 0);
    notify_deinit(&notify);
}

Test(notify, knows_the_watchdog_that_is_meant_for_it)
{
    char pid[16];

    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    cr_assert_eq(watchdog_of(NULL, NULL), 0);
    cr_assert_eq(watchdog_of("30000000", NULL), 30000);
    cr_assert_eq(watchdog_of("30000000", pid), 30000);
    cr_assert_eq(watchdog_of("30000000", "1"), 0);
    cr_assert_eq(watchdog_of("30000000", "x"), 0);
    cr_assert_eq(watchdog_of("999", NULL), 0);
    cr_assert_eq(watchdog_of("-1", NULL), 0);
    cr_assert_eq(watchdog_of("", NULL), 0);
}

Test(notify, takes_the_variables_for_itself)
{
    (void)watchdog_of("30000000", "1");
    cr_assert_null(getenv("NOTIFY_SOCKET"));
    cr_assert_null(getenv("WATCHDOG_USEC"));
    cr_assert_null(getenv("WATCHDOG_PID"));
}
