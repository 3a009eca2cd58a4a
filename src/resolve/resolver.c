// SPDX-License-Identifier: MIT
/*
 * The order: literal, localhost, hosts file, cache, and only then a lookup,
 * which is a pair of DNS questions (or one, when the cache still holds the
 * other family) shared by all who wait for the name. A lookup has one
 * deadline, counted from its first waiter, so nobody waits longer than
 * timeouts.dns; one who joins late shares the failure as he would have shared
 * it from the cache a moment later.
 */
#include "resolve/resolver.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/loop.h"
#include "log/log.h"
#include "resolve/dns_answer.h"
#include "resolve/dns_cache.h"
#include "resolve/dns_cares.h"
#include "resolve/hosts_file.h"
#include "resolve/merge.h"
#include "resolve/resolv_conf.h"

struct resolver {
    struct loop *loop;
    struct dns_cares *dns; /* owned */
    struct hosts_file hosts;
    struct dns_cache cache;
    struct map lookups; /* in flight, by name */
    struct list all;    /* the same lookups, for the end */
    uint64_t timeout_ms;
    bool wanted[DNS_FAMILIES];
    struct resolver_options options; /* servers and hosts_path owned */
    struct list *retired;            /* borrowed: where it stands once it has been retired */
    struct list in_retired;
    struct task grave;
};

struct lookup;

/* One family of a lookup. */
struct lookup_part {
    struct lookup *lookup;
    struct merge_part state;
    struct dns_question *question; /* borrowed; NULL unless pending */
    struct dns_answer answer;
};

struct lookup {
    struct map_node node;
    struct list in_all;
    struct resolver *resolver;
    struct lookup_part parts[DNS_FAMILIES];
    struct list waiters; /* struct resolve_query, owned */
    struct deadline whole;
    struct deadline hold; /* of an A answer, for AAAA */
    bool hold_over;
    struct task deliver; /* there may be something to tell */
    char name[];
};

/* A waiter. */
struct resolve_query {
    struct list node; /* in its lookup's waiters, or in the list of those being told */
    const struct resolve_events *events;
    void *arg;
    unsigned reported; /* MERGE_BIT of families */
};

/* ------------------------------------------------------------------ telling */

static const enum dns_family report_order[DNS_FAMILIES] = {DNS_AAAA, DNS_A};

static void tell(const struct resolve_events *events, void *arg, const struct merge_step *step,
                 const struct dns_cached answers[DNS_FAMILIES], bool from_cache)
{
    struct addr addrs[DNS_FAMILIES * RESOLVE_MAX_ADDRS];
    struct resolve_result result = {
        .status = step->status,
        .done = step->done,
        .addrs = addrs,
        .from_cache = from_cache,
    };

    for (size_t i = 0; i < DNS_FAMILIES; i++) {
        const struct dns_cached *answer = &answers[report_order[i]];

        if (step->families & MERGE_BIT(report_order[i])) {
            memcpy(addrs + result.addr_count, answer->addrs, answer->addr_count * sizeof(*addrs));
            result.addr_count += answer->addr_count;
        }
    }
    events->answer(arg, &result);
}

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

/* ------------------------------------------------------------------ a lookup */

static struct merge_facts facts_of(const struct lookup *lookup, unsigned reported)
{
    return (struct merge_facts){
        .parts = {[DNS_A] = lookup->parts[DNS_A].state, [DNS_AAAA] = lookup->parts[DNS_AAAA].state},
        .reported = reported,
        .hold_over = lookup->hold_over,
    };
}

static bool is_pending(const struct lookup *lookup)
{
    return lookup->parts[DNS_A].state.state == MERGE_PENDING ||
           lookup->parts[DNS_AAAA].state.state == MERGE_PENDING;
}

static void part_answer(struct lookup_part *part, const struct dns_answer *answer)
{
    part->answer = *answer;
    part->state = (struct merge_part){MERGE_ANSWERED, answer->status};
    part->question = NULL;
}

