// SPDX-License-Identifier: MIT
#include "base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define IP4_BITS 32
#define IP6_BITS 128

/* The first bits of an address, and what holds for all addresses that begin so. */
struct prefix {
    uint8_t bytes[16];
    uint8_t bits;
    bool is_public;
};

/* The IANA IPv4 Special-Purpose Address Registry, and multicast. The first row that matches
 * decides, so exceptions stand before the block they lie in. */
static const struct prefix ip4_blocks[] = {
    {{0}, 8, false},                 /* this network, RFC 791 */
    {{10}, 8, false},                /* private, RFC 1918 */
    {{100, 64}, 10, false},          /* shared address space, RFC 6598 */
    {{127}, 8, false},               /* loopback, RFC 1122 */
    {{168, 63, 129, 16}, 32, false}, /* not IANA's: a cloud's host service */
    {{169, 254}, 16, false},         /* link local, RFC 3927 */
    {{172, 16}, 12, false},          /* private, RFC 1918 */
    {{192, 0, 0, 9}, 32, true},      /* PCP anycast, RFC 7723 */
    {{192, 0, 0, 10}, 32, true},     /* TURN anycast, RFC 8155 */
    {{192, 0, 0}, 24, false},        /* IETF protocol assignments, RFC 6890 */
    {{192, 0, 2}, 24, false},        /* documentation, RFC 5737 */
    {{192, 88, 99}, 24, false},      /* 6to4 relay anycast, withdrawn by RFC 7526 */
    {{192, 168}, 16, false},         /* private, RFC 1918 */
    {{198, 18}, 15, false},          /* benchmarking, RFC 2544 */
    {{198, 51, 100}, 24, false},     /* documentation, RFC 5737 */
    {{203, 0, 113}, 24, false},      /* documentation, RFC 5737 */
    {{224}, 4, false},               /* multicast, RFC 5771 */
    {{240}, 4, false},               /* reserved and broadcast, RFC 1112, RFC 919 */
    {{0}, 0, true},
};

/* The IANA IPv6 Special-Purpose Address Registry, and that 2000::/3 alone is given out for global
 * unicast: so nothing need be said of ::1, 64:ff9b:1::/48 (RFC 8215), 100::/64 (RFC 6666),
 * 100:0:0:1::/64 (RFC 9780), 5f00::/16 (RFC 9602), fc00::/7, fe80::/10, fec0::/10 and ff00::/8.
 * Where the registry says "not applicable" (Teredo, 6to4) it is no. */
static const struct prefix ip6_blocks[] = {
    {{0, 0x64, 0xff, 0x9b}, 96, true},          /* NAT64, RFC 6052 */
    {{0x20, 0x01, 0, 1, [15] = 1}, 128, true},  /* PCP anycast, RFC 7723 */
    {{0x20, 0x01, 0, 1, [15] = 2}, 128, true},  /* TURN anycast, RFC 8155 */
    {{0x20, 0x01, 0, 1, [15] = 3}, 128, true},  /* DNS-SD SRP anycast, RFC 9665 */
    {{0x20, 0x01, 0, 3}, 32, true},             /* AMT, RFC 7450 */
    {{0x20, 0x01, 0, 4, 0x01, 0x12}, 48, true}, /* AS112, RFC 7535 */
    {{0x20, 0x01, 0, 0x20}, 28, true},          /* ORCHIDv2, RFC 7343 */
    {{0x20, 0x01, 0, 0x30}, 28, true},          /* drone remote ID, RFC 9374 */
    {{0x20, 0x01}, 23, false},                  /* IETF protocol assignments, RFC 2928 */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, false},      /* documentation, RFC 3849 */
    {{0x20, 0x02}, 16, false},                  /* 6to4, RFC 3056 */
    {{0x3f, 0xff}, 20, false},                  /* documentation, RFC 9637 */
    {{0x20}, 3, true},                          /* global unicast, RFC 4291 */
    {{0}, 0, false},
};

static const struct prefix ip4_private[] = {
    {.bytes = {10}, .bits = 8},
    {.bytes = {172, 16}, .bits = 12},
    {.bytes = {192, 168}, .bits = 16},
    {.bytes = {100, 64}, .bits = 10},
};
static const struct prefix ip4_loopback = {.bytes = {127}, .bits = 8};
static const struct prefix ip4_link_local = {.bytes = {169, 254}, .bits = 16};
static const struct prefix ip6_loopback = {.bytes = {[15] = 1}, .bits = 128};
static const struct prefix ip6_link_local = {.bytes = {0xfe, 0x80}, .bits = 10};
static const struct prefix ip6_private = {.bytes = {0xfc}, .bits = 7};

