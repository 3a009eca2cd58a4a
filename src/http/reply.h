// SPDX-License-Identifier: MIT
#pragma once

/*
 * Answers of our own. One table holds, for every way a request can fail here,
 * its status, reason phrase, Proxy-Status error type (RFC 9209 2.3), the log's
 * end value and a sentence for a person; reply_make turns a row into a response
 * with a body in the form that Accept prefers.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/str.h"
#include "http/message.h"

enum reply_reason {
    REPLY_DENIED,                  /* 403, end=denied */
    REPLY_LOOP,                    /* 403 by builtin:loop, end=denied, proxy_loop_detected */
    REPLY_CREDENTIALS,             /* 407, end=denied; the rule is the one that asks for them */
    REPLY_AUTH_FAILURES,           /* 429: too many wrong passwords; Retry-After */
    REPLY_AUTH_BUSY,               /* 503: too many passwords wait to be checked; Retry-After */
    REPLY_NOT_PROXY,               /* 400: origin-form; the body says how to use a proxy */
    REPLY_MALFORMED,               /* 400 */
    REPLY_BAD_TARGET,              /* 400 */
    REPLY_HEAD_TIMEOUT,            /* 408, end=timeout:header */
    REPLY_BODY_TOO_LARGE,          /* 413 */
    REPLY_TARGET_TOO_LONG,         /* 414 */
    REPLY_HEAD_TOO_LARGE,          /* 431 */
    REPLY_TOO_MANY_CONNECTIONS,    /* 429, per client address; Retry-After */
    REPLY_SCHEME,                  /* 501 */
    REPLY_HTTPS_SCHEME,            /* 501: use CONNECT */
    REPLY_METHOD,                  /* 501 */
    REPLY_CODING,                  /* 501 */
    REPLY_VERSION,                 /* 505 */
    REPLY_DNS_NXDOMAIN,            /* 502 dns_error rcode NXDOMAIN */
    REPLY_DNS_NODATA,              /* 502 dns_error */
    REPLY_DNS_FAILED,              /* 502 dns_error SERVFAIL */
    REPLY_DNS_REFUSED,             /* 502 dns_error without rcode: REFUSED, or nonsense */
    REPLY_DNS_UNREACHABLE,         /* 502 dns_error without rcode: no server answered anything */
    REPLY_DNS_TIMEOUT,             /* 504 dns_timeout, end=timeout:dns */
    REPLY_REFUSED,                 /* 502 connection_refused */
    REPLY_UNREACHABLE,             /* 502 destination_ip_unroutable */
    REPLY_CONNECT_RESET,           /* 502 connection_terminated while connecting */
    REPLY_CONNECT_FAILED,          /* 502 destination_unavailable: any other connect error */
    REPLY_CONNECT_TIMEOUT,         /* 504 connection_timeout, end=timeout:connect */
    REPLY_UPSTREAM_RESET,          /* 502 connection_terminated: ended before a response head */
    REPLY_BAD_RESPONSE,            /* 502 http_protocol_error */
    REPLY_RESPONSE_HEAD_TOO_LARGE, /* 502 http_response_header_section_size */
    REPLY_RESPONSE_TIMEOUT,        /* 504 http_response_timeout, end=timeout:response */
    REPLY_IDLE_TIMEOUT,            /* 504 connection_read_timeout, end=timeout:idle */
    REPLY_EXCHANGE_TIMEOUT,        /* 504, end=timeout:exchange */
    REPLY_NO_DESCRIPTORS,          /* 503 connection_limit_reached, Retry-After */
    REPLY_NO_MEMORY,               /* 503, Retry-After: memory, or limits.buffers spent */
    REPLY_MAX_FORWARDS,            /* 200: TRACE or OPTIONS answered here (not an error) */
    REPLY_REASON_COUNT,
};

struct reply_row {
    unsigned status;
    /* Reason phrase; NULL: the registered one. " by rule NAME", or " by a rule", follows where
     * there is one, and to that 403 says "Denied". */
    const char *phrase;
    const char *proxy_error; /* RFC 9209 error type; NULL: no Proxy-Status */
    const char *dns_rcode;   /* with dns_error (RFC 9209 2.3.2), else NULL */
    const char *end;  /* log end value, e.g. "error:dns-nxdomain", "timeout:connect", "denied" */
    const char *rule; /* when no rule made it, e.g. "proto:malformed"; NULL: none */
    const char *sentence; /* for the body */
    bool retry_after;
};

const struct reply_row *reply_row(enum reply_reason reason);

struct reply_options {
    enum reply_reason reason;
    struct str server_name; /* server.name, for Proxy-Status and the page */
    /* Shown name of the deciding rule; empty: the row's own, if any. With server.explain = none the
     * caller leaves it empty and hides the row's with hide_rule. */
    struct str rule;
    bool hide_rule;
    bool rule_is_class; /* rule is no name but what kind of rule it was: the phrase has "a rule" */
    struct str details; /* one more sentence; may be empty; may hold text of a peer: escaped here */
    struct str target;  /* shown escaped in the page; may be empty */
    struct str realm;   /* REPLY_CREDENTIALS: printable ASCII, for Proxy-Authenticate */
    uint64_t retry_after_s;        /* where the row has Retry-After; 0: the usual time */
    const struct request *request; /* for Accept and HEAD; NULL when no head could be read */
    bool close;                    /* the connection ends after this */
    bool send_proxy_status; /* always for our own answers unless the caller has reason not to */
};

/* Fills *ret (status, reason, fields with Content-Type, Content-Length, Date, Connection,
 * Cache-Control: no-store, Proxy-Status, Retry-After) and *ret_body (empty for HEAD), all in the
 * arena. Bodies: text/plain (default), text/html or application/json; message/http for a TRACE
 * answered here (the head as it came, so call this before forward_request). 0 or -ENOMEM. */
MUST_USE int reply_make(const struct reply_options *options, struct arena *arena,
                        struct response *ret, struct str *ret_body);