static void lookup_tell(const struct lookup *lookup, const struct resolve_events *events, void *arg,
                        const struct merge_step *step)
{
    struct dns_cached answers[DNS_FAMILIES];

    for (size_t i = 0; i < DNS_FAMILIES; i++) {
        const struct dns_answer *answer = &lookup->parts[i].answer;

        answers[i] = (struct dns_cached){answer->status, answer->addrs, answer->addr_count};
    }
    tell(events, arg, step, answers, false);
}

/* Out of the map: who asks from now on begins anew. The lookup itself is freed by the caller. */
static void lookup_close(struct lookup *lookup)
{
    if (list_linked(&lookup->in_all)) {
        map_remove(&lookup->resolver->lookups, &lookup->node);
        list_remove(&lookup->in_all);
    }
    deadline_disarm(&lookup->whole);
    deadline_disarm(&lookup->hold);
    task_cancel(&lookup->deliver);
}

static void bury_resolver(struct task *task)
{
    resolver_free(CONTAINER_OF(task, struct resolver, grave));
}

static void end_if_retired(struct resolver *resolver)
{
    if (resolver->retired && list_empty(&resolver->all)) {
        resolver->retired = NULL;
        list_remove(&resolver->in_retired);
        loop_bury(resolver->loop, &resolver->grave, bury_resolver);
    }
}

static void lookup_free(struct lookup *lookup)
{
    struct resolver *resolver = lookup->resolver;

    lookup_close(lookup);
    while (!list_empty(&lookup->waiters)) {
        struct resolve_query *query = LIST_FIRST(&lookup->waiters, struct resolve_query, node);

        list_remove(&query->node);
        mem_free(query);
    }
    mem_free(lookup);
    end_if_retired(resolver);
}

/* Tells one waiter what there is to tell, if anything; before the call it is freed, or back in its
 * list. */
static void lookup_tell_waiter(struct lookup *lookup, struct resolve_query *query)
{
    struct merge_facts facts = facts_of(lookup, query->reported);
    struct merge_step step = merge_next(&facts);
    const struct resolve_events *events = query->events;
    void *arg = query->arg;

    list_remove(&query->node);
    if (step.done) {
        mem_free(query);
    } else {
        query->reported |= step.families;
        list_push_back(&lookup->waiters, &query->node);
    }
    if (step.report) {
        lookup_tell(lookup, events, arg, &step);
    }
}

/* Callbacks may ask, join this lookup and cancel any waiter: those to be told stand in a list of
 * their own, and a lookup that is over is out of the map before the first of them hears of it.
 * Frees one that is over. */
static void lookup_deliver(struct lookup *lookup)
{
    struct merge_facts facts = facts_of(lookup, 0);
    bool over = !is_pending(lookup);
    struct list due;

    list_init(&due);
    list_splice_back(&due, &lookup->waiters);
    if (over) {
        lookup_close(lookup);
    } else if (merge_holds(&facts) && !deadline_armed(&lookup->hold)) {
        deadline_arm(&lookup->hold, lookup->resolver->loop, MERGE_HOLD_MS);
    }
    while (!list_empty(&due)) {
        lookup_tell_waiter(lookup, LIST_FIRST(&due, struct resolve_query, node));
    }
    if (over) {
        ASSERT(list_empty(&lookup->waiters));
        lookup_free(lookup);
    }
}

static enum dns_family family_of(const struct lookup_part *part)
{
    return part == &part->lookup->parts[DNS_A] ? DNS_A : DNS_AAAA;
}

static void part_settle(struct lookup_part *part, const struct dns_answer *answer)
{
    struct lookup *lookup = part->lookup;
    struct resolver *resolver = lookup->resolver;

    part_answer(part, answer);
    if (answer->status != RESOLVE_NO_MEMORY) {
        dns_cache_put(&resolver->cache, lookup->node.key, family_of(part), answer,
                      loop_now_ms(resolver->loop));
    }
    log_event(LOG_DEBUG, "dns", "%s %s: %s, %zu addresses", lookup->name,
              family_of(part) == DNS_A ? "A" : "AAAA", resolve_status_text(answer->status),
              answer->addr_count);
}

