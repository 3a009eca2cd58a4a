// SPDX-License-Identifier: MIT
#include "server/explain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "policy/machine.h"
#include "policy/snapshot.h"

#define ERROR_MAX 256

/* One question on its way. */
struct explain_job {
    struct loop *loop; /* borrowed */
    const struct explain_question *question;
    const struct snapshot *snapshot;
    struct explain_answer *answer;
    void (*done)(void *arg);
    void *arg;
    struct policy_facts facts;
    struct machine_addrs *machine; /* owned */
    struct addr *own;              /* owned; NULL: the snapshot knows where it listens */
    struct resolver *resolver;     /* owned; NULL: nobody is asked */
    struct task finish;            /* deferred once the addresses are known */
};

/* ---- Names to addresses ---- */

static void on_addresses(void *arg, const struct resolve_result *result)
{
    struct explain_job *job = arg;
    struct explain_answer *answer = job->answer;

    for (size_t i = 0; i < result->addr_count && answer->addr_count < EXPLAIN_MAX_ADDRS; i++) {
        answer->addrs[answer->addr_count++].addr = result->addrs[i];
    }
    if (result->done) {
        answer->dns = answer->addr_count > 0 ? RESOLVE_OK : result->status;
        loop_defer(job->loop, &job->finish);
    }
}

static const struct resolve_events lookup_events = {.answer = on_addresses};

static int look_up(struct explain_job *job)
{
    const struct conf *conf = job->snapshot->conf;
    const struct resolver_options options = {
        .servers = conf->dns.servers,
        .server_count = conf->dns.server_count,
        .hosts_path = conf->dns.hosts_path,
        .want_ip4 = conf->dns.family != CONF_FAMILY_IP6,
        .want_ip6 = conf->dns.family != CONF_FAMILY_IP4,
        .timeout_ms = conf->timeouts.dns_ms,
    };
    struct resolve_query *query;
    int r = resolver_new(job->loop, &options, &job->resolver);

    if (r == 0) {
        r = resolver_ask(job->resolver, &job->question->host, &lookup_events, job, &query);
    }
    return MIN(r, 0);
}

/* They may be here only later; the task of the job goes on. */
static int find_addresses(struct explain_job *job)
{
    const struct explain_question *question = job->question;

    if (question->addr_count == 0) {
        job->answer->was_asked = !question->host.is_literal;
        return look_up(job);
    }
    for (size_t i = 0; i < question->addr_count; i++) {
        job->answer->addrs[job->answer->addr_count++].addr = question->addrs[i];
    }
    loop_defer(job->loop, &job->finish);
    return 0;
}

/* ---- Where we listen ---- */

/* As far as this configuration says so: adds to own, which has room for an address of each bind. */
static size_t add_own(const struct conf_listener *listener, struct addr *own, size_t count)
{
    for (size_t i = 0; i < listener->bind_count; i++) {
        const struct conf_bind *bind = &listener->binds[i];

        if (bind->kind == CONF_BIND_IP) {
            own[count++] = bind->addr;
        } else if (bind->kind == CONF_BIND_ANY) {
            own[count++] = (struct addr){.kind = ADDR_IP6, .port = bind->addr.port};
        }
    }
    return count;
}

static int list_own(const struct conf *conf, struct addr **ret, size_t *ret_count)
{
    size_t binds = 1; /* of admin */
    size_t count = 0;
    struct addr *own;

    for (size_t i = 0; i < conf->listener_count; i++) {
        binds += conf->listeners[i].bind_count;
    }
    own = mem_zalloc(binds * sizeof(*own));
    if (!own) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < conf->listener_count; i++) {
        count = add_own(&conf->listeners[i], own, count);
    }
    if (conf->admin.address.kind == CONF_BIND_IP) {
        own[count++] = conf->admin.address.addr;
    }
    *ret = own;
    *ret_count = count;
    return 0;
}

/* A snapshot in force knows it better than its configuration. */
static int find_own(struct explain_job *job)
{
    int r = 0;

    if (job->snapshot->via_name.len > 0) {
        job->facts.own_addresses = job->snapshot->own_addresses;
        job->facts.own_address_count = job->snapshot->own_address_count;
    } else {
        r = list_own(job->snapshot->conf, &job->own, &job->facts.own_address_count);
        job->facts.own_addresses = job->own;
    }
    return r;
}

/* ---- Judgement ---- */

static void judge_addresses(const struct policy *policy, struct policy_facts *facts,
                            struct explain_answer *ret)
{
    facts->stage = POLICY_ADDRESS;
    for (size_t i = 0; i < ret->addr_count; i++) {
        struct explain_address *address = &ret->addrs[i];

        facts->address = address->addr;
        policy_decide(policy, facts, &address->verdict);
        if (i == 0) {
            ret->verdict = address->verdict;
        } else {
            policy_sum_up(&ret->verdict, &address->verdict);
        }
    }
    facts->address = ret->addrs[0].addr;
}

/* Of the question's user, whose password is right. */
static void show_credentials(struct explain_job *job)
{
    if (!job->question->is_unknown_user) {
        job->facts.user = job->question->user;
    }
}

/* Nobody is asked for credentials before a walk wants them, and those that nobody asks for count
 * for nothing. True when the walk is to be gone again, now that the user is known. */
