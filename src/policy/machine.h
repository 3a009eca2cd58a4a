// SPDX-License-Identifier: MIT
#pragma once

/*
 * The addresses of this machine, as the kernel has them: read by netlink
 * (RFC 3549), and read again whenever it says that one has come or gone. A
 * worker follows them on its own loop, so that nothing is shared. What a
 * table holds never changes; a change makes another table.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"

struct loop;
struct machine;
struct machine_addrs;

/* Reads them once. 0 with *ret owned by the caller; negative errno. */
MUST_USE int machine_addrs_read(struct machine_addrs **ret);
/* Of addresses given; ports and zones do not count. 0 or -ENOMEM. */
MUST_USE int machine_addrs_new(const struct addr *addrs, size_t count, struct machine_addrs **ret);
void machine_addrs_free(struct machine_addrs *addrs); /* accepts NULL */
/* An IPv4-mapped address is the IPv4 address. */
bool machine_addrs_has(const struct machine_addrs *addrs, const struct addr *addr);
size_t machine_addrs_count(const struct machine_addrs *addrs);

/* Follows them on loop. 0 or negative errno. */
MUST_USE int machine_new(struct loop *loop, struct machine **ret);
void machine_free(struct machine *machine); /* accepts NULL */
/* As they are now: borrowed until control returns to the loop. */
const struct machine_addrs *machine_addrs_now(const struct machine *machine);

/* For tests: reads one netlink datagram. Calls add for each address that is told as the machine's
 * own; *ret_done: the message that ends a dump was in it. 0; -EBADMSG when it is no netlink; the
 * kernel's negative errno that it carries. */
MUST_USE int machine_parse(struct str datagram, void (*add)(void *arg, const struct addr *addr),
                           void *arg, bool *ret_done);
