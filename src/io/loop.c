// SPDX-License-Identifier: MIT
#include "io/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* Distinct lengths that get a FIFO list of their own. Lists that run empty are used again for
 * another length; should they all be busy, a deadline is sorted into one common list. */
#define LOOP_QUEUES 32
#define LOOP_HOOKS 4
#define FIRST_TIMER_S 3600

struct deadline_queue {
    uint64_t length_ms;
    struct list items; /* by at_ms, because all have one length */
};

struct turn_hook {
    void (*run)(void *arg);
    void *arg;
};

struct loop {
    struct event_base *base;
    struct event timer;
    uint64_t timer_at_ms; /* when the timer fires; 0: it is not armed */
    uint64_t now_ms;
    bool now_known;
    bool stopping;
    size_t queue_count;
    struct deadline_queue queues[LOOP_QUEUES];
    struct list sorted; /* deadlines that found no queue */
    struct list ready;
    struct list graves;
    struct turn_hook hooks[LOOP_HOOKS];
    size_t hook_count;
};

/* The timer only ends the poll; deadlines are looked at after every poll. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;

    (void)fd;
    (void)what;
    loop->timer_at_ms = 0;
}

int loop_new(struct loop **ret)
{
    struct loop *loop = mem_zalloc(sizeof(*loop));
    struct event_config *config = event_config_new();

    if (!loop || !config) {
        goto fail;
    }
    /* One thread owns the base: no locks. Descriptors are never duplicated under it. */
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    (void)event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
    loop->base = event_base_new_with_config(config);
    if (!loop->base) {
        goto fail;
    }
    event_config_free(config);
    config = NULL;
    list_init(&loop->sorted);
    list_init(&loop->ready);
    list_init(&loop->graves);
    (void)event_assign(&loop->timer, loop->base, -1, 0, on_timer, loop);
    /* Added once here, so that moving it later needs no memory. */
    if (event_add(&loop->timer, &(struct timeval){.tv_sec = FIRST_TIMER_S}) != 0) {
        event_base_free(loop->base);
        goto fail;
    }
    loop->timer_at_ms = clock_mono_ms() + (uint64_t)FIRST_TIMER_S * 1000;
    *ret = loop;
    return 0;
fail:
    if (config) {
        event_config_free(config);
    }
    mem_free(loop);
    return -ENOMEM;
}

static void bury_all(struct loop *loop)
{
    while (!list_empty(&loop->graves)) {
        struct corpse *corpse = LIST_FIRST(&loop->graves, struct corpse, node);

        list_remove(&corpse->node);
        corpse->bury(corpse);
    }
}

