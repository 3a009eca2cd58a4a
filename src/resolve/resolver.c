// SPDX-License-Identifier: MIT
/*
 * The order: literal, localhost, hosts file, cache, and only then DNS.
 */
#include "resolve/resolver.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "io/loop.h"
#include "resolve/dns_answer.h"
#include "resolve/dns_cache.h"
#include "resolve/dns_cares.h"
#include "resolve/hosts_file.h"
#include "resolve/lookup.h"
#include "resolve/merge.h"
#include "resolve/resolv_conf.h"

struct resolver {
    struct loop *loop;
    struct dns_cares *dns; /* owned */
    struct hosts_file hosts;
    struct dns_cache cache;
    struct lookups lookups;
    struct resolver_options options; /* servers and hosts_path owned */
    struct list *retired;            /* borrowed: where it stands once it has been retired */
    struct list in_retired;
    struct task grave;
};

/* ------------------------------------------------------------------ asking */

/* Without any DNS. Returns 1, for resolver_ask. */
static int tell_now(const struct resolve_events *events, void *arg, const struct addr *addrs,
                    size_t count)
{
    struct resolve_result result = {
        .status = count > 0 ? RESOLVE_OK : RESOLVE_NODATA,
        .done = true,
        .addrs = addrs,
        .addr_count = count,
        .from_cache = true,
    };

    events->answer(arg, &result);
    return 1;
}

static int ask_literal(const struct resolver *resolver, const struct addr *addr,
                       const struct resolve_events *events, void *arg)
{
    enum dns_family family = addr->kind == ADDR_IP6 ? DNS_AAAA : DNS_A;

    return tell_now(events, arg, addr, resolver->lookups.wanted[family] ? 1 : 0);
}

/* RFC 6761 6.3: never asked, and the hosts file has no say. */
static int ask_localhost(const struct resolver *resolver, const struct resolve_events *events,
                         void *arg)
{
    struct addr addrs[DNS_FAMILIES];
    size_t count = 0;

    if (resolver->lookups.wanted[DNS_AAAA]) {
        addrs[count++] = (struct addr){.kind = ADDR_IP6, .bytes[15] = 1};
    }
    if (resolver->lookups.wanted[DNS_A]) {
        addrs[count++] = addr_ip4(127, 0, 0, 1, 0);
    }
    return tell_now(events, arg, addrs, count);
}

static unsigned wanted_bits(const struct resolver *resolver)
{
    return (resolver->lookups.wanted[DNS_A] ? MERGE_BIT(DNS_A) : 0) |
           (resolver->lookups.wanted[DNS_AAAA] ? MERGE_BIT(DNS_AAAA) : 0);
}

int resolver_ask(struct resolver *resolver, const struct host *host,
                 const struct resolve_events *events, void *arg, struct resolve_query **ret_query)
{
    struct str name = host_name(host);
    struct addr addrs[HOSTS_MAX_ADDRS];
    struct dns_cached cached[DNS_FAMILIES] = {0};
    uint64_t now_ms = loop_now_ms(resolver->loop);
    unsigned wanted = wanted_bits(resolver);
    unsigned found;
    size_t count;

    *ret_query = NULL; /* not after the answer: its callback may free what it stands in */
    if (host->is_literal) {
        return ask_literal(resolver, &host->addr, events, arg);
    }
    if (host_is_localhost(host)) {
        return ask_localhost(resolver, events, arg);
    }
    hosts_file_refresh(&resolver->hosts, now_ms);
    count = hosts_file_find(&resolver->hosts, name, resolver->lookups.wanted[DNS_A],
                            resolver->lookups.wanted[DNS_AAAA], addrs);
    if (count > 0) {
        return tell_now(events, arg, addrs, count);
    }
    found = dns_cache_find(&resolver->cache, name, now_ms, cached) & wanted;
    if (found == wanted) {
        return lookup_tell_cached(found, cached, events, arg);
    }
    return lookups_ask(&resolver->lookups, name, found, cached, events, arg, ret_query);
}

void resolver_cancel(struct resolve_query *query)
{
    lookup_cancel(query);
}

/* ------------------------------------------------------------------ the resolver itself */

static void bury_resolver(struct task *task)
{
    resolver_free(CONTAINER_OF(task, struct resolver, grave));
}

static void end_if_retired(struct resolver *resolver)
{
    if (resolver->retired && list_empty(&resolver->lookups.all)) {
        resolver->retired = NULL;
        list_remove(&resolver->in_retired);
        loop_bury(resolver->loop, &resolver->grave, bury_resolver);
    }
}

static void on_idle(void *arg)
{
    end_if_retired(arg);
}

