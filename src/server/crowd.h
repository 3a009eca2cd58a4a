// SPDX-License-Identifier: MIT
#pragma once

/*
 * How many connections each client address has
 * (server.max_connections_per_client): IPv4 by address, IPv6 by /64, unix
 * sockets by user. Shared by all workers under a lock; used only when the
 * limit is on.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"

struct crowd;

MUST_USE int crowd_new(uint64_t limit, struct crowd **ret);
void crowd_free(struct crowd *crowd);
/* Counts one more, to be given back with crowd_leave; false, and nothing is counted, when that
 * would be beyond the limit. */
bool crowd_enter(struct crowd *crowd, const struct addr *client);
void crowd_leave(struct crowd *crowd, const struct addr *client);
