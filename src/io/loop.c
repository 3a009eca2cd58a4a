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
#define LOOP_MOST_SLACK_MS 1024
#define LOOP_HOOKS 4
#define FIRST_TIMER_S 3600

struct deadline_queue {
    uint64_t length_ms;
    uint64_t slack_ms; /* one less than a power of two */
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
    uint64_t due_ms;      /* not before this moment is any deadline looked at */
    uint64_t turn;
    uint64_t now_ms;
    bool now_known;
    bool stopping;
    size_t queue_count;
    struct deadline_queue queues[LOOP_QUEUES];
    struct deadline_queue *last[64]; /* found, by a hash of the length; NULL: none yet */
    struct list sorted;              /* deadlines that found no queue */
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
    loop->due_ms = UINT64_MAX;
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
        struct task *task = LIST_FIRST(&loop->graves, struct task, node);

        list_remove(&task->node);
        task->run(task);
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

uint64_t loop_turn(const struct loop *loop)
{
    return loop->turn;
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

void deadline_init(struct deadline *deadline, void (*fire)(struct deadline *deadline))
{
    list_init(&deadline->node);
    deadline->at_ms = 0;
    deadline->fire = fire;
}

/* Deadlines of a length that lie within this time of each other end one poll together: thousands
 * that were armed within a second wake the loop a few times, not thousands. */
static uint64_t slack_of(uint64_t length_ms)
{
    uint64_t slack_ms = 1;

    while (slack_ms * 2 <= MIN(length_ms / 32, LOOP_MOST_SLACK_MS)) {
        slack_ms *= 2;
    }
    return slack_ms - 1;
}

/* A moment that deadlines of all lengths near it share. */
static uint64_t due_of(const struct deadline *deadline, uint64_t slack_ms)
{
    return (deadline->at_ms + slack_ms) & ~slack_ms;
}

static struct deadline_queue *vacant_queue(struct loop *loop)
{
    for (size_t i = 0; i < loop->queue_count; i++) {
        if (list_empty(&loop->queues[i].items)) {
            return &loop->queues[i];
        }
    }
    if (loop->queue_count == LOOP_QUEUES) {
        return NULL;
    }
    list_init(&loop->queues[loop->queue_count].items);
    return &loop->queues[loop->queue_count++];
}

static struct deadline_queue *search_queue(struct loop *loop, uint64_t length_ms)
{
    struct deadline_queue *vacant;

    for (size_t i = 0; i < loop->queue_count; i++) {
        if (loop->queues[i].length_ms == length_ms) {
            return &loop->queues[i];
        }
    }
    vacant = vacant_queue(loop);
    if (vacant) {
        vacant->length_ms = length_ms;
        vacant->slack_ms = slack_of(length_ms);
    }
    return vacant;
}

/* The list for this length, or NULL when all are busy with other lengths. */
static struct deadline_queue *queue_for(struct loop *loop, uint64_t length_ms)
{
    struct deadline_queue **last = &loop->last[length_ms * 0x9e3779b97f4a7c15U >> 58];

    if (!*last || (*last)->length_ms != length_ms) {
        *last = search_queue(loop, length_ms);
    }
    return *last;
}

static void insert_sorted(struct list *head, struct deadline *deadline)
{
    struct list *prev = head->prev;

    while (prev != head && LIST_ITEM(prev, struct deadline, node)->at_ms > deadline->at_ms) {
        prev = prev->prev;
    }
    list_insert_between(&deadline->node, prev, prev->next);
}

void deadline_arm(struct deadline *deadline, struct loop *loop, uint64_t length_ms)
{
    uint64_t at_ms = loop_now_ms(loop) + length_ms;
    struct deadline_queue *queue;

    if (deadline_armed(deadline) && deadline->at_ms == at_ms) {
        return; /* touched again within a turn */
    }
    queue = queue_for(loop, length_ms);
    list_remove(&deadline->node);
    deadline->at_ms = at_ms;
    if (queue) {
        list_push_back(&queue->items, &deadline->node);
    } else {
        insert_sorted(&loop->sorted, deadline);
    }
    loop->due_ms = MIN(loop->due_ms, due_of(deadline, queue ? queue->slack_ms : 0));
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

static uint64_t first_due(const struct list *items, uint64_t slack_ms)
{
    return list_empty(items) ? UINT64_MAX
                             : due_of(LIST_FIRST(items, struct deadline, node), slack_ms);
}

/* Between two looks deadlines only come (see deadline_arm) or go: due_ms is early at worst, and one
 * look then is for nothing. */
static void expire_all(struct loop *loop)
{
    uint64_t now_ms = loop_now_ms(loop);

    if (now_ms < loop->due_ms) {
        return;
    }
    for (size_t i = 0; i < loop->queue_count; i++) {
        expire_list(&loop->queues[i].items, now_ms);
    }
    expire_list(&loop->sorted, now_ms);
    loop->due_ms = first_due(&loop->sorted, 0);
    for (size_t i = 0; i < loop->queue_count; i++) {
        const struct deadline_queue *queue = &loop->queues[i];

        loop->due_ms = MIN(loop->due_ms, first_due(&queue->items, queue->slack_ms));
    }
}

/* Sees to it that the poll ends when the next look at the deadlines is due. A timer that is armed
 * for an earlier moment stays: it ends one poll for nothing and is cheaper than moving it. */
static void arm_timer(struct loop *loop)
{
    uint64_t wait_ms;
    struct timeval tv;

    if (loop->due_ms == UINT64_MAX ||
        (loop->timer_at_ms != 0 && loop->timer_at_ms <= loop->due_ms)) {
        return;
    }
    wait_ms = loop->due_ms - MIN(loop->due_ms, loop_now_ms(loop));
    tv.tv_sec = (time_t)(wait_ms / 1000);
    tv.tv_usec = (suseconds_t)(wait_ms % 1000 * 1000);
    if (event_add(&loop->timer, &tv) == 0) {
        loop->timer_at_ms = loop->due_ms;
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

void loop_bury(struct loop *loop, struct task *task, void (*bury)(struct task *task))
{
    task_init(task, bury);
    list_push_back(&loop->graves, &task->node);
}

static void end_turn(struct loop *loop)
{
    bury_all(loop);
    for (size_t i = 0; i < loop->hook_count; i++) {
        loop->hooks[i].run(loop->hooks[i].arg);
    }
    arm_timer(loop);
}

int loop_run(struct loop *loop)
{
    end_turn(loop);
    while (!loop->stopping) {
        int flags = EVLOOP_ONCE | (list_empty(&loop->ready) ? 0 : EVLOOP_NONBLOCK);

        loop->now_known = false; /* it may be a long poll */
        loop->turn++;
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
    struct task grave;
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

static void bury_watch(struct task *task)
{
    mem_free(CONTAINER_OF(task, struct loop_watch, grave));
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
    loop_bury(watch->loop, &watch->grave, bury_watch);
}

const char *loop_library_version(void)
{
    return event_get_version();
}
