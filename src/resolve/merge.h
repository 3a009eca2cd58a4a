// SPDX-License-Identifier: MIT
#pragma once

/*
 * What one waiter is told, and when, while the answers for the two address
 * families come in: AAAA at once, A held back a little for AAAA (RFC 8305 3),
 * a failure only when no family gave an address. Pure: no clock, no I/O; the
 * resolver says what has happened and does what it is told.
 */

#include <stdbool.h>

#include "resolve/dns_answer.h"

#define MERGE_HOLD_MS 50 /* RFC 8305 3, "Resolution Delay" */

enum merge_state { MERGE_UNWANTED, MERGE_PENDING, MERGE_ANSWERED };

struct merge_part {
    enum merge_state state;
    enum resolve_status status; /* when MERGE_ANSWERED */
};

struct merge_facts {
    struct merge_part parts[DNS_FAMILIES];
    unsigned reported; /* MERGE_BIT of each family whose addresses this waiter has */
    bool hold_over;    /* A has waited for AAAA long enough */
};

#define MERGE_BIT(family) (1U << (family))

struct merge_step {
    bool report;       /* false: nothing to say yet */
    bool done;         /* the last report */
    unsigned families; /* whose addresses to report now: AAAA before A */
    enum resolve_status status;
};

struct merge_step merge_next(const struct merge_facts *facts);
/* True when an A answer is here and only the hold keeps it from being reported. */
bool merge_holds(const struct merge_facts *facts);
/* The more telling of two statuses: OK, NXDOMAIN, SERVFAIL, TIMEOUT, ERROR, NODATA. NODATA comes
 * last because it is the word of one family only: the other, which failed, might have had
 * addresses. */
enum resolve_status merge_status(enum resolve_status a, enum resolve_status b);
