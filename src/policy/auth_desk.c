// SPDX-License-Identifier: MIT

/* A worker's side of the check of passwords: what it can tell by itself, and those that wait for
 * the pool, or for the users file. */

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "policy/auth_basic.h"
#include "policy/auth_cache.h"
#include "policy/auth_checks.h"
#include "policy/auth_failures.h"
#include "policy/auth_follow.h"
#include "policy/auth_private.h"
#include "policy/auth_users.h"

struct auth_desk {
    struct auth *auth;        /* borrowed */
    struct loop *loop;        /* borrowed */
    struct mailbox *mailbox;  /* owned: results of checks */
    struct auth_users *users; /* shared ref */
    uint64_t generation;      /* of users */
    struct auth_cache cache;
    struct list queries; /* owned */
    struct auth_follower follower;
    bool follows;      /* the follower is on its way */
    struct list waits; /* struct auth_wait, in the order of since_ms, until a look counts for it */
};

struct auth_query {
    struct auth_check check;
    struct list node;
    struct auth_desk *desk;         /* borrowed */
    struct auth_wait wait;          /* for the users file: before the check, or after it */
    struct auth_credentials *shown; /* owned: to be checked after it; NULL: they are checked */
    struct auth_users *users;       /* shared ref */
    const struct auth_user *user;
    struct auth_print print;
    struct deadline deadline;
    const struct auth_events *events;
    void *arg;
    bool is_cancelled;
};

/* Who asks. */
struct asker {
    const struct addr *client;
    const struct auth_events *events;
    void *arg;
    struct auth_query *query; /* AUTH_PENDING: owned by the desk; or one that has waited */
};

/* ------------------------------------------------------------------ the users of now */

/* The users of now; with others, all that was remembered is void. */
static void follow_users(struct auth_desk *desk)
{
    struct auth_follow *follow = desk->auth->follow;

    if (auth_follow_generation(follow) != desk->generation) {
        auth_users_unref(desk->users);
        desk->users = auth_follow_users(follow, &desk->generation);
        auth_cache_renew(&desk->cache, auth_users_count(desk->users));
    }
}

bool auth_desk_knows(struct auth_desk *desk, struct str user)
{
    follow_users(desk);
    return auth_users_find(desk->users, user) != NULL;
}

/* ------------------------------------------------------------------ waiting for the users file */

bool auth_desk_must_wait(struct auth_desk *desk, struct auth_wait *wait)
{
    struct auth_follow *follow = desk->auth->follow;
    uint64_t now_ms = loop_now_ms(desk->loop);

    if (!auth_follow_look(follow, now_ms)) {
        return false;
    }
    if (!desk->follows) {
        desk->follows = auth_follow_wait(follow, &desk->follower, now_ms, now_ms);
    }
    if (desk->follows) {
        wait->since_ms = now_ms;
        list_init(&wait->node);
        list_push_back(&desk->waits, &wait->node);
    }
    return desk->follows;
}

static void tell_waits(struct list *waits)
{
    while (!list_empty(waits)) {
        struct auth_wait *wait = LIST_FIRST(waits, struct auth_wait, node);

        list_remove(&wait->node);
        wait->ready(wait);
    }
}

void auth_desk_end_waits(struct auth_desk *desk)
{
    struct list waits;

    list_init(&waits);
    list_splice_back(&waits, &desk->waits);
    tell_waits(&waits);
}

/* Moves those for whom the last look counts. The first that is left; NULL: none. */
static const struct auth_wait *take_over(struct auth_desk *desk, struct list *over)
{
    uint64_t counted_ms = auth_follow_counted_ms(desk->auth->follow);

    while (!list_empty(&desk->waits)) {
        struct auth_wait *wait = LIST_FIRST(&desk->waits, struct auth_wait, node);

        if (wait->since_ms >= counted_ms) {
            return wait;
        }
        list_remove(&wait->node);
        list_push_back(over, &wait->node);
    }
    return NULL;
}