static int start(struct resolver *resolver, const struct resolver_options *options)
{
    struct dns_cares_options dns_options = {
        .servers = options->servers,
        .server_count = options->server_count,
        .resolv_conf_path =
            options->resolv_conf_path ? options->resolv_conf_path : RESOLV_CONF_PATH,
        .timeout_ms = options->timeout_ms,
    };
    int r = lookups_init(&resolver->lookups);

    if (r < 0) {
        return r;
    }
    r = dns_cache_init(&resolver->cache, options->cache_entries, options->max_ttl_ms,
                       options->negative_ttl_ms);
    if (r < 0) {
        goto no_cache;
    }
    r = dns_cares_new(resolver->loop, &dns_options, &resolver->dns);
    if (r < 0) {
        goto no_dns;
    }
    resolver->lookups.dns = resolver->dns;
    return 0;
no_dns:
    dns_cache_deinit(&resolver->cache);
no_cache:
    lookups_deinit(&resolver->lookups);
    return r;
}

static void free_options(struct resolver_options *options)
{
    mem_free((void *)(uintptr_t)options->servers);
    mem_free((char *)(uintptr_t)options->hosts_path);
}

static int copy_options(const struct resolver_options *from, struct resolver_options *ret)
{
    size_t size = from->server_count * sizeof(*from->servers);
    struct addr *servers = mem_alloc(size + 1);
    char *hosts_path = mem_strdup(from->hosts_path ? from->hosts_path : "");

    *ret = *from;
    ret->servers = servers;
    ret->hosts_path = hosts_path;
    if (!servers || !hosts_path) {
        free_options(ret);
        return -ENOMEM;
    }
    if (size > 0) {
        memcpy(servers, from->servers, size);
    }
    return 0;
}

static bool same_servers(const struct resolver_options *a, const struct resolver_options *b)
{
    for (size_t i = 0; i < a->server_count && i < b->server_count; i++) {
        if (!addr_eq(&a->servers[i], &b->servers[i])) {
            return false;
        }
    }
    return a->server_count == b->server_count;
}

bool resolver_is_like(const struct resolver *resolver, const struct resolver_options *options)
{
    const struct resolver_options *own = &resolver->options;

    return same_servers(own, options) &&
           strcmp(own->hosts_path, options->hosts_path ? options->hosts_path : "") == 0 &&
           own->cache_entries == options->cache_entries && own->max_ttl_ms == options->max_ttl_ms &&
           own->negative_ttl_ms == options->negative_ttl_ms && own->want_ip4 == options->want_ip4 &&
           own->want_ip6 == options->want_ip6 && own->timeout_ms == options->timeout_ms;
}

void resolver_retire(struct resolver *resolver, struct list *retired)
{
    if (!resolver) {
        return;
    }
    resolver->retired = retired;
    list_push_back(retired, &resolver->in_retired);
    end_if_retired(resolver);
}

void resolver_free_retired(struct list *retired)
{
    while (!list_empty(retired)) {
        struct resolver *resolver = LIST_FIRST(retired, struct resolver, in_retired);

        resolver->retired = NULL;
        resolver_free(resolver);
    }
}

int resolver_new(struct loop *loop, const struct resolver_options *options, struct resolver **ret)
{
    struct resolver *resolver = mem_zalloc(sizeof(*resolver));
    int r;

    if (!resolver) {
        return -ENOMEM;
    }
    if (copy_options(options, &resolver->options) != 0) {
        mem_free(resolver);
        return -ENOMEM;
    }
    list_init(&resolver->in_retired);
    resolver->loop = loop;
    resolver->lookups = (struct lookups){
        .loop = loop,
        .cache = &resolver->cache,
        .timeout_ms = options->timeout_ms,
        .wanted = {[DNS_A] = options->want_ip4, [DNS_AAAA] = options->want_ip6},
        .idle = on_idle,
        .arg = resolver,
    };
    hosts_file_init(&resolver->hosts, resolver->options.hosts_path);
    r = start(resolver, options);
    if (r < 0) {
        free_options(&resolver->options);
        mem_free(resolver);
        return r;
    }
    *ret = resolver;
    return 0;
}

void resolver_free(struct resolver *resolver)
{
    if (!resolver) {
        return;
    }
    dns_cares_free(resolver->dns);
    lookups_end(&resolver->lookups);
    lookups_deinit(&resolver->lookups);
    dns_cache_deinit(&resolver->cache);
    hosts_file_deinit(&resolver->hosts);
    list_remove(&resolver->in_retired);
    free_options(&resolver->options);
    mem_free(resolver);
}

const char *resolve_status_text(enum resolve_status status)
{
    switch (status) {
    case RESOLVE_OK:
        return "ok";
    case RESOLVE_NXDOMAIN:
        return "nxdomain";
    case RESOLVE_NODATA:
        return "nodata";
    case RESOLVE_SERVFAIL:
        return "servfail";
    case RESOLVE_REFUSED:
        return "refused";
    case RESOLVE_TIMEOUT:
        return "timeout";
    case RESOLVE_ERROR:
        return "error";
    case RESOLVE_NO_MEMORY:
        return "no memory";
    }
    return "error";
}

const char *resolver_library_version(void)
{
    return dns_cares_version();
}
