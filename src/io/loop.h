// SPDX-License-Identifier: MIT
#pragma once

/*
 * The event loop of one thread: libevent's base for readiness, and beside it
 * what the state machines need: deadlines in FIFO lists (touching one costs
 * no system call), a ready list for work to go on with after the next poll,
 * and a graveyard, so that nothing is freed under a caller's feet. All
 * functions are for the loop's own thread, except loop_stop after
 * mailbox_send.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/list.h"

struct event_base;
struct loop;

MUST_USE int loop_new(struct loop **ret);
void loop_free(struct loop *loop);
/* Serves until loop_stop. Returns 0, or negative errno when polling failed. */
MUST_USE int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Monotonic milliseconds, read at most once per turn. */
uint64_t loop_now_ms(struct loop *loop);
/* Counts the looks at the descriptors, from 1. */
uint64_t loop_turn(const struct loop *loop);
/* For rooms in io/ (and server/admin) only. */
struct event_base *loop_base(struct loop *loop);

/* A deadline of a fixed length. Embedded; not armed after deadline_init. */
struct deadline {
    struct list node;
    uint64_t at_ms;
    void (*fire)(struct deadline *deadline);
};

void deadline_init(struct deadline *deadline, void (*fire)(struct deadline *deadline));
/* (Re-)arms for length_ms from now, always on the same loop. Lengths that many deadlines share cost
 * O(1); fire is called once, from the loop, never earlier, and by a 32nd of the length later (a
 * second at most), so that many share one wake-up. */
void deadline_arm(struct deadline *deadline, struct loop *loop, uint64_t length_ms);
void deadline_disarm(struct deadline *deadline);
static inline bool deadline_armed(const struct deadline *deadline)
{
    return list_linked(&deadline->node);
}

/* Work to go on with after the next look at the descriptors: no starvation, no recursion. */
struct task {
    struct list node;
    void (*run)(struct task *task);
};

void task_init(struct task *task, void (*run)(struct task *task));
/* Harmless when it is on the list already. */
void loop_defer(struct loop *loop, struct task *task);
void task_cancel(struct task *task);

/* Has bury called once the stack has unwound to the loop: nothing is freed under a caller's feet.
 * task is the dead thing's own, and cancelled; from here on nothing can defer it. */
void loop_bury(struct loop *loop, struct task *task, void (*bury)(struct task *task));

/* Called at the end of every turn, when the dead have been buried (flushing log batches). At most
 * 4. */
void loop_on_turn_end(struct loop *loop, void (*hook)(void *arg), void *arg);

/* A descriptor of a library (DNS sockets): level-triggered, changed at will. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_watch;
MUST_USE int loop_watch_new(struct loop *loop, int fd, unsigned what,
                            void (*ready)(void *arg, int fd, unsigned what), void *arg,
                            struct loop_watch **ret);
MUST_USE int loop_watch_set(struct loop_watch *watch, unsigned what);
/* Before the descriptor is closed. Safe inside its own callback. */
void loop_watch_free(struct loop_watch *watch);

/* The version of the event library in use. */
const char *loop_library_version(void);