/* A look is over; who has come too late for it waits for the next one. */
static void on_look(struct auth_desk *desk)
{
    const struct auth_wait *left;
    struct list over;

    list_init(&over);
    desk->follows = false;
    while (!desk->follows && (left = take_over(desk, &over))) {
        desk->follows = auth_follow_wait(desk->auth->follow, &desk->follower, left->since_ms,
                                         loop_now_ms(desk->loop));
    }
    tell_waits(&over);
}

/* ------------------------------------------------------------------ what came of a check */

static void remember(struct auth_desk *desk, const struct auth_user *user,
                     const struct auth_print *print, enum auth_check_result result,
                     uint64_t until_ms)
{
    if (until_ms > 0 && result == AUTH_CHECK_RIGHT) {
        auth_cache_put_right(&desk->cache, user->index, print, until_ms);
    } else if (until_ms > 0 && result == AUTH_CHECK_WRONG) {
        auth_cache_put_wrong(&desk->cache, print, until_ms);
    }
}

static struct auth_answer too_many(const struct auth_desk *desk, const struct addr *client)
{
    uint64_t wait_ms = auth_failures_wait_ms(desk->auth->failures, client, loop_now_ms(desk->loop));

    return (struct auth_answer){.outcome = AUTH_TOO_MANY, .retry_after_ms = MAX(wait_ms, 1)};
}

static struct auth_answer answer_of(const struct auth_desk *desk, const struct addr *client,
                                    const struct auth_user *user, enum auth_check_result result)
{
    switch (result) {
    case AUTH_CHECK_RIGHT:
        return (struct auth_answer){.outcome = AUTH_VALID, .user = user->node.key};
    case AUTH_CHECK_WRONG:
        return (struct auth_answer){.outcome = AUTH_WRONG};
    case AUTH_CHECK_SHUT:
        return too_many(desk, client);
    case AUTH_CHECK_FULL:
        return (struct auth_answer){.outcome = AUTH_BUSY};
    case AUTH_CHECK_FAILED:
        break;
    case AUTH_CHECK_PENDING:
        return (struct auth_answer){.outcome = AUTH_PENDING};
    }
    return (struct auth_answer){.outcome = AUTH_FAILED};
}

static void free_shown(struct auth_credentials *shown)
{
    if (shown) {
        auth_credentials_wipe(shown);
        mem_free(shown);
    }
}

static void free_query(struct auth_query *query)
{
    deadline_disarm(&query->deadline);
    list_remove(&query->node);
    list_remove(&query->wait.node);
    free_shown(query->shown);
    auth_users_unref(query->users);
    mem_free(query);
}

/* The users have changed while the password was checked: this one has not. */
static bool is_still_right(const struct auth_desk *desk, const struct auth_user *user)
{
    const struct auth_user *now = auth_users_find(desk->users, user->node.key);

    return now && str_eq(now->hash, user->hash);
}

static void tell_result(struct auth_desk *desk, struct auth_query *query)
{
    enum auth_check_result result = query->check.result;
    struct auth_answer answer;

    follow_users(desk);
    if (query->users == desk->users) {
        remember(desk, query->user, &query->print, result, query->check.until_ms);
    } else if (result == AUTH_CHECK_RIGHT && !is_still_right(desk, query->user)) {
        result = AUTH_CHECK_WRONG;
    }
    answer = answer_of(desk, &query->check.client, query->user, result);
    if (!query->is_cancelled) {
        query->events->checked(query->arg, &answer);
    }
    free_query(query);
}

static void on_users_after_check(struct auth_wait *wait)
{
    struct auth_query *query = CONTAINER_OF(wait, struct auth_query, wait);

    tell_result(query->desk, query);
}

/* A check may take long: whoever was struck from the file meanwhile is not let in, though nobody
 * else has asked since. */
static void on_result(struct auth_desk *desk, struct auth_query *query)
{
    query->wait.ready = on_users_after_check;
    if (query->check.result != AUTH_CHECK_RIGHT || query->is_cancelled ||
        !auth_desk_must_wait(desk, &query->wait)) {
        tell_result(desk, query);
    }
}

static void on_mail(void *arg, struct mail *mail)
{
    struct auth_desk *desk = arg;

    if (mail == &desk->follower.mail) {
        on_look(desk);
    } else {
        on_result(desk, CONTAINER_OF(mail, struct auth_query, check.mail));
    }
}