/* Told a moment later, in the same turn as a rule: both answers may have been read at once. */
static void on_dns_answer(void *arg, const struct dns_answer *answer)
{
    struct lookup_part *part = arg;

    part_settle(part, answer);
    loop_defer(part->lookup->resolver->loop, &part->lookup->deliver);
}

static void on_whole(struct deadline *deadline)
{
    struct lookup *lookup = CONTAINER_OF(deadline, struct lookup, whole);
    struct dns_answer timeout = {.status = RESOLVE_TIMEOUT};

    for (size_t i = 0; i < DNS_FAMILIES; i++) {
        struct lookup_part *part = &lookup->parts[i];

        if (part->state.state == MERGE_PENDING) {
            dns_question_drop(part->question);
            part_settle(part, &timeout);
        }
    }
    lookup_deliver(lookup);
}

static void on_hold(struct deadline *deadline)
{
    struct lookup *lookup = CONTAINER_OF(deadline, struct lookup, hold);

    lookup->hold_over = true;
    lookup_deliver(lookup);
}

static void on_deliver(struct task *task)
{
    lookup_deliver(CONTAINER_OF(task, struct lookup, deliver));
}

static void part_from_cache(struct lookup_part *part, const struct dns_cached *cached)
{
    part->answer = (struct dns_answer){.status = cached->status, .addr_count = cached->addr_count};
    if (cached->addr_count > 0) {
        memcpy(part->answer.addrs, cached->addrs, cached->addr_count * sizeof(*cached->addrs));
    }
    part->state = (struct merge_part){MERGE_ANSWERED, cached->status};
}

/* A question that cannot be sent for want of room fails now and is not remembered. */
static void part_ask(struct lookup_part *part)
{
    struct lookup *lookup = part->lookup;
    struct dns_answer failed = {.status = RESOLVE_NO_MEMORY};

    part->state.state = MERGE_PENDING;
    if (dns_cares_ask(lookup->resolver->dns, lookup->name, family_of(part), on_dns_answer, part,
                      &part->question) < 0) {
        part_answer(part, &failed);
    }
}

/* In the map only if something is left to wait for. */
static struct lookup *lookup_new(struct resolver *resolver, struct str name, unsigned found,
                                 const struct dns_cached cached[DNS_FAMILIES])
{
    struct lookup *lookup = mem_zalloc(sizeof(*lookup) + name.len + 1);

    if (!lookup) {
        return NULL;
    }
    memcpy(lookup->name, name.ptr, name.len);
    lookup->node.key = str_make(lookup->name, name.len);
    lookup->resolver = resolver;
    list_init(&lookup->in_all);
    list_init(&lookup->waiters);
    deadline_init(&lookup->whole, on_whole);
    deadline_init(&lookup->hold, on_hold);
    task_init(&lookup->deliver, on_deliver);
    for (size_t i = 0; i < DNS_FAMILIES; i++) {
        struct lookup_part *part = &lookup->parts[report_order[i]];

        part->lookup = lookup;
        if (found & MERGE_BIT(report_order[i])) {
            part_from_cache(part, &cached[report_order[i]]);
        } else if (resolver->wanted[report_order[i]]) {
            part_ask(part);
        }
    }
    if (is_pending(lookup)) {
        map_add(&resolver->lookups, &lookup->node);
        list_push_back(&resolver->all, &lookup->in_all);
        deadline_arm(&lookup->whole, resolver->loop, resolver->timeout_ms);
    }
    return lookup;
}

/* ------------------------------------------------------------------ asking */

static int ask_literal(const struct resolver *resolver, const struct addr *addr,
                       const struct resolve_events *events, void *arg)
{
    enum dns_family family = addr->kind == ADDR_IP6 ? DNS_AAAA : DNS_A;

    return tell_now(events, arg, addr, resolver->wanted[family] ? 1 : 0);
}

/* RFC 6761 6.3: never asked, and the hosts file has no say. */
static int ask_localhost(const struct resolver *resolver, const struct resolve_events *events,
                         void *arg)
{
    struct addr addrs[DNS_FAMILIES];
    size_t count = 0;

    if (resolver->wanted[DNS_AAAA]) {
        addrs[count++] = (struct addr){.kind = ADDR_IP6, .bytes[15] = 1};
    }
    if (resolver->wanted[DNS_A]) {
        addrs[count++] = addr_ip4(127, 0, 0, 1, 0);
    }
    return tell_now(events, arg, addrs, count);
}