static bool is_asked(struct explain_job *job)
{
    const struct policy_verdict *verdict = &job->answer->verdict;
    bool wants = verdict->action == POLICY_CHALLENGE ||
                 (verdict->action == POLICY_OPEN && (verdict->needs & POLICY_NEEDS_USER) != 0);

    if (!wants || job->answer->is_user_asked) {
        return false;
    }
    show_credentials(job);
    job->answer->is_user_asked = true;
    return job->facts.user.len > 0;
}

/* The second walk, for each address. */
static void on_finish(struct task *task)
{
    struct explain_job *job = CONTAINER_OF(task, struct explain_job, finish);
    struct explain_answer *answer = job->answer;

    for (size_t i = 0; i < answer->addr_count; i++) {
        answer->addrs[i].addr.port = job->question->port;
    }
    if (answer->addr_count > 0) {
        answer->end = EXPLAIN_JUDGED;
        judge_addresses(job->snapshot->policy, &job->facts, answer);
        if (is_asked(job)) {
            judge_addresses(job->snapshot->policy, &job->facts, answer);
        }
    }
    show_credentials(job); /* for who wants to know which line would have allowed it */
    if (answer->end != EXPLAIN_UNRESOLVED && answer->verdict.action != POLICY_ALLOW) {
        answer->has_nearest =
            policy_nearest_allow(job->snapshot->policy, &job->facts, &answer->nearest);
    }
    job->done(job->arg);
}

/* As an exchange goes: the first walk, the name, the second walk. */
static int begin(struct explain_job *job)
{
    job->facts.stage = POLICY_REQUEST;
    job->answer->end = EXPLAIN_BEFORE_DNS;
    policy_decide(job->snapshot->policy, &job->facts, &job->answer->verdict);
    if (is_asked(job)) {
        policy_decide(job->snapshot->policy, &job->facts, &job->answer->verdict);
    }
    if (job->answer->verdict.action == POLICY_OPEN) {
        job->answer->end = EXPLAIN_UNRESOLVED;
        return find_addresses(job);
    }
    loop_defer(job->loop, &job->finish);
    return 0;
}

static void set_facts(struct explain_job *job)
{
    const struct explain_question *question = job->question;

    job->facts = (struct policy_facts){
        .client = question->client,
        .listener = question->listener,
        .method = question->method,
        .host = &question->host,
        .port = question->port,
        .time = question->time,
    };
    *job->answer = (struct explain_answer){0};
}

void explain_end(struct explain_job *job)
{
    if (!job) {
        return;
    }
    task_cancel(&job->finish);
    resolver_free(job->resolver);
    mem_free(job->own);
    machine_addrs_free(job->machine);
    mem_free(job);
}

/* Returns r; what it means is in error then. */
static int tell(int r, char *error, size_t cap)
{
    if (r != 0) {
        (void)snprintf(error, cap, "%s", strerror(-r));
    }
    return r;
}

static int read_machine(struct explain_job *job, char *error, size_t cap)
{
    char why[ERROR_MAX];
    int r = machine_addrs_read(&job->machine);

    job->facts.machine = job->machine;
    if (r != 0) {
        machine_describe_error(r, why, sizeof(why));
        (void)snprintf(error, cap, "nothing can be judged: %s", why);
    }
    return r;
}

static int learn_and_begin(struct explain_job *job, char *error, size_t cap)
{
    int r = read_machine(job, error, cap);

    if (r != 0) {
        return r;
    }
    r = find_own(job);
    return tell(r == 0 ? begin(job) : r, error, cap);
}

int explain_begin(const struct explain_question *question, const struct snapshot *snapshot,
                  struct loop *loop, void (*done)(void *arg), void *arg,
                  struct explain_answer *answer, struct explain_job **ret, char *error, size_t cap)
{
    struct explain_job *job = mem_zalloc(sizeof(*job));
    int r;

    if (!job) {
        return tell(-ENOMEM, error, cap);
    }
    job->loop = loop;
    job->question = question;
    job->snapshot = snapshot;
    job->answer = answer;
    job->done = done;
    job->arg = arg;
    task_init(&job->finish, on_finish);
    set_facts(job);
    r = learn_and_begin(job, error, cap);
    if (r != 0) {
        explain_end(job);
        return r;
    }
    *ret = job;
    return 0;
}

static void on_done(void *arg)
{
    loop_stop(arg);
}

int explain_ask(const struct explain_question *question, const struct snapshot *snapshot,
                struct explain_answer *ret, char *error, size_t cap)
{
    struct explain_job *job = NULL;
    struct loop *loop = NULL;
    int r = tell(loop_new(&loop), error, cap);

    if (r != 0) {
        return r;
    }
    r = explain_begin(question, snapshot, loop, on_done, loop, ret, &job, error, cap);
    if (r == 0) {
        r = tell(loop_run(loop), error, cap);
    }
    explain_end(job);
    loop_free(loop);
    return r;
}

int explain_status(const struct explain_answer *answer)
{
    switch (answer->verdict.action) {
    case POLICY_ALLOW:
        return 0;
    case POLICY_DENY:
    case POLICY_CHALLENGE:
        return 1;
    case POLICY_OPEN:
        break;
    }
    return 3;
}
