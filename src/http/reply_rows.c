// SPDX-License-Identifier: MIT
#include "base/err.h"
#include "http/reply.h"

/* clang-format off */
static const struct reply_row rows[REPLY_REASON_COUNT] = {
    [REPLY_DENIED] = {
        .status = 403, .proxy_error = "http_request_denied", .end = "denied",
        .sentence = "The rules of this proxy do not allow this request. Whoever runs the proxy can "
                    "tell you why, or change them.",
    },
    [REPLY_LOOP] = {
        .status = 403, .proxy_error = "proxy_loop_detected", .end = "denied",
        .rule = "builtin:loop",
        .sentence = "The request would lead this proxy back to itself.",
    },
    [REPLY_CREDENTIALS] = {
        .status = 407, .proxy_error = "http_request_denied", .end = "denied",
        .sentence = "This proxy asks for a user name and a password before it serves this request.",
    },
    [REPLY_AUTH_FAILURES] = {
        .status = 429, .proxy_error = "http_request_denied", .end = "error:auth-failures",
        .rule = "limit:auth_failures", .retry_after = true,
        .sentence = "Too many wrong passwords have come from your address. Try again later "
                    "(auth.failures).",
    },
    [REPLY_AUTH_BUSY] = {
        .status = 503, .proxy_error = "proxy_internal_error", .end = "error:auth-busy",
        .retry_after = true,
        .sentence = "This proxy has too many passwords to check at the moment. Try again shortly.",
    },
    [REPLY_NOT_PROXY] = {
        .status = 400, .proxy_error = "http_request_error", .end = "error:not-proxy",
        .rule = "proto:not-proxy",
        .sentence = "This is an HTTP proxy and not a web server: the request names a path but no "
                    "host to fetch it from. Use it like this:",
    },
    [REPLY_MALFORMED] = {
        .status = 400, .proxy_error = "http_request_error", .end = "error:malformed",
        .rule = "proto:malformed",
        .sentence = "What the client sent is not a valid HTTP request.",
    },
    [REPLY_BAD_TARGET] = {
        .status = 400, .proxy_error = "http_request_error", .end = "error:bad-target",
        .rule = "proto:target",
        .sentence = "The URL or the host and port in the request line is not valid.",
    },
    [REPLY_HEAD_TIMEOUT] = {
        .status = 408, .proxy_error = "http_request_error", .end = "timeout:header",
        .sentence = "The client began a request and did not complete its header in time "
                    "(timeouts.header).",
    },
    [REPLY_BODY_TOO_LARGE] = {
        .status = 413, .proxy_error = "http_request_error", .end = "error:body-too-large",
        .rule = "limit:body_bytes",
        .sentence = "The request's body is larger than this proxy takes (limits.body_bytes).",
    },
    [REPLY_TARGET_TOO_LONG] = {
        .status = 414, .proxy_error = "http_request_error", .end = "error:target-too-long",
        .rule = "limit:target_bytes",
        .sentence = "The URL is longer than this proxy takes (limits.target_bytes).",
    },
    [REPLY_HEAD_TOO_LARGE] = {
        .status = 431, .proxy_error = "http_request_error", .end = "error:head-too-large",
        .rule = "limit:head_bytes",
        .sentence = "The request's header is larger than this proxy takes, or has more fields "
                    "(limits.head_bytes, limits.fields).",
    },
    [REPLY_TOO_MANY_CONNECTIONS] = {
        .status = 429, .proxy_error = "http_request_error", .end = "error:too-many-connections",
        .rule = "limit:max_connections_per_client", .retry_after = true,
        .sentence = "Your address has as many connections to this proxy as one client may have "
                    "(server.max_connections_per_client).",
    },
    [REPLY_SCHEME] = {
        .status = 501, .proxy_error = "proxy_internal_response", .end = "error:scheme",
        .rule = "proto:scheme",
        .sentence = "This proxy fetches http:// URLs, and reaches everything else by CONNECT.",
    },
    [REPLY_HTTPS_SCHEME] = {
        .status = 501, .proxy_error = "proxy_internal_response", .end = "error:https-scheme",
        .rule = "proto:https",
        .sentence = "This proxy does not fetch https:// URLs itself. The client must ask for a "
                    "tunnel (CONNECT host:443) and speak TLS with the server through it.",
    },
    [REPLY_METHOD] = {
        .status = 501, .proxy_error = "proxy_internal_response", .end = "error:method",
        .rule = "proto:method",
        .sentence = "This proxy does not know the request's method.",
    },
    [REPLY_CODING] = {
        .status = 501, .proxy_error = "proxy_internal_response", .end = "error:coding",
        .rule = "proto:coding",
        .sentence = "The request's body has a transfer coding other than chunked.",
    },
    [REPLY_VERSION] = {
        .status = 505, .proxy_error = "proxy_internal_response", .end = "error:version",
        .rule = "proto:version",
        .sentence = "This proxy speaks HTTP/1.1 and HTTP/1.0 with its clients.",
    },
    [REPLY_DNS_NXDOMAIN] = {
        .status = 502, .phrase = "Host Not Found", .proxy_error = "dns_error",
        .dns_rcode = "NXDOMAIN", .end = "error:dns-nxdomain",
        .sentence = "There is no such host name: the DNS says that it does not exist.",
    },
    [REPLY_DNS_NODATA] = {
        .status = 502, .phrase = "Host Has No Address", .proxy_error = "dns_error",
        .dns_rcode = "NOERROR", .end = "error:dns-nodata",
        .sentence = "The host name exists, but the DNS has no address for it.",
    },
    [REPLY_DNS_FAILED] = {
        .status = 502, .phrase = "DNS Failure", .proxy_error = "dns_error",
        .dns_rcode = "SERVFAIL", .end = "error:dns-failed",
        .sentence = "The host name could not be resolved: the DNS servers say that they failed.",
    },
    [REPLY_DNS_REFUSED] = {
        .status = 502, .phrase = "DNS Failure", .proxy_error = "dns_error",
        .end = "error:dns-failed",
        .sentence = "The host name could not be resolved: the DNS servers refused the question or "
                    "gave no usable answer.",
    },
    [REPLY_DNS_UNREACHABLE] = {
        .status = 502, .phrase = "DNS Failure", .proxy_error = "dns_error",
        .end = "error:dns-failed",
        .sentence = "The host name could not be resolved: none of the DNS servers could be reached.",
    },
    [REPLY_DNS_TIMEOUT] = {
        .status = 504, .phrase = "DNS Timeout", .proxy_error = "dns_timeout",
        .end = "timeout:dns",
        .sentence = "The host name could not be resolved in time (timeouts.dns).",
    },
    [REPLY_REFUSED] = {
        .status = 502, .phrase = "Connection Refused", .proxy_error = "connection_refused",
        .end = "error:connection-refused",
        .sentence = "The host refused the connection: nothing listens on that port.",
    },
    [REPLY_UNREACHABLE] = {
        .status = 502, .phrase = "Host Unreachable", .proxy_error = "destination_ip_unroutable",
        .end = "error:unreachable",
        .sentence = "There is no route from this proxy to the host.",
    },
    [REPLY_CONNECT_RESET] = {
        .status = 502, .phrase = "Connection Reset", .proxy_error = "connection_terminated",
        .end = "error:connect-reset",
        .sentence = "The host cut the connection while it was being set up.",
    },
    [REPLY_CONNECT_FAILED] = {
        .status = 502, .phrase = "Connection Failed", .proxy_error = "destination_unavailable",
        .end = "error:connect-failed",
        .sentence = "This proxy could not connect to the host.",
    },
    [REPLY_CONNECT_TIMEOUT] = {
        .status = 504, .phrase = "Connection Timeout", .proxy_error = "connection_timeout",
        .end = "timeout:connect",
        .sentence = "The host did not accept a connection in time (timeouts.connect).",
    },
    [REPLY_UPSTREAM_RESET] = {
        .status = 502, .phrase = "Connection Closed by Host",
        .proxy_error = "connection_terminated", .end = "error:upstream-reset",
        .sentence = "The host closed the connection before it sent a response.",
    },
    [REPLY_BAD_RESPONSE] = {
        .status = 502, .phrase = "Invalid Response from Host",
        .proxy_error = "http_protocol_error", .end = "error:bad-response",
        .sentence = "What the host sent is not a valid HTTP response.",
    },
    [REPLY_RESPONSE_HEAD_TOO_LARGE] = {
        .status = 502, .phrase = "Response Header Too Large",
        .proxy_error = "http_response_header_section_size", .end = "error:response-head-too-large",
        .sentence = "The response's header is larger than this proxy takes, or has more fields "
                    "(limits.head_bytes, limits.fields).",
    },
    [REPLY_RESPONSE_TIMEOUT] = {
        .status = 504, .phrase = "Response Timeout", .proxy_error = "http_response_timeout",
        .end = "timeout:response",
        .sentence = "The host took the request and did not answer in time (timeouts.response).",
    },
    [REPLY_IDLE_TIMEOUT] = {
        .status = 504, .phrase = "Idle Timeout", .proxy_error = "connection_read_timeout",
        .end = "timeout:idle",
        .sentence = "Nothing moved between the client and the host for too long (timeouts.idle).",
    },
    [REPLY_EXCHANGE_TIMEOUT] = {
        .status = 504, .phrase = "Exchange Timeout", .proxy_error = "http_response_timeout",
        .end = "timeout:exchange",
        .sentence = "The request took longer than one may take in all (timeouts.exchange).",
    },
    [REPLY_NO_DESCRIPTORS] = {
        .status = 503, .proxy_error = "connection_limit_reached", .end = "error:no-descriptors",
        .retry_after = true,
        .sentence = "This proxy has as many connections open as it may have. Try again shortly.",
    },
    [REPLY_NO_MEMORY] = {
        .status = 503, .proxy_error = "proxy_internal_error", .end = "error:no-memory",
        .retry_after = true,
        .sentence = "This proxy is out of memory for more requests. Try again shortly.",
    },
    [REPLY_MAX_FORWARDS] = {
        .status = 200, .end = "complete", .sentence = "",
    },
};
/* clang-format on */

const struct reply_row *reply_row(enum reply_reason reason)
{
    ASSERT((unsigned)reason < REPLY_REASON_COUNT);
    return &rows[reason];
}
