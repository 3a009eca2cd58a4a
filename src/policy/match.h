// SPDX-License-Identifier: MIT
#pragma once

/*
 * The conditions of a rule line: what they hold and what they say to facts.
 * Each answers for itself; policy.c puts the answers of a line together.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

/* The value of from or to: address classes, ORed. */
enum match_class {
    MATCH_ANY = 1 << 0,
    MATCH_LOOPBACK = 1 << 1,
    MATCH_UNIX = 1 << 2,
};

struct match_addrs {
    unsigned classes; /* of enum match_class */
};

bool match_addr(const struct match_addrs *addrs, const struct addr *addr);
/* For an allow line: addr and the IPv4 address inside it, if there is one, must both match. */
bool match_addr_all(const struct match_addrs *addrs, const struct addr *addr);

/* Whether a connection to address and port would come out at one of our own listeners, which are
 * the count entries of own; an unspecified one of them listens on every address of the machine:
 * loopback and all that own names. The IPv4 address inside address counts too. */
bool match_own(const struct addr *address, const struct addr *own, size_t count);
