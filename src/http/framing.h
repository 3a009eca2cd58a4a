// SPDX-License-Identifier: MIT
#pragma once

/*
 * How long a message's body is: the rules of RFC 9112 6.3, stricter where a
 * choice is given. One reading per message; what could be read in two ways
 * is refused.
 */

#include "base/attr.h"
#include "http/message.h"

enum framing_error {
    FRAMING_BAD_LENGTH = 1, /* not digits only, over 2^63 - 1, or more than one (RFC 9112 6.3 rule 5
                               lets equal ones pass; the parser library does not) */
    FRAMING_LENGTH_AND_TE,  /* both present */
    FRAMING_BAD_TE,         /* chunked not last, twice, with parameters, or an empty coding */
    FRAMING_UNKNOWN_CODING, /* anything but chunked: 501 in a request */
    FRAMING_TE_IN_1_0,      /* Transfer-Encoding in an HTTP/1.0 message */
    FRAMING_BODY_NOT_ALLOWED, /* a body on CONNECT or TRACE */
};

/* Reads request->method, fields and version; 0 and *ret, or enum framing_error. */
MUST_USE int framing_of_request(const struct request *request, struct framing *ret);
/* to_head, to_connect: what the response answers. 1xx, 204, 304, answers to HEAD and 2xx to CONNECT
 * have BODY_NONE whatever the fields say. */
MUST_USE int framing_of_response(const struct response *response, bool to_head, bool to_connect,
                                 struct framing *ret);
const char *framing_error_text(int error);
