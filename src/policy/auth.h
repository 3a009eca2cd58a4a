// SPDX-License-Identifier: MIT
#pragma once

/*
 * Who a client is: its credentials (Basic, RFC 7617) against the users file.
 * Asked only where a rule wants to know. What was verified a while ago is
 * answered at once, by the worker alone and without a lock; anything else is
 * hashed by a few threads (auth_pool.h) and answered later; so is whatever is
 * asked while the users file has to be looked at, or read (auth_follow.h). Wrong
 * passwords are counted per client, remembered for a while and logged
 * (event=auth).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/list.h"
#include "base/str.h"

struct auth;       /* what all workers share */
struct auth_desk;  /* one worker's side */
struct auth_query; /* a check on its way */
struct auth_users;
struct loop;

struct auth_options {
    uint64_t cache_ms;    /* auth.cache: how long a verified password is remembered; 0: not */
    uint64_t failures;    /* auth.failures: so many wrong passwords of one client ... */
    uint64_t failures_ms; /* ... within this time */
    unsigned threads;     /* that check passwords, at most; 1 or more */
    uint64_t wait_ms;     /* for a check, its turn and the check itself; 1 or more */
};

enum auth_outcome {
    AUTH_VALID,    /* user is who the client is */
    AUTH_NONE,     /* no credentials that could be checked */
    AUTH_WRONG,    /* no such user, or not its password */
    AUTH_BUSY,     /* too many wait to be checked, or this one has for wait_ms */
    AUTH_FAILED,   /* they could not be checked: memory is out */
    AUTH_TOO_MANY, /* wrong passwords from this client; retry_after_ms tells when it may again */
    AUTH_PENDING,  /* only from auth_ask: events->checked tells later */
};

struct auth_answer {
    enum auth_outcome outcome;
    struct str user;         /* AUTH_VALID: borrowed until the desk is asked again; else empty */
    uint64_t retry_after_ms; /* AUTH_TOO_MANY */
};

struct auth_events {
    /* Called once for each query, from the loop; may ask again and cancel others. */
    void (*checked)(void *arg, const struct auth_answer *answer);
};

/* users: a shared ref is taken. The file that they came from is followed, aside: looked at when
 * somebody asks, at most once a second, and read again when it has changed and is no longer being
 * written, or has been for 2 s; while that fails, what was read before stays. 0 or -ENOMEM. */
MUST_USE int auth_new(const struct auth_options *options, struct auth_users *users,
                      struct auth **ret);
/* After a reload, from any thread: other settings, and other users (a shared ref is taken), unless
 * those in use were read from the same file, and it has not changed or they were read later. The
 * number of threads stays. */
void auth_renew(struct auth *auth, const struct auth_options *options, struct auth_users *users);
/* No check is answered any more: once the workers' loops have ended, before their desks are
 * freed. */
void auth_stop(struct auth *auth);
/* After auth_stop and the last desk. NULL is accepted. */
void auth_free(struct auth *auth);

/* auth outlives the desk. 0 or negative errno. */
MUST_USE int auth_desk_new(struct auth *auth, struct loop *loop, struct auth_desk **ret);
/* On the loop's thread or after its end. Queries that still wait are dropped. NULL is accepted. */
void auth_desk_free(struct auth_desk *desk);

/* For who wants to know of users without credentials; embedded. */
struct auth_wait {
    struct list node;
    void (*ready)(struct auth_wait *wait); /* from the loop; wait may be freed */
    uint64_t since_ms;                     /* private */
};

/* Has the users file looked at if that is due. True: wait, its ready set, is told once it has been
 * looked at, and read if it has changed. On the desk's thread, as all below. */
MUST_USE bool auth_desk_must_wait(struct auth_desk *desk, struct auth_wait *wait);
/* The loop has ended: tells all who wait now. */
void auth_desk_end_waits(struct auth_desk *desk);
/* Whether there is such a user, by the file as it was last read. */
bool auth_desk_knows(struct auth_desk *desk, struct str user);
/* Who client is, with field as the value of its Proxy-Authorization (empty: none). Any outcome but
 * AUTH_PENDING is the answer, in *ret as well; with AUTH_PENDING *ret_query stands until checked
 * was called or it is cancelled. events is borrowed and static. */
enum auth_outcome auth_ask(struct auth_desk *desk, const struct addr *client, struct str field,
                           const struct auth_events *events, void *arg, struct auth_answer *ret,
                           struct auth_query **ret_query);
/* checked is not called any more. NULL is accepted. */
void auth_cancel(struct auth_query *query);
