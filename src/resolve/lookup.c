// SPDX-License-Identifier: MIT
#include "resolve/lookup.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/loop.h"
#include "log/log.h"
#include "resolve/dns_answer.h"
#include "resolve/dns_cares.h"
#include "resolve/merge.h"
#include "resolve/resolver.h"

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
    struct lookups *lookups;
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

int lookup_tell_cached(unsigned found, const struct dns_cached cached[DNS_FAMILIES],
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
        map_remove(&lookup->lookups->by_name, &lookup->node);
        list_remove(&lookup->in_all);
    }
    deadline_disarm(&lookup->whole);
    deadline_disarm(&lookup->hold);
    task_cancel(&lookup->deliver);
}

static void lookup_free(struct lookup *lookup)
{
    const struct lookups *lookups = lookup->lookups;

    lookup_close(lookup);
    while (!list_empty(&lookup->waiters)) {
        struct resolve_query *query = LIST_FIRST(&lookup->waiters, struct resolve_query, node);

        list_remove(&query->node);
        mem_free(query);
    }
    mem_free(lookup);
    if (list_empty(&lookups->all)) {
        lookups->idle(lookups->arg);
    }
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
        deadline_arm(&lookup->hold, lookup->lookups->loop, MERGE_HOLD_MS);
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
    struct lookups *lookups = lookup->lookups;

    part_answer(part, answer);
    if (answer->status != RESOLVE_NO_MEMORY) {
        dns_cache_put(lookups->cache, lookup->node.key, family_of(part), answer,
                      loop_now_ms(lookups->loop));
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
    loop_defer(part->lookup->lookups->loop, &part->lookup->deliver);
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
    if (dns_cares_ask(lookup->lookups->dns, lookup->name, family_of(part), on_dns_answer, part,
                      &part->question) < 0) {
        part_answer(part, &failed);
    }
}

/* In the map only if something is left to wait for. */
static struct lookup *lookup_new(struct lookups *lookups, struct str name, unsigned found,
                                 const struct dns_cached cached[DNS_FAMILIES])
{
    struct lookup *lookup = mem_zalloc(sizeof(*lookup) + name.len + 1);

    if (!lookup) {
        return NULL;
    }
    memcpy(lookup->name, name.ptr, name.len);
    lookup->node.key = str_make(lookup->name, name.len);
    lookup->lookups = lookups;
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
        } else if (lookups->wanted[report_order[i]]) {
            part_ask(part);
        }
    }
    if (is_pending(lookup)) {
        map_add(&lookups->by_name, &lookup->node);
        list_push_back(&lookups->all, &lookup->in_all);
        deadline_arm(&lookup->whole, lookups->loop, lookups->timeout_ms);
    }
    return lookup;
}

/* ------------------------------------------------------------------ asking */

/* A new lookup that nothing could be sent for. */
static int ask_failed(struct lookup *lookup, const struct resolve_events *events, void *arg)
{
    struct merge_facts facts = facts_of(lookup, 0);
    struct merge_step step = merge_next(&facts);

    lookup_tell(lookup, events, arg, &step);
    lookup_free(lookup);
    return 1;
}

int lookups_ask(struct lookups *lookups, struct str name, unsigned found,
                const struct dns_cached cached[DNS_FAMILIES], const struct resolve_events *events,
                void *arg, struct resolve_query **ret_query)
{
    struct map_node *node = map_find(&lookups->by_name, name);
    struct lookup *lookup = node ? CONTAINER_OF(node, struct lookup, node) : NULL;
    struct resolve_query *query = mem_zalloc(sizeof(*query));
    struct merge_facts facts;

    if (query && !node) {
        lookup = lookup_new(lookups, name, found, cached);
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
        loop_defer(lookups->loop, &lookup->deliver);
    }
    *ret_query = query;
    return 0;
}

void lookup_cancel(struct resolve_query *query)
{
    if (query) {
        list_remove(&query->node);
        mem_free(query);
    }
}

/* ------------------------------------------------------------------ all of them */

int lookups_init(struct lookups *lookups)
{
    list_init(&lookups->all);
    return map_init(&lookups->by_name);
}

void lookups_end(struct lookups *lookups)
{
    while (!list_empty(&lookups->all)) {
        lookup_free(LIST_FIRST(&lookups->all, struct lookup, in_all));
    }
}

void lookups_deinit(struct lookups *lookups)
{
    map_deinit(&lookups->by_name);
}
