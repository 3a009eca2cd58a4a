// SPDX-License-Identifier: MIT
#include "policy/auth_checks.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/secret.h"
#include "policy/auth_hash.h"
#include "policy/auth_pool.h"
#include "policy/auth_users.h"

/* A client that shows the same wrong password again and again costs one hash in this time. */
#define WRONG_MS 60000

/* One password to be checked. */
struct auth_job {
    struct auth_task task;
    struct list node;   /* in jobs; under lock, as all that is not set once */
    struct list checks; /* who waits for it; may be empty: nobody any more */
    bool is_running;
    struct auth_checks *owner; /* borrowed */
    struct auth_users *users;  /* shared ref */
    const struct auth_user *user;
    struct auth_print print;
    char name[AUTH_USER_MAX];
    size_t name_len;
    char password[AUTH_PASSWORD_MAX + 1];
};

struct auth_checks {
    struct auth_pool *pool; /* borrowed */
    const struct auth_checks_events *events;
    void *arg;
    pthread_mutex_t lock; /* may be held while the pool's is taken, or a mailbox's */
    struct list jobs;     /* under lock, as all below */
    size_t job_count;
    const struct auth_users *users; /* whom the cache knows; only compared */
    struct auth_cache cache;
    uint64_t keep_ms;
};

int auth_checks_new(struct auth_pool *pool, const struct auth_checks_events *events, void *arg,
                    struct auth_checks **ret)
{
    struct auth_checks *checks = mem_zalloc(sizeof(*checks));

    if (!checks) {
        return -ENOMEM;
    }
    checks->pool = pool;
    checks->events = events;
    checks->arg = arg;
    list_init(&checks->jobs);
    auth_cache_init(&checks->cache);
    (void)pthread_mutex_init(&checks->lock, NULL);
    *ret = checks;
    return 0;
}

void auth_checks_free(struct auth_checks *checks)
{
    if (checks) {
        ASSERT(list_empty(&checks->jobs));
        auth_cache_deinit(&checks->cache);
        (void)pthread_mutex_destroy(&checks->lock);
        mem_free(checks);
    }
}

void auth_checks_renew(struct auth_checks *checks, const struct auth_users *users, uint64_t keep_ms)
{
    (void)pthread_mutex_lock(&checks->lock);
    checks->users = users;
    checks->keep_ms = keep_ms;
    auth_cache_renew(&checks->cache, auth_users_count(users));
    (void)pthread_mutex_unlock(&checks->lock);
}

/* ------------------------------------------------------------------ jobs */

/* Before it is in jobs, or after. */
static void free_job(struct auth_job *job)
{
    if (job) {
        auth_users_unref(job->users);
        secret_wipe(job->password, sizeof(job->password));
        mem_free(job);
    }
}

/* lock is held. */
static void remove_job(struct auth_job *job)
{
    list_remove(&job->node);
    job->owner->job_count--;
}

static void add_check(struct auth_job *job, struct auth_check *check)
{
    check->job = job;
    check->result = AUTH_CHECK_PENDING;
    list_push_back(&job->checks, &check->node);
}

/* Tells who waits; it belongs to its owner again. lock is held. */
static void answer(struct auth_check *check, enum auth_check_result result, uint64_t until_ms)
{
    list_remove(&check->node);
    check->job = NULL;
    check->result = result;
    check->until_ms = until_ms;
    mailbox_send(check->home, &check->mail);
}

static struct str name_of(const struct auth_job *job)
{
    return str_make(job->name, job->name_len);
}

/* False once its client has guessed too often, be it while this check ran beside others. */
static bool may_try(const struct auth_job *job, const struct auth_check *check)
{
    return job->owner->events->may_try(job->owner->arg, &check->client);
}

/* Those who may not try are told so; true when anybody is left. */
static bool begin(struct auth_job *job)
{
    job->is_running = true;
    LIST_FOR_EACH (node, next, &job->checks) {
        struct auth_check *check = LIST_ITEM(node, struct auth_check, node);

        if (!may_try(job, check)) {
            answer(check, AUTH_CHECK_SHUT, 0);
        }
    }
    return !list_empty(&job->checks);
}

