// SPDX-License-Identifier: MIT
#pragma once

/*
 * The parts of a URL's front that the proxy acts on: scheme, userinfo, host
 * and port. Everything behind the authority stays as it came (RFC 9112
 * 3.2.1). No other room cuts an authority.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/host.h"
#include "base/str.h"

struct url {
    struct str scheme; /* as written; compare with str_ieq */
    bool has_userinfo;
    struct str userinfo; /* raw */
    struct host host;
    uint16_t port;   /* 0 when none was written */
    struct str rest; /* from the first of / ? # to the end; may be empty */
};

enum url_error {
    URL_NO_SCHEME = 1, /* no "scheme://" at the front */
    URL_BAD_HOST,      /* host_parse refused; *ret_host_error (written only then) tells */
    URL_BAD_PORT,      /* not 1 to 65535, or no digits only */
};

/* The scheme at the front of a text that goes on with "://"; false when there is none. */
MUST_USE bool url_parse_scheme(struct str text, struct str *ret);
/* scheme://[userinfo@]host[:port][rest]. An empty port ("host:") counts as none (RFC 3986 3.2.3).
 * 0, or enum url_error. */
MUST_USE int url_parse(struct str text, struct url *ret, int *ret_host_error);
/* host:port with the port required (CONNECT, RFC 9110 9.3.6), no userinfo. Same errors. */
MUST_USE int url_parse_authority(struct str text, struct host *ret_host, uint16_t *ret_port,
                                 int *ret_host_error);
/* host[:port] as in a Host field (RFC 9110 7.2); *ret_port 0 when absent. */
MUST_USE int url_parse_host_port(struct str text, struct host *ret_host, uint16_t *ret_port,
                                 int *ret_host_error);
