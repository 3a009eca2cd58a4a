// SPDX-License-Identifier: MIT
#pragma once

/*
 * The four forms of a request target (RFC 9112 3.2), read strictly: the
 * parser library lets more through than we do. The result is the only
 * reading of the target that any other room uses.
 */

#include <stdint.h>

#include "base/attr.h"
#include "base/host.h"
#include "base/str.h"

enum target_form {
    TARGET_ABSOLUTE,  /* http://host[:port][/path][?query] */
    TARGET_AUTHORITY, /* CONNECT host:port */
};

struct target {
    enum target_form form;
    struct host host;
    uint16_t port; /* 1 to 65535; 80 when an http URL gives none */
    /* What goes on the request line to the origin: path and query byte for byte, "/" for an empty
     * path, "*" for OPTIONS with empty path and no query (RFC 9112 3.2.4); empty for CONNECT. A
     * view of text, or of a literal; when only the "/" before a query was missing it is copied to
     * the arena. */
    struct str origin_form;
};

enum target_error {
    TARGET_NOT_PROXY = 1, /* origin-form or "*": 400, the client took us for an origin */
    TARGET_SCHEME,        /* a scheme other than http: 501 */
    TARGET_HTTPS,         /* https in absolute-form: 501, and say that CONNECT is the way */
    TARGET_BAD_HOST,      /* empty or unreadable host: 400 */
    TARGET_BAD_PORT,      /* 400 */
    TARGET_USERINFO,      /* 400 (RFC 9110 4.2.4) */
    TARGET_BAD_CHAR,      /* control, blank, non-ASCII, '#' and the like: 400 */
    TARGET_MALFORMED,     /* CONNECT with something that is no host:port, and the rest: 400 */
};

struct arena;

/* 0, enum target_error, or -ENOMEM. */
MUST_USE int target_parse(struct str method, struct str text, struct arena *arena,
                          struct target *ret);
const char *target_error_text(int error);
