// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/thread.h"

TestSuite(thread);

/* struct sched_attr of sched_getattr(2), in its first version. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice, deadline, period;
};

struct seen {
    enum thread_kind kind;
    int policy; /* the thread's, before */
    char name[16];
    struct attributes attributes;
};

static void *become(void *arg)
{
    struct seen *seen = arg;

    (void)sched_setscheduler(0, seen->policy, &(struct sched_param){0});
    thread_begin("a-thread", seen->kind);
    (void)pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
    (void)syscall(SYS_sched_getattr, 0, &seen->attributes, sizeof(seen->attributes), 0U);
    return NULL;
}

static struct seen see(enum thread_kind kind, int policy)
{
    struct seen seen = {.kind = kind, .policy = policy};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, become, &seen), 0);
    (void)pthread_join(thread, NULL);
    cr_assert_str_eq(seen.name, "a-thread");
    return seen;
}

static bool knows_slices(void)
{
    struct utsname name;
    int major = 0;
    int minor = 0;

    cr_assert_eq(uname(&name), 0);
    cr_assert_eq(sscanf(name.release, "%d.%d", &major, &minor), 2);
    return major > 6 || (major == 6 && minor >= 12);
}

Test(thread, usual_has_a_name_only)
{
    struct seen seen = see(THREAD_USUAL, SCHED_OTHER);

    cr_assert_eq(seen.attributes.policy, SCHED_OTHER);
    cr_assert_eq(seen.attributes.nice, getpriority(PRIO_PROCESS, 0));
}

Test(thread, prompt_has_short_slices_and_the_usual_share)
{
    struct seen usual = see(THREAD_USUAL, SCHED_OTHER);
    struct seen seen = see(THREAD_PROMPT, SCHED_OTHER);

    cr_assert_eq(seen.attributes.policy, SCHED_OTHER);
    cr_assert_eq(seen.attributes.nice, getpriority(PRIO_PROCESS, 0));
    if (knows_slices()) {
        cr_assert_eq(seen.attributes.slice, 100000);
        cr_assert_gt(usual.attributes.slice, 100000);
    }
}

Test(thread, prompt_keeps_the_policy_it_was_given)
{
    cr_assert_eq(see(THREAD_PROMPT, SCHED_BATCH).attributes.policy, SCHED_BATCH);
}

static void *begin_one_aside(void *arg)
{
    thread_begin("prompt", THREAD_PROMPT);
    *(struct seen *)arg = see(THREAD_ASIDE, SCHED_OTHER);
    return NULL;
}

Test(thread, aside_stands_behind_the_others)
{
    struct seen usual = see(THREAD_USUAL, SCHED_OTHER);
    struct seen seen;
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, begin_one_aside, &seen), 0);
    (void)pthread_join(thread, NULL);
    cr_assert_eq(seen.attributes.policy, SCHED_BATCH);
    cr_assert_eq(seen.attributes.nice, MIN(getpriority(PRIO_PROCESS, 0) + 10, 19));
    cr_assert_eq(seen.attributes.slice, usual.attributes.slice);
}

Test(thread, aside_is_not_lifted_out_of_idle)
{
    cr_assert_eq(see(THREAD_ASIDE, SCHED_IDLE).attributes.policy, SCHED_IDLE);
}
