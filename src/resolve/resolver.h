// SPDX-License-Identifier: MIT
#pragma once

/*
 * Names to addresses, without blocking: literals, localhost (RFC 6761) and
 * the hosts file without a query, then the cache, then DNS: A and AAAA as
 * two queries, one pair of them for many waiters. One resolver per worker,
 * used on that worker's loop only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/host.h"
#include "base/list.h"

struct loop;
struct resolver;
struct resolve_query;

struct resolver_options {
    const struct addr
        *servers; /* borrowed for the call; count 0: /etc/resolv.conf, followed as it changes */
    size_t server_count;
    const char *hosts_path; /* borrowed for the call; read again when it changes */
    size_t cache_entries;   /* 0: no cache */
    uint64_t max_ttl_ms, negative_ttl_ms;
    bool want_ip4, want_ip6;
    uint64_t timeout_ms;          /* timeouts.dns: one resolution, whole */
    const char *resolv_conf_path; /* NULL: /etc/resolv.conf; else borrowed, outlives the resolver */
};

enum resolve_status {
    RESOLVE_OK,
    RESOLVE_NXDOMAIN, /* the name does not exist */
    RESOLVE_NODATA,   /* it exists and has no address of a wanted family */
    RESOLVE_SERVFAIL, /* the server said that it failed */
    RESOLVE_REFUSED,  /* the server refused, or answered nonsense */
    RESOLVE_TIMEOUT,
    RESOLVE_ERROR,     /* no server could be reached */
    RESOLVE_NO_MEMORY, /* ours, or no room for one more question */
};

#define RESOLVE_MAX_ADDRS 16 /* per family; more in an answer are left out */

struct resolve_result {
    enum resolve_status status;
    bool done; /* false: addresses of one family are here, the other is still asked */
    const struct addr
        *addrs; /* borrowed for the call; ports are 0; only those not reported before */
    size_t addr_count;
    bool from_cache; /* no query was sent on behalf of this result (literal, hosts, cache) */
};

struct resolve_events {
    /* Called once or twice: with the addresses of the family that answered first (done false), then
     * with those of the other (done true); or once with everything, AAAA before A. An A answer that
     * comes first is held back up to 50 ms for AAAA (RFC 8305 3). A failure counts only when no
     * family gave an address: a second call may be RESOLVE_OK without addresses. Called from inside
     * resolver_ask only when that returns 1, else from the loop; may ask and cancel at will. The
     * query is gone after done. */
    void (*answer)(void *arg, const struct resolve_result *result);
};

MUST_USE int resolver_new(struct loop *loop, const struct resolver_options *options,
                          struct resolver **ret);
/* No query may be pending with a live waiter; waiters are not called. */
void resolver_free(struct resolver *resolver);
/* Whether it was made with the same options, but for resolv_conf_path. */
bool resolver_is_like(const struct resolver *resolver, const struct resolver_options *options);
/* It is asked no more: it stands in that list, and frees itself when those who wait have their
 * answers. NULL is accepted. */
void resolver_retire(struct resolver *resolver, struct list *retired);
/* After the loop's end: those that still stand there. */
void resolver_free_retired(struct list *retired);

/* Asks for the addresses of a host. 0 and *ret_query (borrowed until done, for resolver_cancel)
 * when the answer comes later; 1 when events->answer was called with done before the return (then
 * *ret_query is NULL); -ENOMEM. events is borrowed and static. */
MUST_USE int resolver_ask(struct resolver *resolver, const struct host *host,
                          const struct resolve_events *events, void *arg,
                          struct resolve_query **ret_query);
/* The waiter is not called again; the queries go on and feed the cache. query may be NULL. */
void resolver_cancel(struct resolve_query *query);
/* One lower-case word: ok, nxdomain, nodata, servfail, timeout, error. */
const char *resolve_status_text(enum resolve_status status);
/* The DNS library in use, "1.18.1". */
const char *resolver_library_version(void);
