// SPDX-License-Identifier: MIT
#pragma once

/*
 * A host as all rooms read it: an address literal in every form that a
 * resolver would take as one, or a name in lower case without its trailing
 * dot. No other room reads a host or tells a literal from a name.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"

#define HOST_NAME_MAX_BYTES 253 /* RFC 1035 2.3.4, without the root's dot */

struct host {
    bool is_literal;
    struct addr addr; /* when is_literal; port 0 */
    unsigned char name_len;
    char name[HOST_NAME_MAX_BYTES + 1]; /* when not; NUL-terminated, lower case */
};

enum host_error {
    HOST_EMPTY = 1,
    HOST_TOO_LONG,  /* a name over 253 bytes or a label over 63 */
    HOST_BAD_CHAR,  /* anything a name or literal cannot hold; percent-encoding and non-ASCII too */
    HOST_BAD_LABEL, /* an empty label */
    HOST_BAD_LITERAL, /* looks like an address (last label numeric, or brackets) and is none */
};

/* Reads reg-name, IPv4 in every form inet_aton(3) takes (127.1, 0x7f.1, 2130706433, 0), and
 * bracketed IPv6 (RFC 3986 3.2.2; a zone id is refused). One trailing dot does not count. A name
 * whose last label is numeric or 0x... and that is no address is refused (WHATWG URL does the
 * same), so that nothing reads it as an address later. Letters, digits, '-' and '_' make a label.
 * 0, or enum host_error. */
MUST_USE int host_parse(struct str text, struct host *ret);
/* As host_parse, but IPv6 without brackets: for configuration and hosts files. */
MUST_USE int host_parse_bare(struct str text, struct host *ret);

/* One clause that says what an error is. */
const char *host_error_text(int error);

struct str host_name(const struct host *host); /* of a name, else empty */
bool host_eq(const struct host *a, const struct host *b);
/* "localhost" and all below it (RFC 6761 6.3). */
bool host_is_localhost(const struct host *host);
/* The normal spelling as it stands in a URL or Host field: name, 10.0.0.1, [2001:db8::1]. */
void host_put(struct text *out, const struct host *host);