void loop_free(struct loop *loop)
{
    if (!loop) {
        return;
    }
    bury_all(loop);
    (void)event_del(&loop->timer);
    event_base_free(loop->base);
    mem_free(loop);
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

uint64_t loop_now_ms(struct loop *loop)
{
    if (!loop->now_known) {
        loop->now_ms = clock_mono_ms();
        loop->now_known = true;
    }
    return loop->now_ms;
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

void loop_on_turn_end(struct loop *loop, void (*hook)(void *arg), void *arg)
{
    ASSERT(loop->hook_count < LOOP_HOOKS);
    loop->hooks[loop->hook_count++] = (struct turn_hook){.run = hook, .arg = arg};
}

/* ------------------------------------------------------------------ deadlines */

void deadline_init(struct deadline *deadline, struct loop *loop,
                   void (*fire)(struct deadline *deadline))
{
    list_init(&deadline->node);
    deadline->at_ms = 0;
    deadline->fire = fire;
    deadline->loop = loop;
}

/* The list for this length, or NULL when all are busy with other lengths. */
static struct deadline_queue *queue_for(struct loop *loop, uint64_t length_ms)
{
    struct deadline_queue *vacant = NULL;

    for (size_t i = 0; i < loop->queue_count; i++) {
        struct deadline_queue *queue = &loop->queues[i];

        if (queue->length_ms == length_ms) {
            return queue;
        }
        if (!vacant && list_empty(&queue->items)) {
            vacant = queue;
        }
    }
    if (loop->queue_count < LOOP_QUEUES) {
        vacant = &loop->queues[loop->queue_count++];
        list_init(&vacant->items);
    }
    if (vacant) {
        vacant->length_ms = length_ms;
    }
    return vacant;
}

static void insert_sorted(struct list *head, struct deadline *deadline)
{
    struct list *prev = head->prev;

    while (prev != head && LIST_ITEM(prev, struct deadline, node)->at_ms > deadline->at_ms) {
        prev = prev->prev;
    }
    list_insert_between(&deadline->node, prev, prev->next);
}

void deadline_arm(struct deadline *deadline, uint64_t length_ms)
{
    struct loop *loop = deadline->loop;
    struct deadline_queue *queue = queue_for(loop, length_ms);

    list_remove(&deadline->node);
    deadline->at_ms = loop_now_ms(loop) + length_ms;
    if (queue) {
        list_push_back(&queue->items, &deadline->node);
    } else {
        insert_sorted(&loop->sorted, deadline);
    }
}

void deadline_disarm(struct deadline *deadline)
{
    list_remove(&deadline->node);
}

static void expire_list(struct list *head, uint64_t now_ms)
{
    while (!list_empty(head)) {
        struct deadline *deadline = LIST_FIRST(head, struct deadline, node);

        if (deadline->at_ms > now_ms) {
            return;
        }
        list_remove(&deadline->node);
        deadline->fire(deadline);
    }
}

static void expire_all(struct loop *loop)
{
    uint64_t now_ms = loop_now_ms(loop);

    for (size_t i = 0; i < loop->queue_count; i++) {
        expire_list(&loop->queues[i].items, now_ms);
    }
    expire_list(&loop->sorted, now_ms);
}

static uint64_t first_of(const struct list *head)
{
    return list_empty(head) ? UINT64_MAX : LIST_FIRST(head, struct deadline, node)->at_ms;
}

/* Sees to it that the poll ends when the next deadline is due. A timer that is armed for an earlier
 * moment stays: it ends one poll for nothing and is cheaper than moving it at every touch. */
static void arm_timer(struct loop *loop)
{
    uint64_t next_ms = first_of(&loop->sorted);
    uint64_t wait_ms;
    struct timeval tv;

    for (size_t i = 0; i < loop->queue_count; i++) {
        next_ms = MIN(next_ms, first_of(&loop->queues[i].items));
    }
    if (next_ms == UINT64_MAX || (loop->timer_at_ms != 0 && loop->timer_at_ms <= next_ms)) {
        return;
    }
    wait_ms = next_ms > loop_now_ms(loop) ? next_ms - loop_now_ms(loop) : 0;
    tv.tv_sec = (time_t)(wait_ms / 1000);
    tv.tv_usec = (suseconds_t)(wait_ms % 1000 * 1000);
    if (event_add(&loop->timer, &tv) == 0) {
        loop->timer_at_ms = next_ms;
    }
}

/* ------------------------------------------------------------------ ready list */

void task_init(struct task *task, void (*run)(struct task *task))
{
    list_init(&task->node);
    task->run = run;
}

void loop_defer(struct loop *loop, struct task *task)
{
    if (!list_linked(&task->node)) {
        list_push_back(&loop->ready, &task->node);
    }
}

void task_cancel(struct task *task)
{
    list_remove(&task->node);
}

/* What a task defers anew runs after the next poll. */
static void run_ready(struct loop *loop)
{
    struct list batch;

    list_init(&batch);
    list_splice_back(&batch, &loop->ready);
    while (!list_empty(&batch)) {
        struct task *task = LIST_FIRST(&batch, struct task, node);

        list_remove(&task->node);
        task->run(task);
    }
}

void loop_bury(struct loop *loop, struct corpse *corpse, void (*bury)(struct corpse *corpse))
{
    corpse->bury = bury;
    list_init(&corpse->node);
    list_push_back(&loop->graves, &corpse->node);
}

static void end_turn(struct loop *loop)
{
    for (size_t i = 0; i < loop->hook_count; i++) {
        loop->hooks[i].run(loop->hooks[i].arg);
    }
    bury_all(loop);
    arm_timer(loop);
}

int loop_run(struct loop *loop)
{
    end_turn(loop);
    while (!loop->stopping) {
        int flags = EVLOOP_ONCE | (list_empty(&loop->ready) ? 0 : EVLOOP_NONBLOCK);

        loop->now_known = false; /* it may be a long poll */
        if (event_base_loop(loop->base, flags) < 0) {
            return -EIO;
        }
        expire_all(loop);
        run_ready(loop);
        end_turn(loop);
    }
    return 0;
}

/* ------------------------------------------------------------------ watches */

struct loop_watch {
    struct loop *loop;
    struct event event;
    int fd;
    bool added;
    void (*ready)(void *arg, int fd, unsigned what);
    void *arg;
    struct corpse corpse;
};

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
    struct loop_watch *watch = arg;
    unsigned ready = 0;

    if (what & EV_READ) {
        ready |= LOOP_READ;
    }
    if (what & EV_WRITE) {
        ready |= LOOP_WRITE;
    }
    watch->ready(watch->arg, fd, ready);
}

int loop_watch_set(struct loop_watch *watch, unsigned what)
{
    short events = EV_PERSIST;

    if (watch->added) {
        (void)event_del(&watch->event);
        watch->added = false;
    }
    if (what & LOOP_READ) {
        events |= EV_READ;
    }
    if (what & LOOP_WRITE) {
        events |= EV_WRITE;
    }
    (void)event_assign(&watch->event, watch->loop->base, watch->fd, events, on_watch, watch);
    if (what != 0 && event_add(&watch->event, NULL) != 0) {
        return -ENOMEM;
    }
    watch->added = what != 0;
    return 0;
}

int loop_watch_new(struct loop *loop, int fd, unsigned what,
                   void (*ready)(void *arg, int fd, unsigned what), void *arg,
                   struct loop_watch **ret)
{
    struct loop_watch *watch = mem_zalloc(sizeof(*watch));
    int r;

    if (!watch) {
        return -ENOMEM;
    }
    watch->loop = loop;
    watch->fd = fd;
    watch->ready = ready;
    watch->arg = arg;
    r = loop_watch_set(watch, what);
    if (r != 0) {
        mem_free(watch);
        return r;
    }
    *ret = watch;
    return 0;
}

static void bury_watch(struct corpse *corpse)
{
    mem_free(CONTAINER_OF(corpse, struct loop_watch, corpse));
}

void loop_watch_free(struct loop_watch *watch)
{
    if (!watch) {
        return;
    }
    if (watch->added) {
        (void)event_del(&watch->event);
        watch->added = false;
    }
    loop_bury(watch->loop, &watch->corpse, bury_watch);
}

const char *loop_library_version(void)
{
    return event_get_version();
}
