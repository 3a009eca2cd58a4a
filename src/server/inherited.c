// SPDX-License-Identifier: MIT
#include "server/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "log/log.h"

#define FIRST_FD 3
#define MAX_FDS 1024

/* The number in a variable; false, after a warning, if it has none. */
static bool read_number(const char *name, uint64_t max, uint64_t *ret)
{
    const char *text = getenv(name);

    if (str_parse_u64(str_of(text), max, ret)) {
        return true;
    }
    log_event(LOG_WARNING, "listener",
              "%s %s%s: expected a number up to %" PRIu64 "; no inherited socket is taken over",
              name, text ? "is " : "is not set", text ? text : "", max);
    return false;
}

size_t inherited_count(void)
{
    uint64_t count = 0;
    uint64_t for_pid;

    if (!getenv("LISTEN_FDS") || !read_number("LISTEN_PID", INT32_MAX, &for_pid) ||
        for_pid != (uint64_t)getpid() || !read_number("LISTEN_FDS", MAX_FDS, &count)) {
        return 0;
    }
    return (size_t)count;
}

struct str inherited_name(size_t i)
{
    struct str rest = str_of(getenv("LISTEN_FDNAMES"));
    struct str name = str_cut(&rest, ':');

    for (; i > 0; i--) {
        name = str_cut(&rest, ':');
    }
    return name;
}

static bool has_option(int fd, int option, int value)
{
    int found = 0;
    socklen_t len = sizeof(found);

    return getsockopt(fd, SOL_SOCKET, option, &found, &len) == 0 && found == value;
}

/* For streams: packets, which unix sockets have too, would be cut. */
static bool is_listening(int fd)
{
    return has_option(fd, SO_ACCEPTCONN, 1) && has_option(fd, SO_TYPE, SOCK_STREAM);
}

int inherited_take(size_t i, struct sockaddr_storage *ret, char *error, size_t error_cap)
{
    int fd = FIRST_FD + (int)i;
    socklen_t len = sizeof(*ret);

    *ret = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (!is_listening(fd) || getsockname(fd, (struct sockaddr *)ret, &len) != 0) {
        (void)snprintf(error, error_cap, "inherited descriptor %d is no listening socket", fd);
        return -ENOTSOCK;
    }
    return fd;
}

void inherited_forget(void)
{
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
}
