// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "../faults.h"
#include "../wait.h"
#include "policy/auth_pool.h"

static struct auth_pool *pool;

/* A task that says when it runs and goes on when it may. */
struct job {
    struct auth_task task;
    struct auth_hasher *hasher;
    pthread_t thread;
    int policy;
    unsigned turn; /* the how many-th to begin, from 1 */
    atomic_bool may_end;
    atomic_bool has_begun;
    atomic_bool has_ended;
};

static atomic_uint turns;

static void run_job(struct auth_task *task, struct auth_hasher *hasher)
{
    struct job *job = CONTAINER_OF(task, struct job, task);

    job->hasher = hasher;
    job->thread = pthread_self();
    job->policy = sched_getscheduler(0);
    job->turn = atomic_fetch_add(&turns, 1) + 1;
    atomic_store(&job->has_begun, true);
    while (!atomic_load(&job->may_end)) {
        nap();
    }
    atomic_store(&job->has_ended, true);
}

static void submit(struct job *job)
{
    job->task.run = run_job;
    cr_assert(auth_pool_submit(pool, &job->task));
}

static void finish(struct job *job)
{
    atomic_store(&job->may_end, true);
    wait_for(&job->has_ended);
}

static void make_pool_of(enum thread_kind kind, unsigned threads)
{
    cr_assert_eq(auth_pool_new("pool", kind, threads, &pool), 0);
}

static void make_pool(unsigned threads)
{
    make_pool_of(THREAD_ASIDE, threads);
}

static void stop_pool(void)
{
    cr_assert(auth_pool_stop(pool, WAIT_DEADLINE_MS));
    auth_pool_free(pool);
}

static unsigned count_threads(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    unsigned count = 0;

    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file)) {
        (void)sscanf(line, "Threads: %u", &count);
    }
    (void)fclose(file);
    return count;
}

Test(auth_pool, begins_without_a_thread_and_has_no_more_than_it_may)
{
    unsigned before = count_threads();
    static struct job jobs[5];

    make_pool(2);
    cr_expect_eq(count_threads(), before);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        submit(&jobs[i]);
    }
    wait_for(&jobs[0].has_begun);
    wait_for(&jobs[1].has_begun);
    cr_expect_eq(count_threads(), before + 2);
    cr_expect_not(atomic_load(&jobs[2].has_begun));
    cr_expect_neq(jobs[0].hasher, jobs[1].hasher, "each thread has its own memory");
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        finish(&jobs[i]);
    }
    cr_expect_eq(count_threads(), before + 2);
    stop_pool();
    cr_expect_eq(count_threads(), before);
}

Test(auth_pool, threads_are_of_the_kind_asked_for)
{
    static const int policies[] = {[THREAD_USUAL] = SCHED_OTHER, [THREAD_ASIDE] = SCHED_BATCH};
    static const enum thread_kind kinds[] = {THREAD_USUAL, THREAD_ASIDE};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        static struct job job;

        job = (struct job){0};
        make_pool_of(kinds[i], 1);
        submit(&job);
        finish(&job);
        cr_expect_eq(job.policy, policies[kinds[i]]);
        cr_expect_not(pthread_equal(job.thread, pthread_self()));
        cr_expect_eq(sched_getscheduler(0), SCHED_OTHER);
        stop_pool();
    }
}

Test(auth_pool, goes_by_order)
{
    static struct job first;
    static struct job second;
    static struct job third;

    make_pool(1);
    submit(&first);
    wait_for(&first.has_begun);
    submit(&second);
    submit(&third);
    finish(&first);
    finish(&second);
    finish(&third);
    cr_expect_eq(second.turn, 2);
    cr_expect_eq(third.turn, 3);
    stop_pool();
}

Test(auth_pool, gives_back_what_has_not_begun)
{
    static struct job first;
    static struct job second;

    make_pool(1);
    submit(&first);
    wait_for(&first.has_begun);
    submit(&second);
    cr_expect(auth_pool_withdraw(pool, &second.task));
    cr_expect_not(auth_pool_withdraw(pool, &second.task), "twice");
    cr_expect_not(auth_pool_withdraw(pool, &first.task));
    finish(&first);
    stop_pool();
    cr_expect_not(atomic_load(&second.has_begun));
}

Test(auth_pool, begins_nothing_after_its_end)
{
    static struct job first;
    static struct job waiting;
    static struct job late;

    make_pool(1);
    submit(&first);
    wait_for(&first.has_begun);
    submit(&waiting);
    cr_expect_not(auth_pool_stop(pool, 1), "one still runs");
    late.task.run = run_job;
    cr_expect_not(auth_pool_submit(pool, &late.task));
    finish(&first);
    /* What still ran makes the pool unusable for good: it is left alone, as a program that ends
     * leaves it. */
    cr_expect_not(atomic_load(&waiting.has_begun));
}

Test(auth_pool, without_memory_for_a_thread_nothing_is_taken)
{
#ifdef MEM_FAULTS
    static struct job job;

    make_pool(1);
    job.task.run = run_job;
    for (unsigned n = 1; n <= 2; n++) {
        mem_fail(n, n);
        cr_expect_not(auth_pool_submit(pool, &job.task), "allocation %u", n);
        cr_expect_eq(mem_failed(), 1);
    }
    mem_fail(0, 0);
    submit(&job);
    finish(&job);
    stop_pool();
    for (unsigned n = 1; n <= 2; n++) {
        mem_fail(n, n);
        cr_expect_eq(auth_pool_new("pool", THREAD_ASIDE, 1, &pool), -ENOMEM);
    }
#endif
}