/* What comes of the check later is still remembered. */
static void on_overdue(struct deadline *deadline)
{
    struct auth_query *query = CONTAINER_OF(deadline, struct auth_query, deadline);
    const struct auth_answer answer = {.outcome = AUTH_BUSY};
    const struct auth_events *events = query->events;
    void *arg = query->arg;

    auth_cancel(query);
    events->checked(arg, &answer);
}

/* ------------------------------------------------------------------ life */

int auth_desk_new(struct auth *auth, struct loop *loop, struct auth_desk **ret)
{
    struct auth_desk *desk = mem_zalloc(sizeof(*desk));
    int r;

    if (!desk) {
        return -ENOMEM;
    }
    desk->auth = auth;
    desk->loop = loop;
    list_init(&desk->queries);
    list_init(&desk->waits);
    list_init(&desk->follower.node);
    auth_cache_init(&desk->cache);
    r = mailbox_new(loop, on_mail, desk, &desk->mailbox);
    if (r != 0) {
        mem_free(desk);
        return r;
    }
    desk->follower.home = desk->mailbox;
    *ret = desk;
    return 0;
}

void auth_desk_free(struct auth_desk *desk)
{
    if (!desk) {
        return;
    }
    LIST_FOR_EACH (node, next, &desk->queries) {
        struct auth_query *query = LIST_ITEM(node, struct auth_query, node);

        query->is_cancelled = true;
        list_remove(&query->wait.node);
    }
    auth_follow_leave(desk->auth->follow, &desk->follower);
    mailbox_free(desk->mailbox); /* frees those whose result has come */
    while (!list_empty(&desk->queries)) {
        free_query(LIST_FIRST(&desk->queries, struct auth_query, node));
    }
    auth_users_unref(desk->users);
    auth_cache_deinit(&desk->cache);
    mem_free(desk);
}

/* ------------------------------------------------------------------ asking */

static struct auth_query *new_query(struct auth_desk *desk, const struct asker *asker)
{
    struct auth_query *query = mem_zalloc(sizeof(*query));

    if (!query) {
        return NULL;
    }
    query->check.home = desk->mailbox;
    query->check.client = *asker->client;
    query->desk = desk;
    query->events = asker->events;
    query->arg = asker->arg;
    list_init(&query->wait.node);
    deadline_init(&query->deadline, on_overdue);
    deadline_arm(&query->deadline, desk->loop, desk->auth->wait_ms);
    list_push_back(&desk->queries, &query->node);
    return query;
}

/* The pool, or another worker, has to tell. */
static enum auth_check_result ask_others(struct auth_desk *desk,
                                         const struct auth_question *question, struct asker *asker)
{
    struct auth_query *query = asker->query ? asker->query : new_query(desk, asker);
    enum auth_check_result result;

    if (!query) {
        return AUTH_CHECK_FAILED;
    }
    asker->query = query;
    query->users = auth_users_ref(desk->users);
    query->user = question->user;
    query->print = question->print;
    result = auth_checks_ask(desk->auth->checks, question, &query->check);
    if (result != AUTH_CHECK_PENDING) {
        remember(desk, question->user, &question->print, result, query->check.until_ms);
    }
    return result;
}

/* What this worker can tell by itself; AUTH_CHECK_PENDING: nothing. */
static enum auth_check_result recall(struct auth_desk *desk, const struct auth_question *question)
{
    size_t index = question->user ? question->user->index : AUTH_NO_USER;
    uint64_t until_ms;

    switch (auth_cache_find(&desk->cache, index, &question->print, loop_now_ms(desk->loop),
                            &until_ms)) {
    case AUTH_SEEN_RIGHT:
        return AUTH_CHECK_RIGHT;
    case AUTH_SEEN_WRONG:
        return AUTH_CHECK_WRONG;
    case AUTH_UNSEEN:
        break;
    }
    /* Without any user there is nothing to compare with. */
    return auth_users_count(desk->users) > 0 ? AUTH_CHECK_PENDING : AUTH_CHECK_WRONG;
}

