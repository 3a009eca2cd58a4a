// SPDX-License-Identifier: MIT
#include "server/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/str.h"

#define PATIENCE_S 1

/* 0, or -EINVAL. */
static int read_address(struct notify *notify, const char *text)
{
    size_t len = strlen(text);

    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof(notify->to.sun_path)) {
        return -EINVAL;
    }
    notify->to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(notify->to.sun_path, text, len);
    if (text[0] == '@') {
        notify->to.sun_path[0] = '\0'; /* an abstract name has no end mark: its length counts */
    }
    notify->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return 0;
}

/* The interval, if it is meant for this process. */
static uint64_t read_watchdog_ms(void)
{
    const char *usec_text = getenv("WATCHDOG_USEC");
    const char *pid_text = getenv("WATCHDOG_PID");
    uint64_t usec;
    uint64_t pid = 0;

    if (!usec_text || !str_parse_u64(str_of(usec_text), UINT64_MAX, &usec)) {
        return 0;
    }
    if (pid_text &&
        (!str_parse_u64(str_of(pid_text), INT32_MAX, &pid) || pid != (uint64_t)getpid())) {
        return 0;
    }
    return usec / 1000;
}

static int open_socket(struct notify *notify, const char *address)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int r = read_address(notify, address);

    if (r != 0) {
        return r;
    }
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0) {
        return -errno;
    }
    (void)setsockopt(notify->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return 0;
}

int notify_init(struct notify *notify)
{
    const char *address = getenv("NOTIFY_SOCKET");
    int r = 0;

    *notify = (struct notify){.fd = -1};
    if (address) {
        r = open_socket(notify, address);
    }
    if (notify_is_on(notify)) {
        notify->watchdog_ms = read_watchdog_ms();
    }
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return r;
}

void notify_deinit(struct notify *notify)
{
    if (notify_is_on(notify)) {
        (void)close(notify->fd);
        notify->fd = -1;
    }
}

int notify_send(const struct notify *notify, const char *message)
{
    if (!notify_is_on(notify)) {
        return 0;
    }
    /* Not connected: a manager that has begun anew has another socket of that name. */
    if (sendto(notify->fd, message, strlen(message), MSG_NOSIGNAL,
               (const struct sockaddr *)&notify->to, notify->to_len) < 0) {
        return -errno;
    }
    return 0;
}
