// SPDX-License-Identifier: MIT
#pragma once

/*
 * The answer to one DNS question (a name and one address family) as a plain
 * value: what the backend gives, the cache keeps and the resolver merges.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "resolve/resolver.h"

enum dns_family { DNS_A, DNS_AAAA };
#define DNS_FAMILIES 2

struct dns_answer {
    enum resolve_status status; /* RESOLVE_OK exactly when addr_count > 0 */
    uint64_t ttl_ms; /* of RESOLVE_OK: the least along a CNAME chain; 0: not to be kept */
    size_t addr_count;
    struct addr addrs[RESOLVE_MAX_ADDRS]; /* ports are 0 */
};
