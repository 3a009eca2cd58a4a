// SPDX-License-Identifier: MIT
#pragma once

/*
 * What a thread is to the scheduler. Workers answer within microseconds;
 * long computations share the processors with them. And an end that waits for
 * threads, but not for ever.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

enum thread_kind {
    THREAD_USUAL,
    /* Sleeps most of the time, works briefly, and is waited for: it asks for slices of 0.1 ms, and
     * so preempts who has longer ones when it wakes (sched(7); Linux before 6.12 knows no slices).
     * Its share of the processor is that of any other thread. */
    THREAD_PROMPT,
    /* Computes for long: never preempts who has just woken (SCHED_BATCH) and gets little while
     * others want all (a nice value 10 above that of the thread that began it). */
    THREAD_ASIDE,
};

/* For the thread that calls: its name (15 characters at most) and its kind. What the kernel refuses
 * is left as it was. */
void thread_begin(const char *name, enum thread_kind kind);
/* Between steps of some 0.1 ms of a long computation, on a thread of any kind: who waits for the
 * processor goes first. Without it the thread would have what the scheduler owes it until the next
 * tick. */
void thread_give_way(void);
/* Waits until these have ended, wait_ms at most for all. False: one still runs, and whatever it
 * uses must be left alone. */
MUST_USE bool thread_join(const pthread_t *threads, size_t count, unsigned wait_ms);
