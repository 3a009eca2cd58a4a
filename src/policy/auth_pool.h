// SPDX-License-Identifier: MIT
#pragma once

/*
 * A few threads of one kind for work that takes milliseconds to seconds of
 * processor time, so that no event loop does it. None is started before
 * there is work.
 */

#include <stdbool.h>

#include "base/attr.h"
#include "base/list.h"
#include "base/thread.h"

struct auth_hasher;
struct auth_pool;

/* Embedded in what is to be done. */
struct auth_task {
    struct list node;
    /* On a thread of the pool, once; hasher is that thread's. May free the task. */
    void (*run)(struct auth_task *task, struct auth_hasher *hasher);
};

/* name (static, 15 characters at most) and kind are those of its threads, max_threads of them (1 or
 * more) at most. 0 or -ENOMEM. */
MUST_USE int auth_pool_new(const char *name, enum thread_kind kind, unsigned max_threads,
                           struct auth_pool **ret);
/* From any thread. The task stays the caller's memory. False when there is no thread, and none
 * could be started (or the pool was stopped). */
MUST_USE bool auth_pool_submit(struct auth_pool *pool, struct auth_task *task);
/* True: the task had not begun, and will not. */
bool auth_pool_withdraw(struct auth_pool *pool, struct auth_task *task);
/* No other task begins; waits for those that run, at most wait_ms. False when one still ran then:
 * whatever it uses must be left alone, the pool included. */
MUST_USE bool auth_pool_stop(struct auth_pool *pool, unsigned wait_ms);
/* After auth_pool_stop was true. Tasks that never began are the caller's. NULL is accepted. */
void auth_pool_free(struct auth_pool *pool);
