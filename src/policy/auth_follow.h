// SPDX-License-Identifier: MIT
#pragma once

/*
 * The users in force, and the file they came from as it changes: looked at
 * when somebody asks, at most once a second, and read again when it is
 * another, both by a thread of a pool and one at a time. One that is just
 * being written is left alone, but not for long. What a look has found counts
 * for a second from when it began; who asks later waits for the next look, and
 * who asks while the file is read waits for that: whoever was struck from the
 * file is let in for a second at most, however long it takes to look and to
 * read.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/list.h"
#include "io/mailbox.h"

struct auth_follow;
struct auth_pool;
struct auth_users;

/* One that waits for the file to be read; embedded. */
struct auth_follower {
    struct mail mail;     /* how it is told */
    struct mailbox *home; /* borrowed */
    struct list node;     /* private */
};

/* renew is told whom all go by from now on, under a lock: it may not call back. pool is borrowed.
 * 0 or -ENOMEM. */
MUST_USE int auth_follow_new(struct auth_pool *pool,
                             void (*renew)(void *arg, const struct auth_users *users), void *arg,
                             struct auth_follow **ret);
/* After auth_follow_stop, and once the pool has stopped. NULL is accepted. */
void auth_follow_free(struct auth_follow *follow);
/* Nobody waits or is told any more, from the return on. Before the pool is stopped. */
void auth_follow_stop(struct auth_follow *follow);

/* After a reload, from any thread: other users (a shared ref is taken), unless those in use were
 * read from the same file, and it has not changed or they were read later. anew: renew is called
 * anyway. */
void auth_follow_set(struct auth_follow *follow, struct auth_users *users, bool anew);

/* All from here on from any thread. */

/* Has the file looked at, if that is due. True: who asks has to wait for that, or for it to be
 * read. */
bool auth_follow_look(struct auth_follow *follow, uint64_t now_ms);
/* For who asked at since_ms. True: follower, its home set, is sent there once a look is over; one
 * is begun where none is under way. False: what is in force counts for them. */
MUST_USE bool auth_follow_wait(struct auth_follow *follow, struct auth_follower *follower,
                               uint64_t since_ms, uint64_t now_ms);
/* Who asked before then may go by what is in force now, and waits no more. */
uint64_t auth_follow_counted_ms(struct auth_follow *follow);
/* It is not sent from now on, but may have been; it has waited once. */
void auth_follow_leave(struct auth_follow *follow, struct auth_follower *follower);
/* Changes when the users do. */
uint64_t auth_follow_generation(const struct auth_follow *follow);
/* The users in force (a shared ref) and their generation. */
struct auth_users *auth_follow_users(struct auth_follow *follow, uint64_t *ret_generation);
