// SPDX-License-Identifier: MIT
#pragma once

/*
 * The checks of passwords that are under way: a bounded queue in front of
 * the pool. Whoever shows the same credentials meanwhile joins the check
 * that waits or runs for them, and what one worker learned another is told.
 * Every wrong password is counted here, at once, so that no client gets more
 * guesses than it may by making many at a time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/list.h"
#include "base/str.h"
#include "io/mailbox.h"
#include "policy/auth_cache.h"

struct auth_checks;
struct auth_job;
struct auth_pool;
struct auth_user;
struct auth_users;

#define AUTH_CHECKS_MAX 256 /* that wait or run; AUTH_CHECK_FULL beyond */

enum auth_check_result {
    AUTH_CHECK_RIGHT,
    AUTH_CHECK_WRONG,
    AUTH_CHECK_SHUT,    /* the client has failed too often meanwhile: nothing was checked */
    AUTH_CHECK_FULL,    /* as many checks wait as may */
    AUTH_CHECK_FAILED,  /* memory is out, or there is no thread */
    AUTH_CHECK_PENDING, /* the result comes by mail */
};

/* One that waits for a result. Embedded; home and client are filled by its owner. */
struct auth_check {
    struct mail mail;     /* how it comes back, after AUTH_CHECK_PENDING */
    struct mailbox *home; /* borrowed */
    struct addr client;
    struct auth_job *job; /* private, as node */
    struct list node;
    enum auth_check_result result;
    uint64_t until_ms; /* RIGHT, WRONG: until when that may be remembered; 0: not at all */
};

/* What is to be checked; borrowed for the call. */
struct auth_question {
    struct auth_users *users;
    const struct auth_user *user; /* of users; NULL: there is no such */
    struct str name;
    struct str password;
    struct auth_print print; /* of all this */
};

struct auth_checks_events {
    /* All are called on a thread of the pool, and may not call back: a lock is held. */
    /* The client may show a password. */
    bool (*may_try)(void *arg, const struct addr *client);
    /* It has shown a wrong one: to be counted and told. */
    void (*wrong)(void *arg, const struct addr *client, struct str name, bool is_known);
    /* A hash could not be computed (negative errno). */
    void (*failed)(void *arg, int error);
};

/* pool and events are borrowed. 0 or -ENOMEM. */
MUST_USE int auth_checks_new(struct auth_pool *pool, const struct auth_checks_events *events,
                             void *arg, struct auth_checks **ret);
/* After auth_checks_stop, and once the pool has stopped. NULL is accepted. */
void auth_checks_free(struct auth_checks *checks);
/* What is remembered of those users, from now on: all before is forgotten. keep_ms: how long a
 * right password is; 0: not. */
void auth_checks_renew(struct auth_checks *checks, const struct auth_users *users,
                       uint64_t keep_ms);
/* Nobody is told a result any more, from the return on. Before the pool is stopped. */
void auth_checks_stop(struct auth_checks *checks);

/* From any thread. Any result but AUTH_CHECK_PENDING is final and there is no mail; a wrong
 * password known to be wrong (AUTH_CHECK_WRONG) is the caller's to count. */
enum auth_check_result auth_checks_ask(struct auth_checks *checks,
                                       const struct auth_question *question,
                                       struct auth_check *check);
/* True: the check has left the queue and there will be no mail. False: it runs, and the mail
 * comes. */
bool auth_checks_withdraw(struct auth_checks *checks, struct auth_check *check);