static unsigned wanted_bits(const struct resolver *resolver)
{
    return (resolver->wanted[DNS_A] ? MERGE_BIT(DNS_A) : 0) |
           (resolver->wanted[DNS_AAAA] ? MERGE_BIT(DNS_AAAA) : 0);
}

static int ask_cached(unsigned found, const struct dns_cached cached[DNS_FAMILIES],
                      const struct resolve_events *events, void *arg)
{
    struct merge_facts facts = {0};
    struct merge_step step;

    for (size_t i = 0; i < DNS_FAMILIES; i++) {
        if (found & MERGE_BIT(i)) {
            facts.parts[i] = (struct merge_part){MERGE_ANSWERED, cached[i].status};
        }
    }
    step = merge_next(&facts);
    tell(events, arg, &step, cached, true);
    return 1;
}

/* A new lookup that nothing could be sent for. */
static int ask_failed(struct lookup *lookup, const struct resolve_events *events, void *arg)
{
    struct merge_facts facts = facts_of(lookup, 0);
    struct merge_step step = merge_next(&facts);

    lookup_tell(lookup, events, arg, &step);
    lookup_free(lookup);
    return 1;
}

static int ask_dns(struct resolver *resolver, struct str name, unsigned found,
                   const struct dns_cached cached[DNS_FAMILIES],
                   const struct resolve_events *events, void *arg, struct resolve_query **ret_query)
{
    struct map_node *node = map_find(&resolver->lookups, name);
    struct lookup *lookup = node ? CONTAINER_OF(node, struct lookup, node) : NULL;
    struct resolve_query *query = mem_zalloc(sizeof(*query));
    struct merge_facts facts;

    if (query && !node) {
        lookup = lookup_new(resolver, name, found, cached);
    }
    if (!query || !lookup) {
        mem_free(query);
        return -ENOMEM;
    }
    if (!node && !is_pending(lookup)) {
        mem_free(query);
        return ask_failed(lookup, events, arg);
    }
    query->events = events;
    query->arg = arg;
    list_push_back(&lookup->waiters, &query->node);
    facts = facts_of(lookup, 0);
    if (merge_next(&facts).report || merge_holds(&facts)) {
        loop_defer(resolver->loop, &lookup->deliver);
    }
    *ret_query = query;
    return 0;
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
    count = hosts_file_find(&resolver->hosts, name, resolver->wanted[DNS_A],
                            resolver->wanted[DNS_AAAA], addrs);
    if (count > 0) {
        return tell_now(events, arg, addrs, count);
    }
    found = dns_cache_find(&resolver->cache, name, now_ms, cached) & wanted;
    if (found == wanted) {
        return ask_cached(found, cached, events, arg);
    }
    return ask_dns(resolver, name, found, cached, events, arg, ret_query);
}

void resolver_cancel(struct resolve_query *query)
{
    if (query) {
        list_remove(&query->node);
        mem_free(query);
    }
}

/* ------------------------------------------------------------------ the resolver itself */

static int start(struct resolver *resolver, const struct resolver_options *options)
{
    struct dns_cares_options dns_options = {
        .servers = options->servers,
        .server_count = options->server_count,
        .resolv_conf_path =
            options->resolv_conf_path ? options->resolv_conf_path : RESOLV_CONF_PATH,
        .timeout_ms = options->timeout_ms,
    };
    int r = map_init(&resolver->lookups);

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
    return 0;
no_dns:
    dns_cache_deinit(&resolver->cache);
no_cache:
    map_deinit(&resolver->lookups);
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
    resolver->timeout_ms = options->timeout_ms;
    resolver->wanted[DNS_A] = options->want_ip4;
    resolver->wanted[DNS_AAAA] = options->want_ip6;
    list_init(&resolver->all);
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
    while (!list_empty(&resolver->all)) {
        lookup_free(LIST_FIRST(&resolver->all, struct lookup, in_all));
    }
    map_deinit(&resolver->lookups);
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
