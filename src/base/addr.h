// SPDX-License-Identifier: MIT
#pragma once

/*
 * An address as a plain value: IPv4, IPv6 or the user behind a unix socket,
 * with a port where one applies. Reading, writing, networks (CIDR) and the
 * classes of the rule language live here and nowhere else.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"

enum addr_kind {
    ADDR_NONE, /* not known */
    ADDR_IP4,
    ADDR_IP6,
    ADDR_UNIX, /* a client of a unix socket */
} SMALL;

struct addr {
    enum addr_kind kind;
    uint16_t port;     /* host order; 0 when it does not apply */
    uint8_t bytes[16]; /* network order; IPv4 in the first four */
    union {
        uint32_t scope; /* IPv6 zone index, 0 for none */
        uint32_t uid;   /* ADDR_UNIX */
    };
};

/* A network: the first bits of addr. */
struct addr_net {
    struct addr addr;
    unsigned bits;
};

struct addr addr_ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port);

/* Strict numeric forms only: dotted quad, or IPv6 text (RFC 4291 2.2, no zone, no brackets). The
 * port is 0. An IPv4-mapped address stays ADDR_IP6. */
MUST_USE bool addr_parse_ip(struct str text, struct addr *ret);
/* IP:PORT or [IP6]:PORT, PORT 0 to 65535. */
MUST_USE bool addr_parse_ip_port(struct str text, struct addr *ret);
/* ADDR or ADDR/BITS. *ret_host_bits tells that bits behind the prefix were set (they are cleared).
 * A network of IPv4-mapped addresses becomes the IPv4 network. */
MUST_USE bool addr_parse_net(struct str text, struct addr_net *ret, bool *ret_host_bits);

/* The last address of a network. */
struct addr addr_net_last(const struct addr_net *net);

/* 10.0.0.1, 2001:db8::1 (RFC 5952, without its zone), unix:UID; "-" for ADDR_NONE. Without / with
 * the port ([...]: for IPv6). */
void addr_put(struct text *out, const struct addr *addr);
void addr_put_port(struct text *out, const struct addr *addr);
#define ADDR_TEXT_MAX 64 /* bytes that either form takes at most */

/* To and from the kernel's form. to: 0 for what is no IP address. from: an IPv4-mapped IPv6 address
 * becomes the IPv4 address; a family other than the two gives ADDR_NONE. */
socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *ret);
struct addr addr_from_sockaddr(const struct sockaddr_storage *sa);

bool addr_eq(const struct addr *a, const struct addr *b);    /* port and scope too */
bool addr_ip_eq(const struct addr *a, const struct addr *b); /* the address alone */
/* The IPv4 address that an IPv4-mapped one is; any other as it is. */
struct addr addr_unmapped(const struct addr *addr);
/* An IPv4-mapped address lies in the networks of the IPv4 address too. */
bool addr_in_net(const struct addr *addr, const struct addr_net *net);
/* 0.0.0.0 or ::, "every address" to bind(2) and "this machine" to connect(2). */
bool addr_is_unspecified(const struct addr *addr);

/* Classes of the rule language that follow from the address alone. An IPv4-mapped IPv6 address is
 * classed as the IPv4 address; of other forms the IPv4 address inside is to be classed beside it
 * (addr_embedded_ip4). The IANA special-purpose registries (RFC 6890 and successors) decide what is
 * public; 168.63.129.16 (a cloud's host service) is not. */
bool addr_is_loopback(const struct addr *addr);
bool addr_is_link_local(const struct addr *addr);
bool addr_is_private(const struct addr *addr); /* RFC 1918, RFC 4193, RFC 6598 */
bool addr_is_public(const struct addr *addr);  /* globally reachable unicast */

/* The IPv4 addresses (with addr's port) that may be meant by an IPv4-mapped, NAT64 (64:ff9b::/96,
 * 64:ff9b:1::/48), 6to4 or Teredo address; returns how many, 0 when it is none of these. A Teredo
 * address holds the client's (RFC 4380 4). Out of 64:ff9b:1::/48 a network cuts its own prefix, of
 * a length that is not to be seen (RFC 8215; RFC 6052 2.2 has four): there all are read, but for
 * those that no host can have (0.0.0.0/8), if any is left. */
#define ADDR_EMBEDDED_MAX 4
unsigned addr_embedded_ip4(const struct addr *addr, struct addr ret[ADDR_EMBEDDED_MAX]);

/* What counts as one client where clients are counted: an IPv4 address, an IPv6 network of 64 bits,
 * the user behind a unix socket. Two addresses of one client have the same key. */
#define ADDR_CLIENT_KEY_BYTES 9
void addr_client_key(const struct addr *addr, char ret_key[ADDR_CLIENT_KEY_BYTES]);
