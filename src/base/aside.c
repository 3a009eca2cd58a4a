// SPDX-License-Identifier: MIT
#include "base/aside.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/thread.h"

struct aside {
    const char *name;
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* there is a task, or the end has come */
    struct list tasks;   /* under lock, as ending */
    bool ending;
};

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

    thread_begin(aside->name, THREAD_ASIDE);
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

bool aside_finish(struct aside *aside, unsigned wait_ms)
{
    if (!aside || !aside->started) {
        return true;
    }
    (void)pthread_mutex_lock(&aside->lock);
    aside->ending = true;
    (void)pthread_cond_signal(&aside->work);
    (void)pthread_mutex_unlock(&aside->lock);
    aside->started = !thread_join(&aside->thread, 1, wait_ms);
    return !aside->started;
}

void aside_free(struct aside *aside)
{
    if (!aside) {
        return;
    }
    ASSERT(!aside->started);
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