static const struct prefix ip6_mapped = {.bytes = {[10] = 0xff, 0xff}, .bits = 96};
static const struct prefix ip6_nat64 = {.bytes = {0, 0x64, 0xff, 0x9b}, .bits = 96};
static const struct prefix ip6_nat64_local = {.bytes = {0, 0x64, 0xff, 0x9b, 0, 1}, .bits = 48};
static const struct prefix ip6_6to4 = {.bytes = {0x20, 0x02}, .bits = 16};
static const struct prefix ip6_teredo = {.bytes = {0x20, 0x01}, .bits = 32};

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    size_t whole = bits / 8;
    unsigned rest = bits % 8;

    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

static bool has_prefix(const struct addr *addr, const struct prefix *prefix)
{
    return same_bits(addr->bytes, prefix->bytes, prefix->bits);
}

static struct addr ip4_of(const uint8_t *bytes)
{
    return addr_ip4(bytes[0], bytes[1], bytes[2], bytes[3], 0);
}

static bool is_mapped(const struct addr *addr)
{
    return addr->kind == ADDR_IP6 && has_prefix(addr, &ip6_mapped);
}

struct addr addr_unmapped(const struct addr *addr)
{
    struct addr ip4;

    if (!is_mapped(addr)) {
        return *addr;
    }
    ip4 = ip4_of(addr->bytes + 12);
    ip4.port = addr->port;
    return ip4;
}

struct addr addr_ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    return (struct addr){.kind = ADDR_IP4, .port = port, .bytes = {a, b, c, d}};
}

bool addr_parse_ip(struct str text, struct addr *ret)
{
    char copy[INET6_ADDRSTRLEN];
    struct addr addr = {0};

    if (text.len >= sizeof(copy) || str_has(text, '\0')) {
        return false;
    }
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, addr.bytes) == 1) {
        addr.kind = ADDR_IP4;
    } else if (inet_pton(AF_INET6, copy, addr.bytes) == 1) {
        addr.kind = ADDR_IP6;
    } else {
        return false;
    }
    *ret = addr;
    return true;
}

bool addr_parse_ip_port(struct str text, struct addr *ret)
{
    size_t colon = str_rfind(text, ':');
    struct str ip = str_head(text, colon);
    bool bracketed = str_starts(ip, STR("[")) && str_ends(ip, STR("]"));
    struct addr addr;
    uint64_t port;

    if (bracketed) {
        ip = str_from(str_head(ip, ip.len - 1), 1);
    }
    if (!addr_parse_ip(ip, &addr) || (addr.kind == ADDR_IP6) != bracketed ||
        !str_parse_u64(str_from(text, colon + 1), UINT16_MAX, &port)) {
        return false;
    }
    addr.port = (uint16_t)port;
    *ret = addr;
    return true;
}

/* Clears all behind the first bits; true when something was there. */
static bool clear_host_bits(struct addr *addr, unsigned bits)
{
    bool cleared = false;

    for (unsigned i = bits / 8; i < sizeof(addr->bytes); i++) {
        uint8_t mask = (uint8_t)(0xff >> (i == bits / 8 ? bits % 8 : 0));

        cleared = cleared || (addr->bytes[i] & mask) != 0;
        addr->bytes[i] &= (uint8_t)~mask;
    }
    return cleared;
}

bool addr_parse_net(struct str text, struct addr_net *ret, bool *ret_host_bits)
{
    size_t slash = str_find(text, '/');
    struct addr_net net;
    uint64_t bits;

    if (!addr_parse_ip(str_head(text, slash), &net.addr)) {
        return false;
    }
    bits = net.addr.kind == ADDR_IP4 ? IP4_BITS : IP6_BITS;
    if (slash < text.len && !str_parse_u64(str_from(text, slash + 1), bits, &bits)) {
        return false;
    }
    net.bits = (unsigned)bits;
    if (is_mapped(&net.addr) && net.bits >= ip6_mapped.bits) {
        net.addr = addr_unmapped(&net.addr);
        net.bits -= ip6_mapped.bits;
    }
    *ret_host_bits = clear_host_bits(&net.addr, net.bits);
    *ret = net;
    return true;
}

