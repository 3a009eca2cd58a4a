// SPDX-License-Identifier: MIT
#pragma once

/*
 * The service manager's notify protocol, as sd_notify(3) and
 * sd_watchdog_enabled(3) describe it: lines of NAME=VALUE, one datagram a
 * message, to the unix socket that NOTIFY_SOCKET names. Without that variable
 * nothing is sent. Knows nothing of the daemon.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/attr.h"

struct notify {
    int fd; /* owned; -1: there is no service manager */
    struct sockaddr_un to;
    socklen_t to_len;
    uint64_t
        watchdog_ms; /* it wants WATCHDOG=1 within this time, again and again; 0: it does not */
};

/* Takes the variables out of the environment, so that they are for this process alone; before there
 * are threads. 0, or negative errno: NOTIFY_SOCKET is neither a path nor @NAME of an abstract
 * socket, or there is no descriptor left. After an error it is as without the variable. */
MUST_USE int notify_init(struct notify *notify);
void notify_deinit(struct notify *notify);
static inline bool notify_is_on(const struct notify *notify)
{
    return notify->fd >= 0;
}
/* One message. Waits for a manager that does not read for a second at most. 0, also where nobody
 * listens for it; or negative errno. */
int notify_send(const struct notify *notify, const char *message);
