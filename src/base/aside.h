// SPDX-License-Identifier: MIT
#pragma once

/*
 * Work aside: long computations next to workers that must answer within
 * microseconds, on the same processors (THREAD_ASIDE). Tasks are run one after
 * the other on one thread, which begins when it is first needed and stays.
 */

#include "base/attr.h"
#include "base/list.h"

struct aside;

struct aside_task {
    struct list node;
    void (*run)(struct aside_task *task); /* the task may be freed */
};

/* name is borrowed and static. 0 or -ENOMEM. */
MUST_USE int aside_new(const char *name, struct aside **ret);
/* Waits until all tasks have been run, wait_ms at most. False: one still runs, and whatever it and
 * those behind it use must be left alone, the aside included; it may be waited for again. What is
 * given to it after true is run here and now. NULL is accepted: true. */
MUST_USE bool aside_finish(struct aside *aside, unsigned wait_ms);
/* Of one that was never started, or after aside_finish was true. NULL is accepted. */
void aside_free(struct aside *aside);
/* Makes sure that there is a thread. 0, or negative errno of pthread_create(3). */
MUST_USE int aside_start(struct aside *aside);
/* From the thread that made it: task, its run set, is taken and run after those that wait; here and
 * now, if nothing has been started. */
void aside_do(struct aside *aside, struct aside_task *task);
