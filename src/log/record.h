// SPDX-License-Identifier: MIT
#pragma once

/*
 * The access record of one exchange or tunnel: plain values, borrowed for
 * the call, and the one function that turns them into a line in any of the
 * five formats. Untrusted text is escaped here.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"

enum log_format {
    LOG_FORMAT_LOGFMT,
    LOG_FORMAT_JSON,
    LOG_FORMAT_COMBINED,
    LOG_FORMAT_COMMON,
    LOG_FORMAT_SQUID,
    LOG_FORMAT_OFF,
};

#define RECORD_MS_NONE UINT32_MAX /* a duration that does not apply: "-" or null */

/* Views with len 0 print as "-" (JSON: null). */
struct log_record {
    const char *event;      /* "request", or "tunnel" for the line at a tunnel's opening */
    uint64_t end_wall_ms;   /* the time field */
    uint64_t start_wall_ms; /* for combined and common, which show the start */
    struct str id;
    struct addr client;
    struct str user;
    struct str listener;
    struct str method;
    struct str target;  /* as received */
    struct str version; /* "HTTP/1.1", "HTTP/1.0" as received */
    unsigned status;    /* sent to the client; 0: none was sent */
    struct str rule;
    struct str would_deny; /* comma separated rule names */
    struct str route;      /* "direct", or empty when none was chosen */
    struct str parent;     /* not written yet: nothing can set it before there are parents */
    struct addr upstream;  /* the address in use, with port */
    bool reused;           /* a pooled upstream connection; logged yes/no when upstream is known */
    uint64_t bytes_in;     /* from the client, heads included */
    uint64_t bytes_out;    /* to the client, heads included */
    uint32_t dns_ms, connect_ms, wait_ms, total_ms;
    struct str end;
    /* For combined, common and squid only. */
    struct str referer;
    struct str user_agent;
    struct str content_type;
    uint64_t body_bytes_out;
    bool is_connect;
};

/* Longest line, its '\n' included: with that much room a line always fits. A longer target (or any
 * other value) is cut with "...", so that the line stays whole. */
#define RECORD_LINE_MAX (48U * 1024)

/* Appends one line with its '\n'; nothing (out->full set) when it does not fit. LOG_FORMAT_OFF
 * appends nothing; nor do combined, common and squid for "tunnel", which their readers could not
 * tell from the tunnel's end. */
void log_record_put(struct text *out, enum log_format format, const struct log_record *record);
/* s as a logfmt value (quoted only where needed) / a JSON string with its quotes. Control and
 * invisible characters, quotes, backslash and bytes that are no valid UTF-8 are escaped, alike in
 * both: \n, \u0007; a byte that is no UTF-8 as \u00 and its two digits. */
void log_escape_logfmt(struct text *out, struct str s);
void log_escape_json(struct text *out, struct str s);