struct addr addr_net_last(const struct addr_net *net)
{
    struct addr last = net->addr;
    unsigned size = last.kind == ADDR_IP4 ? IP4_BITS / 8 : IP6_BITS / 8;

    for (unsigned i = net->bits / 8; i < size; i++) {
        last.bytes[i] |= (uint8_t)(0xff >> (i == net->bits / 8 ? net->bits % 8 : 0));
    }
    return last;
}

static char *put_octet(char *at, unsigned value)
{
    if (value >= 100) {
        *at++ = (char)('0' + value / 100);
    }
    if (value >= 10) {
        *at++ = (char)('0' + value / 10 % 10);
    }
    *at++ = (char)('0' + value % 10);
    return at;
}

static void put_ip4(struct text *out, const uint8_t bytes[4])
{
    char quad[16];
    char *at = quad;

    for (int i = 0; i < 4; i++) {
        at = put_octet(at, bytes[i]);
        *at++ = '.';
    }
    text_put(out, str_make(quad, (size_t)(at - quad) - 1));
}

void addr_put(struct text *out, const struct addr *addr)
{
    char ip6[INET6_ADDRSTRLEN];

    switch (addr->kind) {
    case ADDR_NONE:
        text_char(out, '-');
        break;
    case ADDR_IP4:
        put_ip4(out, addr->bytes);
        break;
    case ADDR_IP6:
        text_puts(out, inet_ntop(AF_INET6, addr->bytes, ip6, sizeof(ip6)));
        break;
    case ADDR_UNIX:
        text_put(out, STR("unix:"));
        text_u64(out, addr->uid);
        break;
    }
}

void addr_put_port(struct text *out, const struct addr *addr)
{
    if (addr->kind == ADDR_IP6) {
        text_char(out, '[');
    }
    addr_put(out, addr);
    if (addr->kind == ADDR_IP6) {
        text_char(out, ']');
    }
    if (addr->kind == ADDR_IP4 || addr->kind == ADDR_IP6) {
        text_char(out, ':');
        text_u64(out, addr->port);
    }
}

socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *ret)
{
    struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(addr->port)};
    struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6, .sin6_port = htons(addr->port)};

    memset(ret, 0, sizeof(*ret));
    if (addr->kind == ADDR_IP4) {
        memcpy(&ip4.sin_addr, addr->bytes, sizeof(ip4.sin_addr));
        memcpy(ret, &ip4, sizeof(ip4));
        return sizeof(ip4);
    }
    if (addr->kind == ADDR_IP6) {
        memcpy(&ip6.sin6_addr, addr->bytes, sizeof(ip6.sin6_addr));
        ip6.sin6_scope_id = addr->scope;
        memcpy(ret, &ip6, sizeof(ip6));
        return sizeof(ip6);
    }
    return 0;
}

struct addr addr_from_sockaddr(const struct sockaddr_storage *sa)
{
    struct addr addr = {0};
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;

    if (sa->ss_family == AF_INET) {
        memcpy(&ip4, sa, sizeof(ip4));
        addr.kind = ADDR_IP4;
        addr.port = ntohs(ip4.sin_port);
        memcpy(addr.bytes, &ip4.sin_addr, sizeof(ip4.sin_addr));
    } else if (sa->ss_family == AF_INET6) {
        memcpy(&ip6, sa, sizeof(ip6));
        addr.kind = ADDR_IP6;
        addr.port = ntohs(ip6.sin6_port);
        addr.scope = ip6.sin6_scope_id;
        memcpy(addr.bytes, &ip6.sin6_addr, sizeof(ip6.sin6_addr));
        addr = addr_unmapped(&addr);
    }
    return addr;
}

bool addr_ip_eq(const struct addr *a, const struct addr *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case ADDR_NONE:
        return true;
    case ADDR_IP4:
        return same_bits(a->bytes, b->bytes, IP4_BITS);
    case ADDR_IP6:
        return same_bits(a->bytes, b->bytes, IP6_BITS);
    case ADDR_UNIX:
        return a->uid == b->uid;
    }
    return false;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return addr_ip_eq(a, b) && a->port == b->port && a->scope == b->scope;
}

bool addr_in_net(const struct addr *addr, const struct addr_net *net)
{
    struct addr judged = net->addr.kind == ADDR_IP4 ? addr_unmapped(addr) : *addr;

    return judged.kind == net->addr.kind && same_bits(judged.bytes, net->addr.bytes, net->bits);
}