static struct auth_answer check(struct auth_desk *desk, const struct auth_credentials *credentials,
                                struct asker *asker)
{
    struct auth_question question = {
        .users = desk->users,
        .user = auth_users_find(desk->users, credentials->user),
        .name = credentials->user,
        .password = credentials->password,
    };
    enum auth_check_result result;

    auth_printer_make(&desk->auth->printer, question.name, question.password,
                      question.user ? question.user->hash : STR(""), &question.print);
    result = recall(desk, &question);
    if (result == AUTH_CHECK_PENDING) {
        result = ask_others(desk, &question, asker);
    }
    if (result == AUTH_CHECK_WRONG) {
        auth_count_wrong(desk->auth, asker->client, question.name, question.user != NULL);
    }
    return answer_of(desk, asker->client, question.user, result);
}

/* By the users of now. */
static struct auth_answer ask(struct auth_desk *desk, const struct auth_credentials *credentials,
                              struct asker *asker)
{
    follow_users(desk);
    if (auth_failures_wait_ms(desk->auth->failures, asker->client, loop_now_ms(desk->loop)) > 0) {
        return too_many(desk, asker->client);
    }
    return check(desk, credentials, asker);
}

/* Only a query that waits outlives its answer. */
static void settle(struct asker *asker, const struct auth_answer *answer)
{
    if (asker->query && answer->outcome != AUTH_PENDING) {
        free_query(asker->query);
        asker->query = NULL;
    }
}

/* The users file has been looked at. */
static void on_users(struct auth_wait *wait)
{
    struct auth_query *query = CONTAINER_OF(wait, struct auth_query, wait);
    struct asker asker = {&query->check.client, query->events, query->arg, query};
    struct auth_credentials *shown = query->shown;
    struct auth_answer answer;

    query->shown = NULL;
    answer = ask(query->desk, shown, &asker);
    free_shown(shown);
    if (answer.outcome != AUTH_PENDING) {
        asker.events->checked(asker.arg, &answer);
        settle(&asker, &answer);
    }
}

/* The users file is being looked at: field, which holds credentials, waits with the query. */
static struct auth_answer hold(struct auth_desk *desk, struct str field,
                               const struct auth_credentials *credentials, struct asker *asker)
{
    struct auth_query *query = new_query(desk, asker);

    asker->query = query;
    if (query) {
        query->wait.ready = on_users;
        query->shown = mem_zalloc(sizeof(*query->shown));
    }
    if (!query || !query->shown || auth_basic_parse(field, query->shown) != 0) {
        return (struct auth_answer){.outcome = AUTH_FAILED};
    }
    if (auth_desk_must_wait(desk, &query->wait)) {
        return (struct auth_answer){.outcome = AUTH_PENDING};
    }
    free_shown(query->shown); /* that is just over */
    query->shown = NULL;
    return ask(desk, credentials, asker);
}

enum auth_outcome auth_ask(struct auth_desk *desk, const struct addr *client, struct str field,
                           const struct auth_events *events, void *arg, struct auth_answer *ret,
                           struct auth_query **ret_query)
{
    struct asker asker = {.client = client, .events = events, .arg = arg};
    struct auth_credentials credentials;

    *ret_query = NULL;
    if (auth_basic_parse(field, &credentials) != 0) {
        *ret = (struct auth_answer){.outcome = AUTH_NONE};
        return ret->outcome;
    }
    if (auth_follow_look(desk->auth->follow, loop_now_ms(desk->loop))) {
        *ret = hold(desk, field, &credentials, &asker);
    } else {
        *ret = ask(desk, &credentials, &asker);
    }
    auth_credentials_wipe(&credentials);
    settle(&asker, ret);
    *ret_query = asker.query;
    return ret->outcome;
}

void auth_cancel(struct auth_query *query)
{
    if (!query) {
        return;
    }
    query->is_cancelled = true;
    deadline_disarm(&query->deadline);
    if (list_linked(&query->wait.node) ||
        auth_checks_withdraw(query->desk->auth->checks, &query->check)) {
        free_query(query);
    }
}