static void tell_wrong(struct auth_job *job, struct auth_check *check, uint64_t until_ms)
{
    const struct auth_checks *checks = job->owner;

    if (!may_try(job, check)) {
        answer(check, AUTH_CHECK_SHUT, 0);
        return;
    }
    checks->events->wrong(checks->arg, &check->client, name_of(job), job->user != NULL);
    answer(check, AUTH_CHECK_WRONG, until_ms);
}

/* How long the result is remembered, here as by those who asked; 0: not. */
static uint64_t remember(struct auth_job *job, enum auth_check_result result)
{
    struct auth_checks *checks = job->owner;
    uint64_t now_ms = clock_mono_ms();

    if (result == AUTH_CHECK_FAILED || job->users != checks->users ||
        (result == AUTH_CHECK_RIGHT && checks->keep_ms == 0)) {
        return 0;
    }
    if (result == AUTH_CHECK_WRONG) {
        auth_cache_put_wrong(&checks->cache, &job->print, now_ms + WRONG_MS);
        return now_ms + WRONG_MS;
    }
    auth_cache_put_right(&checks->cache, job->user->index, &job->print, now_ms + checks->keep_ms);
    return now_ms + checks->keep_ms;
}

/* lock is held. */
static void end(struct auth_job *job, enum auth_check_result result)
{
    uint64_t until_ms = remember(job, result);

    while (!list_empty(&job->checks)) {
        struct auth_check *check = LIST_FIRST(&job->checks, struct auth_check, node);

        if (result == AUTH_CHECK_WRONG) {
            tell_wrong(job, check, until_ms);
        } else if (!may_try(job, check)) {
            answer(check, AUTH_CHECK_SHUT, 0);
        } else {
            answer(check, result, until_ms);
        }
    }
}

/* An unknown user's password is checked like any other, against somebody's hash: the time does not
 * tell who exists. */
static enum auth_check_result check_password(struct auth_job *job, struct auth_hasher *hasher)
{
    const struct auth_user *user =
        job->user ? job->user : auth_users_stand_in(job->users, name_of(job));
    bool equal = false;
    int r = auth_hasher_check(hasher, job->password, user->hash.ptr, &equal);

    if (r != 0) {
        job->owner->events->failed(job->owner->arg, r);
        return AUTH_CHECK_FAILED;
    }
    return equal && job->user ? AUTH_CHECK_RIGHT : AUTH_CHECK_WRONG;
}

static void run(struct auth_task *task, struct auth_hasher *hasher)
{
    struct auth_job *job = CONTAINER_OF(task, struct auth_job, task);
    struct auth_checks *checks = job->owner;
    enum auth_check_result result = AUTH_CHECK_FAILED;
    bool is_wanted;

    (void)pthread_mutex_lock(&checks->lock);
    is_wanted = begin(job);
    if (is_wanted) {
        (void)pthread_mutex_unlock(&checks->lock);
        result = check_password(job, hasher);
        (void)pthread_mutex_lock(&checks->lock);
    }
    end(job, result);
    remove_job(job);
    (void)pthread_mutex_unlock(&checks->lock);
    free_job(job);
}

/* ------------------------------------------------------------------ asking */

/* lock is held. */
static struct auth_job *find_job(const struct auth_checks *checks, const struct auth_print *print)
{
    LIST_FOR_EACH (node, next, &checks->jobs) {
        struct auth_job *job = LIST_ITEM(node, struct auth_job, node);

        if (auth_print_eq(&job->print, print)) {
            return job;
        }
    }
    return NULL;
}

static struct auth_job *new_job(struct auth_checks *checks, const struct auth_question *question)
{
    struct auth_job *job = mem_zalloc(sizeof(*job));

