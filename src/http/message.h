// SPDX-License-Identifier: MIT
#pragma once

/*
 * Requests and responses without a wire version: what the exchange, the
 * rules and the log speak of. Everything a message points to lives in the
 * arena of its exchange.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"
#include "http/field.h"
#include "http/target.h"

enum method {
    METHOD_OTHER,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_CONNECT,
    METHOD_OPTIONS,
    METHOD_TRACE,
};

enum body_kind {
    BODY_NONE,   /* no content, whatever the fields said */
    BODY_LENGTH, /* length bytes follow (may be 0) */
    BODY_CHUNKED,
    BODY_UNTIL_CLOSE, /* responses only */
} SMALL;

struct framing {
    enum body_kind kind;
    uint64_t length; /* BODY_LENGTH only */
};

struct request {
    struct str method_text; /* case-sensitive, as received */
    enum method method;
    bool is_idempotent;     /* RFC 9110 9.2.2, by registered methods; unknown ones are not */
    struct str target_text; /* as received */
    struct target target;   /* filled by target_parse */
    unsigned minor_version; /* of HTTP/1.x as received: 0 or 1 */
    struct field_list fields;
    struct framing framing;
    bool keep_alive;       /* the client lets the connection go on (RFC 9112 9.3) */
    bool expects_continue; /* Expect: 100-continue from a 1.1 client */
    bool wants_upgrade;    /* Upgrade with its Connection option, from a 1.1 client */
};

struct response {
    unsigned status;
    struct str reason; /* as received; may be empty */
    unsigned minor_version;
    struct field_list fields;
    struct framing framing;
    bool keep_alive; /* the origin lets the connection go on; false with BODY_UNTIL_CLOSE */
};

/* By the method's exact text. */
enum method method_identify(struct str text);
bool method_is_idempotent(struct str text);

static inline bool response_is_interim(const struct response *response)
{
    return response->status < 200;
}
