// SPDX-License-Identifier: MIT
#include "base/thread.h"

#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"

/* sched_setattr(2), which the C library of Debian 12 has no wrapper for: struct sched_attr as of
 * its first version. */
struct sched_attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns; /* without a deadline: the slice; 0 is the usual one */
    uint64_t deadline_ns;
    uint64_t period_ns;
};

#define SLICE_NS 100000 /* the shortest there is */
#define NICE_STEP 10
#define NICE_MAX 19

void thread_begin(const char *name, enum thread_kind kind)
{
    struct sched_attributes attributes = {
        .size = sizeof(attributes),
        .flags = SCHED_FLAG_KEEP_POLICY, /* whoever started us may have chosen another */
        .nice = getpriority(PRIO_PROCESS, 0),
    };

    (void)pthread_setname_np(pthread_self(), name);
    if (kind == THREAD_PROMPT) {
        attributes.runtime_ns = SLICE_NS;
    } else if (kind == THREAD_ASIDE) {
        attributes.flags = sched_getscheduler(0) == SCHED_IDLE ? SCHED_FLAG_KEEP_POLICY : 0;
        attributes.policy = SCHED_BATCH;
        attributes.nice = MIN(attributes.nice + NICE_STEP, NICE_MAX);
    } else {
        return;
    }
    (void)syscall(SYS_sched_setattr, 0, &attributes, 0U);
}

void thread_give_way(void)
{
    (void)sched_yield();
}

bool thread_join(const pthread_t *threads, size_t count, unsigned wait_ms)
{
    struct timespec deadline;
    bool ended = true;

    (void)clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += wait_ms / 1000;
    deadline.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    for (size_t i = 0; i < count; i++) {
        ended = pthread_timedjoin_np(threads[i], NULL, &deadline) == 0 && ended;
    }
    return ended;
}
