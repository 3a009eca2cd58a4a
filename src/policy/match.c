// SPDX-License-Identifier: MIT
#include "policy/match.h"

bool match_addr(const struct match_addrs *addrs, const struct addr *addr)
{
    return (addrs->classes & MATCH_ANY) != 0 ||
           ((addrs->classes & MATCH_LOOPBACK) != 0 && addr_is_loopback(addr)) ||
           ((addrs->classes & MATCH_UNIX) != 0 && addr->kind == ADDR_UNIX);
}

bool match_addr_all(const struct match_addrs *addrs, const struct addr *addr)
{
    struct addr inner;

    return match_addr(addrs, addr) &&
           (!addr_embedded_ip4(addr, &inner) || match_addr(addrs, &inner));
}

/* connect(2) to the unspecified address reaches this machine, as loopback does. */
static bool is_loopback_target(const struct addr *address)
{
    return addr_is_loopback(address) || addr_is_unspecified(address);
}

static bool is_machine_address(const struct addr *address, const struct addr *own, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (addr_ip_eq(address, &own[i])) {
            return true;
        }
    }
    return is_loopback_target(address);
}

static bool is_own(const struct addr *address, const struct addr *own, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (own[i].port != address->port) {
            continue;
        }
        if (addr_ip_eq(address, &own[i]) ||
            (addr_is_unspecified(address) && addr_is_loopback(&own[i])) ||
            (addr_is_unspecified(&own[i]) && is_machine_address(address, own, count))) {
            return true;
        }
    }
    return false;
}

bool match_own(const struct addr *address, const struct addr *own, size_t count)
{
    struct addr inner;

    return is_own(address, own, count) ||
           (addr_embedded_ip4(address, &inner) && is_own(&inner, own, count));
}
