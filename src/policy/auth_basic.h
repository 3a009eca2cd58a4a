// SPDX-License-Identifier: MIT
#pragma once

/*
 * The Basic scheme (RFC 7617): name and password out of the value of a
 * Proxy-Authorization field. Strict, since nothing that a usual client sends
 * is refused by it.
 */

#include "base/attr.h"
#include "base/str.h"
#include "policy/auth_hash.h"
#include "policy/auth_users.h"

/* Holds a secret: give it to auth_credentials_wipe. */
struct auth_credentials {
    struct str user;     /* in bytes; at least one, at most AUTH_USER_MAX */
    struct str password; /* in bytes; may be empty; NUL-terminated */
    char bytes[AUTH_USER_MAX + 1 + AUTH_PASSWORD_MAX + 4]; /* rounded up to whole base64, and NUL */
};

enum auth_basic_error {
    AUTH_BASIC_OTHER = 1, /* no field, or another scheme */
    AUTH_BASIC_MALFORMED, /* not base64 (RFC 4648 4, padded), no colon, no name, a control
                             character, or too long */
};

/* Fills *ret, whose views lie in itself: it is not to be copied. 0 or enum auth_basic_error, and
 * then nothing secret stands in *ret. */
MUST_USE int auth_basic_parse(struct str field, struct auth_credentials *ret);
void auth_credentials_wipe(struct auth_credentials *credentials);
