// SPDX-License-Identifier: MIT
#include "base/aside.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

/* sched_setattr(2), which the C library of Debian 12 has no wrapper for: struct sched_attr as of
 * its first version. */
struct sched_attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns; /* without a deadline: the slice */
    uint64_t deadline_ns;
    uint64_t period_ns;
};

/* A worker that wakes on the processor of such a thread would wait for the end of its slice. Linux
 * before 6.12 knows no slices, and leaves it at the rest. */
#define SLICE_NS 100000
#define NICE 10 /* more than the thread that began it has */
#define NICE_MAX 19

struct aside {
    const char *name;
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* there is a task, or the end has come */
    struct list tasks;   /* under lock, as ending */
    bool ending;
};

void aside_begin(const char *name)
{
    struct sched_attributes attributes = {
        .size = sizeof(attributes),
        .policy = SCHED_BATCH,
        .nice = MIN(getpriority(PRIO_PROCESS, 0) + NICE, NICE_MAX),
        .runtime_ns = SLICE_NS,
    };

    (void)pthread_setname_np(pthread_self(), name);
    (void)syscall(SYS_sched_setattr, 0, &attributes, 0U);
}

void aside_give_way(void)
{
    (void)sched_yield();
}

/* The next task, off the list; NULL: the end has come. */
static struct aside_task *next_task(struct aside *aside)
{
    struct aside_task *task = NULL;

    (void)pthread_mutex_lock(&aside->lock);
    while (list_empty(&aside->tasks) && !aside->ending) {
        (void)pthread_cond_wait(&aside->work, &aside->lock);
    }
    if (!list_empty(&aside->tasks)) {
        task = LIST_FIRST(&aside->tasks, struct aside_task, node);
        list_remove(&task->node);
    }
    (void)pthread_mutex_unlock(&aside->lock);
    return task;
}

static void *run(void *arg)
{
    struct aside *aside = arg;
    struct aside_task *task;

    aside_begin(aside->name);
    while ((task = next_task(aside)) != NULL) {
        task->run(task);
    }
    return NULL;
}

int aside_new(const char *name, struct aside **ret)
{
    struct aside *aside = mem_zalloc(sizeof(*aside));

    if (!aside) {
        return -ENOMEM;
    }
    aside->name = name;
    list_init(&aside->tasks);
    (void)pthread_mutex_init(&aside->lock, NULL);
    (void)pthread_cond_init(&aside->work, NULL);
    *ret = aside;
    return 0;
}

void aside_finish(struct aside *aside)
{
    if (!aside || !aside->started) {
        return;
    }
    (void)pthread_mutex_lock(&aside->lock);
    aside->ending = true;
    (void)pthread_cond_signal(&aside->work);
    (void)pthread_mutex_unlock(&aside->lock);
    (void)pthread_join(aside->thread, NULL);
    aside->started = false;
}

void aside_free(struct aside *aside)
{
    if (!aside) {
        return;
    }
    aside_finish(aside);
    (void)pthread_cond_destroy(&aside->work);
    (void)pthread_mutex_destroy(&aside->lock);
    mem_free(aside);
}

int aside_start(struct aside *aside)
{
    int r = aside->started ? 0 : pthread_create(&aside->thread, NULL, run, aside);

    aside->started = r == 0;
    return -r;
}

void aside_do(struct aside *aside, struct aside_task *task)
{
    if (!aside->started) {
        task->run(task);
        return;
    }
    list_init(&task->node);
    (void)pthread_mutex_lock(&aside->lock);
    list_push_back(&aside->tasks, &task->node);
    (void)pthread_cond_signal(&aside->work);
    (void)pthread_mutex_unlock(&aside->lock);
}
