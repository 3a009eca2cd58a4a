// SPDX-License-Identifier: MIT
#include "resolve/dns_reply.h"

#include <ares.h>
#include <string.h>

#include "base/attr.h"

/* As in dns_cares.c: the calls that every supported version has. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum resolve_status dns_reply_status(int ares_status)
{
    switch (ares_status) {
    case ARES_SUCCESS:
        return RESOLVE_OK;
    case ARES_ENODATA:
        return RESOLVE_NODATA;
    case ARES_ENOTFOUND:
        return RESOLVE_NXDOMAIN;
    case ARES_ETIMEOUT:
        return RESOLVE_TIMEOUT;
    case ARES_ESERVFAIL:
        return RESOLVE_SERVFAIL;
    case ARES_EREFUSED:
    case ARES_EFORMERR:
    case ARES_ENOTIMP:
    case ARES_EBADRESP:
        return RESOLVE_REFUSED;
    case ARES_ENOMEM:
        return RESOLVE_NO_MEMORY;
    default:
        return RESOLVE_ERROR;
    }
}

static void take_ttl(struct dns_answer *answer, int ttl_s)
{
    uint64_t ttl_ms = (uint64_t)MAX(ttl_s, 0) * 1000;

    answer->ttl_ms = answer->addr_count == 0 ? ttl_ms : MIN(answer->ttl_ms, ttl_ms);
}

static int parse_a(const unsigned char *reply, int len, struct dns_answer *ret)
{
    struct ares_addrttl items[RESOLVE_MAX_ADDRS];
    int count = ARRAY_LEN(items);
    int status = ares_parse_a_reply(reply, len, NULL, items, &count);

    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct addr *addr = &ret->addrs[ret->addr_count];

        take_ttl(ret, items[i].ttl);
        *addr = (struct addr){.kind = ADDR_IP4};
        memcpy(addr->bytes, &items[i].ipaddr, 4);
        ret->addr_count++;
    }
    return status;
}

static int parse_aaaa(const unsigned char *reply, int len, struct dns_answer *ret)
{
    struct ares_addr6ttl items[RESOLVE_MAX_ADDRS];
    int count = ARRAY_LEN(items);
    int status = ares_parse_aaaa_reply(reply, len, NULL, items, &count);

    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct addr *addr = &ret->addrs[ret->addr_count];

        take_ttl(ret, items[i].ttl);
        *addr = (struct addr){.kind = ADDR_IP6};
        memcpy(addr->bytes, &items[i].ip6addr, 16);
        ret->addr_count++;
    }
    return status;
}

int dns_reply_read(enum dns_family family, const unsigned char *reply, int len,
                   struct dns_answer *ret)
{
    return family == DNS_A ? parse_a(reply, len, ret) : parse_aaaa(reply, len, ret);
}
