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
/* Waits until all tasks have been run. NULL is accepted, by both; what is given to it after
 * aside_finish is run here and now. */
void aside_finish(struct aside *aside);
void aside_free(struct aside *aside);
/* Makes sure that there is a thread. 0, or negative errno of pthread_create(3). */
MUST_USE int aside_start(struct aside *aside);
/* From the thread that made it: task, its run set, is taken and run after those that wait; here and
 * now, if nothing has been started. */
void aside_do(struct aside *aside, struct aside_task *task);