bool addr_is_unspecified(const struct addr *addr)
{
    static const uint8_t zero[16];
    struct addr judged = addr_unmapped(addr);

    return (judged.kind == ADDR_IP4 || judged.kind == ADDR_IP6) &&
           same_bits(judged.bytes, zero, judged.kind == ADDR_IP4 ? IP4_BITS : IP6_BITS);
}

bool addr_is_loopback(const struct addr *addr)
{
    struct addr judged = addr_unmapped(addr);

    return (judged.kind == ADDR_IP4 && has_prefix(&judged, &ip4_loopback)) ||
           (judged.kind == ADDR_IP6 && has_prefix(&judged, &ip6_loopback));
}

bool addr_is_link_local(const struct addr *addr)
{
    struct addr judged = addr_unmapped(addr);

    return (judged.kind == ADDR_IP4 && has_prefix(&judged, &ip4_link_local)) ||
           (judged.kind == ADDR_IP6 && has_prefix(&judged, &ip6_link_local));
}

bool addr_is_private(const struct addr *addr)
{
    struct addr judged = addr_unmapped(addr);

    if (judged.kind == ADDR_IP6) {
        return has_prefix(&judged, &ip6_private);
    }
    for (size_t i = 0; judged.kind == ADDR_IP4 && i < ARRAY_LEN(ip4_private); i++) {
        if (has_prefix(&judged, &ip4_private[i])) {
            return true;
        }
    }
    return false;
}

bool addr_is_public(const struct addr *addr)
{
    struct addr judged = addr_unmapped(addr);
    const struct prefix *block = ip4_blocks;

    if (judged.kind == ADDR_IP6) {
        block = ip6_blocks;
    } else if (judged.kind != ADDR_IP4) {
        return false;
    }
    while (!has_prefix(&judged, block)) { /* the last row of either table matches */
        block++;
    }
    return block->is_public;
}

/* RFC 6052 2.2: where the four bytes stand behind a prefix of 96, 64, 56 and 48 bits. */
static unsigned read_nat64(const uint8_t *bytes, struct addr ret[ADDR_EMBEDDED_MAX])
{
    static const uint8_t places[ADDR_EMBEDDED_MAX][4] = {
        {12, 13, 14, 15}, {9, 10, 11, 12}, {7, 9, 10, 11}, {6, 7, 9, 10}};
    unsigned count = 0;

    for (size_t i = 0; i < ADDR_EMBEDDED_MAX; i++) {
        const uint8_t *at = places[i];

        if (bytes[at[0]] != 0) {
            ret[count++] = addr_ip4(bytes[at[0]], bytes[at[1]], bytes[at[2]], bytes[at[3]], 0);
        }
    }
    if (count == 0) {
        ret[count++] = ip4_of(bytes + 12);
    }
    return count;
}

unsigned addr_embedded_ip4(const struct addr *addr, struct addr ret[ADDR_EMBEDDED_MAX])
{
    const uint8_t *bytes = addr->bytes;
    unsigned count = 1;

    if (addr->kind != ADDR_IP6) {
        return 0;
    }
    if (has_prefix(addr, &ip6_mapped) || has_prefix(addr, &ip6_nat64)) {
        ret[0] = ip4_of(bytes + 12);
    } else if (has_prefix(addr, &ip6_nat64_local)) {
        count = read_nat64(bytes, ret);
    } else if (has_prefix(addr, &ip6_6to4)) {
        ret[0] = ip4_of(bytes + 2);
    } else if (has_prefix(addr, &ip6_teredo)) {
        ret[0] = addr_ip4((uint8_t)~bytes[12], (uint8_t)~bytes[13], (uint8_t)~bytes[14],
                          (uint8_t)~bytes[15], 0);
    } else {
        return 0;
    }
    for (unsigned i = 0; i < count; i++) {
        ret[i].port = addr->port;
    }
    return count;
}

void addr_client_key(const struct addr *addr, char ret_key[ADDR_CLIENT_KEY_BYTES])
{
    memset(ret_key, 0, ADDR_CLIENT_KEY_BYTES);
    ret_key[0] = (char)addr->kind;
    if (addr->kind == ADDR_UNIX) {
        memcpy(ret_key + 1, &addr->uid, sizeof(addr->uid));
    } else {
        memcpy(ret_key + 1, addr->bytes, addr->kind == ADDR_IP4 ? 4 : 8);
    }
}
