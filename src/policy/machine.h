// SPDX-License-Identifier: MIT
#pragma once

/*
 * The addresses of this machine, as the kernel has them: those of its
 * interfaces, and whatever else its table of local routes has it take for its
 * own (anycast, whole networks). Read by netlink (RFC 3549), and read again
 * whenever it says that one has come or gone. A worker follows them on its own
 * loop, so that nothing is shared. What a table holds never changes; a change
 * makes another table.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"

struct loop;
struct machine;
struct machine_addrs;

/* Reads them once. 0 with *ret owned by the caller; negative errno: -EAFNOSUPPORT where the process
 * may have no netlink socket (see machine_describe_error). */
MUST_USE int machine_addrs_read(struct machine_addrs **ret);
/* Of networks given; ports and zones do not count. 0 or -ENOMEM. */
MUST_USE int machine_addrs_new(const struct addr_net *nets, size_t count,
                               struct machine_addrs **ret);
void machine_addrs_free(struct machine_addrs *addrs); /* accepts NULL */
/* An IPv4-mapped address is the IPv4 address. */
bool machine_addrs_has(const struct machine_addrs *addrs, const struct addr *addr);
/* Of networks, those within others left out. */
size_t machine_addrs_count(const struct machine_addrs *addrs);

/* Follows them on loop. 0 or negative errno. */
MUST_USE int machine_new(struct loop *loop, struct machine **ret);
void machine_free(struct machine *machine); /* accepts NULL */
/* What an errno of either means: what could not be learnt, and what can be done about it. */
void machine_describe_error(int error, char *buf, size_t cap);
/* As they are now: borrowed until control returns to the loop. */
const struct machine_addrs *machine_addrs_now(const struct machine *machine);

/* For tests: reads one netlink datagram. Calls add for each address or network that is told as the
 * machine's own; *ret_done: the message that ends a dump was in it. 0; -EBADMSG when it is no
 * netlink; the kernel's negative errno that it carries. */
MUST_USE int machine_parse(struct str datagram, void (*add)(void *arg, const struct addr_net *net),
                           void *arg, bool *ret_done);