    if (!job) {
        return NULL;
    }
    ASSERT(question->name.len <= AUTH_USER_MAX && question->password.len <= AUTH_PASSWORD_MAX);
    job->task.run = run;
    list_init(&job->checks);
    job->owner = checks;
    job->users = auth_users_ref(question->users);
    job->user = question->user;
    job->print = question->print;
    memcpy(job->name, question->name.ptr, question->name.len);
    job->name_len = question->name.len;
    memcpy(job->password, question->password.ptr, question->password.len);
    return job;
}

/* lock is held. */
static enum auth_check_result
ask_anew(struct auth_checks *checks, const struct auth_question *question, struct auth_check *check)
{
    struct auth_job *job;

    if (checks->job_count >= AUTH_CHECKS_MAX) {
        return AUTH_CHECK_FULL;
    }
    job = new_job(checks, question);
    if (!job || !auth_pool_submit(checks->pool, &job->task)) {
        free_job(job);
        return AUTH_CHECK_FAILED;
    }
    /* It cannot have begun: that takes our lock. */
    list_push_back(&checks->jobs, &job->node);
    checks->job_count++;
    add_check(job, check);
    return AUTH_CHECK_PENDING;
}

/* What clients of other workers have shown; AUTH_CHECK_PENDING: nobody has. lock is held. */
static enum auth_check_result recall(const struct auth_checks *checks,
                                     const struct auth_question *question, uint64_t *ret_until_ms)
{
    size_t index = question->user ? question->user->index : AUTH_NO_USER;
    enum auth_memory memory = AUTH_UNSEEN;

    if (question->users == checks->users) {
        memory =
            auth_cache_find(&checks->cache, index, &question->print, clock_mono_ms(), ret_until_ms);
    }
    return memory == AUTH_SEEN_RIGHT   ? AUTH_CHECK_RIGHT
           : memory == AUTH_SEEN_WRONG ? AUTH_CHECK_WRONG
                                       : AUTH_CHECK_PENDING;
}

enum auth_check_result auth_checks_ask(struct auth_checks *checks,
                                       const struct auth_question *question,
                                       struct auth_check *check)
{
    enum auth_check_result result;

    (void)pthread_mutex_lock(&checks->lock);
    result = recall(checks, question, &check->until_ms);
    if (result == AUTH_CHECK_PENDING) {
        struct auth_job *job = find_job(checks, &question->print);

        if (job) {
            add_check(job, check);
        } else {
            result = ask_anew(checks, question, check);
        }
    }
    (void)pthread_mutex_unlock(&checks->lock);
    return result;
}

/* A job nobody waits for costs nothing when its turn comes; one that still waits goes at once, so
 * that it takes no place. lock is held. */
static void drop_if_unwanted(struct auth_job *job)
{
    if (list_empty(&job->checks) && auth_pool_withdraw(job->owner->pool, &job->task)) {
        remove_job(job);
        free_job(job);
    }
}

bool auth_checks_withdraw(struct auth_checks *checks, struct auth_check *check)
{
    struct auth_job *job;
    bool is_out;

    (void)pthread_mutex_lock(&checks->lock);
    job = check->job;
    if (job && !job->is_running) {
        list_remove(&check->node);
        check->job = NULL;
        drop_if_unwanted(job);
    }
    /* Without a job and without a result: it was taken out, by this or by the end. */
    is_out = !check->job && check->result == AUTH_CHECK_PENDING;
    (void)pthread_mutex_unlock(&checks->lock);
    return is_out;
}

void auth_checks_stop(struct auth_checks *checks)
{
    (void)pthread_mutex_lock(&checks->lock);
    LIST_FOR_EACH (node, next, &checks->jobs) {
        struct auth_job *job = LIST_ITEM(node, struct auth_job, node);

        while (!list_empty(&job->checks)) {
            struct auth_check *check = LIST_FIRST(&job->checks, struct auth_check, node);

            list_remove(&check->node);
            check->job = NULL;
        }
        drop_if_unwanted(job);
    }
    (void)pthread_mutex_unlock(&checks->lock);
}
