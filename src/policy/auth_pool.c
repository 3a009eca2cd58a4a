// SPDX-License-Identifier: MIT
#include "policy/auth_pool.h"

#include <errno.h>
#include <pthread.h>

#include "base/err.h"
#include "base/mem.h"
#include "policy/auth_hash.h"

struct auth_pool {
    const char *name; /* of its threads, as kind */
    enum thread_kind kind;
    pthread_mutex_t lock;
    pthread_cond_t work; /* there is a task, or the end has come */
    struct list waiting; /* tasks; under lock, as all below */
    size_t waiting_count;
    pthread_t *threads; /* owned: thread_count of them run */
    unsigned thread_count;
    unsigned max_threads;
    unsigned idle; /* threads that look for a task */
    bool stopping;
};

int auth_pool_new(const char *name, enum thread_kind kind, unsigned max_threads,
                  struct auth_pool **ret)
{
    struct auth_pool *pool = mem_zalloc(sizeof(*pool));

    ASSERT(max_threads > 0);
    if (!pool) {
        return -ENOMEM;
    }
    pool->threads = mem_zalloc(max_threads * sizeof(pthread_t));
    if (!pool->threads) {
        mem_free(pool);
        return -ENOMEM;
    }
    pool->name = name;
    pool->kind = kind;
    pool->max_threads = max_threads;
    list_init(&pool->waiting);
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    *ret = pool;
    return 0;
}

/* ------------------------------------------------------------------ threads */

/* lock is held. */
static void take_out(struct auth_pool *pool, struct auth_task *task)
{
    list_remove(&task->node);
    pool->waiting_count--;
}

/* The next task, or NULL at the end. */
static struct auth_task *next_task(struct auth_pool *pool)
{
    struct auth_task *task = NULL;

    (void)pthread_mutex_lock(&pool->lock);
    pool->idle++;
    while (pool->waiting_count == 0 && !pool->stopping) {
        (void)pthread_cond_wait(&pool->work, &pool->lock);
    }
    pool->idle--;
    if (!pool->stopping) {
        task = LIST_FIRST(&pool->waiting, struct auth_task, node);
        take_out(pool, task);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return task;
}

struct start {
    struct auth_pool *pool;
    struct auth_hasher *hasher;
};

static void *run(void *arg)
{
    struct start start = *(struct start *)arg;
    struct auth_task *task;

    mem_free(arg);
    thread_begin(start.pool->name, start.pool->kind);
    while ((task = next_task(start.pool)) != NULL) {
        task->run(task, start.hasher);
    }
    auth_hasher_free(start.hasher);
    return NULL;
}

/* lock is held. */
static bool start_thread(struct auth_pool *pool)
{
    struct start *start = mem_alloc(sizeof(*start));
    struct auth_hasher *hasher = auth_hasher_new();

    if (start && hasher) {
        *start = (struct start){.pool = pool, .hasher = hasher};
        if (pthread_create(&pool->threads[pool->thread_count], NULL, run, start) == 0) {
            pool->thread_count++;
            return true;
        }
    }
    auth_hasher_free(hasher);
    mem_free(start);
    return false;
}

/* ------------------------------------------------------------------ work */

/* Somebody will do what waits. lock is held. */
static bool find_hands(struct auth_pool *pool)
{
    if (pool->waiting_count > pool->idle && pool->thread_count < pool->max_threads &&
        start_thread(pool)) {
        return true;
    }
    (void)pthread_cond_signal(&pool->work);
    return pool->thread_count > 0;
}

bool auth_pool_submit(struct auth_pool *pool, struct auth_task *task)
{
    bool taken = false;

    list_init(&task->node);
    (void)pthread_mutex_lock(&pool->lock);
    if (!pool->stopping) {
        list_push_back(&pool->waiting, &task->node);
        pool->waiting_count++;
        taken = find_hands(pool);
        if (!taken) {
            take_out(pool, task);
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return taken;
}

bool auth_pool_withdraw(struct auth_pool *pool, struct auth_task *task)
{
    bool waits;

    (void)pthread_mutex_lock(&pool->lock);
    waits = list_linked(&task->node);
    if (waits) {
        take_out(pool, task);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return waits;
}

/* ------------------------------------------------------------------ the end */

bool auth_pool_stop(struct auth_pool *pool, unsigned wait_ms)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
    return thread_join(pool->threads, pool->thread_count, wait_ms);
}

void auth_pool_free(struct auth_pool *pool)
{
    if (pool) {
        (void)pthread_cond_destroy(&pool->work);
        (void)pthread_mutex_destroy(&pool->lock);
        mem_free(pool->threads);
        mem_free(pool);
    }
}
