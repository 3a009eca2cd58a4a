// SPDX-License-Identifier: MIT
#include "resolve/merge.h"

static unsigned rank(enum resolve_status status)
{
    switch (status) {
    case RESOLVE_OK:
        return 0;
    case RESOLVE_NXDOMAIN:
        return 1;
    case RESOLVE_SERVFAIL:
        return 2;
    case RESOLVE_REFUSED:
        return 3;
    case RESOLVE_TIMEOUT:
        return 4;
    case RESOLVE_ERROR:
        return 5;
    case RESOLVE_NO_MEMORY:
        return 6;
    case RESOLVE_NODATA:
        return 7;
    }
    return 5;
}

enum resolve_status merge_status(enum resolve_status a, enum resolve_status b)
{
    return rank(a) <= rank(b) ? a : b;
}

static bool is_pending(const struct merge_facts *facts, enum dns_family family)
{
    return facts->parts[family].state == MERGE_PENDING;
}

static bool has_addrs(const struct merge_facts *facts, enum dns_family family)
{
    return facts->parts[family].state == MERGE_ANSWERED &&
           facts->parts[family].status == RESOLVE_OK;
}

static bool is_new(const struct merge_facts *facts, enum dns_family family)
{
    return has_addrs(facts, family) && !(facts->reported & MERGE_BIT(family));
}

bool merge_holds(const struct merge_facts *facts)
{
    return is_new(facts, DNS_A) && is_pending(facts, DNS_AAAA) && !facts->hold_over;
}

static enum resolve_status overall(const struct merge_facts *facts)
{
    enum resolve_status status = RESOLVE_NODATA;

    for (unsigned i = 0; i < DNS_FAMILIES; i++) {
        if (facts->parts[i].state == MERGE_ANSWERED) {
            status = merge_status(status, facts->parts[i].status);
        }
    }
    return status;
}

struct merge_step merge_next(const struct merge_facts *facts)
{
    struct merge_step step = {
        .done = !is_pending(facts, DNS_A) && !is_pending(facts, DNS_AAAA),
        .status = overall(facts),
    };

    if (is_new(facts, DNS_AAAA)) {
        step.families |= MERGE_BIT(DNS_AAAA);
    }
    if (is_new(facts, DNS_A) && !merge_holds(facts)) {
        step.families |= MERGE_BIT(DNS_A);
    }
    step.report = step.done || step.families != 0;
    return step;
}
