// SPDX-License-Identifier: MIT
#pragma once

/*
 * Wrong passwords per client (addr_client_key): so many within a time, from
 * the first of them on, then the client may not try again until that time
 * has passed. Shared by all threads. A table of fixed size: a client that
 * has failed least is forgotten where no room is left. To look costs a lock
 * only near a client that may not try.
 */

#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"

struct auth_failures;

/* NULL: memory is out. */
MUST_USE struct auth_failures *auth_failures_new(void);
void auth_failures_free(struct auth_failures *failures); /* accepts NULL */
/* For what is counted from now on. limit: 1 or more. */
void auth_failures_set(struct auth_failures *failures, uint64_t limit, uint64_t window_ms);

/* Milliseconds until client may try again; 0: it may now. */
uint64_t auth_failures_wait_ms(struct auth_failures *failures, const struct addr *client,
                               uint64_t now_ms);
/* Counts one more; the same answer then. */
uint64_t auth_failures_add(struct auth_failures *failures, const struct addr *client,
                           uint64_t now_ms);
